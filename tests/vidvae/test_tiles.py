"""Frames in tiles: each tile is streamed through time, and tiles fade into each other."""

import pytest
import torch

from videosyn.core.errors import UserError
from videosyn.vidvae.tiles import Tiling, _blended, _tiles, decode_tiled, encode_tiled, shared_pixels


@torch.inference_mode()
def test_one_tile_is_the_frame(vae, make_video):
    video, tiling = make_video(9, 32, 48), Tiling(tile_px=48, overlap_px=16)
    latents = encode_tiled(vae, video, tiling)
    torch.testing.assert_close(latents, vae.encode(video), atol=1e-4, rtol=0)
    decoded = decode_tiled(vae, latents, tiling)
    torch.testing.assert_close(decoded, vae.decode(latents), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_where_only_one_tile_is_seen_it_is_that_tiles_own_video(vae, make_video):
    tiling = Tiling(tile_px=32, overlap_px=8)
    latents = vae.encode(make_video(9, 32, 56))  # two tiles side by side: pixels 0 to 32 and 24 to 56
    decoded = decode_tiled(vae, latents, tiling)
    left, right = vae.decode(latents[..., :4]), vae.decode(latents[..., 3:])
    torch.testing.assert_close(decoded[..., :24], left[..., :24], atol=1e-4, rtol=0)
    torch.testing.assert_close(decoded[..., 32:], right[..., 8:], atol=1e-4, rtol=0)
    weight = (torch.arange(8) + 0.5) / 8
    fade = torch.lerp(left[..., 24:], right[..., :8], weight)
    torch.testing.assert_close(decoded[..., 24:32], fade, atol=1e-4, rtol=0)
    shared = shared_pixels(32, 56, tiling, vae.space_factor)
    assert shared.any(0).nonzero()[:, 0].tolist() == list(range(24, 32))


@pytest.mark.parametrize("size", [(4, 4), (5, 11), (8, 8), (11, 11), (12, 9)])
@pytest.mark.parametrize("unit", [1, 8])
def test_weights_add_up_on_frames_of_any_size(size, unit):
    parts = [
        (tile, unit, torch.full((1, 3, 5, tile.height * unit, tile.width * unit), 0.3).split([1, 4], 2))
        for tile in _tiles(*size, Tiling(tile_px=32, overlap_px=16), 8)
    ]
    blended = _blended(parts, 5, torch.device("cpu"))
    torch.testing.assert_close(blended, torch.full((1, 3, 5, size[0] * unit, size[1] * unit), 0.3))


@torch.inference_mode()
def test_the_size_of_pieces_changes_nothing(vae, make_video):
    tiling, latents = Tiling(tile_px=24, overlap_px=8), vae.encode(make_video(13, 40, 40))
    one, other = (decode_tiled(vae, latents, tiling, frames) for frames in (1, 3))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_tiles_that_cannot_be_are_refused(vae, make_video):
    with pytest.raises(UserError, match="tiles of 32 px must overlap by 1 to 16 px, got 24"):
        Tiling(tile_px=32, overlap_px=24)
    with pytest.raises(UserError, match="tile_px must be a multiple of 8, got 36"):
        encode_tiled(vae, make_video(1, 64, 64), Tiling(tile_px=36, overlap_px=8))
