"""A plain bit-level JTAG host for the tests: builds TMS and TDI as lists of bits and decodes TDO itself."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.virtual.taps import Clock, DebugModule, Hart, LcController, Tap, lc_tap, rv_tap
from drivers.virtual.taps.trace_bench import BenchMemory
from station.formats.lc import ID_BLANK, ID_PERSONALIZED, LcState, TokenKind
from station.formats.lc_token import lc_hash, raw_from_literal

READ, WRITE, NOP = 1, 2, 0


class Host:
    """Drives one TAP; ``rti`` is the number of Run-Test/Idle cycles after a scan."""

    def __init__(self, tap: Tap, *, one_by_one: bool = False) -> None:
        self.tap = tap
        self.one_by_one = one_by_one
        self.reset()

    def clock(self, bits: list[tuple[int, int]]) -> list[int]:
        """Clock (tms, tdi) pairs."""
        if self.one_by_one:
            return [self.tap.clock(1, tms, tdi) for tms, tdi in bits]
        tms = sum(bit << i for i, (bit, _) in enumerate(bits))
        tdi = sum(bit << i for i, (_, bit) in enumerate(bits))
        out = self.tap.clock(len(bits), tms, tdi)
        return [out >> i & 1 for i in range(len(bits))]

    def reset(self) -> None:
        self.clock([(1, 0)] * 5 + [(0, 0)])

    def idle(self, cycles: int) -> None:
        self.clock([(0, 0)] * cycles)

    def _scan(self, prefix: list[tuple[int, int]], bits: int, value: int, rti: int) -> int:
        """From Idle or Update; with ``rti`` 0 the TAP is left in Update-DR."""
        body = [(int(i == bits - 1), value >> i & 1) for i in range(bits)]
        out = self.clock([*prefix, *body, (1, 0), *[(0, 0)] * rti])
        return sum(bit << i for i, bit in enumerate(out[len(prefix) : len(prefix) + bits]))

    def ir(self, value: int) -> int:
        return self._scan([(1, 0), (1, 0), (0, 0), (0, 0)], 5, value, 1)

    def dr(self, bits: int, value: int = 0, rti: int = 1) -> int:
        return self._scan([(1, 0), (0, 0), (0, 0)], bits, value, rti)

    def dmi(self, operation: int, address: int = 0, data: int = 0, rti: int = 60) -> tuple[int, int, int]:
        """One DMI scan: the captured (address, data, op)."""
        value = self.dr(41, address << 34 | data << 2 | operation, rti)
        return value >> 34, value >> 2 & 0xFFFFFFFF, value & 3

    def read(self, address: int) -> int:
        self.dmi(READ, address)
        echo, data, operation = self.dmi(NOP)
        assert (echo, operation) == (address, 0)
        return data

    def write(self, address: int, data: int) -> None:
        self.dmi(WRITE, address, data)
        assert self.dmi(NOP) == (address, data, 0)

    def dtmcs(self, value: int = 0) -> int:
        self.ir(0x10)
        captured = self.dr(32, value)
        self.ir(0x11)
        return captured


@dataclass
class Fabric:
    """An OTP with everything adjustable."""

    state: int | None = int(LcState.TEST_UNLOCKED0)
    count: int = 5
    otp_word_clk: float = 200.0
    hash_clk: float = 60.0
    clock_switch_clk: float = 100.0
    wipe_clk: float = 500.0
    personalized: bool = False
    part_error: bool = False
    count_programs: bool = True
    state_programs: bool = True
    wipe_consistent: bool = True

    def __post_init__(self) -> None:
        self.digests: dict[TokenKind, bytes] = {
            TokenKind.RAW_UNLOCK: lc_hash(raw_from_literal(0xEA2B3F32CBE77554E43C8EA7EBF197C2))
        }
        self.seeds: list[int] = []
        self.writes: list[tuple[str, int]] = []
        self.device = [0x1000 + i for i in range(8)]
        self.manuf = [0x2000 + i for i in range(8)]

    def stored(self) -> tuple[int | None, int]:
        return self.state, self.count

    def program_count(self, count: int) -> bool:
        self.writes.append(("count", count))
        if self.count_programs:
            self.count = count
        return self.count_programs

    def program_state(self, state_index: int) -> bool:
        self.writes.append(("state", state_index))
        if self.state_programs:
            self.state = state_index
        return self.state_programs

    def token_digest(self, kind: TokenKind) -> bytes | None:
        return self.digests.get(kind)

    def id_state(self) -> int:
        return ID_PERSONALIZED if self.personalized else ID_BLANK

    def device_id(self) -> list[int]:
        return self.device

    def manuf_state(self) -> list[int]:
        return self.manuf

    def hw_revision(self) -> tuple[int, int]:
        return 0x40010002, 1

    def partition_error(self) -> bool:
        return self.part_error

    def wipe(self, seed: int) -> bool:
        self.seeds.append(seed)
        return self.wipe_consistent

    def vendor_status(self, control: int) -> int:
        return control ^ 0x5A5A0001


@dataclass
class LcBench:
    clock: Clock
    fabric: Fabric
    controller: LcController
    host: Host

    @classmethod
    def make(cls, fabric: Fabric | None = None, ratio: float = 10.0, volatile: bool = False) -> LcBench:
        clock = Clock(ratio)
        fabric = fabric or Fabric()
        controller = LcController(fabric, clock, volatile_raw_unlock=volatile)
        host = Host(lc_tap(controller.tap, clock))
        host.ir(0x11)
        return cls(clock, fabric, controller, host)


@dataclass
class RvBench:
    clock: Clock
    memory: BenchMemory
    hart: Hart | None
    module: DebugModule
    host: Host

    @classmethod
    def make(cls, ratio: float = 10.0, with_hart: bool = True, latency: float = 0.0, active: bool = True) -> RvBench:
        clock = Clock(ratio)
        memory = BenchMemory(0x10000000, 128 * 1024, with_hart)
        hart = Hart(memory, clock) if with_hart else None
        module = DebugModule(memory, hart, clock, bus_latency=latency)
        host = Host(rv_tap(module, clock))
        host.ir(0x11)
        if active:
            host.write(0x10, 1)
        return cls(clock, memory, hart, module, host)
