"""Seconds from `videosyn serve` to an API that answers, a studio to type into (at most 5 s), a worker with its model.

python benchmarks/serve_startup.py [--model nano] [--repeat 5]

The studio counts as usable when its prompt can be typed into in a real chromium, opened beforehand; where there is
none, when its page is served. Medians, after one run that fills the disk cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")


def start(model: str, page: Any) -> dict[str, float]:
    """Seconds of one start; `page`: a browser's page, or None."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["serve", "--models", f"m={model}", "--data", str(Path(folder) / "data"), "--port", "0"]
        begin = time.perf_counter()
        service = subprocess.Popen([sys.executable, "-m", "videosyn", *words], stderr=subprocess.PIPE, text=True)
        try:
            assert service.stderr is not None
            address = next(word for word in service.stderr.readline().split() if "/studio/" in word)
            url = address.removesuffix("/studio/,")
            seconds: dict[str, float] = {}
            while len(seconds) < 3:
                now = time.perf_counter() - begin
                health = asked(f"{url}/healthz")
                if health:
                    seconds.setdefault("API answers", now)
                    if "ready" in json.loads(health)["workers"].values():
                        seconds.setdefault("worker ready", now)
                if "studio usable" not in seconds and "gradio_config" in asked(f"{url}/studio/"):
                    if page is not None:
                        page.goto(f"{url}/studio/")
                        page.fill("#prompt textarea", "a red ball")
                    seconds["studio usable"] = time.perf_counter() - begin
                time.sleep(0.02)
            return seconds
        finally:
            service.terminate()
            service.wait()


def asked(url: str) -> str:
    """The text of an address, empty where there is no answer yet."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return ""


@contextlib.contextmanager
def browser_page() -> Iterator[Any]:
    """A page of chromium, or None where there is none."""
    if (chromium := shutil.which("chromium")) is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser.new_page()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with browser_page() as page:
        runs = [start(options.model, page) for _ in range(options.repeat + 1)][1:]
    print("typed into in chromium" if page is not None else "no chromium: the studio's page alone was asked for")
    for name in ("API answers", "studio usable", "worker ready"):
        print(f"{name:<15}{statistics.median(run[name] for run in runs):.2f} s")


if __name__ == "__main__":
    main()
