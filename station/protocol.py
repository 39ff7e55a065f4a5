"""Events and commands between engine and window: JSON lines, one object per line, versioned.

Rules of the wire: UTF-8, one line of at most ``MAX_LINE`` bytes, the key ``type`` names the class, unknown keys are
ignored by the reader (an older window must survive a newer engine), an unknown ``type`` raises ``ProtocolError``.
Log and progress lines may be dropped with a count; socket states and verdicts are resent as a snapshot.
Credentials travel in ``SignIn`` and ``GiveCredential`` only, through ``encode_credential`` and never through
``encode``; they are on stdin only, and only ok or failed comes back.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from station.errors import StationError
from station.protocol_fields import misfit
from station.secret import Secret

SCHEMA = 1
MAX_LINE = 1 << 20


class ProtocolError(StationError):
    """A line that is not an event or command of this schema."""


# ---- values inside events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One title of the plan: the operator's checklist line; ``burn``: irreversible, a burn or an erasure."""

    id: str
    title: str
    burn: bool


@dataclass(frozen=True, slots=True)
class StepState:
    """How one title went: ``status`` is running, done, found_done, failed or skipped."""

    id: str
    status: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PromptView:
    """A question inside one tile."""

    id: int
    text: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Bin, tray and words of a finished run."""

    kind: str
    bin: int
    hard_bin: int
    bin_id: str
    name: str
    tray: str
    reason: str
    part_state: str
    retest: str
    finishes_by: str = ""


@dataclass(frozen=True, slots=True)
class BinCount:
    """One row of the bins card."""

    bin: int
    name: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class MapCell:
    """One die of the wafer map or one place of the tray map; ``kind`` is a bin kind, ``running`` or empty."""

    x: int
    y: int
    kind: str
    bin: int = 0


# ---- events: engine -> window ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """First event after start; ``on_trays``: those of its recipes whose parts come on trays, not on wafers."""

    schema: int
    station: str
    build: str
    realm: str
    mode: str
    sockets: int
    recipes: tuple[str, ...]
    recipe: str = ""
    recipe_title: str = ""
    recipe_revision: str = ""
    sku: str = ""
    fingerprint: str = ""
    on_trays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SocketState:
    """Everything one tile shows; always whole, so that the last one wins.

    ``state``: insert_part, scan, checking, running, burning, pass, fail, hold, quarantine, bench_fault, interrupted.
    ``epoch`` grows with every change of what a start or acknowledge would do; a command with another epoch is refused.
    ``settling``: while burning, nothing is done any more but wait until the chip's worst case has passed.
    """

    socket: int
    epoch: int
    state: str
    expects: str = ""
    label: str = ""
    device_id: str = ""
    present: bool = False
    lid_closed: bool = False
    has_lid: bool = True
    contacts: int = 0
    contacts_limit: int = 0
    plan: tuple[PlanItem, ...] = ()
    steps: tuple[StepState, ...] = ()
    elapsed: float = 0.0
    typical: float = 0.0
    percent: int = 0
    burn_title: str = ""
    settling: bool = False
    stop_allowed: bool = True
    stop_requested: bool = False
    verdict: Verdict | None = None
    prompt: PromptView | None = None
    since: float = 0.0
    may_start: bool = False
    needs_acknowledge: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """One log line; ``source`` is station, dut, pa, jtag, journal …; ``level`` is debug, info, warning, error."""

    time: float
    socket: int
    source: str
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running socket is; may be dropped."""

    socket: int
    percent: int
    elapsed: float


@dataclass(frozen=True, slots=True)
class Lot:
    """This lot: counts, yield line, bins, map; ``to_go`` is negative when nobody said how large the lot is.

    Without a lot the figures are those since ``since`` (the start of the day). A part on hold has no result yet: it is
    in no yield. ``map_name`` is the wafer or tray of the cells.
    """

    lot: str
    wafer: str
    passed: int
    failed: int
    held: int
    quarantined: int
    first_pass_yield: float
    units_per_hour: float
    to_go: int
    stop_limit: float
    stop_hint: str
    yield_line: tuple[float, ...] = ()
    bins: tuple[BinCount, ...] = ()
    map_kind: str = "wafer"
    cells: tuple[MapCell, ...] = ()
    since: float = 0.0
    map_name: str = ""


@dataclass(frozen=True, slots=True)
class ApplianceState:
    """What the header says of the appliance; before the first check ``ok`` means nothing."""

    ok: bool
    name: str
    text: str
    milliseconds: float = 0.0
    pending_registrations: int = 0
    checked: bool = True


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who works at the bench; an empty name means nobody."""

    operator: str
    role: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """A command was not carried out, with the one sentence why."""

    command: str
    socket: int
    sentence: str


@dataclass(frozen=True, slots=True)
class ScanTaken:
    """What a scan was understood as."""

    text: str
    meaning: str
    socket: int = 0
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer to a query: column names and rows of plain values."""

    query: str
    request: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Log or progress lines that a slow reader did not get."""

    count: int


@dataclass(frozen=True, slots=True)
class Latched:
    """The journal cannot be written: DO NOT REMOVE, no verdict, no new runs."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Finishing:
    """The engine was told to end and finishes the burns of these sockets first."""

    sockets: tuple[int, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Last event: the engine is gone."""

    sentence: str = ""


Event = (
    Hello | SocketState | Log | Progress | Lot | ApplianceState | SignedIn | CommandRefused | ScanTaken | Rows
    | Dropped | Latched | Finishing | Ended
)  # fmt: skip


# ---- commands: window, CLI, MES, handler -> engine ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignIn:
    """Operator name and PIN; encoded by ``encode_credential`` only."""

    operator: str
    pin: Secret


@dataclass(frozen=True, slots=True)
class SignOut:
    """The operator leaves."""


@dataclass(frozen=True, slots=True)
class SelectRecipe:
    """Choose what this bench does now."""

    recipe: str
    lot: str = ""
    wafer: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan, raw text as the scanner gave it; socket 0 means the one that waits longest."""

    text: str
    socket: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """Start the part in this socket; refused unless the epoch is the one on the screen."""

    socket: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop at the next wait outside a burn; socket 0 means all."""

    socket: int
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The operator has read the verdict (key, or scan of the tray)."""

    socket: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to a prompt of one socket."""

    socket: int
    prompt: int
    choice: str


@dataclass(frozen=True, slots=True)
class Release:
    """A supervisor releases a quarantined part, with a reason."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConfirmRegistration:
    """A supervisor has found a part in the registry whose registration nobody acknowledged here, and says how."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class Query:
    """Ask for history, run, yield, pareto, bench, faults, operators or part; answered by ``Rows`` with its number."""

    query: str
    request: int
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Send Hello and every state again."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Finish the burn in progress, stop at the next wait, record, exit."""


@dataclass(frozen=True, slots=True)
class Handle:
    """What a hand does at a virtual socket: ``action`` is insert, remove, lid or fault; refused on a real bench."""

    socket: int
    action: str
    argument: str = ""


Command = (
    SignIn | SignOut | SelectRecipe | Scan | Start | Stop | Acknowledge | Answer | Release | Query | Snapshot | Shutdown
    | Handle | ConfirmRegistration
)  # fmt: skip

_EVENTS: dict[str, type[Any]] = {c.__name__: c for c in typing.get_args(Event)}
_COMMANDS: dict[str, type[Any]] = {c.__name__: c for c in typing.get_args(Command)}


# ---- the codec ---------------------------------------------------------------------------------------------------


def encode(message: Event | Command) -> bytes:
    """One JSON line with its newline; a ``Secret`` anywhere raises TypeError."""
    body = _plain(message)
    return (
        json.dumps({"type": type(message).__name__, **body}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    )


def encode_credential(message: SignIn) -> bytes:
    """The one encoder that writes a PIN, for the engine's stdin only."""
    with message.pin.reveal() as raw:
        return json.dumps({"type": "SignIn", "operator": message.operator, "pin": raw.decode()}).encode() + b"\n"


def decode_event(line: bytes) -> Event:
    """Read one event; raises ``ProtocolError`` with the first 80 characters of a bad line."""
    return typing.cast(Event, _decode(line, _EVENTS))


def decode_command(line: bytes) -> Command:
    """Read one command; the error text names the field but never repeats the line, since it may carry a PIN."""
    return typing.cast(Command, _decode(line, _COMMANDS, lambda cls, body: misfit(cls, body, _hints(cls))))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} does not travel between engine and window")


def _decode(
    line: bytes, known: dict[str, type[Any]], wrong: Callable[[type[Any], dict[str, Any]], str] = lambda cls, body: ""
) -> Any:
    if len(line) > MAX_LINE:
        raise ProtocolError(f"expected a line of at most {MAX_LINE} bytes, got {len(line)}; the stream is out of step")
    try:
        body = json.loads(line)
        cls = known[body["type"]]
        if said := wrong(cls, body):
            raise ProtocolError(said)
        return _build(cls, body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError(
            f"expected one of {', '.join(sorted(known))} as a JSON line ({type(error).__name__})"
        ) from None


def _build(cls: type[Any], body: dict[str, Any]) -> Any:
    hints = _hints(cls)
    return cls(**{name: _value(hints[name], body[name]) for name in hints if name in body})


_hint_cache: dict[type[Any], dict[str, Any]] = {}


def _hints(cls: type[Any]) -> dict[str, Any]:
    if cls not in _hint_cache:
        _hint_cache[cls] = typing.get_type_hints(cls)
    return _hint_cache[cls]


def _value(hint: Any, value: Any) -> Any:
    if hint is Secret:
        return Secret(str(value).encode(), "pin")
    if isinstance(hint, types.UnionType):
        return None if value is None else _value(next(a for a in typing.get_args(hint) if a is not type(None)), value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value)
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, item) for item in value)
    return value
