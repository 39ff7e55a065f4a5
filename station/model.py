"""Plain values shared by every layer: no behaviour, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Realm(StrEnum):
    """Which keys and parts may meet; any mismatch is refused."""

    DEV = "dev"
    PRODUCTION = "production"


class Role(StrEnum):
    """Who may do what; enforced in the workbench."""

    OPERATOR = "operator"
    ENGINEER = "engineer"
    SUPERVISOR = "supervisor"


class Mode(StrEnum):
    """What kind of work this is; only ``PRODUCTION`` counts in yield without a band."""

    PRODUCTION = "production"
    VIRTUAL = "virtual"
    ENGINEERING = "engineering"
    TRAINING = "training"
    REPLAY = "replay"


class BinKind(StrEnum):
    """The five kinds of verdict."""

    PASS = "pass"
    FAIL = "fail"
    HOLD = "hold"
    QUARANTINE = "quarantine"
    BENCH = "bench"


class Retest(StrEnum):
    """Whether and where a part may be tried again."""

    NEVER = "never"
    SAME_SOCKET = "same_socket"
    OTHER_SOCKET = "other_socket"
    ENGINEER = "engineer"


@dataclass(frozen=True, slots=True)
class Bin:
    """A verdict's bin: soft number (reason), hard number (where it goes), tray, retest rule."""

    id: str
    soft: int
    hard: int
    name: str
    kind: BinKind
    tray: str
    retest: Retest
    attempts: int = 1


class Tap(StrEnum):
    """Which test access port the straps select (TAP_STRAP1:0)."""

    LC = "lc"
    RISCV = "riscv"


class Evidence(StrEnum):
    """What a part answers when asked whether a burn has happened."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"
    CONTRADICTS = "contradicts"
    HALF_DONE = "half_done"


@dataclass(frozen=True, slots=True)
class Answer:
    """A part's answer to ``done``: the evidence and, unless it is plain, the reason in words.

    ``unfinished`` belongs to UNKNOWN: the burn is certainly not complete, but how far it came cannot be seen.
    ``bin`` belongs to HALF_DONE: where such a part goes.
    """

    evidence: Evidence
    reason: str = ""
    unfinished: bool = False
    bin: str = ""


DONE = Answer(Evidence.DONE)
NOT_DONE = Answer(Evidence.NOT_DONE)


def UNKNOWN(reason: str) -> Answer:  # noqa: N802 - beside DONE and NOT_DONE it reads as what it is
    """The part cannot say, and why."""
    return Answer(Evidence.UNKNOWN, reason)


def UNFINISHED(reason: str) -> Answer:  # noqa: N802 - as above
    """The burn is not complete; whether it was begun the part cannot say."""
    return Answer(Evidence.UNKNOWN, reason, unfinished=True)


def HALF_DONE(reason: str, bin: str) -> Answer:  # noqa: N802 - as above
    """The part shows that the burn was begun and can be neither finished nor repeated (docs/decisions/0014)."""
    return Answer(Evidence.HALF_DONE, reason, bin=bin)


def CONTRADICTS(reason: str) -> Answer:  # noqa: N802 - as above
    """The part shows something that this burn does not leave and that cannot be taken back (docs/decisions/0007)."""
    return Answer(Evidence.CONTRADICTS, reason)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One token to derive (opentitan-appliance sheet 3.3).

    ``seed``: "high", "low" or "keygen"; ``bits``: 128 or 256; ``diversifier``: 1..48 bytes, zero-padded to 48 on
    the wire like the reference client; ``hashed``: life cycle hash instead of the raw token.
    """

    label: str
    seed: str
    bits: int
    diversifier: bytes
    hashed: bool = False


@dataclass(frozen=True, slots=True)
class CaKey:
    """Which CA signs a TBS: ``label`` is the certificate's name on the wire (``UDS``, or an extension name)."""

    label: str


@dataclass(frozen=True, slots=True)
class Registration:
    """Everything RegisterDevice needs (opentitan-appliance sheet 1.4, ot.DeviceData)."""

    sku: str
    device_id: bytes  # 32 bytes, little-endian words as read from the part
    life_cycle: str  # "DEV", "PROD" or "PROD_END"
    wrapped_rma_seed: bytes
    perso_tlv: bytes = field(repr=False)  # carries device seeds
    perso_tlv_objects: int
    perso_fw_sha256: bytes  # 32 bytes
    certs_sha256: bytes  # 32 bytes, byte order of the wire contract (sheet 3.6)
    year: int = 0
    week: int = 0
    lot: int = 0
    wafer: int = 0
    x: int = 0
    y: int = 0
    ate_id: str = ""
    ate_raw: bytes = b""  # journal anchor: head hash and length


@dataclass(frozen=True, slots=True)
class Contact:
    """What the socket's presence, lid and supply sensors say; without a lid (``has_lid``) it counts as closed."""

    present: bool
    lid_closed: bool
    power_good: bool
    has_lid: bool = True

    @property
    def usable(self) -> bool:
        """True when a part sits in the closed, powered socket."""
        return self.present and self.lid_closed and self.power_good


@dataclass(frozen=True, slots=True)
class SpiFrame:
    """One chip-select window: ``out`` is sent, then ``read`` bytes are clocked in (mode 0, high bit first)."""

    out: bytes = field(repr=False)  # may carry a secret
    read: int = 0


@dataclass(frozen=True, slots=True)
class DmiRead:
    """Read of one debug module or life cycle register (7-bit word address)."""

    address: int


@dataclass(frozen=True, slots=True)
class DmiWrite:
    """Write of one register (7-bit word address, 32-bit value)."""

    address: int
    value: int = field(repr=False)  # may be a word of a token


class DebugAccess(StrEnum):
    """What an AHB access port allows now (its CSW: DeviceEn bit 6, SDeviceEn bit 23)."""

    OPEN = "open"
    NON_SECURE = "non_secure"
    CLOSED = "closed"


class ResetKind(StrEnum):
    """How a part is reset through its debug probe: SYSRESETREQ of the application core, or the reset pin."""

    SYSTEM = "system"
    PIN = "pin"


@dataclass(frozen=True, slots=True)
class DebugPort:
    """What the debug port says of itself: DPIDR, TARGETID (DP bank 2) and the IDR (32 bits) of each access port."""

    dpidr: int
    targetid: int
    access_ports: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses from ``start`` on, ``length`` bytes."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.length

    def holds(self, other: Span) -> bool:
        """Whether the other span lies wholly inside."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: Span) -> bool:
        """Whether both have an address in common."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of an image at their address."""

    address: int
    data: bytes = field(repr=False)

    @property
    def span(self) -> Span:
        """Where it lies."""
        return Span(self.address, len(self.data))


@dataclass(frozen=True, slots=True)
class EraseWaiver:
    """The journaled word that a whole part may be erased with all its keys; only ``Run.waive_erase`` makes one.

    ``row`` is the number of the journal's row that says so.
    """

    reason: str
    row: int
