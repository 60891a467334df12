"""Where the models that ship with the package lie: pipeline folders beside this file, with their cards. Torch-free."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
SHIPPED = ("nano",)


def shipped_folder(name: str) -> Path | None:
    """The folder of a shipped model, or None where none of that name ships. Only a complete install has the folder."""
    return _HERE / name if name in SHIPPED else None


SHIPPED_CAPTIONERS = ("nano",)


def shipped_captioner(name: str) -> Path | None:
    """The folder of a shipped captioner, or None where none of that name ships."""
    return _HERE / f"{name}_captioner" if name in SHIPPED_CAPTIONERS else None
