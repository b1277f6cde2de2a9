"""``python -m tests.standalone FILE`` builds the one file; with ``--measure`` it says what that costs and needs."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.standalone.build import build_standalone
from tests.standalone.measure import report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.standalone")
    parser.add_argument("file", type=Path)
    parser.add_argument("--measure", action="store_true", help="do not build it, it is there")
    arguments = parser.parse_args()
    if not arguments.measure:
        arguments.file.parent.mkdir(parents=True, exist_ok=True)
        build_standalone(arguments.file)
    print(*report(arguments.file), sep="\n")


if __name__ == "__main__":
    main()
