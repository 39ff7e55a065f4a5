"""``python -m station`` and the installed ``station`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end with its exit code."""
    from station.cli import command_line

    sys.exit(command_line())


if __name__ == "__main__":
    main()
