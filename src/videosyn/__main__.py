"""`python -m videosyn` and the `videosyn` command: both are `app/cli.py`."""

from __future__ import annotations

import sys


def main() -> None:
    from videosyn.app.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
