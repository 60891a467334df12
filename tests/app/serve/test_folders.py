"""What the service's folder holds, and what of it is the service's to remove."""

from pathlib import Path

from videosyn.app.serve.folders import Folders


def test_sweeping_removes_what_is_left_over_and_nothing_that_is_not_the_services(tmp_path: Path):
    folders = Folders(tmp_path)
    folders.make()
    kept, left = "0" * 32, "1" * 32
    for name in (f"films/{kept}.mp4", f"films/{left}.mp4", f"previews/{left}.jpg", f"scratch/{left}-lease.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "films" / "holiday.mp4").touch()
    (tmp_path / "scratch" / "folder").mkdir()
    folders.sweep({kept})
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert [each for each in found if "/" in each] == [f"films/{kept}.mp4", "films/holiday.mp4"]
