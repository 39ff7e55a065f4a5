"""``ports.Jtag`` on bank A: DMI in batched scans with the idle cycles silicon needs, system bus blocks back to back.

Facts (opentitan-rtl sheet 2): a DMI read needs at least three Run-Test/Idle cycles whatever DTMCS advertises; an answer
can be fetched by exactly one following scan; while busy is sticky everything is ignored; dmireset keeps the answer of
the read that was asked for too early. So nothing that was carried out is ever repeated after a busy.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.ftdi import tap
from drivers.ftdi.mpsse import REPLY_LIMIT, Block, MpsseChannel
from drivers.ftdi.tap import Captured
from station.errors import BenchError, PartError
from station.model import DmiRead, DmiWrite

READ_IDLE = 3
LONGEST_IDLE = 512
ROUNDS = 12
REFUSED_DATA = 0xB051_B051
BATCH = REPLY_LIMIT // tap.SCAN_REPLY - 1

DTMCS_VERSION, DTMCS_ABITS = 1, 7
DMIRESET = 1 << 16

ABSTRACTCS, SBCS, SBADDRESS0, SBDATA0 = 0x16, 0x38, 0x39, 0x3C
COMMAND_BUSY, COMMAND_ERROR, ERROR_WAS_BUSY = 1 << 12, 0x700, 0x100
SYSTEM_BUS = range(0x38, 0x40)
SB_BUSY, SB_BUSY_ERROR, SB_ERROR = 1 << 21, 1 << 22, 7 << 12
SB_KEPT = 0x001F_8000  # readonaddr, access size, autoincrement, readondata
SB_WORDS = 2 << 17 | 1 << 16  # 32-bit accesses, autoincrement
SB_READ_ON_ADDRESS, SB_READ_ON_DATA = 1 << 20, 1 << 15
SB_ERRORS = {1: "time-out", 2: "bus error", 3: "misaligned address", 4: "size not supported", 7: "other"}
SBCS_POLLS = 100

Operation = DmiRead | DmiWrite


class FtdiJtag:
    """One TAP behind one MPSSE channel."""

    def __init__(self, channel: MpsseChannel) -> None:
        self._channel = channel
        self._read_idle = READ_IDLE
        self._write_idle = 0
        self._block_idle = 0

    @property
    def idle_cycles(self) -> tuple[int, int, int]:
        """Run-Test/Idle cycles after a read, a write and a block word, as adapted to this part and clock."""
        return self._read_idle, self._write_idle, self._block_idle

    # ---- ports.Jtag -------------------------------------------------------------------------------------------------

    def connect(self) -> int:
        """Reset the TAP, read IDCODE, check DTMCS, clear sticky busy and select the DMI; returns the IDCODE."""
        block = Block()
        tap.reset(block)
        tap.scan_dr32(block, 0)
        tap.scan_ir(block, tap.IR_DTMCS)
        tap.scan_dr32(block, DMIRESET)
        tap.scan_ir(block, tap.IR_DMI)
        reply = self._channel.exchange(block)
        idcode, dtmcs = tap.parse_dr32(reply[:5]), tap.parse_dr32(reply[5:])
        self._check_idcode(idcode)
        self._check_dtmcs(dtmcs, idcode)
        self._read_idle, self._write_idle, self._block_idle = READ_IDLE, 0, 0
        return idcode

    def dmi(self, operations: Sequence[Operation]) -> list[int]:
        """Carry out the operations in order, batched; returns the values of the reads."""
        values: list[int] = []
        left = list(operations)
        rounds = 0
        with self._channel.lock:
            while left:
                batch = left[:BATCH]
                done, answers = self._batch(batch)
                values += answers
                left = left[done:]
                rounds = 0 if done else rounds + 1
                if rounds > ROUNDS:
                    raise BenchError(
                        f"register {batch[0].address:#04x}: busy in {rounds} attempts, with {self._read_idle} idle "
                        "cycles; lower jtag_hz in the board file, and check that the part is powered and out of reset"
                    )
        return values

    def dmi_secret(self, operations: Sequence[Operation]) -> None:
        """Like ``dmi``; nothing in this driver logs or keeps what it carries."""
        self.dmi(operations)

    def write_words(self, address: int, words: Sequence[int]) -> None:
        """Write 32-bit words over the system bus with autoincrement; raises ``PartError`` on sberror."""
        if not words:
            return
        with self._channel.lock:
            for _ in range(ROUNDS):
                if self._write_block(address, words):
                    return
                self._block_idle = max(1, 2 * self._block_idle)
        raise BenchError(
            f"expected {len(words)} words at {address:#010x} to be taken over the system bus, but words were lost "
            f"even with {self._block_idle} idle cycles each; lower jtag_hz in the board file"
        )

    def read_words(self, address: int, count: int) -> list[int]:
        """Read 32-bit words over the system bus; the read ahead stops at the end of the block."""
        if count < 1:
            return []
        mode = SB_WORDS | SB_READ_ON_ADDRESS | SB_ERROR
        with self._channel.lock:
            first: list[Operation] = [DmiWrite(SBCS, mode | (SB_READ_ON_DATA if count > 1 else 0))]
            body: list[Operation] = [DmiRead(SBDATA0)] * (count - 1)
            last: list[Operation] = [DmiWrite(SBCS, SB_WORDS), DmiRead(SBDATA0), DmiRead(SBCS)]
            *words, status = self.dmi([*first, DmiWrite(SBADDRESS0, address), *body, *last])
            self._check_sberror(status, address, "read")
        return words

    def disconnect(self) -> None:
        """Leave the TAP in Run-Test/Idle with TCK, TDI and TMS low; the part runs on."""
        self._channel.drive(0, 0)

    # ---- connect ----------------------------------------------------------------------------------------------------

    def _check_idcode(self, idcode: int) -> None:
        if idcode not in (0, 0xFFFF_FFFF):
            return
        level = (
            "low (TAP gated by the straps, part in reset or without power)"
            if idcode == 0
            else "high (no part, no contact)"
        )
        raise BenchError(
            f"expected an IDCODE, but TDO stays {level}: raw IDCODE {idcode:#010x}; "
            "check that the part is seated, powered, out of reset and strapped for this TAP"
        )

    def _check_dtmcs(self, dtmcs: int, idcode: int) -> None:
        version, abits = dtmcs & 0xF, dtmcs >> 4 & 0x3F
        if (version, abits) != (DTMCS_VERSION, DTMCS_ABITS):
            raise BenchError(
                f"TAP {idcode:#010x}: expected DTMCS version 1 with 7 address bits, saw {dtmcs:#010x}; "
                "check the JTAG wiring and lower jtag_hz in the board file"
            )

    # ---- DMI --------------------------------------------------------------------------------------------------------

    def _batch(self, batch: Sequence[Operation]) -> tuple[int, list[int]]:
        """Scan a batch; returns how many operations were carried out and the values of the reads among them."""
        captured = self._scan([self._request(operation) for operation in batch])
        good = next((n for n, answer in enumerate(captured) if answer.busy), len(captured))
        if good == len(captured):
            self._check_echo(batch, captured[1:])
            return len(batch), _values(batch, captured[1:])
        self._check_stuck(captured[good])
        if good == 0:  # busy was sticky before this batch: all of it was ignored
            self._dmireset()
            return 0, []
        return self._recover(batch, captured, good)

    def _request(self, operation: Operation) -> tuple[int, int]:
        if isinstance(operation, DmiRead):
            return tap.request(operation.address, 0, tap.OP_READ), self._read_idle
        return tap.request(operation.address, operation.value, tap.OP_WRITE), self._write_idle

    def _scan(self, requests: Sequence[tuple[int, int]]) -> list[Captured]:
        """Scan requests and one nop; the first capture answers what came before them."""
        block = Block()
        tap.scan_dmi(block, [*requests, (0, 0)])
        return tap.parse_dmi(self._channel.exchange(block))

    def _recover(self, batch: Sequence[Operation], captured: Sequence[Captured], good: int) -> tuple[int, list[int]]:
        """After the first busy, at capture ``good``: what came before ``good`` - 1 is done, later ones were ignored."""
        doubted = batch[good - 1]
        before = batch[: good - 1]
        answers = captured[1:good]
        self._check_echo(before, answers)
        values = _values(before, answers)
        refused = captured[good].data == REFUSED_DATA
        kept = self._dmireset()
        refused = refused or kept.data == REFUSED_DATA
        if refused or isinstance(doubted, DmiWrite):
            self._clear_refusal(doubted, refused)
            self._write_idle = min(LONGEST_IDLE, max(READ_IDLE, 2 * self._write_idle))
            return len(before), values
        self._read_idle = min(LONGEST_IDLE, 2 * self._read_idle)
        ran = kept.address == doubted.address and not kept.busy and not _wrote(before, doubted.address)
        if not ran:  # it came while a write was in flight and was ignored
            self._write_idle = min(LONGEST_IDLE, max(READ_IDLE, 2 * self._write_idle))
            return len(before), values
        return len(before) + 1, [*values, kept.data]

    def _dmireset(self) -> Captured:
        """Clear sticky busy; returns what the DMI register holds: the answer of the request that ended late."""
        block = Block()
        tap.scan_ir(block, tap.IR_DTMCS)
        tap.scan_dr32(block, DMIRESET)
        tap.scan_ir(block, tap.IR_DMI)
        tap.scan_dmi(block, [(0, 0)])
        return tap.parse_dmi(self._channel.exchange(block)[5:])[0]

    def _clear_refusal(self, operation: Operation, refused: bool) -> None:
        """The debug module itself said busy: wait for it and clear the error that this left behind."""
        if operation.address in SYSTEM_BUS:
            status = self._settled_sbcs()
            if status & SB_BUSY_ERROR:
                self._plain([DmiWrite(SBCS, status & SB_KEPT | SB_BUSY_ERROR)])
        elif refused:
            for _ in range(SBCS_POLLS):
                status = self._plain([DmiRead(ABSTRACTCS)])[0]
                if not status & COMMAND_BUSY:
                    break
            if status & COMMAND_ERROR == ERROR_WAS_BUSY:
                self._plain([DmiWrite(ABSTRACTCS, COMMAND_ERROR)])

    def _plain(self, operations: Sequence[Operation]) -> list[int]:
        """A few operations with generous idle cycles, without recovery: used inside recovery."""
        requests = [(bits, max(idle, 4 * READ_IDLE)) for bits, idle in map(self._request, operations)]
        captured = self._scan(requests)
        if any(answer.busy for answer in captured):
            self._check_stuck(captured[-1])
            self._dmireset()
            return [COMMAND_BUSY | SB_BUSY] * sum(isinstance(operation, DmiRead) for operation in operations)
        return _values(operations, captured[1:])

    def _check_stuck(self, answer: Captured) -> None:
        if answer.stuck:
            raise BenchError(
                "expected answers from the TAP, but TDO stays high; the part lost contact: check lid and socket"
            )

    def _check_echo(self, operations: Sequence[Operation], answers: Sequence[Captured]) -> None:
        """Every answer repeats the address that was asked for; anything else is a broken link, not a register value."""
        for operation, answer in zip(operations, answers, strict=True):
            if answer.address != operation.address or answer.op == tap.OP_FAILED:
                raise BenchError(
                    f"register {operation.address:#04x}: expected an answer from that address, saw "
                    f"{answer.address:#04x} with status {answer.op}; the part lost contact, power or its TAP selection"
                )

    # ---- system bus -------------------------------------------------------------------------------------------------

    def _write_block(self, address: int, words: Sequence[int]) -> bool:
        """One try; False when words were lost to a busy bus. One write of commands, one check, nothing read between."""
        block = Block()
        for register, value in ((SBCS, SB_WORDS | SB_BUSY_ERROR | SB_ERROR), (SBADDRESS0, address)):
            tap.write_stream(block, register, [value], 0)
        tap.write_stream(block, SBDATA0, words, self._block_idle)
        self._channel.exchange(block)
        before, *answers = self._scan([(tap.request(r, 0, tap.OP_READ), self._read_idle) for r in (SBCS, SBADDRESS0)])
        self._check_stuck(before)
        lost = before.busy or any(answer.busy for answer in answers)
        if lost:
            self._dmireset()
        settled = not lost and not answers[0].data & SB_BUSY
        status = answers[0].data if settled else self._settled_sbcs()
        self._check_sberror(status, address, "write")
        if status & SB_BUSY_ERROR:
            self._plain([DmiWrite(SBCS, SB_WORDS | SB_BUSY_ERROR)])
            return False
        if lost:
            return False
        self._check_echo([DmiRead(SBCS), DmiRead(SBADDRESS0)], answers)
        reached = answers[1].data if settled else self.dmi([DmiRead(SBADDRESS0)])[0]
        return reached == (address + 4 * len(words)) & 0xFFFF_FFFF

    def _settled_sbcs(self) -> int:
        for _ in range(SBCS_POLLS):
            status = self._plain([DmiRead(SBCS)])[0]
            if not status & SB_BUSY:
                return status
        raise PartError("expected the system bus to answer, but sbbusy never ends; the part needs a reset", "debug")

    def _check_sberror(self, status: int, address: int, verb: str) -> None:
        error = (status & SB_ERROR) >> 12
        if error:
            self._plain([DmiWrite(SBCS, SB_WORDS | SB_ERROR)])
            words = SB_ERRORS.get(error, "unknown")
            raise PartError(f"system bus {verb} at {address:#010x} failed: sberror {error} ({words})", "debug")


def _values(operations: Sequence[Operation], answers: Sequence[Captured]) -> list[int]:
    return [
        answer.data for operation, answer in zip(operations, answers, strict=True) if isinstance(operation, DmiRead)
    ]


def _wrote(operations: Sequence[Operation], address: int) -> bool:
    last = operations[-1] if operations else None
    return isinstance(last, DmiWrite) and last.address == address
