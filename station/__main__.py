"""``python -m station`` and the installed ``station`` command."""

import os.path
import sys


def main() -> None:
    """Run the command line and end with its exit code."""
    from station.cli import command_line

    sys.exit(command_line())


def leave_the_working_folder() -> None:
    """Put the folder of this program where Python put the working folder (or this file's own) on the import path."""
    if sys.flags.safe_path or getattr(sys, "frozen", False):  # a frozen application has its own modules there
        return
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:1] = [] if root in sys.path[1:] else [root]


if __name__ == "__main__":  # everything else is imported after this line
    leave_the_working_folder()
    main()
