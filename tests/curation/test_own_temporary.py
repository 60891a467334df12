"""What a killed run left is removed by the next one; what a living one uses is not."""

import subprocess
import sys
import tempfile

import pytest

from videosyn.curation.own_temporary import OwnTemporary


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_folder_goes_when_its_maker_was_killed_and_not_before(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import sys, tempfile, time; tempfile.tempdir = sys.argv[1]\n"
        "from videosyn.curation.own_temporary import OwnTemporary\n"
        "own = OwnTemporary(); (own.path / 'copy.mp4').touch(); print(own.path.name, flush=True); time.sleep(60)\n"
    )
    maker = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    folder = tmp_path / maker.stdout.readline().strip()
    first = OwnTemporary()
    assert (folder / "copy.mp4").exists()
    maker.kill()
    maker.wait()
    maker.stdout.close()
    second = OwnTemporary()
    assert sorted(tmp_path.iterdir()) == sorted([first.path, second.path])
    for own in (first, second):
        own.remove()
        own.remove()
    assert list(tmp_path.iterdir()) == []
