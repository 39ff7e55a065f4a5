"""TOML files checked against a model; everything wrong with a file is reported at once as ``FILE:LINE: sentence``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from station.errors import ConfigError, Finding, nearest

Key = tuple[str | int, ...]


class Strict(BaseModel):
    """Base of all file models: unknown keys are findings, values are not coerced, instances do not change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


ModelT = TypeVar("ModelT", bound=Strict)


class TomlFile:
    """One parsed file with the line of every key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _read_text(path)
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError([_syntax_finding(path, str(error))]) from None
        self._lines = key_lines(text)

    def line(self, key: Key) -> int:
        """Line of a key, or of the nearest table around it; 1 when nothing is known."""
        while key:
            if key in self._lines:
                return self._lines[key]
            key = key[:-1]
        return 1

    def finding(self, key: Key, sentence: str) -> Finding:
        """A finding at the line of a key."""
        return Finding(self.path, self.line(key), sentence)

    def parse(self, model: type[ModelT]) -> ModelT:
        """The file as a model; raises ``ConfigError`` with every finding."""
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise ConfigError(self._findings(model, error.errors(include_url=False))) from None

    def _findings(self, model: type[BaseModel], details: Sequence[ErrorDetails]) -> list[Finding]:
        told = [d for d in details if not _follows(d, details)]
        found = [self.finding(self._file_key(d["loc"]), _sentence(model, d)) for d in told]
        return sorted(found, key=lambda finding: finding.line)

    def _file_key(self, location: Key) -> Key:
        """The location without the names that pydantic adds for unions."""
        key: list[str | int] = []
        node: Any = self.data
        for part in location:
            if isinstance(node, dict) and part not in node and part is not location[-1]:
                continue
            key.append(part)
            node = node[part] if _has(node, part) else None
        return tuple(key)


def load(path: Path, model: type[ModelT]) -> tuple[ModelT, TomlFile]:
    """Read and check one file."""
    file = TomlFile(path)
    return file.parse(model), file


def key_lines(text: str) -> dict[Key, int]:
    """Line number of every key and table header (values over several lines are skipped)."""
    lines: dict[Key, int] = {}
    table: Key = ()
    counts: dict[Key, int] = {}
    open_until = ""
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        if open_until:
            open_until = "" if open_until in line else open_until
            continue
        bare = _without_strings(line)
        if depth:
            depth += bare.count("[") - bare.count("]")
            continue
        if header := re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line):
            table = _table_key(header[1] == "[[", _split(header[2]), counts)
            lines[table] = number
        elif pair := re.match(r"\s*((?:\"[^\"]*\"|'[^']*'|[\w-]+|\s*\.\s*)+?)\s*=(.*)", line):
            lines[(*table, *_split(pair[1]))] = number
            open_until = _opens_text(pair[2])
            value = _without_strings(pair[2])
            depth = 0 if open_until else value.count("[") - value.count("]")
    return lines


def _table_key(array: bool, key: Key, counts: dict[Key, int]) -> Key:
    """The table's key with the positions of the arrays of tables it lies in."""
    placed: Key = ()
    for index, part in enumerate(key):
        placed = (*placed, part)
        if array and index == len(key) - 1:
            counts[placed] = counts.get(placed, -1) + 1
        if placed in counts:
            placed = (*placed, counts[placed])
    return placed


def _split(dotted: str) -> Key:
    return tuple(part.strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[\w-]+", dotted))


def _opens_text(value: str) -> str:
    for quotes in ('"""', "'''"):
        if value.count(quotes) == 1:
            return quotes
    return ""


def _without_strings(line: str) -> str:
    return re.sub(r"\"(\\.|[^\"\\])*\"|'[^']*'|#.*", "", line)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([Finding(path, 0, "expected this file, but it does not exist")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Finding(path, 0, f"expected UTF-8 text, found another byte at {error.start}")]) from None
    except OSError as error:
        raise ConfigError([Finding(path, 0, f"expected to read this file, but: {error.strerror}")]) from None


def _syntax_finding(path: Path, message: str) -> Finding:
    place = re.search(r"\(at line (\d+), column (\d+)\)", message)
    sentence = re.sub(r"\s*\(at .*\)", "", message)
    return Finding(path, int(place[1]) if place else 0, f"expected TOML: {sentence}")


def _has(node: Any, part: str | int) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)


def _follows(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """True for a list that lacks entries only because those that it has are wrong."""
    place = detail["loc"]
    inside = (other["loc"] for other in details if len(other["loc"]) > len(place))
    return detail["type"] == "too_short" and any(other[: len(place)] == place for other in inside)


def _sentence(model: type[BaseModel], detail: ErrorDetails) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"expected the key '{name}', but it is missing"
    if detail["type"] == "extra_forbidden":
        return f"unknown key '{name}'{nearest(str(detail['loc'][-1]), _known_keys(model, detail['loc'][:-1]))}"
    if detail["type"] == "value_error":
        return f"{name}: {detail['msg'].removeprefix('Value error, ')}"
    if detail["type"] == "too_short":
        return f"{name}: expected at least {detail['ctx']['min_length']}, found {detail['ctx']['actual_length']}"
    value = detail.get("input")
    seen = f", found {value!r}" if isinstance(value, (str, int, float, bool)) else ""
    return f"{name}: {detail['msg'].replace('Input should be', 'expected').removesuffix('.')}{seen}"


def _known_keys(model: type[BaseModel], location: Key) -> list[str]:
    """Names that the model knows at a location, for near-miss hints."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        current = _inner_model(getattr(current, "model_fields", {}).get(part), current)
    return list(getattr(current, "model_fields", {}))


def _inner_model(field: Any, fallback: Any) -> Any:
    """The model inside a field such as ``Label``, ``tuple[Image, ...]`` or ``dict[str, Image]``."""
    if field is None:
        return fallback
    pending = [field.annotation]
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        pending.extend(getattr(annotation, "__args__", ()))
    return None
