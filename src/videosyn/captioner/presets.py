"""The sizes of captioner. Torch-free. Next on the path: `model.py`."""

from __future__ import annotations

from videosyn.captioner.config import CaptionerConfig

PAPER = CaptionerConfig(
    vision={
        "model_type": "clip_vision_model",
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 378,
        "patch_size": 14,
        "hidden_act": "gelu",
    },
    language={
        "model_type": "phi3",
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
        "bos_token_id": 1,
        "eos_token_id": 32000,
        "pad_token_id": 32000,
    },
)
"""The paper's: ViT-H/14 (729 tokens a frame at 378 px), 128 tokens a frame, 128 of memory, Phi-3-mini."""

NANO = CaptionerConfig(
    vision={"model_type": "conv", "widths": [48, 96, 192], "blocks": [0, 1, 1]},
    language={
        "model_type": "phi3",
        "vocab_size": 640,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    },
    width=192,
    num_heads=4,
    frame_tokens=16,
    resampler_depth=1,
    memory_tokens=24,
    read_tokens=16,
    memory_depth=1,
    num_frames=6,
    image_px=96,
    keep_aspect=True,
    image_mean=(0.5, 0.5, 0.5),
    image_std=(0.25, 0.25, 0.25),
    prompt="describe this video",
    max_new_tokens=48,
)
"""The shipped one, for the world on CPUs."""

TINY = CaptionerConfig(
    vision={"model_type": "conv", "widths": [8, 16], "blocks": [0, 1]},
    language={
        "model_type": "phi3",
        "vocab_size": 300,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    },
    width=16,
    num_heads=2,
    frame_tokens=4,
    resampler_depth=1,
    memory_tokens=4,
    read_tokens=4,
    memory_depth=1,
    num_frames=3,
    image_px=32,
    keep_aspect=True,
    prompt="describe",
    max_new_tokens=12,
)
"""For tests."""
