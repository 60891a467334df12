"""A running service with a tiny model, as a process of its own, and the requests that tests make of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

PROMPT = "a red ball bounces on the grass"
START_S, FILM_S = 300, 300
"""Patience for busy machines: nothing here is timed."""


class Served:
    """One `videosyn serve` process."""

    def __init__(self, folder, *flags, environment=(), devices=("cpu",)):
        pytest.importorskip("fastapi")
        pytest.importorskip("prometheus_client")
        words = ["serve", "--port", "0", "--data", str(folder), "--dtype", "fp32", "--devices", *devices, *flags]
        self.log = folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "videosyn", *words],
                stderr=log,
                env={
                    **{name: os.environ[name] for name in os.environ if name != "VIDEOSYN_TOKEN"},
                    **dict(environment),
                },
            )
        self.token = dict(environment).get("VIDEOSYN_TOKEN")
        self.url = self.wait(self._address, START_S)

    def _address(self):
        if self.process.poll() is not None:
            pytest.fail(f"the service ended: {self.log.read_text()}")
        found = re.search(r"API (http://\S+)/v1/", self.log.read_text())
        return found and found[1]

    def wait(self, ask, limit_s=FILM_S):
        """What `ask` returns as soon as that is something."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            try:
                if answer := ask():
                    return answer
            except (urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.05)
        pytest.fail(f"waited {limit_s} s: {self.log.read_text()[-3000:]}")

    def ask(self, method, path, body=None, headers=()):
        """(status, headers, the body: JSON as a mapping, anything else as bytes)."""
        headers = dict(headers)
        if isinstance(body, dict):
            body, headers = json.dumps(body).encode(), {"content-type": "application/json", **headers}
        if self.token and "authorization" not in headers:
            headers["authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, kind, content = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, kind, content = error.code, error.headers, error.read()
        return status, kind, json.loads(content) if "json" in kind.get("content-type", "") else content

    def make(self, **request):
        """Posts a film; its document."""
        status, _, video = self.ask("POST", "/v1/videos", {"prompt": PROMPT, **request})
        assert status == 202, video
        return video

    def get(self, video_id):
        return self.ask("GET", f"/v1/videos/{video_id}")[2]

    def finished(self, video_id):
        """Its document once it is finished."""

        def ask():
            video = self.get(video_id)
            return video if video["state"] not in ("queued", "running") else None

        return self.wait(ask)

    def ready(self):
        """Waits until the worker has its model."""
        self.wait(lambda: "ready" in self.ask("GET", "/healthz")[2]["workers"].values(), START_S)
        return self

    def worker_pids(self):
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in children.stdout.split()]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


@pytest.fixture(scope="session")
def serving():
    """The class of a running service, for fixtures of other scopes."""
    return Served


@pytest.fixture
def serve(tiny_folder, tmp_path):
    """serve(*flags) starts a service with the tiny model in tmp_path/data; all are stopped in the end."""
    started = []

    def start(*flags, model=tiny_folder, more_models=(), environment=(), devices=("cpu",)):
        models = ("--models", f"tiny={model}", *more_models)
        started.append(Served(tmp_path / "data", *models, *flags, environment=environment, devices=devices))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture(scope="package")
def served(tiny_folder, tmp_path_factory):
    """One service for all tests that leave it as they found it: no studio, the tiny model."""
    service = Served(tmp_path_factory.mktemp("served") / "data", "--models", f"tiny={tiny_folder}", "--no-studio")
    yield service
    service.stop()


@pytest.fixture(scope="package")
def slow_folder(tiny_pipeline, tmp_path_factory):
    """The tiny model with so many steps that a job can be caught at work."""
    from dataclasses import replace

    from videosyn.sampling.pipeline import VideoSynPipeline

    defaults = replace(tiny_pipeline.defaults, num_steps=100)
    parts = (tiny_pipeline.vae, tiny_pipeline.vdit, tiny_pipeline.text_encoder, tiny_pipeline.objective)
    folder = tmp_path_factory.mktemp("slow") / "model"
    VideoSynPipeline(*parts, defaults, tiny_pipeline.trained).save_pretrained(folder)
    return folder
