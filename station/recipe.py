"""Recipes: a short data file that joins a flow and a SKU pack for one bench (``NAME.toml``)."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from station import plugins
from station.errors import ConfigError, Finding, nearest
from station.formats.synthetic_image import is_synthetic
from station.journal_rows import Context
from station.model import Realm
from station.packs import SkuPack, load_pack
from station.plan import Plan
from station.resources import candidates_in, file_in, resources_folder, searched
from station.toml_file import Strict, TomlFile, load

PLACES = frozenset({"lot", "sublot", "wafer", "x", "y", "tray"})


class LabelEntry(Strict):
    """``[label]``: what is scanned for a part; named groups of the pattern fill the fields of the record."""

    kind: str = Field(pattern=r"^[a-z_]+$")
    prompt: str = Field(min_length=1)
    pattern: str = Field(min_length=1)
    example: str = Field(min_length=1)


class RecipeFile(Strict):
    """The whole of a recipe file."""

    schema_: int = Field(alias="schema", ge=1, le=1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    realm: Realm = Field(strict=False)
    flow: str = Field(min_length=1)
    part: str = Field(min_length=1)
    sku: str = Field(min_length=1)
    map: str = Field(default="wafer", pattern=r"^(wafer|tray)$")
    label: LabelEntry
    settings: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe with its flow, part and pack loaded."""

    name: str
    title: str
    revision: str
    realm: Realm
    flow_name: str
    flow: Callable[[Any, Any, Any], None]
    needs_appliance: bool
    plan: Plan
    part: Callable[[Any, Any], Any]
    pack: SkuPack
    map_kind: str
    label_kind: str
    label_prompt: str
    label_pattern: re.Pattern[str]
    label_example: str
    settings: dict[str, Any]
    digest: str
    doubts: tuple[str, ...] = ()
    """What looks wrong in the pack and may be right: told, not refused."""

    def context_of(self, label: str) -> Context | None:
        """Label and place fields of a scan; None when the pattern does not fit."""
        match = self.label_pattern.fullmatch(label)
        if match is None:
            return None
        found = {name: value for name, value in match.groupdict().items() if value is not None}
        fields: dict[str, Any] = {name: int(text) if name in ("x", "y") else text for name, text in found.items()}
        return Context(label_kind=self.label_kind, label=label, recipe=self.name, flow=self.flow_name,
                       pack=self.pack_digest, **fields)  # fmt: skip

    def unfit(self, realm: Realm, has_appliance: bool) -> str:
        """Why a station of this realm, with or without an appliance, may not run this recipe; empty when it may."""
        if self.realm is not realm:
            return (
                f"it is for realm '{self.realm}', this station is '{realm}': no part may meet the keys of another realm"
            )
        if self.needs_appliance and not has_appliance:
            return (
                f"its flow '{self.flow_name}' needs an appliance, and this station has none; name one under "
                "[appliance] in the station file"
            )
        return ""

    @property
    def family(self) -> str:
        """What boards and virtual hands are chosen by: the part's family, or the pack's chip where there is none."""
        return str({**self.pack.settings, **self.settings}.get("family", self.pack.chip))

    @property
    def pack_digest(self) -> str:
        """Recipe and pack as they were: revision and digest of both files."""
        pack = self.pack
        return f"{self.name}@{self.revision}:{self.digest[:16]} {pack.sku}@{pack.revision}:{pack.digest[:16]}"


def recipe_names(folders: tuple[Path, ...] = ()) -> list[str]:
    """Names of all recipes of this station."""
    places = [*folders, resources_folder()]
    return sorted({path.stem for folder in places for path in (folder / "recipes").glob("*.toml")})


def _sku_names(folders: tuple[Path, ...]) -> list[str]:
    places = [*folders, resources_folder()]
    return sorted({path.parent.name for folder in places for path in folder.glob("skus/*/pack.toml")})


def hidden(name: str, sku: str, folders: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Recipe and pack of one's own that hide another of the same name: what it is, and a sentence."""
    for what, relative in ((f"recipe {name}", f"recipes/{name}.toml"), (f"pack {sku}", f"skus/{sku}/pack.toml")):
        first, *others = [path for path in candidates_in(folders, relative) if path.exists()]
        if others:
            places = ", ".join(map(str, others))
            yield what, f"{first} is read, which hides {places}; give yours another name unless that is meant"


def map_kind(name: str, folders: tuple[Path, ...] = ()) -> str:
    """Whether a recipe's parts come on a ``wafer`` or a ``tray``; empty for one that cannot be read (yet)."""
    try:
        return load(file_in(folders, f"recipes/{name}.toml"), RecipeFile)[0].map
    except ConfigError:
        return ""


def load_recipe(name: str, folders: tuple[Path, ...] = ()) -> Recipe:
    """Read a recipe with its pack, flow and part; raises ``ConfigError`` with every finding."""
    path = file_in(folders, f"recipes/{name}.toml")
    if not path.exists():
        hint = nearest(name, recipe_names(folders))
        raise ConfigError(f"expected a recipe recipes/{name}.toml, but there is none{hint}; {searched(folders)}")
    parsed, file = load(path, RecipeFile)
    findings = _label_findings(file, parsed.label) or _lot_number_findings(file, parsed)
    if parsed.name != path.stem:
        findings.append(file.finding(("name",), f"the recipe says '{parsed.name}', but its file is '{path.name}'"))
    flow = _plugin(file, ("flow",), "station.flows", parsed.flow, findings)
    part = _plugin(file, ("part",), "station.parts", parsed.part, findings)
    pack = _pack(file, parsed, folders, findings)
    function = getattr(flow, parsed.flow, None)
    if flow is not None and (function is None or not isinstance(getattr(flow, "PLAN", None), Plan)):
        sentence = f"the flow '{parsed.flow}' has no function of that name or no PLAN"
        findings.append(file.finding(("flow",), sentence))
    if part is not None and function is not None:
        findings += _flow_findings(function, part, file, parsed)
    doubts = _family_doubts(pack, file, parsed) if pack is not None else []
    if pack is not None and part is not None:
        findings += _part_findings(part, pack, file, parsed, doubts)
    if findings or pack is None or function is None:
        raise ConfigError(findings)
    return Recipe(
        parsed.name, parsed.title, parsed.revision, parsed.realm, parsed.flow, function,
        bool(getattr(flow, "NEEDS_APPLIANCE", True)), flow.PLAN, part, pack, parsed.map, parsed.label.kind,
        parsed.label.prompt, re.compile(parsed.label.pattern), parsed.label.example, dict(parsed.settings),
        hashlib.sha256(path.read_bytes()).hexdigest(), tuple(map(str, doubts)),
    )  # fmt: skip


def _plugin(file: TomlFile, key: tuple[str, ...], group: str, name: str, findings: list[Finding]) -> Any:
    try:
        return plugins.load(group, name)
    except ConfigError as error:
        findings.append(file.finding(key, str(error)))
        return None


def _pack(file: TomlFile, parsed: RecipeFile, folders: tuple[Path, ...], findings: list[Finding]) -> SkuPack | None:
    path = file_in(folders, f"skus/{parsed.sku}/pack.toml")
    if not path.exists():
        hint = nearest(parsed.sku, _sku_names(folders))
        sentence = f"there is no SKU pack '{parsed.sku}'{hint}: expected skus/{parsed.sku}/pack.toml"
        sentence += f", {searched(folders)}"
        findings.append(file.finding(("sku",), sentence))
        return None
    try:
        pack = load_pack(path, image_folders=tuple(folder / "skus" / parsed.sku for folder in folders))
    except ConfigError as error:
        findings.extend(error.findings)
        return None
    if pack.realm is not parsed.realm:
        sentence = f"the recipe is for realm '{parsed.realm}', but its pack {pack.sku} is for '{pack.realm}'"
        findings.append(file.finding(("realm",), sentence))
    findings += _product_findings(pack)
    return pack


def _product_findings(pack: SkuPack) -> list[Finding]:
    """Images of the virtual bench in a product."""
    file, findings = TomlFile(pack.path), []
    for name in pack.images if pack.realm is Realm.PRODUCTION else ():
        if is_synthetic(pack.image(name)):
            sentence = f"the image '{name}' is a synthetic one of the virtual bench; realm 'production' wants firmware"
            findings.append(file.finding(("image", name, "file"), sentence))
    return findings


def _family_doubts(pack: SkuPack, file: TomlFile, parsed: RecipeFile) -> list[Finding]:
    """A part of another family than the pack's chip: the chip may be named in words of one's own."""
    family = {**pack.settings, **parsed.settings}.get("family", pack.chip)
    if family == pack.chip:
        return []
    sentence = f"expected the part's family to be the pack's chip '{pack.chip}', saw '{family}', which is what counts"
    if "family" in parsed.settings:
        return [file.finding(("settings", "family"), sentence)]
    return [TomlFile(pack.path).finding(("part", "family"), sentence)]


def _flow_findings(function: Callable[..., Any], part: Any, file: TomlFile, parsed: RecipeFile) -> list[Finding]:
    """A flow says with the type of its second parameter which kind of part it takes; a type of its own says nothing."""
    takes = list(inspect.signature(function).parameters.values())[1:2]
    wanted: object = takes[0].annotation if takes else None
    kinds = [kind.__name__ for kind in getattr(part, "__mro__", ())]
    if not isinstance(wanted, str) or not kinds or wanted in kinds:
        return []
    if wanted.lower() not in plugins.names("station.parts"):
        return []
    sentence = (
        f"the flow '{parsed.flow}' takes the part '{wanted.lower()}', saw '{parsed.part}'; name the one that fits"
    )
    return [file.finding(("part",), sentence)]


def _part_findings(
    part: Any, pack: SkuPack, file: TomlFile, parsed: RecipeFile, doubts: list[Finding]
) -> list[Finding]:
    """What the kind of part has against the pack's images and settings, if it looks at them beforehand."""
    look = getattr(part, "findings", None)
    if look is None:
        return []
    images = {name: pack.image(name) for name in pack.images}
    found: list[Finding] = []
    for unfit in look({**pack.settings, **parsed.settings}, images, parsed.realm):
        if unfit.setting in parsed.settings:
            finding = file.finding(("settings", unfit.setting), unfit.sentence)
        elif unfit.image:
            finding = Finding(pack.image_file(unfit.image), unfit.line, unfit.sentence)
        else:
            finding = TomlFile(pack.path).finding(("part", unfit.setting), unfit.sentence)
        (doubts if unfit.doubt else found).append(finding)
    return found


def _label_findings(file: TomlFile, label: LabelEntry) -> list[Finding]:
    try:
        pattern = re.compile(label.pattern)
    except re.error as error:
        return [file.finding(("label", "pattern"), f"expected a regular expression: {error}")]
    findings = []
    for group in sorted(set(pattern.groupindex) - PLACES):
        sentence = f"the pattern names '{group}'; possible are {', '.join(sorted(PLACES))}"
        findings.append(file.finding(("label", "pattern"), sentence))
    if not pattern.fullmatch(label.example):
        findings.append(file.finding(("label", "example"), f"the example '{label.example}' does not fit the pattern"))
    return findings


def _lot_number_findings(file: TomlFile, parsed: RecipeFile) -> list[Finding]:
    """``lot_number`` must find a number in the example's lot: one that never fits would compare nothing, unnoticed."""
    pattern = parsed.settings.get("lot_number", "")
    if pattern == "":
        return []
    example = re.fullmatch(parsed.label.pattern, parsed.label.example)
    lot = str(example.groupdict().get("lot") or "") if example else ""
    try:
        found = re.search(str(pattern), lot)
        number = found[1] if found else None
    except (re.error, IndexError):
        number = None
    if number is not None and number.isdecimal():
        return []
    sentence = f"expected a regular expression whose first group is the number in the example's lot '{lot}'"
    return [file.finding(("settings", "lot_number"), f"{sentence}, found {pattern!r}")]
