"""A serving process keeps to one core.

One thread at a time can run Python, and a call passes through several of them: gRPC's, the one that takes its events,
the one that answers. On several cores they wake one another there and fight for the interpreter's lock, which takes a
third more processor time than on one core and gives fewer answers (docs/performance.md, decision 19).
"""

from __future__ import annotations

import logging
import os

log = logging.getLogger(__name__)


def keep_to_one_core(number: int) -> None:
    """Let this thread, and those that it starts from now on, run on one of the cores that it may use.

    ``number`` chooses: following numbers have different cores as long as there are enough. Nothing happens where the
    system has no such choice (macOS, Windows) or refuses it.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, {cores[number % len(cores)]})
    except OSError as error:
        log.warning("this process is slower than it could be, it may not choose one core to run on: %s", error.strerror)
