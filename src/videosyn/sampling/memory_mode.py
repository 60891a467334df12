"""What `--memory` means. Torch-free. Next: `eight_bits.py`, `offload.py`, `text_on_demand.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from videosyn.core.errors import UserError

Memory = Literal["full", "free-text", "int8", "fp8", "offload", "int8-offload", "fp8-offload"]
EightBits = Literal["int8", "fp8"]


@dataclass(frozen=True)
class MemoryMode:
    """How the weights of a pipeline are kept while it works. The VidVAE's are always whole, and on the device."""

    text_on_demand: bool = False
    """a T5 is loaded when there are prompts to read, and dropped before denoising begins"""
    eight_bits: EightBits | None = None
    """how the weights of the VDiT's blocks are stored; they are computed with in the model's own type"""
    offload: bool = False
    """blocks of VDiT and T5 stay in host memory and come to the device one after the other, the next one ahead"""

    @classmethod
    def named(cls, name: str) -> MemoryMode:
        """Raises UserError for a name that is none of `Memory`."""
        if name not in get_args(Memory):
            raise UserError(f"memory must be one of {', '.join(get_args(Memory))}, got {name!r}: use int8-offload")
        bits: EightBits | None = next((each for each in get_args(EightBits) if name.startswith(each)), None)
        return cls(name != "full", bits, name.endswith("offload"))
