"""Builds the synthetic firmware of the virtual Nordic parts: ``python -m drivers.virtual.nrf.images OUTDIR``.

The result depends on ``OUTDIR/../images.toml`` and this package only: ``family``, and one table per image, whose name
becomes the file's (``OUTDIR/NAME.hex``). ``program`` says what the image is (default: the table's name), so that
variants of one program can be built side by side; ``PROGRAMS`` lists programs and options with their defaults.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivers.virtual.nrf.image_format import pack
from drivers.virtual.nrf.intel_hex import to_hex
from drivers.virtual.nrf.silicon import SILICON, Silicon

CONFIG = "images.toml"
CHALLENGE = bytes(range(0, 0x100, 0x11)) * 4
"""The fixed challenge of the upstream sample."""
GENERATIONS = ("newest", "older")
PROFILES = ("PSA_IOT_PROFILE_1", "http://arm.com/psa/2.0.0", "tag:psacertified.org,2023:psa#tfm")

_COMMON = {"colours": False, "sdk": "v3.2.0", "zephyr": "v4.2.99"}
PROGRAMS: Mapping[str, Mapping[str, Any]] = {
    "provisioning_app": {
        **_COMMON, "size": 0x6000, "implementation_id": "", "net_child": True, "dummy_identity": False,
        "generation": "newest", "approtect_lock": False,
    },
    "provisioning_net": {**_COMMON, "size": 0x2000},
    "tfm_app": {
        **_COMMON, "size": 0xC000, "approtect_lock": True, "secure_approtect_lock": True, "nrf_provisioning": True,
        "profile": PROFILES[0], "certificate_reference": "", "verification_service": "verification_url",
        "challenge": CHALLENGE.hex(), "lock_net": False, "starts_net": True, "provision_data": False,
    },
    "tfm_net": {**_COMMON, "size": 0x3000, "pcd": True},
    "keep_open_app": {"size": 0x400},
    "keep_open_net": {"size": 0x400},
}  # fmt: skip
"""Programs with their options. ``approtect_lock`` and ``secure_approtect_lock``: as built with the SDK's lock options.
``nrf_provisioning``: as built with CONFIG_TFM_NRF_PROVISIONING. ``lock_net``: the PCD command to the net core's b0n.
``provision_data``: the HEX file carries bl_storage from base +0x28 on, with the certificate reference in it."""


def build(config: Mapping[str, Any]) -> dict[str, str]:
    """All HEX files by name; ``ValueError`` in one sentence when the configuration cannot be built."""
    silicon = SILICON.get(str(config.get("family", "")))
    if silicon is None:
        raise ValueError(f"expected family as one of {', '.join(SILICON)}, got {config.get('family')!r}")
    tables = {name: table for name, table in config.items() if name != "family"}
    return {f"{name}.hex": to_hex(_segments(silicon, name, table)) for name, table in sorted(tables.items())}


def options_text() -> str:
    """Programs with their options and defaults, for ``--help``."""
    lines = []
    for program, options in PROGRAMS.items():
        lines.append(f"[{program}]")
        lines += [f"  {name} = {json.dumps(value)}" for name, value in options.items()]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write all images into the named folder and print their digests, sizes and names; 2 when that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m drivers.virtual.nrf.images",
        description=f"Build the images of a virtual Nordic part from {CONFIG} beside OUTDIR: family, and a table for "
        'each image, named as its file is (OUTDIR/NAME.hex); program = "..." in it when it is a variant of one.',
        epilog=f"family is one of {', '.join(SILICON)}. Programs, options, defaults:\n\n{options_text()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("outdir", metavar="OUTDIR", type=Path, help="such as data/skus/acme53/images")
    target: Path = parser.parse_args(arguments).outdir
    place = target.parent / CONFIG
    try:
        built = build(tomllib.loads(place.read_text("utf-8")))
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"expected to read {place} and to write into {target}, but: {error.strerror}")
    except ValueError as error:  # the file's TOML among them
        parser.error(f"{place}: {error}")
    for name, text in built.items():
        content = text.encode("ascii")
        (target / name).write_bytes(content)
        print(f"{hashlib.sha256(content).hexdigest()}  {len(content):7}  {name}")
    return 0


def _segments(silicon: Silicon, name: str, table: Mapping[str, Any]) -> dict[int, bytes]:
    program = str(table.get("program", name))
    options = _options(silicon, name, program, table)
    core = silicon.net if program.endswith("_net") else silicon.app
    if core is None:
        raise ValueError(f"[{name}]: {silicon.title} has no network core")
    size = options.pop("size")
    descriptor = {"program": program, "family": silicon.name, **options}
    segments = {core.flash: pack(descriptor, core.flash, core.ram, size)}
    if options.get("provision_data"):
        segments[silicon.storage + 0x28] = provision_data(options["certificate_reference"])
    return segments


def _options(silicon: Silicon, name: str, program: str, table: Mapping[str, Any]) -> dict[str, Any]:
    if program not in PROGRAMS:
        raise ValueError(f"[{name}]: no program is called {program!r}; there are {', '.join(PROGRAMS)}")
    unknown = table.keys() - PROGRAMS[program].keys() - {"program"}
    if unknown:
        known = ", ".join(PROGRAMS[program])
        raise ValueError(f"[{name}]: {program} has the options {known}, not {', '.join(sorted(unknown))}")
    options = {**PROGRAMS[program], **{key: value for key, value in table.items() if key != "program"}}
    for key in ("net_child", "starts_net"):
        if key in options:
            options[key] = options[key] and silicon.net is not None
    _check(name, options)
    return options


def _check(name: str, options: Mapping[str, Any]) -> None:
    if "implementation_id" in options and len(bytes.fromhex(options["implementation_id"])) != 32:
        raise ValueError(f"[{name}]: implementation_id needs 32 bytes in hex")
    if "challenge" in options and len(bytes.fromhex(options["challenge"])) not in (32, 48, 64):
        raise ValueError(f"[{name}]: a challenge has 32, 48 or 64 bytes")
    for key, known in (("generation", GENERATIONS), ("profile", PROFILES)):
        if key in options and options[key] not in known:
            raise ValueError(f"[{name}]: {key} is one of {', '.join(known)}, not {options[key]!r}")


def provision_data(certificate_reference: str) -> bytes:
    """bl_storage from +0x28 on: slot addresses, one key hash, two counters, the certificate reference (sheet 2.3)."""
    key_hash = hashlib.sha256(b"NSIB public key of the virtual bench").digest()[:16]
    keys = struct.pack("<3I", 0x8000, 0x4_0000, 1) + struct.pack("<I", 0x50FA_FFFF) + key_hash
    slots = [struct.pack("<HH", description, 4) + b"\xff" * 8 for description in (1, 2)]
    counters = struct.pack("<HH", 1, 2) + b"".join(slots)
    text = certificate_reference.encode("ascii")
    item = struct.pack("<BB", 1, len(text)) + text
    variable = struct.pack("<HH", VARIABLE_DATA, 1) + item
    return keys + counters + variable + b"\xff" * (-len(variable) % 4)


VARIABLE_DATA = 0x9312
"""Type word of bl_storage's collection of variable data."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
