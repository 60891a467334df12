import torch

from videosyn.vdit.embeddings import Rope, kept, rope_frequencies, sinusoids, spatial_positions

CPU = torch.device("cpu")


def test_sinusoids_are_cosines_then_sines():
    out = sinusoids(torch.tensor([0.0, 2.0]), 8)
    assert out.shape == (2, 8)
    torch.testing.assert_close(out[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(out[1, [0, 4]], torch.tensor([2.0, 2.0 - torch.pi / 2]).cos())


def test_rope_scores_depend_on_distance_alone():
    rope = Rope(rope_frequencies(16, 1e4), 9, torch.float64)
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 16, dtype=torch.float64).unbind()
    scores = rope(q.expand(9, -1)) @ rope(k.expand(9, -1)).T
    torch.testing.assert_close(scores[:-1, :-1], scores[1:, 1:], rtol=1e-5, atol=1e-5)
    assert (scores[0, 1:] - scores[0, 0]).abs().min() > 1e-3


def test_rope_leaves_the_first_place_and_all_lengths():
    rope = Rope(rope_frequencies(16, 1e4), 5, torch.float32)
    x = torch.randn(3, 5, 16)
    torch.testing.assert_close(rope(x)[:, 0], x[:, 0])
    torch.testing.assert_close(rope(x).norm(dim=-1), x.norm(dim=-1))


def test_positions_tell_every_token_apart():
    grid = spatial_positions(5, 7, 32, 0.2, CPU)
    assert grid.shape == (35, 32)
    assert torch.cdist(grid, grid).fill_diagonal_(9).min() > 0.1


def test_positions_mean_the_same_place_at_twice_the_size():
    small, large = spatial_positions(4, 4, 32, 0.5, CPU), spatial_positions(8, 8, 32, 1.0, CPU)
    torch.testing.assert_close(large.view(8, 8, 32)[::2, ::2], small.view(4, 4, 32))


def test_scales_of_several_films_give_each_its_positions():
    both = spatial_positions(3, 5, 16, torch.tensor([0.5, 2.0]), CPU)
    torch.testing.assert_close(both, torch.stack([spatial_positions(3, 5, 16, scale, CPU) for scale in (0.5, 2.0)]))


def test_positions_made_in_inference_serve_training():
    with torch.inference_mode():
        made = kept(spatial_positions, 2, 2, 8, 1.25, CPU)
    weight = torch.ones(8, requires_grad=True)
    (kept(spatial_positions, 2, 2, 8, 1.25, CPU) * weight).sum().backward()
    assert weight.grad is not None
    assert kept(spatial_positions, 2, 2, 8, 1.25, CPU) is made
