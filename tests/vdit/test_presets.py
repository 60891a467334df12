from dataclasses import replace

import pytest
import torch

from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import NANO, NANO_320, NANO_MAP, PRESETS, SMALL, XL


def count(config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in VDiT(config).parameters())


def test_xl_has_exactly_the_papers_parameters():
    assert count(replace(XL, legacy_stdit2=True)) == 767_452_100
    assert count(XL) == 767_452_100


@pytest.mark.parametrize(
    ("config", "expected"),
    [(NANO, 8_909_920), (NANO_MAP, 8_992_000), (NANO_320, 13_840_352), (SMALL, 198_488_160)],
)
def test_presets_have_the_parameters_their_documents_say(config, expected):
    assert count(config) == expected


def test_every_preset_has_heads_of_even_width():
    assert all(config.head_width % 2 == 0 for config in PRESETS.values())
