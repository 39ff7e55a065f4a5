"""One of several processes that serve a folder together: it listens on the port of all and ends with its supervisor."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from station.appliance.one_core import keep_to_one_core
from station.appliance.server import serving
from station.appliance.serving_process import private_and_asked, wait
from station.appliance.settings import read_settings
from station.appliance.workers import Order, with_secrets
from station.secret import harden_process

log = logging.getLogger(__name__)

STDIN = 0


def work(folder: Path, say: Callable[[str], None]) -> int:
    """Take the order from stdin, serve, say one line when calls are answered; 0 after a clean drain.

    It ends by SIGTERM, or when stdin ends because the supervisor is gone.
    """
    harden_process()
    order = Order(**json.loads(sys.stdin.readline()))
    settings = with_secrets(read_settings(folder.resolve()), order.secrets)
    if settings.run.one_core:
        keep_to_one_core(os.getppid() + order.number)  # each of a supervisor's workers on another one
    with ExitStack() as stack:
        asked = stack.enter_context(private_and_asked())
        served = stack.enter_context(serving(settings, order.host, order.port, order.number))
        say(json.dumps({"metrics": served.metrics}))
        wait(asked, _end_of_stdin(), served.server.warn_of_expiry if order.number == 0 else _be_silent)
        log.info("worker drains")
    return 0


def _end_of_stdin() -> threading.Event:
    """Is set when the supervisor's end of the pipe is closed, also by its death."""
    ended = threading.Event()

    def watch() -> None:
        while os.read(STDIN, 4096):
            pass
        ended.set()

    threading.Thread(target=watch, name="supervisor watch", daemon=True).start()
    return ended


def _be_silent() -> None:
    """The first worker says for all which certificates end soon."""
