"""What lies in the main flash of a part that nobody has erased: found page by page, taken away by pages.

A part that comes open may hold firmware that no image of the pack covers: an old application, a second slot that a
bootloader would take for an update. The tiny firmware of a recovery stays, since it keeps the port open.
"""

from __future__ import annotations

from station.formats import keep_open
from station.formats.nordic_family import ERASED, Core, NordicFamily
from station.model import Span
from station.ports import Probe

AT_ONCE = 16
"""Pages that are read in one go."""


def stale_pages(probe: Probe, family: NordicFamily, core: Core) -> list[Span]:
    """Pages of the core's main flash that are not blank; the core is halted for it."""
    probe.halt(core.name)
    flash, own = core.flash, keep_open.image(family, core)
    found: list[Span] = []
    for first in range(flash.start, flash.end, AT_ONCE * flash.page):
        length = min(AT_ONCE * flash.page, flash.end - first)
        words = probe.read_words(core.name, first, length // 4)
        if words.count(ERASED) == len(words):
            continue
        for page in range(0, length, flash.page):
            content = words[page // 4 : (page + flash.page) // 4]
            if content.count(ERASED) != len(content) and not _is(content, own, first + page == flash.start):
                found.append(Span(first + page, flash.page))
    return found


def _is(content: list[int], own: bytes, at_the_beginning: bool) -> bool:
    """Whether a page holds the recovery's firmware and nothing else."""
    words = [int.from_bytes(own[at : at + 4], "little") for at in range(0, len(own), 4)]
    return at_the_beginning and bool(own) and content == words + [ERASED] * (len(content) - len(words))
