"""Builds the synthetic firmware images of the virtual bench: ``python -m drivers.virtual.earlgrey.images OUTDIR``.

The result depends on ``OUTDIR/../otp.toml`` and this file only. Each firmware generation gets a folder.
"""

from __future__ import annotations

import hashlib
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drivers.virtual.earlgrey import image_format as form

LOAD_ADDRESS = 0x1000_1FE8
SRAM_PROGRAM_SIZE = 40 * 1024
PERSO_SIZE, ROM_EXT_SIZE, OWNER_SIZE = 0x7_8000, 0x1_0000, 0x1_0000
GENERATIONS = ("rc4", "e1")
ROM_EXT_MINOR = {"rc4": 104, "e1": 105}
BLOB_VERSIONS = {"rc4": [0], "e1": [0, 1]}
DICE_CA_SUBJECT = (("2.5.4.6", "US"), ("2.5.4.8", "CA"), ("2.5.4.10", "Google"), ("2.5.4.11", "Engineering"))
DICE_CA_COMMON_NAME = ("2.5.4.3", "Google Engineering ICA")
BUILT_IN_SKU_WORDS = (0x5356_FF00, 0x0000_0000, 0x5349_5641, 0x0100_0000)  # SV00, package 0, SIVA, format 1

Config = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]


def build(config: Config, generation: str) -> dict[str, bytes]:
    """All files of one generation by name."""
    cp = {"program": "cp_provision", "generation": generation}
    individualize = {"program": "ft_individualize", "generation": generation, "otp": _tables(config, "individualize")}
    perso = _perso(config, generation)
    return {
        "sram_cp_provision.elf": _sram(cp),
        "sram_ft_individualize_sival.elf": _sram({**individualize, "ft_device_id": [0, 0, 0, 0]}),
        "sram_ft_individualize_sival_ate.elf": _sram({**individualize, "ft_device_id": list(BUILT_IN_SKU_WORDS)}),
        "ft_personalize_sival.bin": perso,
        "ft_fw_bundle_sival.img": _bundle(perso, generation),
    }


def main(arguments: list[str]) -> int:
    """Write all images below the named folder and print their sizes and digests."""
    target = Path(arguments[0])
    config = tomllib.loads((target.parent / "otp.toml").read_text("utf-8"))
    for generation in GENERATIONS:
        folder = target / generation
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in build(config, generation).items():
            (folder / name).write_bytes(content)
            print(f"{hashlib.sha256(content).hexdigest()}  {len(content):7}  {generation}/{name}")
    return 0


def words_of(section: Mapping[str, Mapping[str, Any]]) -> list[tuple[int, int]]:
    """(OTP byte address, 32-bit word) of all items of one partition, in address order."""
    return sorted(pair for item in section.values() for pair in _item_words(int(item["at"]), item["value"]))


def _item_words(address: int, value: int | str) -> Iterator[tuple[int, int]]:
    raw = value.to_bytes(4, "little") if isinstance(value, int) else bytes.fromhex(value)
    for n in range(0, len(raw), 4):
        yield address + n, int.from_bytes(raw[n : n + 4], "little")


def _tables(config: Config, step: str) -> dict[str, list[tuple[int, int]]]:
    return {partition: words_of(section) for partition, section in config[step].items()}


def _sram(descriptor: Mapping[str, Any]) -> bytes:
    seed = form.pack_descriptor(descriptor)
    data = _filler(b"stub" + seed, form.STUB_SIZE) + seed
    data += _filler(seed, SRAM_PROGRAM_SIZE - len(data))
    return form.pack_elf(form.SramImage(LOAD_ADDRESS, data, LOAD_ADDRESS))


def _perso(config: Config, generation: str) -> bytes:
    descriptor = {
        "program": "ft_personalize",
        "generation": generation,
        "first_boot": _tables(config, "personalize_first_boot"),
        "last_boot": _tables(config, "personalize_last_boot"),
        "blob_versions": BLOB_VERSIONS[generation],
        "issuer": _name().hex(),
    }
    return _slot(descriptor, form.ROM_EXT_ID, (0, 1, 0), PERSO_SIZE, 0)


def _bundle(perso: bytes, generation: str) -> bytes:
    minor = ROM_EXT_MINOR[generation]
    rom_ext = {"program": "rom_ext", "generation": generation}
    owner = {"program": "owner", "text": "ownership: OWND"}
    second = _slot(rom_ext, form.ROM_EXT_ID, (0, minor, 0), ROM_EXT_SIZE, None)
    third = _slot(owner, form.OWNER_ID, (0, 1, 0), OWNER_SIZE, None)
    return perso.ljust(form.SLOT_B, b"\xff") + second + third


def _slot(
    descriptor: Mapping[str, Any], identifier: bytes, version: tuple[int, int, int], size: int, manuf_state: int | None
) -> bytes:
    packed = form.pack_descriptor(descriptor)
    body = packed + _filler(packed, size - form.DESCRIPTOR_IN_SLOT - len(packed))
    return form.pack_slot(identifier, version, body, manuf_state)


def _filler(seed: bytes, size: int) -> bytes:
    # Each line of 256 bytes repeats one digest: no page is blank, and the files stay small in a repository.
    start = hashlib.sha256(seed).digest()
    lines = (hashlib.sha256(start + n.to_bytes(4, "little")).digest() * 8 for n in range(-(-size // 256)))
    return b"".join(lines)[:size]


def _name() -> bytes:
    parts = b"".join(_attribute(oid, text) for oid, text in (*DICE_CA_SUBJECT, DICE_CA_COMMON_NAME))
    return _tlv(0x30, parts)


def _attribute(oid: str, text: str) -> bytes:
    numbers = [int(number) for number in oid.split(".")]
    encoded = bytes([40 * numbers[0] + numbers[1], *numbers[2:]])
    kind = 0x13 if oid == "2.5.4.6" else 0x0C
    return _tlv(0x31, _tlv(0x30, _tlv(0x06, encoded) + _tlv(kind, text.encode())))


def _tlv(tag: int, content: bytes) -> bytes:
    assert len(content) < 0x80
    return bytes([tag, len(content)]) + content


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
