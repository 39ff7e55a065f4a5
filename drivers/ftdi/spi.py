"""``ports.Spi`` on bank B: mode 0, batches of chip-select windows in few transfers."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.ftdi.mpsse import REPLY_LIMIT, Block, MpsseChannel
from station.model import SpiFrame

CHIP_SELECT = 0x08
BLOCK_LIMIT = 256 << 10


class FtdiSpi:
    """SPI host; chip select is active low."""

    def __init__(self, channel: MpsseChannel) -> None:
        self._channel = channel

    def transact(self, frames: Sequence[SpiFrame]) -> list[bytes]:
        """Run the frames in order; one bytes object per frame, of length ``frame.read``."""
        with self._channel.lock:
            batch = _Batch(self._channel)
            for frame in frames:
                batch.frame(frame)
            batch.flush()
        return _cut(bytes(batch.received), frames)

    def transact_secret(self, frames: Sequence[SpiFrame]) -> list[bytes]:
        """Like ``transact``; nothing in this driver logs or keeps what it carries."""
        return self.transact(frames)


class _Batch:
    """Frames gathered into blocks; a block is sent when its replies or its size are at their limit."""

    def __init__(self, channel: MpsseChannel) -> None:
        self.received = bytearray()
        self._channel = channel
        self._block = Block()

    def frame(self, frame: SpiFrame) -> None:
        self._channel.put_levels(self._block, CHIP_SELECT, 0)
        self._block.spi_write(frame.out)
        left = frame.read
        while left:
            room = REPLY_LIMIT - self._block.replies
            if not room:
                self.flush()
                continue
            self._block.spi_read(min(left, room))
            left -= min(left, room)
        self._channel.put_levels(self._block, CHIP_SELECT, CHIP_SELECT)
        if len(self._block.out) > BLOCK_LIMIT:
            self.flush()

    def flush(self) -> None:
        """Send the block; a window may stay open across blocks."""
        if self._block.out:
            self.received += self._channel.exchange(self._block)
            self._block = Block()


def _cut(data: bytes, frames: Sequence[SpiFrame]) -> list[bytes]:
    pieces = []
    position = 0
    for frame in frames:
        pieces.append(data[position : position + frame.read])
        position += frame.read
    return pieces
