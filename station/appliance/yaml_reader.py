"""A YAML mapping with line numbers that collects findings instead of stopping at the first one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from station.errors import ConfigError, Finding, nearest


class Node:
    """One mapping of the file; missing and wrong values become findings and read as empty."""

    def __init__(self, path: Path, data: Any, line: int, findings: list[Finding]) -> None:
        self._path = path
        self._data = data
        self._line = line
        self._findings = findings

    def names(self) -> Iterator[str]:
        """Keys in file order."""
        return iter([str(key) for key in self._data])

    def only(self, known: Iterable[str]) -> None:
        """Report every key that is not known."""
        known = list(known)
        for key in self.names():
            if key not in known:
                self.wrong(key, f"unknown key {key!r}{nearest(key, known)}")

    def text(self, key: str) -> str:
        """A scalar as text; YAML's own booleans become ``true`` and ``false``."""
        value = self._scalar(key)
        return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)

    def is_null(self, key: str) -> bool:
        """True for a key without a value (``key:`` or ``key: null``)."""
        return key in self._data and self._data[key] is None

    def count(self, key: str, required: bool = True) -> int:
        """A number that is not negative."""
        if key not in self._data and not required:
            return 0
        value = self._scalar(key)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.wrong(key, f"expected a number for {key!r}, saw {value!r}")
            return 0
        return int(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; an absent one is empty."""
        values = self._list(key)
        if any(isinstance(value, list | dict) for value in values):
            self.wrong(key, f"expected a list of texts for {key!r}")
            return ()
        return tuple(str(value) for value in values)

    def mapping(self, key: str) -> Node:
        """A nested mapping; a missing one is reported and empty."""
        value = self._data.get(key)
        if not isinstance(value, dict):
            self.wrong(key, f"expected a mapping under {key!r}")
            value = {}
        return Node(self._path, value, self._line_of(key), self._findings)

    def mappings(self, key: str) -> list[Node]:
        """A list of mappings; an absent one is empty."""
        nodes = []
        for number, value in enumerate(self._list(key)):
            line = self._data[key].lc.item(number)[0] + 1
            if isinstance(value, dict):
                nodes.append(Node(self._path, value, line, self._findings))
            else:
                self._findings.append(Finding(self._path, line, f"expected a mapping in the list {key!r}"))
        return nodes

    def wrong(self, key: str, sentence: str) -> None:
        """Report a finding at the line of ``key``."""
        self._findings.append(Finding(self._path, self._line_of(key), sentence))

    def finish(self) -> None:
        """Raise all findings at once, if there are any."""
        if self._findings:
            raise ConfigError(sorted(self._findings, key=lambda finding: finding.line))

    def _scalar(self, key: str) -> Any:
        value = self._data.get(key)
        if value is None or isinstance(value, list | dict):
            self.wrong(key, f"expected a value for {key!r}")
            return None
        return value

    def _list(self, key: str) -> list[Any]:
        value = self._data.get(key)
        if value is not None and not isinstance(value, list):
            self.wrong(key, f"expected a list for {key!r}")
        return value if isinstance(value, list) else []

    def _line_of(self, key: str) -> int:
        if key not in self._data:
            return self._line
        return int(self._data.lc.key(key)[0]) + 1


def read_yaml(path: Path) -> Node:
    """Read one file whose top is a mapping; a file that is no YAML raises ``ConfigError`` with its line."""
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Finding(path, 0, f"expected a readable YAML file: {error}")]) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError([Finding(path, line, f"expected valid YAML: {error.problem}")]) from None
    except YAMLError as error:
        raise ConfigError([Finding(path, 0, f"expected valid YAML: {error}")]) from None
    if not isinstance(data, dict):
        raise ConfigError([Finding(path, 1, "expected a mapping at the top of the file")])
    return Node(path, data, 1, [])
