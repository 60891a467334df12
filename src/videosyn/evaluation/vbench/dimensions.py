"""The 16 dimensions of VBench: their ranges, their groups in the paper's Table 4, and who computes each. Torch-free.

Next: `table4.py`.
"""

from __future__ import annotations

RANGES = {
    "subject_consistency": (0.1462, 1.0),
    "background_consistency": (0.2615, 1.0),
    "temporal_flickering": (0.6293, 1.0),
    "motion_smoothness": (0.706, 0.9975),
    "dynamic_degree": (0.0, 1.0),
    "aesthetic_quality": (0.0, 1.0),
    "imaging_quality": (0.0, 1.0),
    "object_class": (0.0, 1.0),
    "multiple_objects": (0.0, 1.0),
    "human_action": (0.0, 1.0),
    "color": (0.0, 1.0),
    "spatial_relationship": (0.0, 1.0),
    "scene": (0.0, 0.8222),
    "appearance_style": (0.0009, 0.2855),
    "temporal_style": (0.0, 0.364),
    "overall_consistency": (0.0, 0.364),
}
"""Dimension -> the scores that VBench takes for 0 and 1."""
DIMENSIONS = tuple(RANGES)

GROUPS = {
    "Consistency": ("background_consistency", "subject_consistency", "overall_consistency"),
    "Temporal": ("temporal_flickering", "motion_smoothness", "human_action"),
    "Aesthetic": ("aesthetic_quality", "imaging_quality", "color"),
    "Spatial": ("spatial_relationship",),
}
"""The paper's, of its Table 4. A group is the mean of its dimensions, the average that of the groups."""

BY_FLOW = {"dynamic_degree": "dynamic_degree_flow", "motion_smoothness": "motion_smoothness_flow"}
"""VBench's dimension -> our figure beside it: the same rule, with classical optical flow for its networks."""
BY_WEIGHTS = ("subject_consistency", "background_consistency", "aesthetic_quality", "appearance_style")
"""Computed here where weights are named."""
HERE = ("temporal_flickering",)
"""Computed here, without any."""


def normalised(dimension: str, score: float) -> float:
    """A score on VBench's range of that dimension: 0 to 1, and beyond where the score is."""
    low, high = RANGES[dimension]
    return (score - low) / (high - low)
