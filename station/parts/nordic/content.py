"""What lies in flash and UICR against what should: flash byte by byte, UICR word by word, written where it is blank."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from station.formats.firmware_image import WORD, CoreImage
from station.formats.nordic_family import CLOSED, ERASED, Core, NordicFamily
from station.model import CONTRADICTS, DONE, HALF_DONE, NOT_DONE, Answer
from station.parts.nordic.evidence import HALF, ONLY_RECOVERY
from station.ports import Probe

FIRST_WORDS = 16
"""Words of the vector table that tell at a glance whose image lies in the flash."""
MOST_TOLD = 3


def lock_words(core: Core) -> tuple[int, ...]:
    """Addresses of the words that close a core's debug port."""
    return tuple(filter(None, (core.approtect, core.secure_approtect)))


def data_words(core: Core, image: CoreImage) -> dict[int, int]:
    """An image's UICR words but those that close the port, which have a burn of their own."""
    return {address: value for address, value in sorted(image.uicr.items()) if address not in lock_words(core)}


def are_written(probe: Probe, words: Mapping[int, int]) -> Answer:
    """UICR words one by one: blank ones are not done, a torn one never gets its value, another one is another's."""
    seen = {address: probe.read_words("app", address, 1)[0] for address in words}
    wrong = [at for at in words if seen[at] not in (ERASED, words[at])]
    told = "; ".join(f"{at:#010x} holds {seen[at]:#010x}, not {words[at]:#010x}" for at in wrong[:MOST_TOLD])
    if wrong and all(seen[at] & words[at] == words[at] for at in wrong):  # bits that did not take are still ones
        return HALF_DONE(f"a word of UICR was torn while it was written: {told}; {ONLY_RECOVERY}", HALF)
    if wrong:
        return CONTRADICTS(f"words of UICR differ: {told}")
    return DONE if seen == dict(words) else NOT_DONE


def write_blank(probe: Probe, words: Mapping[int, int]) -> None:
    """Write those words that are blank: each once, in the order of addresses, nothing else."""
    for address, value in sorted(words.items()):
        if probe.read_words("app", address, 1) == [ERASED]:
            probe.write_once("app", address, [value])


def flash_holds(probe: Probe, image: CoreImage, core: str = "app") -> bool:
    """Whether a core's flash holds the image; the vector table is looked at first."""
    blocks = sorted(image.blocks, key=lambda block: block.address)
    return all(
        _holds(probe, core, block.address, block.data[: WORD * FIRST_WORDS] if first else block.data)
        for first in (True, False)
        for block in (blocks[:1] if first else blocks)
    )


def _holds(probe: Probe, core: str, address: int, data: bytes) -> bool:
    """Every byte; of the words at its ends, which are read whole, what lies outside is not compared."""
    before = address % WORD
    words = probe.read_words(core, address - before, -(-(before + len(data)) // WORD))
    found = struct.pack(f"<{len(words)}I", *words)
    return found[before : before + len(data)] == data


def is_locked(probe: Probe, family: NordicFamily) -> Answer:
    """The protection words of the application core, whose port must be open; a torn one can be written to its end."""
    words = [probe.read_words("app", address, 1)[0] for address in lock_words(family.app)]
    return DONE if all(word == CLOSED for word in words) else NOT_DONE


def lock(probe: Probe, family: NordicFamily) -> None:
    """Write both protection words closed, those that are not yet; it takes effect at the next hard reset."""
    for address in lock_words(family.app):
        if probe.read_words("app", address, 1) != [CLOSED]:
            probe.write_once("app", address, [CLOSED])
