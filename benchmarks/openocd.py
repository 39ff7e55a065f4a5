"""OpenOCD as the baseline of the SRAM load: its Tcl port, and a relay that counts the TCK cycles it asks for."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from benchmarks.children import end
from benchmarks.figures import NotMeasuredError
from station.resources import resources_folder

END_OF_COMMAND = b"\x1a"
COMMAND_SECONDS = 120
START_SECONDS = 30
CLOCKS_HIGH, CLOCKS_LOW = b"4567", b"0123"
FALLING_TO_RISING = bytes(1 if code in CLOCKS_HIGH else 0 if code in CLOCKS_LOW else 2 for code in range(256))


class Relay:
    """Forwards one remote_bitbang connection and counts the rising edges of TCK in it."""

    def __init__(self, port: int) -> None:
        self.tck = 0
        self._level = 0
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", self._to))
        for end_point in (client, server):
            end_point.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets += [client, server]
        back = threading.Thread(target=self._forward, args=(server, client, False), daemon=True)
        self._threads.append(back)
        back.start()
        self._forward(client, server, True)

    def _forward(self, source: socket.socket, sink: socket.socket, count: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if count:
                    self._count(data)
                sink.sendall(data)
        except OSError:
            pass  # one side is gone
        for end_point in (source, sink):
            try:
                end_point.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _count(self, data: bytes) -> None:
        levels = bytes((self._level,)) + data.translate(FALLING_TO_RISING).replace(b"\x02", b"")
        self.tck += levels.count(b"\x00\x01")
        self._level = levels[-1]

    def close(self) -> None:
        """Close all connections and wait for the threads."""
        for end_point in self._sockets:
            try:
                end_point.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)
        for end_point in self._sockets:
            end_point.close()


class Tcl:
    """OpenOCD's Tcl port."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=COMMAND_SECONDS)

    def __call__(self, command: str) -> str:
        """Run one command and return its result; its failure is an error here."""
        guarded = f'if {{[catch {{{command}}} answer]}} {{return "FAILED $answer"}} else {{return $answer}}'
        self._socket.sendall(guarded.encode() + END_OF_COMMAND)
        answer = bytearray()
        while not answer.endswith(END_OF_COMMAND):
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise RuntimeError(f"OpenOCD ended during: {command}")
            answer += piece
        text = answer[:-1].decode(errors="replace")
        if text.startswith("FAILED"):
            raise RuntimeError(f"OpenOCD: {command}: {text}")
        return text

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def openocd(bitbang_port: int, log: Path) -> Iterator[Tcl]:
    """OpenOCD on a remote_bitbang port, initialised; its messages go to ``log``."""
    program = which("openocd")
    if program is None:
        raise NotMeasuredError("the baseline needs OpenOCD 0.12 (Debian package openocd)")
    port = _free_port()
    opening = [
        f"tcl_port {port}; telnet_port disabled; gdb_port disabled; bindto 127.0.0.1",
        f"adapter driver remote_bitbang; remote_bitbang host 127.0.0.1; remote_bitbang port {bitbang_port}",
        "adapter speed 1000",
    ]
    command = [program, *(part for line in opening for part in ("-c", line))]
    command += ["-f", str(resources_folder() / "openocd" / "earlgrey-rv.cfg"), "-c", "init"]
    with log.open("wb") as messages:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages)
        try:
            tcl = _connected(port, process, log)
            try:
                yield tcl
            finally:
                tcl.close()
        finally:
            end(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _connected(port: int, process: subprocess.Popen[bytes], log: Path) -> Tcl:
    end_at = time.monotonic() + START_SECONDS
    while True:
        try:
            tcl = Tcl(port)
            tcl("targets")
            return tcl
        except OSError:
            if process.poll() is not None or time.monotonic() > end_at:
                raise RuntimeError(f"OpenOCD did not start:\n{log.read_text(errors='replace')}") from None
            time.sleep(0.05)
