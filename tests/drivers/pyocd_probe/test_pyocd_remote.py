"""A lost or silent probe server ends in an error, never in a thread that waits for ever."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest

from drivers.pyocd_probe import remote
from drivers.pyocd_probe.link import Link
from station.errors import AdapterLost, BenchError


@contextmanager
def server(answers):
    """A server that gives these answers, one per line it gets, then hangs up (None: keeps silent)."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(10)
    ended = threading.Event()

    def serve():
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as lines:
            for answer in answers:
                lines.readline()
                if answer is None:
                    ended.wait(10)
                    return
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"remote:127.0.0.1:{listening.getsockname()[1]}"
    finally:
        ended.set()
        thread.join()
        listening.close()


def test_a_server_that_hangs_up_is_a_lost_adapter():
    with server([]) as address, pytest.raises(AdapterLost, match="debug probe VP0001 is gone"):
        Link("VP0001", address, 1_000_000)


def test_a_server_that_keeps_silent_is_a_lost_adapter(monkeypatch):
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 0.2)
    with server([None]) as address, pytest.raises(AdapterLost, match=r"did not answer within 0\.2 s"):
        Link("VP0001", address, 1_000_000)


def test_an_answer_that_is_none_is_a_fault_of_the_bench():
    sentence = r"^the debug probe VP0001 failed \(being opened\); plug it in again and try once more$"
    with server([b"HTTP/1.1 400 Bad Request\r\n", b"\n"]) as address, pytest.raises(BenchError, match=sentence):
        Link("VP0001", address, 1_000_000)


def test_nobody_at_the_address_is_a_lost_adapter():
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with pytest.raises(AdapterLost, match="Connection refused"):
        Link("VP0001", f"remote:127.0.0.1:{port}", 1_000_000)
