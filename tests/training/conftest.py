from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that tests find toy.py
sys.path.insert(0, str(Path(__file__).parents[1] / "dataset"))  # and clips_folder.py

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture(scope="session")
def tiny_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG16's layers, numbered as torchvision does, four channels each, random."""
    torch.manual_seed(0)
    state, number, channels = {}, 0, 3
    for count in (2, 2, 3, 3, 3):
        for _ in range(count):
            state[f"features.{number}.weight"] = torch.randn(4, channels, 3, 3) * 0.4
            state[f"features.{number}.bias"] = torch.zeros(4)
            number, channels = number + 2, 4
        number += 1
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file(state, path)
    return path
