"""DER elements: a lenient walk for reading, small functions for writing.

Lenient on purpose (opentitan-appliance sheet 4.3): explicit default values, non-minimal bit strings and non-minimal
lengths are accepted, because upstream certificates contain them and signatures cover them. Indefinite lengths,
multi-byte tags and anything past the end are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from station.errors import FormatError

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OID = 0x06
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
IA5_STRING = 0x16
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

_CONSTRUCTED = 0x20


class Tlv(NamedTuple):
    """One element: its one-byte tag, its content, and the whole element with header (``raw``).

    A certificate has a hundred of them, and a named tuple is made three times as fast as a frozen dataclass.
    """

    tag: int
    content: bytes
    raw: bytes

    @property
    def children(self) -> tuple[Tlv, ...]:
        """The elements inside a constructed element."""
        data, position, found = self.content, 0, []
        while position < len(data):
            element, position = _read_at(data, position)
            found.append(element)
        return tuple(found)

    def expect(self, tag: int, what: str) -> Tlv:
        """This element when it has ``tag``, else FormatError."""
        if self.tag != tag:
            raise FormatError(f"expected {what} (tag 0x{tag:02x}), saw tag 0x{self.tag:02x}: the DER is damaged")
        return self


def read(data: bytes, what: str = "one DER element") -> Tlv:
    """The one element that fills ``data`` exactly."""
    element, end = _read_at(data, 0)
    if end != len(data):
        raise FormatError(f"expected {what} of {end} bytes, saw {len(data)}: the DER is damaged")
    return element


def elements(data: bytes) -> Iterator[Tlv]:
    """The elements in ``data`` one after the other."""
    position = 0
    while position < len(data):
        element, position = _read_at(data, position)
        yield element


def walk(data: bytes, depth: int = 0) -> Iterator[tuple[int, Tlv]]:
    """Every element in ``data`` with its depth, parents before children; at most 32 levels."""
    if depth > 32:
        raise FormatError("expected at most 32 levels of DER, saw more: the DER is damaged")
    for element in elements(data):
        yield depth, element
        if element.tag & _CONSTRUCTED:
            yield from walk(element.content, depth + 1)


def _read_at(data: bytes, position: int) -> tuple[Tlv, int]:
    if len(data) - position < 2:
        raise FormatError("expected a DER element, saw the end of the data: it is cut off")
    tag, length, start = data[position], data[position + 1], position + 2
    if tag & 0x1F == 0x1F:
        raise FormatError(f"expected a one-byte DER tag, saw 0x{tag:02x}: the DER is damaged")
    if length & 0x80:
        width = length & 0x7F
        if not 1 <= width <= 4 or len(data) - start < width:
            raise FormatError("expected a definite DER length of at most four bytes, saw another one")
        length = int.from_bytes(data[start : start + width], "big")
        start += width
    end = start + length
    if end > len(data):
        raise FormatError(f"expected {length} bytes of DER content, saw {len(data) - start}: the data is cut off")
    return Tlv(tag, data[start:end], data[position:end]), end


def read_integer(element: Tlv, what: str) -> int:
    """A signed integer."""
    content = element.expect(INTEGER, what).content
    if not content:
        raise FormatError(f"expected a number as {what}, saw no bytes: the DER is damaged")
    return int.from_bytes(content, "big", signed=True)


def read_bits(element: Tlv, what: str) -> tuple[bytes, int]:
    """Bytes and count of unused bits of a bit string (any tag: it may be implicit)."""
    content = element.content
    if not content or content[0] > 7 or (content[0] and len(content) == 1):
        raise FormatError(f"expected a bit string as {what}, saw another content: the DER is damaged")
    return content[1:], content[0]


def read_octets_aligned(element: Tlv, what: str) -> bytes:
    """Content of a bit string that has whole bytes."""
    data, unused = read_bits(element.expect(BIT_STRING, what), what)
    if unused:
        raise FormatError(f"expected whole bytes in {what}, saw {unused} unused bits: the DER is damaged")
    return data


def read_boolean(element: Tlv, what: str) -> bool:
    """A boolean; only 0x00 and 0xFF are accepted."""
    content = element.expect(BOOLEAN, what).content
    if content not in (b"\x00", b"\xff"):
        raise FormatError(f"expected a boolean as {what}, saw another content: the DER is damaged")
    return content == b"\xff"


def read_oid(element: Tlv, what: str) -> str:
    """An object identifier in dotted form."""
    return decode_oid(element.expect(OID, what).content, what)


@lru_cache(maxsize=512)
def decode_oid(content: bytes, what: str) -> str:
    """Dotted form of an object identifier's content bytes."""
    if not content or content[-1] & 0x80:
        raise FormatError(f"expected an object identifier as {what}, saw another content: the DER is damaged")
    arcs, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if value >= 1 << 128:
            raise FormatError(f"expected arcs below 2^128 in {what}, saw a larger one: the DER is damaged")
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def element(tag: int, *parts: bytes) -> bytes:
    """One element with a minimal length; the parts are joined as its content."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    width = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | width)) + length.to_bytes(width, "big") + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of the parts."""
    return element(SEQUENCE, *parts)


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A signed integer in the fewest bytes; ``tag`` for implicit tagging."""
    width = ((value if value >= 0 else ~value).bit_length() + 8) // 8
    return element(tag, value.to_bytes(width, "big", signed=True))


def oid(dotted: str) -> bytes:
    """An object identifier element of its dotted form."""
    try:
        first, second, *rest = (int(arc) for arc in dotted.split("."))
    except ValueError:
        raise FormatError(f"expected a dotted object identifier, saw {dotted[:60]!r}") from None
    if first not in (0, 1, 2) or second < 0 or (first < 2 and second > 39) or any(arc < 0 for arc in rest):
        raise FormatError(f"expected a dotted object identifier, saw {dotted[:60]!r}")
    return element(OID, *(_base128(arc) for arc in (40 * first + second, *rest)))


def bits(data: bytes, unused: int = 0, tag: int = BIT_STRING) -> bytes:
    """A bit string with ``unused`` bits at its end; ``tag`` for implicit tagging."""
    return element(tag, bytes((unused,)), data)


def _base128(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
