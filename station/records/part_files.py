"""What the journal keeps of one part, as files: text, JSON and bytes; what is sealed is named and stays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from station.errors import Refused
from station.journal_parts import PartRecord
from station.journal_reader import ErasedLife

SEALED = "sealed: left out"
PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One kept value: its name in the journal, its length in bytes, its file below the export (empty: left out)."""

    name: str
    size: int
    file: str
    content: bytes = b""


def files_of(record: PartRecord, lives: Iterable[ErasedLife] = ()) -> list[KeptFile]:
    """Every value that is kept of the part today, by name; a waiting registration is listed as sealed.

    What was kept before the part was erased follows, in a folder for each such life.
    """
    found = [_file(name, value, record.forms.get(name, "sealed")) for name, value in sorted(record.kept.items())]
    for waiting in record.registrations.values():
        found.append(KeptFile(f"registration of {waiting.sku}", len(waiting.sealed_hex) // 2, ""))
    for life in lives:
        for one in files_of(life.record):
            name, file = (f"{life.folder}/{text}" if text else "" for text in (one.name, one.file))
            found.append(replace(one, name=name, file=file))
    return found


def write_files(files: Iterable[KeptFile], folder: Path) -> None:
    """Write them into a new or empty folder; ``Refused`` when anything is in it, or when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Refused(
                f"expected a new or an empty folder for the part's files, but {folder} has some; name another"
            )
        for file in files:
            if file.file:
                (folder / file.file).parent.mkdir(exist_ok=True)
                (folder / file.file).write_bytes(file.content)
    except OSError as error:
        raise Refused(f"expected to write into {folder}, but: {error.strerror}; name another folder") from None


def _file(name: str, value: bytes, form: str) -> KeptFile:
    if form not in ("str", "bytes"):
        return KeptFile(name, len(value), "")
    if not PLAIN_NAME.fullmatch(name):
        raise Refused(f"expected the name of a kept value that a file can have, saw {name[:80]!r}: see journal export")
    return KeptFile(name, len(value), name + (".bin" if form == "bytes" else _ending(value)), value)


def _ending(text: bytes) -> str:
    """``.json`` for an object or an array, since a digit alone would be JSON, too."""
    try:
        return ".json" if isinstance(json.loads(text), (dict, list)) else ".txt"
    except ValueError:
        return ".txt"
