"""The lesson in which a VDiT's middle tokens name what lies in their cells."""

import math

import pytest
import torch

from videosyn.training.naming import NAMES, Namer
from videosyn.vdit import presets
from videosyn.vdit.model import VDiT
from videosyn.world.vocabulary import COLOURS, KINDS, MOTIONS


@pytest.fixture
def seen():
    """A VDiT that just saw two clips of (2, 4, 4) latents whose halves differ, and what lies in their cells."""
    torch.manual_seed(0)
    vdit = VDiT(presets.TINY)
    namer = Namer(vdit)
    cells = torch.zeros(2, 3, 2, 4, 4, dtype=torch.uint8)
    cells[0, :, :, :, 2:] = torch.tensor([3, 2, 5], dtype=torch.uint8)[:, None, None, None]
    cells[1, :, 1, 1:, :3] = torch.tensor([13, 8, 9], dtype=torch.uint8)[:, None, None]
    latents = torch.randn(2, 4, 2, 4, 4) * 0.1 + cells[:, :1].float()

    def look():
        text, mask = torch.zeros(2, 1, presets.TINY.text_width), torch.ones(2, 1, dtype=torch.bool)
        vdit(latents, torch.full((2,), 100.0), text, mask)
        return namer(cells)

    return look, vdit, namer


def test_who_knows_nothing_pays_the_logarithm_of_the_number_of_answers(seen):
    look, _, _ = seen
    loss, shares = look()
    assert (NAMES["kind"], NAMES["colour"], NAMES["motion"]) == (1 + len(KINDS), 1 + len(COLOURS), 1 + len(MOTIONS))
    assert loss.item() == pytest.approx(sum(map(math.log, NAMES.values())) / 3, rel=1e-5)
    assert shares == {"kind": 0.0, "colour": 0.0, "motion": 0.0}  # every answer is 0, "nothing here"


def test_where_nothing_lies_no_share_is_named_right(seen):
    _, _, namer = seen
    namer._tokens = torch.zeros(2, 2, 4, presets.TINY.width)
    loss, shares = namer(torch.zeros(2, 3, 2, 4, 4, dtype=torch.uint8))
    assert loss.isfinite()
    assert [share.isnan() for share in shares.values()] == [True] * 3  # a figure that the log leaves out


def test_the_lesson_reaches_the_blocks_below_it_and_can_be_learnt_cell_by_cell(seen):
    look, vdit, namer = seen
    learnt = [*vdit.parameters(), *namer.parameters()]
    optimizer = torch.optim.Adam([each for each in learnt if each.requires_grad], lr=1e-2)
    for _ in range(60):
        loss, shares = look()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert shares == {"kind": 1.0, "colour": 1.0, "motion": 1.0}
    assert vdit.patch_embedder.weight.grad.abs().sum() > 0
    assert vdit.final.weight.grad is None  # what lies above learns from the noise alone


def test_a_thing_weighs_four_cells_of_backdrop(seen):
    look, _, namer = seen
    with torch.no_grad():
        namer.answers.bias.view(4, -1)[:, 0] = 2.0  # "no kind here", said everywhere
    others = math.log(math.e**2 + NAMES["kind"] - 1)
    num_things, num_cells = 16 + 9, 64
    expected = (num_things * 4 * others + (num_cells - num_things) * (others - 2.0)) / (num_cells + 3 * num_things)
    others = math.log(NAMES["colour"]) + math.log(NAMES["motion"])
    assert look()[0].item() == pytest.approx((expected + others) / 3, rel=1e-5)
