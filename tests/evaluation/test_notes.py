"""What pipelines note reaches whoever runs an evaluation."""

from __future__ import annotations

import numpy as np

from videosyn.evaluation import notes
from videosyn.evaluation.options import AdherenceConfig
from videosyn.evaluation.sources import Asked, open_source
from videosyn.sampling.output import VideoOutput
from videosyn.world.parsed import Parsed


def test_a_note_is_said_once(capsys):
    notes._say.cache_clear()
    output = VideoOutput(np.zeros((1, 1, 8, 8, 3), np.uint8), 8.0, ["a"], [0], ("one thing", "another"))
    assert notes.told(output) is output
    notes.told(output)
    assert capsys.readouterr().err == "videosyn: one thing\nvideosyn: another\n"


def test_adherence_says_what_of_a_prompt_is_cut(tiny_folder, capsys):
    notes._say.cache_clear()
    config = AdherenceConfig(model=str(tiny_folder), frames=5, height=32, width=32, steps=1, dtype="fp32", device="cpu")
    prompt = "a red ball and " * 16 + "a blue cube"
    assert open_source(config)([Asked(prompt, Parsed(), None)], 0).shape == (1, 5, 32, 32, 3)
    assert "is ignored\n" in capsys.readouterr().err
