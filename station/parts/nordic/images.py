"""The images of a SKU pack as they go into the part: read once, split by cores, with every finding before any use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from station.errors import ConfigError
from station.formats import firmware_image, hex_file
from station.formats.firmware_image import CoreImage
from station.formats.hex_file import HexError
from station.formats.nordic_family import family
from station.formats.uicr_content import BY_DEFAULT, Uicr
from station.model import Segment, Span
from station.parts import Unfit
from station.parts.nordic.settings import NetLock, NordicSettings

PROVISIONING = ("provisioning_app", "provisioning_net")
PRODUCTION = ("tfm_app", "tfm_net")
EMPTY = CoreImage()


@dataclass(frozen=True, slots=True)
class Images:
    """What is programmed: per core the provisioning and the production image, and the SHA-256 of every file (hex)."""

    provisioning: Mapping[str, CoreImage]
    production: Mapping[str, CoreImage]
    digests: Mapping[str, str]

    def of(self, stage: str, core: str) -> CoreImage:
        """The image of a core; empty when there is none."""
        cores: Mapping[str, CoreImage] = getattr(self, stage)
        return cores.get(core, EMPTY)


def needed(settings: NordicSettings) -> tuple[str, ...]:
    """Names of the images that the pack must have."""
    if settings.family.net is None:
        return PROVISIONING[0], PRODUCTION[0]
    child = (PROVISIONING[1],) if settings.net_lock is NetLock.CHILD_IMAGE else ()
    locking = (PRODUCTION[1],) if settings.net_lock is NetLock.PRODUCTION else ()
    return PROVISIONING[0], *child, PRODUCTION[0], *locking


def wanted(settings: NordicSettings, there: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the images that are used: those needed, and the network core's production image if there is one."""
    optional = (PRODUCTION[1],) if settings.family.net is not None and PRODUCTION[1] in there else ()
    return tuple(dict.fromkeys((*needed(settings), *optional)))


def read(settings: NordicSettings, raw: Mapping[str, bytes]) -> Images:
    """Read the files of ``wanted``; raises ``ConfigError`` with the first finding."""
    found = next(findings(settings, raw), None)
    if found is not None:
        place = f"image {found.image}{f', line {found.line}' if found.line else ''}: " if found.image else ""
        raise ConfigError(f"{place}{found.sentence}")
    names = wanted(settings, tuple(raw))
    provisioning, production = (
        _together(settings, raw, [name for name in names if name in stage]) for stage in (PROVISIONING, PRODUCTION)
    )
    return Images(provisioning, production, {name: _digest(raw[name]) for name in names})


def findings(settings: NordicSettings, raw: Mapping[str, bytes]) -> Iterator[Unfit]:
    """Everything wrong with the pack's images, one sentence each."""
    names = needed(settings)
    for name in names:
        if name not in raw:
            yield Unfit(image=name, sentence=f"expected the image '{name}' in the pack, but it names none")
    bad = False
    for name in wanted(settings, tuple(raw)):
        if name in raw:
            for finding in _findings_of(settings, name, raw[name]):
                bad = True
                yield finding
    if not bad and all(name in raw for name in names):
        yield from _joint_findings(settings, raw)


def segments(image: CoreImage) -> list[Segment]:
    """For ``Probe.program``."""
    return [Segment(block.address, block.data) for block in image.blocks]


def spans(image: CoreImage) -> list[Span]:
    """For ``Probe.erase``."""
    return [Span(block.address, len(block.data)) for block in image.blocks]


def _findings_of(settings: NordicSettings, name: str, raw: bytes) -> Iterator[Unfit]:
    try:
        cores = _split(settings.family.name, raw, _allowed(settings, name))
    except HexError as error:
        yield from (Unfit(image=name, line=one.line, sentence=one.sentence) for one in error.findings)
        return
    own = "net" if name.endswith("_net") else "app"
    if not cores.get(own, EMPTY).blocks:
        yield Unfit(image=name, sentence=f"expected something for the flash of the {own} core, saw nothing for it")
    if cores.get("net", EMPTY).uicr:
        yield Unfit(image=name, sentence="expected no word for the network core's UICR: this station writes none there")


def _joint_findings(settings: NordicSettings, raw: Mapping[str, bytes]) -> Iterator[Unfit]:
    """What only two files together show."""
    names = wanted(settings, tuple(raw))
    for stage in (PROVISIONING, PRODUCTION):
        used = [name for name in names if name in stage]
        try:
            found = _together(settings, raw, used)
        except HexError as error:
            yield Unfit(image=used[-1], sentence=str(error))
            continue
        if stage is PROVISIONING and settings.net_lock is NetLock.PRODUCTION and "net" in found:
            sentence = "it holds an image for the network core, which net_lock = 'production' leaves to production"
            yield Unfit(image=used[0], sentence=sentence)


def _together(settings: NordicSettings, raw: Mapping[str, bytes], names: list[str]) -> dict[str, CoreImage]:
    return firmware_image.together(
        {name: _split(settings.family.name, raw[name], _allowed(settings, name)) for name in names}
    )


def _allowed(settings: NordicSettings, name: str) -> frozenset[Uicr]:
    """A provisioning image writes no UICR by its file: what it burns, it burns while it runs."""
    return frozenset() if name in PROVISIONING else BY_DEFAULT | settings.uicr_allowed


@lru_cache(maxsize=32)
def _split(family_name: str, raw: bytes, allowed: frozenset[Uicr]) -> dict[str, CoreImage]:
    """A file costs a tenth of a second per 300 KiB; every part of a lot gets the same."""
    return firmware_image.split(family(family_name), hex_file.read(raw), allowed)


@lru_cache(maxsize=32)
def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
