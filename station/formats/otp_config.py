"""The OTP configuration of a SKU as text (TOML): which item gets which words, and which program writes it.

Tables are ``[STEP.PARTITION]``; an item has ``at`` (byte offset in OTP, a multiple of 4) and ``value``: a number is one
32-bit word, a text is the item's bytes in hex, in address order. Steps: ``individualize``, ``personalize_first_boot``,
``personalize_last_boot``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping

from station.errors import FormatError
from station.formats.otp import PARTITIONS

STEPS = ("individualize", "personalize_first_boot", "personalize_last_boot")


def words(text: str, step: str) -> dict[int, int]:
    """OTP byte address -> 32-bit word of everything that a step writes into software partitions."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"expected an OTP configuration in TOML: {error}") from None
    unknown = sorted(set(tables) - set(STEPS))
    if unknown:
        raise FormatError(f"expected the steps {', '.join(STEPS)} in the OTP configuration, saw {unknown[0]!r}")
    found: dict[int, int] = {}
    for name, items in _partitions(tables.get(step, {})):
        for item, entry in items.items():
            for address, word in _item_words(item, entry):
                partition = PARTITIONS[name]
                if not partition.offset <= address < partition.offset + partition.data_size:
                    raise FormatError(f"expected {item} inside {name}, saw it at {address:#05x}")
                if address in found:
                    raise FormatError(f"expected one value at {address:#05x}, saw two (the second is {item})")
                if partition.sw:
                    found[address] = word
    return found


def _partitions(step: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    if not isinstance(step, Mapping):
        raise FormatError("expected tables [STEP.PARTITION] in the OTP configuration")
    for name, items in step.items():
        if name not in PARTITIONS or not isinstance(items, Mapping):
            raise FormatError(f"expected a table per OTP partition, saw {name!r}")
        yield name, items


def _item_words(item: str, entry: object) -> Iterator[tuple[int, int]]:
    if not isinstance(entry, Mapping) or set(entry) != {"at", "value"} or not isinstance(entry["at"], int):
        raise FormatError(f"expected 'at' and 'value' for {item}, saw something else")
    at, value = entry["at"], entry["value"]
    if isinstance(value, int) and 0 <= value < 1 << 32 and at % 4 == 0:
        yield at, value
        return
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        raw = b""
    if not raw or len(raw) % 4 or at % 4:
        raise FormatError(f"expected a 32-bit number or whole words in hex for {item} at a multiple of 4")
    for offset in range(0, len(raw), 4):
        yield at + offset, int.from_bytes(raw[offset : offset + 4], "little")
