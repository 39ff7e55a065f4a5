"""Ports: what parts and flows may ask of the outside world; drivers provide them.

A driver is an entry point of the group ``station.drivers``: a callable
``open(settings: Mapping[str, object], socket: int) -> OpenSocket``. It never knows a flow.
All methods raise ``BenchError`` (or ``AdapterLost``, ``PowerLost``, ``WaitTimeout``) when the bench is at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from station.deadline import Deadline
from station.formats.journal_anchor import JournalAnchor
from station.model import (
    Contact,
    DebugAccess,
    DebugPort,
    DmiRead,
    DmiWrite,
    EraseWaiver,
    Registration,
    ResetKind,
    Segment,
    Span,
    SpiFrame,
    TokenRequest,
)
from station.secret import Sealed, Secret


@runtime_checkable
class Jtag(Protocol):
    """One TAP with the RISC-V debug transport (IR 5 bits, DTMCS 0x10, DMI 0x11, 41-bit DMI)."""

    def connect(self) -> int:
        """Reset the TAP by TMS, read and return the 32-bit IDCODE, check DTMCS, clear sticky busy.

        Call it after every strap change or reset of the part. An IDCODE of all zeros or all ones raises ``BenchError``.
        """
        ...

    def dmi(self, operations: Sequence[DmiRead | DmiWrite]) -> list[int]:
        """Carry out the operations in order in as few transfers as possible; returns the values of the reads."""
        ...

    def dmi_secret(self, operations: Sequence[DmiRead | DmiWrite]) -> None:
        """Like ``dmi`` for writes that carry a secret: never logged, traced or captured."""
        ...

    def write_words(self, address: int, words: Sequence[int]) -> None:
        """Write 32-bit words over the system bus with autoincrement; raises ``PartError`` on sberror."""
        ...

    def read_words(self, address: int, count: int) -> list[int]:
        """Read 32-bit words over the system bus with autoincrement."""
        ...

    def disconnect(self) -> None:
        """Park TCK and TMS low; the part runs on."""
        ...


@runtime_checkable
class Spi(Protocol):
    """SPI host, mode 0: batches of chip-select windows."""

    def transact(self, frames: Sequence[SpiFrame]) -> list[bytes]:
        """Run the frames in order; one bytes object per frame, of length ``frame.read``."""
        ...

    def transact_secret(self, frames: Sequence[SpiFrame]) -> list[bytes]:
        """Like ``transact`` for frames that carry a secret: never logged, traced or captured."""
        ...


@runtime_checkable
class Console(Protocol):
    """A byte stream from and to the part's UART; received bytes are kept by a reader thread."""

    def read(self, deadline: Deadline) -> bytes:
        """At least one byte, or ``b''`` when the deadline passes first."""
        ...

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        ...

    def clear(self) -> None:
        """Forget what was received so far."""
        ...


@runtime_checkable
class Pins(Protocol):
    """Named signals; True means asserted, whatever the polarity on the board."""

    reset_seconds: float
    """Time for the fixture's reset line to settle after every change: a property of the board, not of the part."""

    def drive(self, levels: Mapping[str, bool]) -> None:
        """Set outputs, all of one bank in one transfer."""
        ...

    def sample(self) -> Mapping[str, bool]:
        """Levels of all inputs, read in one transfer per bank."""
        ...


@runtime_checkable
class Probe(Protocol):
    """A debug probe on the SWD port of one part; ``core`` names a core of the part's family (``app``, ``net``).

    It offers ranges only. What destroys keys, the erasure of a whole part, takes a journaled waiver. A transfer that
    the part refuses (closed port, core off) raises ``PartError``; a probe or part that does not answer, ``BenchError``.
    """

    identity: str
    """The probe's own serial number or address, for the journal."""

    def attach(self) -> DebugPort:
        """Power up the debug port and look at its access ports: no reset, no halt, no unlock, whatever is found.

        Call it after every reset or loss of power.
        """
        ...

    def access(self, core: str) -> DebugAccess:
        """What the core's AHB access port allows now; a core that is switched off is CLOSED."""
        ...

    def read_ap(self, port: int, register: int) -> int:
        """One 32-bit register of an access port (CTRL-AP)."""
        ...

    def write_ap(self, port: int, register: int, value: int) -> None:
        """Write one 32-bit register of a CTRL-AP; ``ConfigError`` for those that erase the part."""
        ...

    def read_words(self, core: str, address: int, count: int) -> list[int]:
        """32-bit words through the core's bus."""
        ...

    def write_words(self, core: str, address: int, words: Sequence[int]) -> None:
        """Write 32-bit words to RAM or registers; ``ConfigError`` for flash, UICR and the flash controllers' registers.

        Nothing is erased and no flash is programmed by it.
        """
        ...

    def halt(self, core: str) -> None:
        """Halt the core, so that it runs no code while its flash changes."""
        ...

    def program(self, core: str, segments: Sequence[Segment]) -> None:
        """Erase the pages that the segments touch, write them, read them back; main flash only.

        Bytes of a touched page outside the segments end as 0xFF. The core is halted and stays so until a reset.
        """
        ...

    def erase(self, core: str, spans: Sequence[Span]) -> None:
        """Erase the pages that the spans touch, main flash only; UICR and everything else stays."""
        ...

    def write_once(self, core: str, address: int, words: Sequence[int]) -> None:
        """Write UICR words without erasing (bits go from 1 to 0 only) and read each back; ``PartError`` if it differs.

        Words that read back differently by nature (KMU keys) are not for this method.
        """
        ...

    def erase_all(self, core: str, waiver: EraseWaiver) -> None:
        """CTRL-AP.ERASEALL of the core: flash, RAM, UICR with OTP and KMU, and the protection; waits until done."""
        ...

    def reset(self, kind: ResetKind) -> None:
        """Reset the part; outputs of the probe keep their levels otherwise. ``attach`` afterwards."""
        ...


@runtime_checkable
class Presence(Protocol):
    """Is there a part, is the lid closed, is the socket powered."""

    def contact(self) -> Contact:
        """Read the sensors now."""
        ...


@runtime_checkable
class Appliance(Protocol):
    """The Provisioning Appliance; owns its session. Every call carries its own deadline."""

    def open_session(self, sku: str) -> None:
        """Log in for the SKU (InitSession); also the connectivity check before the first burn."""
        ...

    def derive(self, sku: str, requests: Sequence[TokenRequest]) -> list[Secret]:
        """DeriveTokens with the high or low seed; one secret per request."""
        ...

    def generate(self, sku: str, request: TokenRequest) -> tuple[bytes, Sealed]:
        """DeriveTokens with a fresh seed, always hashed: the token's hash (no secret, it is journaled), wrapped seed.

        The plain token never leaves the appliance. Never repeated silently: each call makes another seed, and of
        several only the one that is returned may ever be used.
        """
        ...

    def ca_subject_keys(self, sku: str, labels: Sequence[str]) -> list[bytes]:
        """GetCaSubjectKeys: 20 bytes each; shorter answers are padded with zeros."""
        ...

    def ca_certificates(self, sku: str, labels: Sequence[str]) -> list[bytes]:
        """GetCaCerts: DER."""
        ...

    def endorse(self, sku: str, tbs: Sequence[tuple[str, bytes]], diversifier: bytes, signature: bytes) -> list[bytes]:
        """EndorseCerts: (key label, TBS DER) in blob order, with the part's WAS HMAC; returns DER certificates."""
        ...

    def owner_boot_message(self, sku: str) -> str:
        """GetOwnerFwBootMessage: a regular expression."""
        ...

    def register(self, registration: Registration) -> None:
        """RegisterDevice; returns only after the appliance acknowledged."""
        ...

    def close_session(self) -> None:
        """CloseSession; never raises."""
        ...


@runtime_checkable
class OwnJournal(Protocol):
    """This station's journal, for an appliance that keeps an anchor of it: it comes with the driver's settings."""

    station: str
    """The journal's name."""

    def anchor(self) -> JournalAnchor | None:
        """The head of now, once it is on the disk; None when only somebody else could make it so."""
        ...

    def holds(self, anchor: JournalAnchor) -> bool:
        """True when the journal has the row of the anchor with that hash."""
        ...


@runtime_checkable
class OpenSocket(Protocol):
    """The ports of one socket, opened without glitching reset and straps."""

    ports: Mapping[str, object]
    """``jtag``, ``spi``, ``console``, ``pins``, ``presence``, ``probe``, ``console_net``; what it lacks is absent."""

    identity: str
    """Adapter serial number and USB path, for the journal."""

    def close(self, freeze: bool = True) -> None:
        """Release the adapter; with ``freeze`` its outputs keep their levels so that the part runs on."""
        ...


@runtime_checkable
class Handler(Protocol):
    """What moves parts: a handler, a prober, or the hands of the virtual bench."""

    def insert(self, socket: int, label: str) -> None:
        """Put the part with this label into the socket; sockets are numbered from 1."""
        ...

    def remove(self, socket: int) -> None:
        """Take the part out of the socket."""
        ...

    def lid(self, socket: int, closed: bool) -> None:
        """Close or open the socket's lid."""
        ...

    def fault(self, socket: int, name: str) -> None:
        """Arm a fault, ``NAME`` or ``NAME:ARGUMENT``; only a virtual bench has any."""
        ...

    def faults(self) -> Mapping[str, str]:
        """The faults that can be armed, with one sentence each; empty where there is nothing to simulate."""
        ...

    def state(self, socket: int) -> Mapping[str, object]:
        """What is known of the socket and its part, as plain values; ``armed`` are its faults."""
        ...

    def parts(self) -> list[str]:
        """Labels of the parts at hand."""
        ...


OpenDriver = Callable[[Mapping[str, object], int], OpenSocket]
Diagnose = Callable[[Mapping[str, object]], str]
"""``diagnose(settings)`` beside a driver's opener, optional: one sentence on what may be missing on this computer
(empty for nothing); ``StationError`` when the socket cannot work. It opens no adapter and asks nothing of a part."""
MadeFor = Callable[[Mapping[str, object]], str]
"""``made_for(settings)`` beside a driver's opener, optional: the chip (as in pack.toml) of such a socket, empty
for any; a recipe of another chip is refused there before any contact."""
