"""What benchmarks on a device share: seconds that wait for it, the matmul rate, results kept in a file as they come."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from videosyn.core.runtime import pick_device, pick_dtype
from videosyn.text.features import TextFeatures


class Measuring:
    """Prints results and keeps them, with what earlier runs found, in a file of `out`."""

    def __init__(self, out: str, file: str, device: str, dtype: str) -> None:
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype, self.device)
        self._file = self.out / file
        self.found: dict[str, Any] = json.loads(self._file.read_text()) if self._file.is_file() else {}

    def say(self, name: str, **values: float | str | bool) -> None:
        """Prints a result and keeps it."""
        self.found[name] = values
        self._file.write_text(json.dumps(self.found, indent=1))
        told = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items())
        print(f"{name}: {', '.join(told)}", flush=True)

    def seconds(self, function: Callable[[], Any]) -> float:
        self.wait()
        begin = time.perf_counter()
        function()
        self.wait()
        return time.perf_counter() - begin

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def rate(self) -> None:
        """TFLOP/s of a large product in the type that computes."""
        side = 8192 if self.device.type == "cuda" else 1024
        a, b = (torch.randn(side, side, device=self.device).to(self.dtype) for _ in range(2))
        torch.mm(a, b)
        seconds = statistics.median(self.seconds(lambda: torch.mm(a, b)) for _ in range(9))
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        self.say("rate", teraflops=2 * side**3 / seconds / 1e12, device=name, dtype=str(self.dtype), side=side)

    def share_of_rate(self, teraflops: float) -> dict[str, float]:
        """`share_of_rate`, where the rate is known."""
        rate = self.found.get("rate", {}).get("teraflops")
        return {"share_of_rate": teraflops / rate} if rate else {}


class KnownFeatures:
    """A frozen text encoder that reads every prompt as the same features of so many tokens."""

    def __init__(self, width: int, tokens: int, device: torch.device, dtype: torch.dtype) -> None:
        self.features = torch.randn(1, tokens, width).to(device, dtype)

    def encode(self, prompts: Sequence[str], max_tokens: int | None = None) -> TextFeatures:
        return self.null(len(prompts))

    def null(self, batch: int) -> TextFeatures:
        features = self.features.expand(batch, -1, -1)
        return TextFeatures(features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device))
