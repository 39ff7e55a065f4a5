"""What the journal knows of a part: bindings of labels and device ids, burns, kept values, quarantine, verdicts.

A part is found by its label (of one kind: a die has a place on a wafer, a packaged part has its own label) or by its
device id. Device ids are compared by their first 16 bytes: what is written at chip probe stays the beginning of what
final test completes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from station.journal_rows import Context, Row
from station.secret import Sealed

IDENTITY_DIGITS = 32
PART_KINDS = (
    "scan", "start", "intent", "outcome", "found_done", "bind", "keep", "registration", "registration_due",
    "registered", "quarantine", "release", "verdict", "waiver", "erased", "spared",
)  # fmt: skip


Keepable = bytes | Sealed | str


class BurnState(StrEnum):
    """What the journal says of one burn of one part."""

    NOTHING = "nothing"
    OPEN = "open"
    DONE = "done"
    NOT_DONE = "not_done"
    HALF_DONE = "half_done"


@dataclass(slots=True)
class BurnFacts:
    """One burn of one part; ``failed`` and ``interrupted`` count since the last verdict or release.

    ``failed_inside``: the firmware itself reported a failure, and the part could not say how far it had come.
    ``vouched``: a supervisor released the part after this burn was found done elsewhere.
    """

    state: BurnState = BurnState.NOTHING
    failed: int = 0
    interrupted: int = 0
    settle: float = 0.0
    boot: str = ""
    monotonic_us: int = 0
    run: int = 0
    power_lost: bool = False
    failed_inside: bool = False
    vouched: bool = False


@dataclass(frozen=True, slots=True)
class VerdictFacts:
    """The verdict that ended one run."""

    run: int
    seq: int
    kind: str
    bin_id: str
    recipe: str
    socket: int
    time: float
    reason: str
    pending: bool

    @property
    def moment(self) -> str:
        """Local date and time to the minute, for a sentence."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.time))


@dataclass(frozen=True, slots=True)
class KeptRegistration:
    """A complete registration request, sealed; ``due`` once the flow has reached the point of sending it."""

    run: int
    sku: str
    sealed_hex: str
    context: Context
    anchor: str = ""
    due: bool = False


def identity(device_id: str) -> str:
    """The part of a device id (hex text) by which parts are compared."""
    return device_id.lower()[:IDENTITY_DIGITS]


@dataclass(slots=True)
class PartRecord:
    """Everything known of one part; fed with its rows in order, live ones included.

    ``forms``: what each kept value was: str, bytes or sealed.
    ``waivers``: rows that allowed the erasure of the whole part, of which nobody knows yet whether it happened.
    """

    labels: set[tuple[str, str]] = field(default_factory=set)
    device_id: str = ""
    burns: dict[tuple[str, str], BurnFacts] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    fails: dict[tuple[str, str], int] = field(default_factory=dict)
    verdicts: dict[str, VerdictFacts] = field(default_factory=dict)
    quarantine: str = ""
    quarantine_rows: list[Row] = field(default_factory=list)
    registrations: dict[int, KeptRegistration] = field(default_factory=dict)
    registered: bool = False
    erasures: int = 0
    waivers: set[int] = field(default_factory=set)
    last_context: Context | None = None

    def burn(self, flow: str, title: str) -> BurnFacts:
        """The facts of one burn, empty ones when nothing is known."""
        return self.burns.setdefault((flow, title), BurnFacts())

    def open_burns(self, flow: str = "") -> list[tuple[str, str]]:
        """(flow, title) of every intent without a known outcome."""
        return [
            key for key, facts in self.burns.items() if facts.state is BurnState.OPEN and (not flow or key[0] == flow)
        ]

    def begun(self, flow: str, title: str) -> bool:
        """True when this burn is known to have been begun, and not to have left the part as it was."""
        return self.burn(flow, title).state in (BurnState.OPEN, BurnState.DONE, BurnState.HALF_DONE)

    def half_done(self, flow: str) -> bool:
        """True when the part showed a half of a burn of this flow: nothing more will come of it."""
        return any(key[0] == flow and facts.state is BurnState.HALF_DONE for key, facts in self.burns.items())

    def burnt(self, flow: str) -> bool:
        """True when a burn of this flow is known to have happened."""
        return any(key[0] == flow and facts.state is BurnState.DONE for key, facts in self.burns.items())

    def passed(self, flow: str) -> VerdictFacts | None:
        """The verdict with which the part passed this flow, unless it may have been erased since."""
        last = self.verdicts.get(flow)
        return last if last is not None and last.kind == "pass" and not self.erasing else None

    @property
    def erasing(self) -> bool:
        """The erasure of the whole part was allowed, and its end is not known."""
        return bool(self.waivers)

    @property
    def settle(self) -> float:
        """The longest settle time of the open intents, in seconds."""
        return max((self.burns[key].settle for key in self.open_burns()), default=0.0)

    def feed(self, row: Row) -> None:
        """Take one more row of this part."""
        self.last_context = row.context
        if row.context.label:
            self.labels.add((row.context.label_kind, row.context.label))
        if not self.device_id and not row.context.label:
            self.device_id = row.context.device_id
        handler = _HANDLERS.get(row.kind)
        if handler is not None:
            handler(self, row)

    def _start(self, row: Row) -> None:
        flow = row.context.flow
        self.starts[flow] = self.starts.get(flow, 0) + 1

    def _intent(self, row: Row) -> None:
        facts = self.burn(row.context.flow, row.title)
        facts.state = BurnState.OPEN
        facts.settle = float(row.detail.get("settle", 0.0))
        facts.boot, facts.monotonic_us, facts.run = row.boot, row.monotonic_us, row.context.run
        facts.power_lost = facts.failed_inside = False
        self.waivers.clear()  # the flow has seen what the part is

    def _outcome(self, row: Row) -> None:
        facts = self.burn(row.context.flow, row.title)
        evidence = row.detail["evidence"]
        facts.power_lost = facts.power_lost or bool(row.detail.get("power_lost"))
        facts.failed_inside = facts.failed_inside or bool(row.detail.get("failed_inside"))
        if row.detail.get("power_lost"):  # the verdict says so, too, unless the station dies before it
            self._quarantine_for(row, f"contact with the part was lost during '{row.title}'")
        if evidence != "done" and row.detail.get("interrupted"):
            facts.interrupted += 1
        elif evidence == "not_done":
            facts.failed += 1
        if evidence in ("done", "not_done", "half_done"):
            facts.state = BurnState(evidence)

    def _found_done(self, row: Row) -> None:
        self.burn(row.context.flow, row.title).state = BurnState.DONE

    def _keep(self, row: Row) -> None:
        name = row.detail["name"]
        self.kept[name] = bytes.fromhex(row.detail["value"])
        self.forms[name] = str(row.detail["form"])

    def _registration(self, row: Row) -> None:
        run = row.context.run
        self.registered = False
        self.registrations = {
            run: KeptRegistration(run, row.detail["sku"], row.detail["sealed"], row.context, row.detail["anchor"])
        }

    def _registration_due(self, row: Row) -> None:
        kept = self.registrations.get(row.context.run)
        if kept is not None:
            self.registrations[row.context.run] = replace(kept, due=True)

    def _registered(self, row: Row) -> None:
        self.registrations.pop(int(row.detail["registration"]), None)
        self.registered = True

    def _quarantine(self, row: Row) -> None:
        self._quarantine_for(row, str(row.detail.get("reason", "")) or "quarantined")

    def _quarantine_for(self, row: Row, reason: str) -> None:
        self.quarantine = reason
        self.quarantine_rows.append(row)

    def _bind(self, row: Row) -> None:
        self.device_id = row.context.device_id

    def _release(self, row: Row) -> None:
        """What a supervisor has judged: a burn found done elsewhere counts from now on."""
        if identity(row.context.device_id) != identity(self.device_id) and row.context.device_id:
            self.device_id = ""  # whose chip it is, the chip says in the next run
        for judged in self.quarantine_rows:
            if judged.title:
                self.burn(judged.context.flow, judged.title).vouched = True
        self.quarantine = ""
        self.quarantine_rows = []
        for facts in self.burns.values():  # a lost power stays: no reason given repairs a half-written partition
            facts.failed = facts.interrupted = 0

    def _verdict(self, row: Row) -> None:
        detail, flow = row.detail, row.context.flow
        self.verdicts[flow] = VerdictFacts(
            row.context.run, row.seq, detail["kind"], detail["bin_id"], row.context.recipe, row.context.socket,
            row.time, detail.get("reason", ""), bool(detail.get("pending")),
        )  # fmt: skip
        if detail["kind"] == "quarantine":
            self._quarantine(row)
        if detail["kind"] == "fail":
            key = (flow, detail["bin_id"])
            self.fails[key] = self.fails.get(key, 0) + 1
        for facts in self.burns.values():
            facts.failed = facts.interrupted = 0

    def _waiver(self, row: Row) -> None:
        """From here on the part may lose everything that was burnt into it."""
        self.waivers.add(row.seq)

    def _spared(self, row: Row) -> None:
        """Another chip was erased by this waiver; or (none is named) the part has proved that it never was."""
        if "waiver" in row.detail:
            self.waivers.discard(int(row.detail["waiver"]))
        else:
            self.waivers.clear()

    def _erased(self, row: Row) -> None:
        """The whole part was erased with what was burnt into it: what it was, it is no more (docs/decisions/0014)."""
        self.erasures += 1
        self.waivers.clear()
        self.burns.clear()
        self.kept.clear()
        self.forms.clear()
        self.verdicts.clear()
        self.fails.clear()


_HANDLERS = {
    "waiver": PartRecord._waiver,
    "erased": PartRecord._erased,
    "spared": PartRecord._spared,
    "start": PartRecord._start,
    "intent": PartRecord._intent,
    "outcome": PartRecord._outcome,
    "found_done": PartRecord._found_done,
    "bind": PartRecord._bind,
    "keep": PartRecord._keep,
    "registration": PartRecord._registration,
    "registration_due": PartRecord._registration_due,
    "registered": PartRecord._registered,
    "quarantine": PartRecord._quarantine,
    "release": PartRecord._release,
    "verdict": PartRecord._verdict,
}


class Bindings:
    """Which label belongs to which device; one label of each kind per device."""

    def __init__(self) -> None:
        self._device: dict[tuple[str, str], str] = {}
        self._label: dict[tuple[str, str], str] = {}

    def feed(self, row: Row) -> None:
        """Take a ``bind`` row, or a ``release`` row, which forgets the bindings that a supervisor has judged."""
        context = row.context
        if row.kind == "release":
            self.forget(context.label_kind, context.label, context.device_id)
        elif context.label and context.device_id:
            self._device[context.label_kind, context.label] = identity(context.device_id)
            self._label[context.label_kind, identity(context.device_id)] = context.label

    def forget(self, kind: str, label: str, device_id: str) -> None:
        """Remove what this label and this device were bound to, when it was that which a supervisor has judged."""
        if not device_id or not self.conflict(kind, label, device_id):
            return
        device = self._device.pop((kind, label), None)
        if device is not None:
            self._label.pop((kind, device), None)
        other = self._label.pop((kind, identity(device_id)), None)
        if other is not None:
            self._device.pop((kind, other), None)

    def device_of(self, kind: str, label: str) -> str:
        """The identity bound to a label, or an empty text."""
        return self._device.get((kind, label), "")

    def labels_of(self, device_id: str) -> list[tuple[str, str]]:
        """(kind, label) pairs bound to a device."""
        wanted = identity(device_id)
        return [(kind, label) for (kind, device), label in self._label.items() if device == wanted] if wanted else []

    def conflict(self, kind: str, label: str, device_id: str) -> str:
        """One sentence when label and device belong to others, else an empty text."""
        bound_device = self.device_of(kind, label)
        if bound_device and bound_device != identity(device_id):
            return (
                f"label {label} belongs to device {bound_device}, but the chip in the socket is {identity(device_id)}"
            )
        bound_label = self._label.get((kind, identity(device_id)), "")
        if bound_label and label and bound_label != label:
            return f"device {identity(device_id)} belongs to label {bound_label}, but label {label} was scanned"
        return ""


def kept_detail(name: str, value: Keepable) -> dict[str, object]:
    """How a kept value stands in its row, where ``PartRecord`` reads it."""
    if isinstance(value, Sealed):
        raw, form = value.blob, "sealed"
    elif isinstance(value, str):
        raw, form = value.encode(), "str"
    elif isinstance(value, bytes):
        raw, form = value, "bytes"
    else:
        raise TypeError(f"{type(value).__name__} is not kept in the journal")
    return {"name": name, "form": form, "value": raw.hex()}


def record_of(rows: Iterable[Row]) -> PartRecord:
    """The record that these rows add up to."""
    record = PartRecord()
    for row in rows:
        record.feed(row)
    return record
