from videosyn.core.memory import FIXED_BYTES, Footprint, available_cpu_bytes

MODEL = Footprint(
    bytes_per_token=40_000,
    bytes_per_pixel=170,
    carried_bytes_per_pixel=30,
    piece_pixels=2**20,
    space_multiple=16,
    time_factor=4,
)


def test_the_larger_of_vdit_and_decoder_is_the_peak():
    decoder = 17 * 96 * 96 * (170 + 48) + 96 * 96 * 30
    assert MODEL.predicted_bytes(1, 17, 96, 96) == FIXED_BYTES + decoder
    heavy = Footprint(10**6, 170, 30, 2**20, 16, 4)
    assert heavy.predicted_bytes(2, 17, 96, 96) == FIXED_BYTES + 2 * 5 * 6 * 6 * 10**6


def test_a_long_video_is_decoded_in_pieces_so_only_its_output_grows():
    short, long = (MODEL.predicted_bytes(1, num_frames, 256, 256) for num_frames in (65, 129))
    assert long - short == 64 * 256 * 256 * 48


def test_more_of_anything_never_takes_less():
    base = MODEL.predicted_bytes(1, 17, 96, 96)
    for other in ((2, 17, 96, 96), (1, 21, 96, 96), (1, 17, 112, 96), (1, 17, 96, 112)):
        assert MODEL.predicted_bytes(*other) > base


def test_what_fits_does_fit_and_the_next_larger_does_not():
    available = 300_000_000
    assert not MODEL.fits(available, 1, 129, 256, 512)
    words = MODEL.what_fits(available, 129, 256, 512)
    fewer, smaller = words.split(" or ")
    frames = int(fewer.split()[0])
    assert fewer == f"{frames} frames of 256x512"
    assert MODEL.fits(available, 1, frames, 256, 512)
    assert not MODEL.fits(available, 1, frames + 4, 256, 512)
    height, width = map(int, smaller.split()[-1].split("x"))
    assert height % 16 == width % 16 == 0
    assert MODEL.fits(available, 1, 129, height, width)


def test_tiles_bound_what_the_decoder_takes_of_a_large_frame():
    def working(height: int, tile_px: int) -> int:
        output = height * height * 5 * (48 + (14 if tile_px else 0))
        return MODEL.predicted_bytes(1, 5, height, height, tile_px) - FIXED_BYTES - output

    assert working(1024, 512) == working(4096, 512) == 512**2 * (4 * 170 + 30)
    assert working(1024, 0) == 1024**2 * (4 * 170 + 30)


def test_where_nothing_fits_it_says_so():
    assert MODEL.what_fits(10, 17, 96, 96) == "nothing, free some memory first"


def test_free_memory_is_known_here_and_positive():
    available = available_cpu_bytes()
    assert available is None or available > 0
