from dataclasses import replace

import pytest
import torch

from videosyn.core.memory import FIXED_BYTES
from videosyn.sampling.footprint import BLENDING_BYTES_PER_PIXEL, FRAME_BYTES_PER_PIXEL, Footprint
from videosyn.vdit.cost import Load, attention_operations, product_operations, working_bytes
from videosyn.vdit.model import VDiT
from videosyn.vdit.presets import TINY as VDIT
from videosyn.vdit.presets import XL as VDIT_XL
from videosyn.vidvae.causal import CausalState
from videosyn.vidvae.cost import decoder_layers
from videosyn.vidvae.model import VidVAE
from videosyn.vidvae.presets import NANO, TINY, XL

MODEL = Footprint(VDIT_XL, XL, 4, "cpu")
SIZES = [(1, 17, 96, 96), (2, 17, 96, 96), (1, 33, 96, 96), (1, 17, 128, 96), (1, 17, 96, 160)]


def test_the_larger_of_vdit_and_decoder_is_the_peak():
    for size in SIZES:
        decoding = MODEL.decoding_bytes(*size) + MODEL.host_bytes(*size)
        assert MODEL.predicted_bytes(*size) == FIXED_BYTES + max(decoding, MODEL.denoising_bytes(*size))


def test_a_long_video_is_decoded_in_pieces_so_only_its_frames_and_tokens_grow():
    short, long = ((1, num_frames, 256, 256) for num_frames in (65, 129))
    assert MODEL.decoding_bytes(*long) == MODEL.decoding_bytes(*short)
    assert MODEL.host_bytes(*long) - MODEL.host_bytes(*short) == 64 * 256 * 256 * FRAME_BYTES_PER_PIXEL


def test_more_of_anything_never_takes_less():
    base = MODEL.predicted_bytes(*SIZES[0])
    assert all(MODEL.predicted_bytes(*other) >= base for other in SIZES[1:])
    assert MODEL.denoising_bytes(*SIZES[0]) < min(MODEL.denoising_bytes(*other) for other in SIZES[1:])


def test_what_fits_does_fit_and_the_next_larger_does_not():
    available = 4_000_000_000
    assert not MODEL.fits(available, 1, 4097, 512, 768)
    words = MODEL.what_fits(available, 4097, 512, 768)
    *fewer, smaller = words.split(" or ")
    for each in fewer:
        frames = int(each.split()[0])
        assert each == f"{frames} frames of 512x768"
        assert MODEL.fits(available, 1, frames, 512, 768)
        assert not MODEL.fits(available, 1, frames + 4, 512, 768)
    height, width = map(int, smaller.split()[-1].split("x"))
    assert height % 16 == width % 16 == 0
    assert MODEL.fits(available, 1, 4097, height, width)


def test_tiles_bound_what_the_decoder_takes_of_a_large_frame():
    sizes = [MODEL.decoding_bytes(1, 5, side, side, 512) for side in (1024, 4096)]
    assert sizes[0] == sizes[1] < MODEL.decoding_bytes(1, 5, 1024, 1024)
    sums = MODEL.host_bytes(1, 5, 1024, 1024, 512) - MODEL.host_bytes(1, 5, 1024, 1024)
    assert sums == 5 * 1024 * 1024 * BLENDING_BYTES_PER_PIXEL


def test_where_nothing_fits_it_says_so():
    assert MODEL.what_fits(10, 17, 96, 96) == "nothing, free some memory first"


def test_720p_fits_24_gb_and_480p_12_gb_beside_weights_of_2_gb():
    model = Footprint(VDIT_XL, XL, 2, "cuda")
    assert model.fits(0.9 * 22e9, 1, 113, 720, 1280)
    assert model.fits(0.9 * 22e9, 1, 337, 720, 1280)
    assert model.fits(0.9 * 10e9, 1, 113, 480, 848)


@pytest.mark.parametrize("config", [TINY, NANO, replace(XL, decoder_widths=(32, 32, 64, 64), encoder_widths=(32,) * 4)])
@torch.inference_mode()
def test_the_layers_of_a_decoder_are_those_it_has_and_what_they_carry_is_counted(config):
    vae, state = VidVAE(config).eval(), CausalState()
    seen: dict[str, tuple[int, ...]] = {}
    modules = dict(vae.decoder.named_modules())
    layers = list(decoder_layers(config, 1, 1, 32, 48, 4, "cpu"))
    for layer in layers:
        assert layer.name in modules, layer.name
        modules[layer.name].register_forward_pre_hook(
            lambda module, given, name=layer.name: seen.__setitem__(name, tuple(given[0].shape))
        )
    latents = torch.zeros(1, config.latent_channels, 1, 32 // vae.space_factor, 48 // vae.space_factor)
    for _ in range(2):
        vae.decode_raw(latents, state)
    rooms = {layer.name: sum(layer.taps) - 2 if layer.name == "conv_out" else 0 for layer in layers}
    for layer in layers:
        shape = (1, layer.width, layer.frames + rooms[layer.name], layer.height, layer.width_px)
        assert seen.get(layer.name, shape) == shape, layer.name
    assert set(seen) == {layer.name for layer in layers}


def test_operations_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    load = Load(batch=2, frames=3, places=24, text_tokens=5)
    given = (torch.zeros(2, 4, 3, 8, 12), torch.zeros(2), torch.zeros(2, 5, VDIT.text_width))
    counted = []
    for depth in (1, 2):
        model = VDiT(replace(VDIT, mlp_ratio=3, depth=depth)).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(*given, torch.ones(2, 5, dtype=torch.bool))
        counted.append(counter.get_total_flops())
    one = replace(VDIT, mlp_ratio=3, depth=1)
    predicted = product_operations(one, load) + attention_operations(one, load)
    assert predicted == pytest.approx(counted[1] - counted[0], rel=0.1)  # torch counts rotary tables, too


def test_parts_bound_what_a_branch_takes_of_a_long_film():
    short, long = (working_bytes(VDIT_XL, Load(2, frames, 3600, 250), 2, "cuda") for frames in (29, 85))
    tokens = 2 * 56 * 3600
    assert 2 * tokens * VDIT_XL.width * 2 <= long - short < 3 * tokens * VDIT_XL.width * 2


def test_a_block_cache_takes_six_times_all_tokens_more():
    size = (1, 113, 480, 848)
    plain, cached = (Footprint(VDIT_XL, XL, 2, "cuda", cached=each) for each in (False, True))
    more = cached.denoising_bytes(*size) - plain.denoising_bytes(*size)
    assert more == pytest.approx(6 * plain.load(*size).tokens * VDIT_XL.width * 2)
