"""Every form in which a known secret could stand in an output, and a search for them in files."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

WINDOW = 16
"""A secret longer than this is searched piece by piece, so that a cut output shows too."""


@dataclass(frozen=True)
class Leak:
    """A secret in a place, in a form."""

    secret: str
    form: str
    place: str

    def __str__(self) -> str:
        return f"{self.secret} as {self.form} in {self.place}"


def pieces(raw: bytes) -> Iterator[bytes]:
    """Aligned windows of a secret, the whole of a short one."""
    if len(raw) <= WINDOW:
        yield raw
        return
    for start in range(0, len(raw) - WINDOW + 1, WINDOW):
        yield raw[start : start + WINDOW]
    if len(raw) % WINDOW:
        yield raw[-WINDOW:]


def reversals(raw: bytes) -> dict[str, bytes]:
    """The bytes, all of them reversed, and with each 4- and 8-byte word reversed."""
    found = {"as it is": raw, "reversed": raw[::-1]}
    for size in (4, 8):
        if len(raw) % size == 0:
            words = [raw[at : at + size] for at in range(0, len(raw), size)]
            found[f"{8 * size}-bit words reversed"] = b"".join(word[::-1] for word in words)
            found[f"{8 * size}-bit words in reverse order"] = b"".join(words[::-1])
    return found


def forms(raw: bytes) -> dict[str, set[bytes]]:
    """Texts and bytes by the name of their form."""
    found: dict[str, set[bytes]] = {}
    for name, turned in reversals(raw).items():
        digits = turned.hex()
        spaced = [turned.hex(sep) for sep in (" ", ":", ",")]
        found[f"raw, {name}"] = {turned}
        found[f"hex, {name}"] = {text.encode() for t in (digits, *spaced) for text in (t, t.upper())}
        found[f"escaped, {name}"] = {b"".join(b"\\x%02x" % byte for byte in turned), repr(turned)[2:-1].encode()}
        found[f"octal, {name}"] = {b"".join(b"\\%03o" % byte for byte in turned)}
        found[f"byte decimals, {name}"] = {
            sep.join(str(byte) for byte in turned).encode() for sep in (",", ", ", '","', '", "', " ")
        }
        found[f"base64, {name}"] = set(base64_forms(turned))
        for size in (4, 8):
            if len(turned) % size == 0 and len(turned) >= 8:
                found[f"u{8 * size} decimals, {name}"] = set(decimals(turned, size))
    return found


def base64_forms(raw: bytes) -> Iterator[bytes]:
    """What of a secret's base64 does not depend on its neighbours, at each of the three alignments, both alphabets."""
    for skip in range(3):
        encoded = base64.b64encode(bytes(skip) + raw)
        start, end = (0, 2, 3)[skip], len(encoded) if (skip + len(raw)) % 3 == 0 else -(-(skip + len(raw)) // 3) * 4 - 4
        inner = encoded[start:end]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def decimals(raw: bytes, size: int) -> Iterator[bytes]:
    """Neighbouring words as JSON and Python write them, quoted and unquoted, both byte orders."""
    for order in ("little", "big"):
        words = [str(int.from_bytes(raw[at : at + size], order)) for at in range(0, len(raw), size)]  # type: ignore[arg-type]
        for sep in (",", ", ", '","', '", "', "','", "', '", " ", "\n"):
            yield sep.join(words).encode()
        if size == 8:
            yield from (word.encode() for word in words if len(word) >= 18)


def search(content: bytes, place: str, secrets: Mapping[str, bytes]) -> list[Leak]:
    """All leaks in one content."""
    found = []
    for label, raw in secrets.items():
        for piece in pieces(raw):
            for form, texts in forms(piece).items():
                if any(text in content for text in texts):
                    found.append(Leak(label, form, place))
    return found


def search_files(paths: Iterable[Path], secrets: Mapping[str, bytes]) -> list[Leak]:
    """All leaks in these files, each file's name included."""
    found = []
    for path in paths:
        found += search(path.read_bytes(), str(path), secrets)
        found += search(str(path).encode(), f"the name of {path}", secrets)
    return found
