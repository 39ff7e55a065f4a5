"""The images of a SKU pack as they go into the part: read once, split by cores, with every finding before any use.

A file is split by address. A merged file, named as the application core's image, is the network core's image, too;
naming the same file under both names says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from station.errors import ConfigError, FormatError, nearest
from station.formats import bl_storage, firmware_image, hex_file
from station.formats.firmware_image import CoreImage
from station.formats.hex_file import HexError, HexFile
from station.formats.nordic_family import FAMILIES, family
from station.formats.uicr_content import BY_DEFAULT, Uicr
from station.model import Segment, Span
from station.parts import Unfit
from station.parts.nordic.settings import NetLock, NordicSettings

PROVISIONING = ("provisioning_app", "provisioning_net")
PRODUCTION = ("tfm_app", "tfm_net")
STAGES = (PROVISIONING, PRODUCTION)
CORES = ("app", "net")
"""A stage's names in the order of the cores they are for."""
KNOWN = (*PROVISIONING, *PRODUCTION)
EMPTY = CoreImage()


@dataclass(frozen=True, slots=True)
class Images:
    """What is programmed: per core the provisioning and the production image, and by every image's name the SHA-256
    (hex) of the file that holds it: two names of a merged file have the same one."""

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


def sources(settings: NordicSettings, raw: Mapping[str, bytes]) -> dict[str, str]:
    """By the name of every image that is used and there, the name of the file that holds it.

    Used are those needed, and the network core's production image if there is one.
    """
    optional = (PRODUCTION[1],) if settings.family.net is not None else ()
    used = {*needed(settings), *optional}
    found: dict[str, str] = {}
    for app, net in STAGES:
        both = _is_merged(settings, raw.get(app, b"")) and raw.get(net, raw[app]) == raw[app]
        holds = {app: app, net: app if both else net}
        found |= {name: file for name, file in holds.items() if name in used and file in raw}
    return found


def read(settings: NordicSettings, raw: Mapping[str, bytes]) -> Images:
    """Read the files of ``sources``; raises ``ConfigError`` with the first thing that keeps them from being used.

    It is done for every part: what else may be wrong with a pack was found when it was loaded.
    """
    found = next(_unusable(settings, raw), None)
    if found is not None:
        place = f"image {found.image}{f', line {found.line}' if found.line else ''}: " if found.image else ""
        raise ConfigError(f"{place}{found.sentence}")
    digests = {name: _digest(raw[file]) for name, file in sources(settings, raw).items()}
    return Images(_together(settings, raw, PROVISIONING), _together(settings, raw, PRODUCTION), digests)


def findings(settings: NordicSettings, raw: Mapping[str, bytes]) -> Iterator[Unfit]:
    """Everything wrong with the pack's images, one sentence each."""
    for name in raw:
        if name not in KNOWN:
            hint = nearest(name, KNOWN)
            sentence = f"there is no use for an image '{name}'{hint}; known are {', '.join(KNOWN)}"
            yield Unfit(image=name, sentence=sentence, doubt=not hint)
    others = [finding for name in _files(settings, raw) for finding in _another_family(settings, name, raw[name])]
    unusable = list(_unusable(settings, raw))
    yield from (*others, *unusable)
    if not others and not any(True for _ in _unreadable(settings, raw)):
        yield from _against_settings(settings, raw)
        yield from _left_out(settings, raw)


def _unusable(settings: NordicSettings, raw: Mapping[str, bytes]) -> Iterator[Unfit]:
    """What is missing, cannot be read, or, when all is there, does not go together."""
    each = list(_unreadable(settings, raw))
    yield from each or _joint_findings(settings, raw)


def _unreadable(settings: NordicSettings, raw: Mapping[str, bytes]) -> Iterator[Unfit]:
    """What is missing or cannot be used, each file by itself."""
    for app, net in STAGES:
        if app not in raw:
            yield Unfit(image=app, sentence=f"expected the image '{app}' in the pack, but it names none")
        elif net in needed(settings) and net not in raw and _is_merged(settings, raw[app]) is False:
            sentence = f"expected the image '{net}' in the pack, but it names none, and '{app}' holds nothing for the"
            yield Unfit(image=net, sentence=f"{sentence} network core, as a merged file does")
    for name in _files(settings, raw):
        yield from _findings_of(settings, name, raw[name])


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


def _joint_findings(settings: NordicSettings, raw: Mapping[str, bytes]) -> Iterator[Unfit]:
    """What only two files together show."""
    for app, net in STAGES:
        try:
            _together(settings, raw, (app, net))
        except HexError as error:
            merged = f"; {_leave_out(app, net)}" if _is_merged(settings, raw[app]) else ""
            yield Unfit(image=net, sentence=f"{error}{merged}")
        else:
            if sources(settings, raw).get(net) == net and _is_merged(settings, raw[app]):
                yield Unfit(image=net, sentence=_leave_out(app, net))


def _leave_out(app: str, net: str) -> str:
    return f"'{app}' is a merged file: leave '{net}' out"


def _left_out(settings: NordicSettings, raw: Mapping[str, bytes]) -> Iterator[Unfit]:
    """A merged provisioning file's half for the network core where somebody else closes that core's port.

    It burns nothing but that port's word: a part is whole without it.
    """
    app, net = PROVISIONING
    if net in needed(settings) or not _is_merged(settings, raw[app]):
        return
    sentence = f"its half for the network core is not programmed with net_lock = '{settings.net_lock}'"
    yield Unfit(image=app, sentence=f"{sentence}; '{NetLock.CHILD_IMAGE}' programs both", doubt=True)


def _another_family(settings: NordicSettings, name: str, raw: bytes) -> Iterator[Unfit]:
    """Addresses that the pack's family has not got and another one has."""
    try:
        file = _file(raw)
    except HexError:
        return
    if firmware_image.fits(settings.family, file):
        return
    if others := [one.title for one in FAMILIES.values() if firmware_image.fits(one, file)]:
        sentence = f"this image looks like one for {' or '.join(others)}, while the pack's family is"
        yield Unfit(image=name, sentence=f"{sentence} {settings.family.title}: correct the family, or the file")


def _against_settings(settings: NordicSettings, raw: Mapping[str, bytes]) -> Iterator[Unfit]:
    """What the pack says of its images, and they say otherwise: a part would be spoilt before its token shows it."""
    app = _split(settings.family.name, raw[PRODUCTION[0]], _allowed(settings, PRODUCTION[0])).get("app", EMPTY)
    base = settings.family.storage
    try:
        storage = bl_storage.parse([app.uicr.get(base + at, bl_storage.ERASED) for at in range(0, bl_storage.BYTES, 4)])
    except FormatError as error:
        sentence = f"its bootloader data cannot be read ({error}); the bootloader may refuse them, too"
        yield Unfit(image=PRODUCTION[0], sentence=sentence, doubt=True)
    else:
        yield from _against_storage(settings, storage)
    yield from _without_implementation_id(settings, raw[PROVISIONING[0]])


def _against_storage(settings: NordicSettings, storage: bl_storage.Storage) -> Iterator[Unfit]:
    wanted, held = settings.certificate_reference, storage.boot_data and storage.boot_data.certificate_reference
    if wanted and held and held != wanted:
        sentence = f"certificate_reference: expected {held}, which the image '{PRODUCTION[0]}' carries, saw {wanted}"
        yield Unfit(setting="certificate_reference", sentence=f"{sentence}: every token would differ; correct one")
    if wanted and held == "":
        sentence = f"certificate_reference: the bootloader data in the image '{PRODUCTION[0]}' hold none; the token may"
        yield Unfit(setting="certificate_reference", sentence=f"{sentence} say another than {wanted}", doubt=True)
    if storage.has_implementation_id and storage.implementation_id != settings.implementation_id:
        sentence = f"implementation_id: expected {storage.implementation_id.hex()}, which the image '{PRODUCTION[0]}'"
        yield Unfit(setting="implementation_id", sentence=f"{sentence} writes, saw {settings.implementation_id.hex()}")


def _without_implementation_id(settings: NordicSettings, raw: bytes) -> Iterator[Unfit]:
    """A doubt and no finding: a compiler may have put the id into instructions, or the image may work it out.

    The images of the virtual bench hold it as hex digits in their descriptor.
    """
    wanted = settings.implementation_id
    content = b"".join(block.data for block in _split(settings.family.name, raw, frozenset())["app"].blocks)
    if wanted in content or wanted.hex().encode() in content:
        return
    swapped = b"".join(wanted[at : at + 4][::-1] for at in range(0, len(wanted), 4))
    hint = "; it holds them with the bytes of every word swapped" if swapped in content else ""
    sentence = f"implementation_id: expected these 32 bytes in the image '{PROVISIONING[0]}', which holds them nowhere"
    sentence += f"{hint}; compare with its config_implementation_id.h before a part is spoilt"
    yield Unfit(setting="implementation_id", sentence=sentence, doubt=True)


def _together(settings: NordicSettings, raw: Mapping[str, bytes], stage: tuple[str, str]) -> dict[str, CoreImage]:
    """A stage's images by cores; only of cores whose image is used."""
    used = sources(settings, raw)
    files = {used[name]: raw[used[name]] for name in stage if name in used}
    cores = firmware_image.together(
        {name: _split(settings.family.name, content, _allowed(settings, name)) for name, content in files.items()}
    )
    return {core: cores[core] for core, name in zip(CORES, stage, strict=True) if name in used and core in cores}


def _files(settings: NordicSettings, raw: Mapping[str, bytes]) -> list[str]:
    """Names of the files that are used, each once."""
    return list(dict.fromkeys(sources(settings, raw).values()))


def _is_merged(settings: NordicSettings, raw: bytes) -> bool | None:
    """Whether a file has anything for the network core's flash; None when it cannot be read."""
    if settings.family.net is None or not raw:
        return False
    try:
        return firmware_image.reaches(_file(raw), settings.family.net.flash)
    except HexError:
        return None


def _allowed(settings: NordicSettings, name: str) -> frozenset[Uicr]:
    """A provisioning image writes no UICR by its file: what it burns, it burns while it runs."""
    return frozenset() if name in PROVISIONING else BY_DEFAULT | settings.uicr_allowed


@lru_cache(maxsize=32)
def _split(family_name: str, raw: bytes, allowed: frozenset[Uicr]) -> dict[str, CoreImage]:
    """A file costs a tenth of a second per 300 KiB; every part of a lot gets the same."""
    return firmware_image.split(family(family_name), _file(raw), allowed)


@lru_cache(maxsize=8)
def _file(raw: bytes) -> HexFile:
    return hex_file.read(raw)


@lru_cache(maxsize=32)
def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
