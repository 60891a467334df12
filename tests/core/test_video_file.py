import numpy as np
import pytest

from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file, atomic_folder, check_writable
from videosyn.core.video_file import contact_sheet, read_metadata, read_video, write_video

METADATA = {"prompt": 'a "red" bäll', "seed": "7", "settings": "x" * 700}


def film(num_frames: int = 9, height: int = 48, width: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    frames = np.stack(
        [
            np.stack([columns * 3 + 5 * t, rows * 4, np.full_like(rows, 30 + 10 * t)], -1).clip(0, 255)
            for t in range(num_frames)
        ]
    ).astype(np.uint8)
    frames[:, 8:24, 8:24] = (220, 20, 30)
    frames[:, 28:44, 8:24] = (20, 200, 40)
    return frames


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.square(one.astype(float) - other).mean())


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_a_film_comes_back_as_it_was(tmp_path, suffix):
    write_video(tmp_path / f"film{suffix}", film(), 8, METADATA)
    frames, fps = read_video(tmp_path / f"film{suffix}")
    assert frames.shape == film().shape
    assert fps == 8
    assert psnr_db(frames, film()) > 32
    assert np.abs(frames[4, 16, 16].astype(int) - (220, 20, 30)).max() < 8
    assert np.abs(frames[4, 36, 16].astype(int) - (20, 200, 40)).max() < 8


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".png"])
def test_the_settings_come_back_from_the_file(tmp_path, suffix):
    write_video(tmp_path / f"film{suffix}", film(), 8, METADATA)
    assert read_metadata(tmp_path / f"film{suffix}") == {"fps": "8", "num_frames": "9", **METADATA}


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_still_film_keeps_its_length(tmp_path, suffix):
    frames = np.repeat(film(1), 33, axis=0)
    write_video(tmp_path / f"film{suffix}", frames, 12.5)
    assert read_video(tmp_path / f"film{suffix}")[0].shape == frames.shape


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize(("suffix", "fps"), [(".gif", 50), (".gif", 0.0138), (".webp", 0.0006), (".mp4", 0.001)])
def test_the_fastest_and_the_slowest_films_come_back_whole(tmp_path, suffix, fps, still):
    frames = np.repeat(film(1), 9, axis=0) if still else film()
    write_video(tmp_path / f"film{suffix}", frames, fps)
    read, read_fps = read_video(tmp_path / f"film{suffix}")
    assert read.shape == frames.shape
    assert read_fps == pytest.approx(fps, rel=0.01)


def test_fractional_frame_rates_are_kept(tmp_path):
    write_video(tmp_path / "film.mp4", film(), 24000 / 1001)
    assert read_video(tmp_path / "film.mp4")[1] == pytest.approx(24000 / 1001)


def test_mp4_is_h264_yuv420p_with_its_index_in_front(tmp_path):
    import av

    write_video(tmp_path / "film.mp4", film(), 8)
    with av.open(str(tmp_path / "film.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
    content = (tmp_path / "film.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_one_frame_is_a_film(tmp_path):
    write_video(tmp_path / "film.mp4", film(1), 8)
    assert read_video(tmp_path / "film.mp4")[0].shape == (1, 48, 64, 3)


def test_a_contact_sheet_shows_every_frame_in_order():
    sheet = contact_sheet(film(7, 10, 10))
    assert sheet.shape == (3 * 12 - 2, 3 * 12 - 2, 3)
    assert np.array_equal(sheet[12:22, 12:22], film(7, 10, 10)[4])
    assert (sheet[24:, 12:] == 255).all()


@pytest.mark.parametrize(
    ("name", "frames", "fps", "message"),
    [
        ("film.avi", film(), 8, "must be one of .mp4, .gif, .webp, .png, got '.avi'"),
        ("film", film(), 8, "got 'none'"),
        ("film.mp4", film(1, 47, 64), 8, "mp4 needs an even height and width, got 47x64"),
        ("film.gif", film(), 0, "fps must be above 0"),
        ("film.png", film(), float("nan"), "fps must be above 0, got nan"),
        ("film.gif", film(), 51, "gif shows at most 50 frames a second, got 51: use 50, or .mp4 or .webp"),
        ("film.gif", film(), 0.001, "gif needs at least 0.0138 fps for 9 frames, got 0.001: use 0.0138"),
        ("film.webp", film(), 0.0001, "webp needs at least 0.0006 fps for 9 frames"),
        ("film.mp4", film(), 0.0004, "mp4 needs at least 0.001 fps for 9 frames"),
        ("no/film.mp4", film(), 8, "cannot write"),
    ],
)
def test_what_cannot_be_written_is_a_user_error_and_leaves_nothing(tmp_path, name, frames, fps, message):
    with pytest.raises(UserError, match=message):
        write_video(tmp_path / name, frames, fps)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_write_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "film.mp4").write_text("old")

    def stop() -> None:
        with atomic_file(tmp_path / "film.mp4") as hidden:
            hidden.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]
    assert (tmp_path / "film.mp4").read_text() == "old"


def test_a_stopped_write_of_a_folder_leaves_nothing_and_a_whole_one_all(tmp_path):
    def write(error: BaseException | None) -> None:
        with atomic_folder(tmp_path / "model") as hidden:
            hidden.mkdir()
            (hidden / "weights").write_text("half")
            assert not (tmp_path / "model").exists()
            if error is not None:
                raise error

    with pytest.raises(KeyboardInterrupt):
        write(KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []
    write(None)
    assert list(tmp_path.rglob("*")) == [tmp_path / "model", tmp_path / "model" / "weights"]


def test_folders_that_are_missing_or_files_are_not_writable(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "absent" / "film.mp4", tmp_path / "file" / "film.mp4", tmp_path):
        with pytest.raises(UserError):
            check_writable(path)
    assert check_writable(tmp_path / "film.mp4") == tmp_path / "film.mp4"


def test_files_of_others_have_no_settings_and_no_video_is_a_user_error(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(UserError, match="cannot read"):
        read_video(tmp_path / "film.mp4")
    with pytest.raises(UserError, match="cannot read"):
        read_metadata(tmp_path / "absent.mp4")
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "picture.png")
    assert read_metadata(tmp_path / "picture.png") == {}
