"""The attestation token as the production firmware prints it: a length, then a hex dump.

Source: nordic-tfm sheet 4.2; sdk-nrf:samples/tfm/tfm_psa_template/src/main.c (``dump_hex_ascii``). Lines come without
colours and line ends (``console_lines``). A row is cut at its first vertical bar: the text behind it may hold bars too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from station.errors import FormatError
from station.formats.console_lines import LineAssembler

REQUEST = re.compile(r"Requesting initial attestation token with ([0-9]{1,4}) byte challenge\.")
ANNOUNCEMENT = re.compile(r"Received initial attestation token of ([0-9]{1,5}) bytes\.")
FAILURE = re.compile(r"psa_initial_attest_get_token \(err (-?[0-9]{1,10})\)")
_ROW = re.compile(r"^\s*((?:[0-9A-F]{2} +){1,16})\|  (.*)$")
_AS_PRINTED = bytes(byte if 0x20 <= byte < 0x7F else ord(".") for byte in range(0x100))
ROW_BYTES = 16
MOST_BYTES = 4096
TOKEN_BEGINS = b"\xd2"
"""CBOR tag 18."""


class TokenDump:
    """Takes console lines one by one and gives the token once its last row is there."""

    def __init__(self) -> None:
        self._length = 0
        self._raw = b""

    def feed(self, line: str) -> bytes | None:
        """Take one line; the token with its last row. A second announcement (a reboot) starts anew.

        A row of the wrong length, or one whose text column disagrees with its bytes, raises ``FormatError``; the rest
        of that dump is passed over.
        """
        if found := ANNOUNCEMENT.search(line):
            self._length, self._raw = int(found[1]), b""
            if not 0 < self._length <= MOST_BYTES:
                raise FormatError(f"expected a token of at most {MOST_BYTES} bytes, the part announced {self._length}")
            return None
        row = _ROW.match(line) if self._length else None
        if row is None:
            return None
        try:
            self._take(bytes.fromhex(row[1]), row[2])
        except FormatError:
            self._length = 0
            raise
        if len(self._raw) < self._length:
            return None
        token, self._length, self._raw = self._raw, 0, b""
        return token

    def missing(self) -> str:
        """What of an announced token has not come, in words; empty when nothing was announced."""
        if not self._length:
            return ""
        return f"the part announced a token of {self._length} bytes, {len(self._raw)} came"

    def _take(self, raw: bytes, text: str) -> None:
        number = len(self._raw) // ROW_BYTES + 1
        wanted = min(ROW_BYTES, self._length - len(self._raw))
        if len(raw) != wanted:
            raise FormatError(f"expected {wanted} bytes in row {number} of the token's dump, saw {len(raw)}")
        if _printed(raw).rstrip() != text.rstrip():
            raise FormatError(f"row {number} of the token's dump says other characters than bytes: garbled on the wire")
        self._raw += raw


def read(lines: Iterable[str]) -> bytes:
    """The last whole token in a transcript; ``FormatError`` when there is none."""
    dump, token, failure = TokenDump(), None, None
    for line in lines:
        failure = FAILURE.search(line) or failure
        whole = dump.feed(line)
        token, failure = (whole, None) if whole is not None else (token, failure)
    if failure is not None:
        raise FormatError(f"the part gave no token: psa_initial_attest_get_token returned {failure[1]}")
    if dump.missing():
        raise FormatError(f"expected a whole token, but {dump.missing()}: capture it again")
    if token is None:
        raise FormatError("expected 'Received initial attestation token of … bytes.' and a dump, saw no such lines")
    return token


def find(raw: bytes) -> bytes:
    """The token in a file: the token itself, its hex digits (spaces, commas and 0x do not matter), or a transcript."""
    if raw[:1] == TOKEN_BEGINS:
        return raw
    digits = re.sub(rb"0x|[\s,:;]", b"", raw)
    if digits and re.fullmatch(rb"(?:[0-9a-fA-F]{2})+", digits):
        return bytes.fromhex(digits.decode("ascii"))
    assembler = LineAssembler()
    assembler.feed(raw + b"\n")
    lines = [line.text for line in assembler.lines]
    if not any(ANNOUNCEMENT.search(line) or FAILURE.search(line) for line in lines):
        seen = "neither of them" if raw.strip() else "an empty file"
        raise FormatError(f"expected an attestation token, its hex digits, or the transcript of a console, saw {seen}")
    return read(lines)


def _printed(raw: bytes) -> str:
    return raw.translate(_AS_PRINTED).decode("ascii")
