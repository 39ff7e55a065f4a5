"""The text layer of the provisioning console: strict JSON, padding, CRC objects and response lines.

Source: opentitan-device sheet 2.1. Numbers are decimal integers, bare or quoted; CRC is CRC-32/ISO-HDLC of the JSON
text; padding is spaces just before the last ``}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn
from zlib import crc32

from station.errors import FormatError

CRC_OBJECT = 18
"""Padded length of the CRC object of the reference host: as long as ``{"crc":4294967295}``."""

STATUS_CODES = (
    "Ok", "Cancelled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip

_SPACE = " \t\n\v\f\r"
_QUOTE, _BACKSLASH, _OPEN = b'"\\{'
MOST_DIGITS = 20
_DECIMAL = re.compile(rf"[0-9]{{1,{MOST_DIGITS}}}\Z")
_LINE = re.compile(r"RESP_(OK|ERR):(.*) CRC:([0-9]{1,10})(?:\r?\n)?\Z", re.DOTALL)
_LINE_IN_STREAM = re.compile(rb"RESP_(?:OK|ERR):[^\n]* CRC:[0-9]{1,10}\n")


class ResponseError(FormatError):
    """The part answered ``RESP_ERR``: ``code`` is its status name, ``module`` its 3-letter module or empty."""

    def __init__(self, code: str, value: int, module: str, crc_ok: bool) -> None:
        self.code = code
        self.value = value
        self.module = module
        self.crc_ok = crc_ok
        where = f" in module {module}" if module else ""
        super().__init__(f"expected RESP_OK, but the part answered {code} {value}{where}: see the console transcript")


@dataclass(frozen=True, slots=True)
class Response:
    """A good response line: the JSON value, its exact text, and whether a CRC was there to check."""

    value: object = field(repr=False)  # may carry seeds, as the text does
    text: str = field(repr=False)
    crc_checked: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A message from the host: the JSON value, its exact text with padding, and the CRC sent behind it (or None)."""

    value: object = field(repr=False)  # may carry a secret, as the text does
    text: str = field(repr=False)
    crc: int | None


def to_text(data: bytes | str) -> str:
    """ASCII text of console bytes."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"expected ASCII text from the console, saw byte 0x{data[error.start]:02x}: check signal quality and clock"
        ) from None


def text_crc(text: str) -> int:
    """CRC-32 (reflected, init and final xor all ones) of the text's bytes."""
    return crc32(text.encode("ascii"))


def dump(value: Mapping[str, object]) -> str:
    """JSON text without any white space, fields in order."""
    return json.dumps(value, separators=(",", ":"))


def pad(text: str, size: int) -> str:
    """Insert spaces just before the closing ``}`` until the text has ``size`` characters."""
    if not text.endswith("}"):
        raise FormatError("expected a JSON object to pad, saw another text")
    if len(text) > size:
        raise FormatError(f"expected at most {size} characters to pad, saw {len(text)}: check the firmware generation")
    return text[:-1] + " " * (size - len(text)) + "}"


def crc_object(text: str) -> str:
    """The padded CRC object of the reference host over ``text``."""
    return pad(dump({"crc": text_crc(text)}), CRC_OBJECT)


def parse_message(data: bytes | str) -> Message:
    """One JSON object from the host, optionally followed by a CRC object and by white space.

    A CRC object that does not match the exact text before it raises FormatError.
    """
    text = to_text(data)
    start = len(text) - len(text.lstrip(_SPACE))
    value, end = _decode(text, start)
    body, rest = text[start:end], text[end:].strip(_SPACE)
    if not rest:
        return Message(value, body, None)
    tail, tail_end = _decode(rest, 0)
    if tail_end != len(rest) or not isinstance(tail, Mapping) or set(tail) != {"crc"}:
        raise FormatError(
            "expected one JSON object and at most a CRC object, saw more text: send one message at a time"
        )
    crc = number(tail["crc"], 32, "crc")
    if crc != text_crc(body):
        raise FormatError(f"expected CRC {text_crc(body)} behind the message, saw {crc}: send it again")
    return Message(value, body, crc)


def object_end(stream: bytes) -> int | None:
    """Where the first JSON object of a console stream ends, or None while it is incomplete; nothing else is checked."""
    depth, in_text, escaped = 0, False, False
    for position, byte in enumerate(stream):
        if in_text:
            in_text = escaped or byte != _QUOTE
            escaped = byte == _BACKSLASH and not escaped
        elif byte == _QUOTE:
            in_text = True
        elif byte in b"{}":
            depth += 1 if byte == _OPEN else -1
            if depth <= 0:
                return position + 1
    return None


def find_response(stream: bytes) -> tuple[int, int] | None:
    """Where (start, end) the first complete response line lies in a console stream, or None while it is incomplete."""
    match = _LINE_IN_STREAM.search(stream)
    return match.span() if match else None


def parse_response(line: bytes | str) -> Response:
    """Read one response line and check its CRC; ``CRC:0`` means the part sent none.

    Raises ResponseError for RESP_ERR (its CRC is reported, not enforced: the part does not reset it first).
    """
    match = _LINE.match(to_text(line))
    if not match:
        raise FormatError(
            "expected a line 'RESP_OK:<json> CRC:<decimal>', saw another text: see the console transcript"
        )
    kind, text, crc = match[1], match[2], int(match[3])
    if kind == "ERR":
        raise _response_error(text, crc)
    if crc not in (0, text_crc(text)):
        raise FormatError(f"expected CRC {text_crc(text)} of the part's answer, saw {crc}: check the console's signals")
    value, end = _decode(text, 0)
    if text[end:].strip(_SPACE):
        raise FormatError("expected one JSON value in the part's answer, saw more text: see the console transcript")
    return Response(value, text, crc != 0)


def response_line(text: str, with_crc: bool = True) -> bytes:
    """The part's good answer; without CRC the literal ``CRC:0`` is sent, as for padded answers."""
    return f"RESP_OK:{text} CRC:{text_crc(text) if with_crc else 0}\n".encode("ascii")


def error_line(code: str, value: int = 0, module: str = "") -> bytes:
    """The part's bad answer ``RESP_ERR`` with one of STATUS_CODES."""
    if code not in STATUS_CODES:
        raise FormatError(f"expected a status code such as Internal, saw {code!r}")
    text = dump({code: [module, value] if module else value})
    return f"RESP_ERR:{text} CRC:{text_crc(text)}\n".encode("ascii")


def fields(value: object, names: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, object]:
    """The object ``value`` when it has exactly ``names`` (and perhaps ``optional``) as fields, else FormatError."""
    if not isinstance(value, Mapping):
        raise FormatError(f"expected a JSON object with {', '.join(names)}, saw another JSON value")
    missing, surplus = set(names) - set(value), set(value) - set(names) - set(optional)
    if missing or surplus:
        found = ", ".join(sorted(map(str, value)))[:200] or "no field"
        raise FormatError(f"expected the fields {', '.join(names)}, saw {found}: check the firmware generation")
    return value


def number(value: object, bits: int, name: str) -> int:
    """An unsigned integer of ``bits`` bits, bare or as a quoted decimal string."""
    if isinstance(value, str) and _DECIMAL.match(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
        raise FormatError(f"expected an unsigned {bits}-bit number in {name}, saw something else: see the transcript")
    return value


def numbers(value: object, bits: int, count: int, name: str) -> tuple[int, ...]:
    """An array of exactly ``count`` unsigned integers of ``bits`` bits."""
    if not isinstance(value, list) or len(value) != count:
        seen = f"{len(value)}" if isinstance(value, list) else "no array"
        raise FormatError(f"expected {count} numbers in {name}, saw {seen}: check the firmware generation")
    if set(map(type, value)) == {int} and min(value) >= 0 and max(value) < 1 << bits:
        return tuple(value)  # thousands of bytes are common; what is not plain is looked at one by one
    return tuple(number(item, bits, name) for item in value)


def _response_error(text: str, crc: int) -> ResponseError:
    value, _ = _decode(text, 0)
    if not isinstance(value, Mapping) or len(value) != 1:
        raise FormatError("expected one status in the part's RESP_ERR, saw another value: see the console transcript")
    [(code, detail)] = value.items()
    module = ""
    if isinstance(detail, list) and len(detail) == 2 and isinstance(detail[0], str):
        module, detail = detail
    if code not in STATUS_CODES:
        raise FormatError(f"expected a known status in RESP_ERR, saw {code[:40]!r}: see the console transcript")
    return ResponseError(code, number(detail, 32, code), module, crc == text_crc(text))


def _refuse_number(_text: str) -> NoReturn:
    # the text may be part of a secret
    raise FormatError("expected unsigned decimal integers only, saw a sign, fraction or exponent: check the sender")


def _integer(text: str) -> int:
    if not _DECIMAL.match(text):
        _refuse_number(text)
    return int(text)


def _unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise FormatError(f"expected each field once, saw {name[:40]!r} twice: check the sender")
        found[name] = value
    return found


def _decoder(parse_int: Callable[[str], int] | None) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_int=parse_int, parse_float=_refuse_number, parse_constant=_refuse_number, object_pairs_hook=_unique
    )


_STRICT, _QUICK = _decoder(_integer), _decoder(None)
_SUSPECT = re.compile(rf"-|[0-9]{{{MOST_DIGITS + 1}}}")
"""Only with a minus sign or this many digits can a text hold an integer that ``_integer`` refuses."""


def _decode(text: str, start: int) -> tuple[object, int]:
    decoder = _STRICT if _SUSPECT.search(text) else _QUICK
    try:
        value, end = decoder.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise FormatError(f"expected JSON, saw an error at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise FormatError("expected flat JSON, saw too many levels: check the sender") from None
    return value, end
