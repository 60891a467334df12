from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

from dataclasses import replace

from videosyn.captioner.model import Captioner
from videosyn.captioner.presets import TINY
from videosyn.captioner.tokenizer import make_tokenizer

TEXTS = ["a red ball bounces in a meadow at noon", "a blue cube spins on the sea at night", "describe"]


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer(TEXTS * 4, 300)


@pytest.fixture
def tiny(tokenizer) -> Captioner:
    torch.manual_seed(0)
    config = replace(TINY, language={**TINY.language, "vocab_size": len(tokenizer)})
    return Captioner(config, tokenizer).eval()
