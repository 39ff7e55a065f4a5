"""An image for a Nordic part: what goes into the flash of which core, and which words into UICR.

Files are split by address (a merged file holds both domains). Everything that must not be there is a finding with its
line: outside every flash, twice, half a word of UICR, or a word of UICR that this image may not write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from station.formats import bl_storage
from station.formats.hex_file import Block, HexError, HexFile, HexFinding
from station.formats.nordic_family import ERASED, FAMILIES, Core, Memory, NordicFamily
from station.formats.uicr_content import WHY_NOT, Uicr, kind_of

WORD = 4
LOWEST_BOOT_DATA = min(one.storage for one in FAMILIES.values()) + bl_storage.BOOT_DATA_OFFSET
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class CoreImage:
    """For one core: blocks of its flash, and UICR words by address (never 0xFFFFFFFF, which writes nothing)."""

    blocks: tuple[Block, ...] = ()
    uicr: Mapping[int, int] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Bytes of flash."""
        return sum(len(block.data) for block in self.blocks)


def split(family: NordicFamily, file: HexFile, allowed: frozenset[Uicr]) -> dict[str, CoreImage]:
    """The file by cores (only those it holds something for); raises ``HexError`` with every finding.

    ``allowed``: the words of UICR that this image may write.
    """
    findings: list[HexFinding] = []
    found: dict[str, CoreImage] = {}
    for core in family.cores:
        blocks = tuple(_inside(file, core.flash))
        words = dict(_uicr_words(family, core, file, allowed, findings))
        if blocks or words:
            found[core.name] = CoreImage(blocks, words)
    findings += _outside(family, file)
    if findings:
        raise HexError(*sorted(findings, key=lambda finding: finding.line)[:MOST_SHOWN])
    return found


def fits(family: NordicFamily, file: HexFile) -> bool:
    """Whether all addresses exist in this family, and bootloader data, if there are any, begin where it has them."""
    memory = family.app.uicr
    words = [block.address for block in file.blocks if memory.start < block.address < memory.end]
    begins = next((address for address in sorted(words) if address >= LOWEST_BOOT_DATA), None)
    return not any(_outside(family, file)) and begins in (None, family.storage + bl_storage.BOOT_DATA_OFFSET)


def reaches(file: HexFile, memory: Memory) -> bool:
    """Whether the file has anything for this memory."""
    return any(True for _ in _inside(file, memory))


def together(parts: Mapping[str, Mapping[str, CoreImage]]) -> dict[str, CoreImage]:
    """Several files' images as one, by the name of each file; the same byte in two files raises ``HexError``."""
    found: dict[str, CoreImage] = {}
    seen: list[tuple[str, str, Block]] = []
    for name, cores in parts.items():
        for core, image in cores.items():
            for block in image.blocks:
                _refuse_twice(name, block, [(other, old) for other, at, old in seen if at == core])
            seen += [(name, core, block) for block in image.blocks]
            old = found.get(core, CoreImage())
            _refuse_two_values(name, old.uicr, image.uicr)
            found[core] = CoreImage((*old.blocks, *image.blocks), {**old.uicr, **image.uicr})
    return found


def _inside(file: HexFile, memory: Memory) -> Iterator[Block]:
    for block in file.blocks:
        start, end = max(block.address, memory.start), min(block.end, memory.end)
        if start < end:
            yield Block(start, block.data[start - block.address : end - block.address])


def _outside(family: NordicFamily, file: HexFile) -> Iterator[HexFinding]:
    memories = sorted((m for core in family.cores for m in (core.flash, core.uicr)), key=lambda m: m.start)
    for block in file.blocks:
        position = block.address
        while position < block.end:
            here = next((memory for memory in memories if memory.start <= position < memory.end), None)
            if here is not None:
                position = here.end
                continue
            sentence = (
                f"expected addresses of the flash or UICR of {family.title}, saw {position:#010x}: an image of another "
                "family, or one that is too long"
            )
            yield HexFinding(file.line_of(position), sentence)
            position = next((memory.start for memory in memories if memory.start > position), block.end)


def _uicr_words(
    family: NordicFamily, core: Core, file: HexFile, allowed: frozenset[Uicr], findings: list[HexFinding]
) -> Iterator[tuple[int, int]]:
    for block in _inside(file, core.uicr):
        if block.address % WORD or len(block.data) % WORD:
            sentence = f"expected whole words of UICR, saw {len(block.data)} bytes at {block.address:#010x}"
            findings.append(HexFinding(file.line_of(block.address), sentence))
            continue
        for offset in range(0, len(block.data), WORD):
            address, value = block.address + offset, int.from_bytes(block.data[offset : offset + WORD], "little")
            kind = kind_of(family, core, address)
            if value == ERASED or (value == family.open_word and address in (core.approtect, core.secure_approtect)):
                continue  # what the part holds already, and what this station writes itself after a recovery
            if kind not in allowed:
                sentence = f"the word {value:#010x} at {address:#010x} {WHY_NOT[kind]}"
                sentence += f" (open is {family.open_word:#010x})" if kind is Uicr.APPROTECT else ""
                findings.append(HexFinding(file.line_of(address), sentence))
            yield address, value


def _refuse_twice(name: str, block: Block, others: list[tuple[str, Block]]) -> None:
    for other, old in others:
        start = max(block.address, old.address)
        if start < min(block.end, old.end):
            raise HexError(HexFinding(0, f"{name} and {other} both hold {start:#010x}: expected each address once"))


def _refuse_two_values(name: str, old: Mapping[int, int], new: Mapping[int, int]) -> None:
    for address in sorted(old.keys() & new.keys()):
        if old[address] != new[address]:
            sentence = f"{name} and another image hold two values for the UICR word {address:#010x}"
            raise HexError(HexFinding(0, sentence))
