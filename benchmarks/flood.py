"""The engine's side of the log benchmark, in a process of its own: real events through the real writer and pipe.

Says hello, waits for one line on stdin, then emits the lines with a state of one socket after each hundred of them.
"""

from __future__ import annotations

import os
import sys
import time

from station.event_writer import QUEUE, EventWriter
from station.protocol import SCHEMA, ApplianceState, Ended, Hello, Log, SignedIn, SocketState

SOCKETS = 4
LINES_PER_STATE = 100
ROOM = QUEUE - 4096
TEXTS = (
    "lc_ctrl: STATUS 0x00000003, transition count 5 of 24",
    "write 2,048 bytes at 0x10001000, system bus, autoincrement",
    "◆ burn 'Write wafer secret and test tokens' intended, attempt 1",
    'console: {"FtIndividualizeData":{"enable_alerts":0,"use_ext_clk":false}} CRC:2166136261',
)


def main(arguments: list[str]) -> int:
    """Emit ``arguments[0]`` lines for each line read from stdin, until stdin ends."""
    count = int(arguments[0])
    private = os.dup(1)
    os.dup2(2, 1)
    writer = EventWriter(private, lambda: os._exit(1))
    writer.emit(Hello(SCHEMA, "bench", "benchmark", "dev", "virtual", SOCKETS, ("flood",)))
    writer.emit(SignedIn("bench", "engineer"))
    writer.emit(ApplianceState(True, "pa", "mTLS · 2 ms", 2.0))
    for socket in range(1, SOCKETS + 1):
        writer.emit(_state(socket, 1))
    epoch = 1
    while sys.stdin.buffer.readline():
        epoch = _flood(writer, count, epoch)
    writer.emit(Ended())
    writer.close(5)
    return 0


def _flood(writer: EventWriter, count: int, epoch: int) -> int:
    waiting = writer._queue
    for number in range(1, count + 1):
        last = " last" if number == count else ""
        socket = number % SOCKETS + 1
        writer.emit(Log(time.time(), socket, "jtag", "info", f"{number:06d} {TEXTS[number % 4]}{last}"))
        if number % LINES_PER_STATE == 0:
            epoch += 1
            writer.emit(_state(socket, epoch))
            while len(waiting) > ROOM:  # the aim is how fast lines get through, not how many may be dropped
                time.sleep(0.001)
    return epoch


def _state(socket: int, epoch: int) -> SocketState:
    return SocketState(socket, epoch, "running", label=f"L1/W01/X{socket}Y1", present=True, lid_closed=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
