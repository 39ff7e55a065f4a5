"""SKU packs: the folder of one product with images, firmware generation, limits, bins and hooks (``pack.toml``)."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from station.bins import BinEntry, check_entries
from station.errors import ConfigError, Finding, FormatError, nearest
from station.formats import otp_config
from station.formats.firmware import GENERATIONS, FirmwareGeneration
from station.model import Realm
from station.toml_file import Strict, TomlFile, load


def _digest(text: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text
    seen = "upper-case ones" if re.fullmatch(r"[0-9A-Fa-f]{64}", text) else f"{text[:80]!r}"
    raise ValueError(f"expected 64 lower-case hex digits, as sha256sum prints them, saw {seen}")


Digest = Annotated[str, AfterValidator(_digest)]
"""SHA-256 of a file."""


class ImageEntry(Strict):
    """One ``[image.NAME]`` table: a file of the pack and its SHA-256."""

    file: str = Field(min_length=1)
    sha256: Digest


class HooksEntry(Strict):
    """The ``[hooks]`` table: a Python file of the pack whose functions the flow may call, and its SHA-256."""

    file: str = Field(min_length=1)
    sha256: Digest


class LimitEntry(Strict):
    """One ``[limit."NAME"]`` table."""

    low: float | None = None
    high: float | None = None


class PackFile(Strict):
    """The whole of ``pack.toml``."""

    schema_: int = Field(alias="schema", ge=1, le=1)
    sku: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    realm: Realm = Field(strict=False)
    chip: str = Field(min_length=1)
    firmware: str = ""
    otp: str = ""
    credentials: tuple[str, ...] = Field(default=(), strict=False)
    part: dict[str, Any] = Field(default_factory=dict)
    image: dict[str, ImageEntry] = Field(default_factory=dict)
    limit: dict[str, LimitEntry] = Field(default_factory=dict)
    bin: dict[str, BinEntry] = Field(default_factory=dict)
    hooks: HooksEntry | None = None


class SkuPack:
    """A checked pack; its images are read once and their digests are right."""

    def __init__(
        self,
        path: Path,
        parsed: PackFile,
        images: dict[str, bytes],
        hooks: ModuleType | None,
        otp_words: dict[int, int],
        folders: tuple[Path, ...] = (),
    ) -> None:
        self.folder = path.parent
        self.path = path
        self.sku = parsed.sku
        self.title = parsed.title
        self.revision = parsed.revision
        self.realm = parsed.realm
        self.chip = parsed.chip
        self.firmware = parsed.firmware
        self.credentials = parsed.credentials
        self.settings = {**parsed.part, "otp_words": otp_words}
        self.bins = parsed.bin
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self._limits = parsed.limit
        self._images = images
        self._files = {name: _place(entry, folders) for name, entry in parsed.image.items()}
        self._hooks = hooks

    @property
    def images(self) -> tuple[str, ...]:
        """Names of all images."""
        return tuple(self._images)

    def image(self, name: str) -> bytes:
        """Bytes of an image."""
        try:
            return self._images[name]
        except KeyError:
            raise ConfigError(f"the pack {self.sku} has no image '{name}'{nearest(name, self._images)}") from None

    def image_file(self, name: str) -> Path:
        """The file of an image; the pack's own when it has none of this name."""
        return self._files.get(name) or self.path

    def limit(self, name: str) -> tuple[float | None, float | None]:
        """Low and high limit of a measurement; None where the pack sets none."""
        entry = self._limits.get(name)
        return (entry.low, entry.high) if entry else (None, None)

    def hook(self, name: str, *args: object) -> object:
        """Call a hook; None when the pack has none of this name."""
        hook: Callable[..., object] | None = getattr(self._hooks, name, None) if self._hooks else None
        return hook(*args) if hook is not None else None

    @property
    def generation(self) -> FirmwareGeneration | None:
        """The firmware generation as data (``station.formats.firmware``), None when the pack names none."""
        return generation_of(self.firmware) if self.firmware else None


def generation_of(name: str) -> FirmwareGeneration:
    """A firmware generation by its name; ``ConfigError`` with a hint when there is none."""
    if name not in GENERATIONS:
        known = ", ".join(sorted(GENERATIONS))
        raise ConfigError(f"there is no firmware generation '{name}'{nearest(name, GENERATIONS)}; known are {known}")
    return GENERATIONS[name]


def load_pack(path: Path, image_folders: tuple[Path, ...] = ()) -> SkuPack:
    """Read a pack with all its files; raises ``ConfigError`` with every finding.

    Images lie beside ``pack.toml``; ``image_folders`` are searched first (a bench's own build of the same digest).
    """
    parsed, file = load(path, PackFile)
    findings = check_entries(parsed.bin, file)
    if parsed.sku != path.parent.name:
        sentence = f"the pack says SKU '{parsed.sku}', but its folder is '{path.parent.name}'"
        findings.append(file.finding(("sku",), sentence))
    images: dict[str, bytes] = {}
    for name, entry in parsed.image.items():
        _checked(file, ("image", name), entry, (*image_folders, path.parent), images, name, findings)
    hooks = _hooks(file, parsed.hooks, path.parent, findings) if parsed.hooks else None
    findings += _generation_findings(file, parsed.firmware)
    otp_words = _otp_words(file, path.parent / parsed.otp, findings) if parsed.otp else {}
    if findings:
        raise ConfigError(findings)
    return SkuPack(path, parsed, images, hooks, otp_words, (*image_folders, path.parent))


def _otp_words(file: TomlFile, path: Path, findings: list[Finding]) -> dict[int, int]:
    """What the individualize program writes, for the read-back."""
    if not path.is_file():
        findings.append(file.finding(("otp",), f"expected the OTP file {path.name} in the pack, but it is missing"))
        return {}
    try:
        return otp_config.words(path.read_text(encoding="utf-8"), "individualize")
    except (FormatError, UnicodeDecodeError) as error:
        findings.append(Finding(path, 0, str(error)))
        return {}


def _checked(
    file: TomlFile,
    key: tuple[str, ...],
    entry: ImageEntry | HooksEntry,
    folders: tuple[Path, ...],
    into: dict[str, bytes],
    name: str,
    findings: list[Finding],
) -> None:
    path = _place(entry, folders)
    if path is None:
        places = ", ".join(str(folder) for folder in dict.fromkeys(folders))
        sentence = f"expected the file {entry.file} in the pack, but it is missing; searched {places}"
        findings.append(file.finding((*key, "file"), sentence))
        return
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry.sha256:
        sentence = f"expected {entry.file} with SHA-256 {entry.sha256}, found {digest}; restore the file, or write the"
        sentence += " new digest if it was changed on purpose"
        findings.append(file.finding((*key, "sha256"), sentence))
    into[name] = content


def _place(entry: ImageEntry | HooksEntry, folders: tuple[Path, ...]) -> Path | None:
    return next((folder / entry.file for folder in folders if (folder / entry.file).is_file()), None)


def _hooks(file: TomlFile, entry: HooksEntry, folder: Path, findings: list[Finding]) -> ModuleType | None:
    content: dict[str, bytes] = {}
    before = len(findings)
    _checked(file, ("hooks",), entry, (folder,), content, "hooks", findings)
    if len(findings) > before:
        return None
    specification = importlib.util.spec_from_loader(f"sku_hooks_{folder.name}", loader=None)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    try:
        exec(compile(content["hooks"], str(folder / entry.file), "exec"), module.__dict__)
    except Exception as error:  # a pack may hold any Python; what is wrong with it is a finding
        findings.append(file.finding(("hooks", "file"), f"{entry.file} cannot be loaded: {type(error).__name__}"))
    return module


def _generation_findings(file: TomlFile, name: str) -> list[Finding]:
    try:
        if name:
            generation_of(name)
    except ConfigError as error:
        return [file.finding(("firmware",), str(error))]
    return []
