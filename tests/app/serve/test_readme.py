"""The README's examples of the service, as they stand there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from videosyn.core.video_file import read_metadata, read_video

README = Path(__file__).parents[3] / "README.md"
ADDRESS = "http://127.0.0.1:8000"


def examples(language, url):
    """The code of the section on serving, in that language, with this service's address."""
    section = README.read_text(encoding="utf-8").partition("## Serve\n")[2].partition("\n## ")[0]
    blocks = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return [block.replace(ADDRESS, url) for block in blocks if ADDRESS in block]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_example_makes_a_film_and_forgets_it(served, tmp_path):
    (example,) = [each for each in examples("sh", served.url) if "curl" in each]
    done = subprocess.run(["bash", "-euc", example], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    metadata = read_metadata(tmp_path / "ball.mp4")
    assert (metadata["prompt"], metadata["seed"]) == ("a red ball bounces on the grass at sunset", "7")
    video_id = re.search(r'"id":"([0-9a-f]{32})"', done.stdout)[1]
    assert served.ask("GET", f"/v1/videos/{video_id}")[0] == 404


def test_the_python_example_makes_a_film_from_a_picture(served, tmp_path):
    pytest.importorskip("httpx")
    (example,) = examples("python", served.url)
    Image.new("RGB", (50, 40), (20, 160, 40)).save(tmp_path / "meadow.png")
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert read_video(tmp_path / "film.mp4")[0].shape == (5, 32, 32, 3)
