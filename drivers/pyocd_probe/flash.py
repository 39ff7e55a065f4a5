"""Flash of one core, written through its debug port and its own flash controller: no program runs on the part.

The controller stalls the bus while it writes a word (nordic-tfm sheet 5.4), so that words may follow each other in
blocks; after each block and each erased page its READY is awaited, and in the end every byte is read back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from drivers.pyocd_probe.link import Link
from station.deadline import Deadline, Pace
from station.errors import ConfigError, PartError, StationError
from station.formats.nordic_family import ERASED, Core, Nvmc
from station.model import Segment, Span

BLOCK = 4096
"""Bytes of one write and of one read-back."""
READY_SECONDS = 2.0
"""An erasure of a page takes 87 ms, a word 41 µs; a controller that is not ready after this is broken."""


class Flash:
    """Main flash and UICR of one core; the core is halted by whoever calls.

    How long the controller takes for a page or a block is learned, so that READY is seldom asked in vain.
    """

    def __init__(self, link: Link, core: Core) -> None:
        self._link = link
        self._core = core
        self._usual: dict[str, float] = {}

    def pages_of(self, spans: Sequence[Span]) -> list[int]:
        """First addresses of the pages that the spans touch; ``ConfigError`` outside main flash."""
        flash = self._core.flash
        main = Span(flash.start, flash.length)
        pages: set[int] = set()
        for span in spans:
            if not main.holds(span):
                raise ConfigError(
                    f"expected addresses in the flash of the {self._core.name} core, {main.start:#010x} to "
                    f"{main.end - 1:#010x}, saw {span.start:#010x} to {span.end - 1:#010x}; nothing was changed"
                )
            if span.length:
                first = span.start - span.start % flash.page
                pages.update(range(first, span.end, flash.page))
        return sorted(pages)

    def program(self, segments: Sequence[Segment]) -> None:
        """Erase the pages that the segments touch, write them, read all of their bytes back.

        The lowest page, with the vector table, is erased first and written last: an image torn by a lost supply or a
        pulled cable never starts.
        """
        pages = self._filled(segments)
        self.erase(sorted(pages))
        blocks = _joined(pages)
        with self._mode(Nvmc.WRITE):
            for address in sorted(blocks, reverse=True):
                self._write(address, blocks[address])
        for address, data in blocks.items():
            self._compare(address, data)

    def erase(self, pages: Sequence[int]) -> None:
        """Erase pages by their first addresses."""
        with self._mode(Nvmc.ERASE):
            for page in pages:
                self._link.write(self._core.ahb_ap, page, [ERASED])
                self._await_ready("page", page, "erased")

    def write_once(self, address: int, words: Sequence[int]) -> None:
        """Write words without erasing, one after the other, and read each back."""
        with self._mode(Nvmc.WRITE):
            for place, word in enumerate(words):
                self._link.write(self._core.ahb_ap, address + 4 * place, [word])
                self._await_ready("word", address + 4 * place, "written")
        found = self._link.read(self._core.ahb_ap, address, len(words))
        for place, (word, seen) in enumerate(zip(words, found, strict=True)):
            if word != seen:
                raise PartError(
                    f"expected word {address + 4 * place:#010x} to read {word:#010x} after it was written, "
                    f"it reads {seen:#010x}",
                    bin="otp",
                )

    def _filled(self, segments: Sequence[Segment]) -> dict[int, bytearray]:
        """What every touched page holds in the end, by its address; ``ConfigError`` when two segments overlap."""
        spans = sorted((segment.span for segment in segments), key=lambda span: span.start)
        for before, after in pairwise(spans):
            if before.overlaps(after):
                raise ConfigError(f"two parts of the image want address {after.start:#010x}; nothing was changed")
        size = self._core.flash.page
        pages = {page: bytearray(b"\xff" * size) for page in self.pages_of(spans)}
        for segment in segments:
            taken = 0
            while taken < len(segment.data):
                offset = (segment.address + taken) % size
                piece = segment.data[taken : taken + size - offset]
                pages[segment.address + taken - offset][offset : offset + len(piece)] = piece
                taken += len(piece)
        return pages

    def _write(self, address: int, data: bytes) -> None:
        """One block; blank words at its ends need no writing."""
        words = _words(data)
        used = [place for place, word in enumerate(words) if word != ERASED]
        if used:
            self._link.write(self._core.ahb_ap, address + 4 * used[0], words[used[0] : used[-1] + 1])
            self._await_ready("block", address, "written")

    def _compare(self, address: int, data: bytes) -> None:
        wanted = _words(data)
        found = self._link.read(self._core.ahb_ap, address, len(wanted))
        for place, (word, seen) in enumerate(zip(wanted, found, strict=True)):
            if word != seen:
                raise PartError(
                    f"expected {word:#010x} in the flash of the {self._core.name} core at {address + 4 * place:#010x} "
                    f"after programming, found {seen:#010x}",
                    bin="firmware",
                )

    @contextmanager
    def _mode(self, mode: int) -> Iterator[None]:
        """The flash controller in a mode, and back to reading on every way out."""
        config = self._core.nvmc + Nvmc.CONFIG
        self._link.write(self._core.ahb_ap, config, [mode])
        try:
            yield
        except BaseException:  # also an interrupt leaves the controller reading
            try:
                self._link.write(self._core.ahb_ap, config, [Nvmc.READ_ONLY])
            except StationError:
                pass  # what went wrong first is the news
            raise
        self._link.write(self._core.ahb_ap, config, [Nvmc.READ_ONLY])

    def _await_ready(self, what: str, address: int, done: str) -> None:
        """Wait until the controller has done what it was given, first as long as it usually takes for that."""
        deadline, pace, began = Deadline(READY_SECONDS), Pace(time.sleep), time.monotonic()
        usual, at_once = self._usual.get(what, 0.0), True
        time.sleep(usual)
        while not self._link.read(self._core.ahb_ap, self._core.nvmc + Nvmc.READY, 1)[0] & 1:
            if deadline.passed:
                raise PartError(
                    f"expected {what} {address:#010x} to be {done} within {READY_SECONDS:g} s, but the flash "
                    f"controller of the {self._core.name} core is still busy",
                    bin="firmware",
                )
            pace.rest()
            at_once = False
        self._usual[what] = 0.98 * usual if at_once else time.monotonic() - began  # it may have been ready for a while


def _joined(pages: dict[int, bytearray]) -> dict[int, bytes]:
    """Neighbouring pages as blocks, none longer than ``BLOCK``."""
    blocks: dict[int, bytearray] = {}
    last = -1
    for page in sorted(pages):
        block = blocks.get(last)
        if block is not None and last + len(block) == page and len(block) + len(pages[page]) <= BLOCK:
            block += pages[page]
        else:
            blocks[page] = bytearray(pages[page])
            last = page
    return {address: bytes(block) for address, block in blocks.items()}


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
