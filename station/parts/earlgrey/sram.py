"""Load a program into SRAM over the system bus, start it, wait for its end.

Source: opentitan-device sheet 5.2 (start sequence), confirmed and sharpened in opentitan-rtl section 5: the PMP entries
are read, modified and written exactly, since entry 13 maps the debug ROM.
"""

from __future__ import annotations

from collections.abc import Callable

from station.deadline import Deadline
from station.errors import PartError
from station.formats.lc import IDCODE_RV
from station.formats.sram_elf import SP_CRC_ERROR, SP_DONE, SP_DONE_NO_CRC, SramProgram
from station.parts.riscv_debug import GPR, RiscvHart
from station.ports import Jtag

PMPCFG2, PMPCFG3 = 0x3A2, 0x3A3
PMPADDR10, PMPADDR11, PMPADDR15 = 0x3BA, 0x3BB, 0x3BF
SRAM_CTRL_EXEC = 0x411C_000C
MUBI4_TRUE = 0x6
KEEP_LOWER_ENTRIES = 0x00FF_FFFF
SRAM_NAPOT_RWX_LOCKED = 0x9F00_0000
MMIO_TOR_RW_LOCKED = 0x8F00_0000
RETURN_ADDRESS = 0xDEAD_BEEF

EXIT_WORDS = {SP_DONE_NO_CRC: "done, checksum skipped", SP_CRC_ERROR: "the program's checksum did not match"}


class SramLoader:
    """Runs SRAM programs; the straps already select the RISC-V TAP."""

    def __init__(self, jtag: Jtag, pause: Callable[[float], None], seconds: float) -> None:
        self._jtag = jtag
        self._pause = pause
        self._seconds = seconds
        self.hart = RiscvHart(jtag, pause)

    def attach(self) -> None:
        """Connect to the debug module, check the IDCODE, hold the hart at its reset vector."""
        idcode = self._jtag.connect()
        if idcode != IDCODE_RV:
            raise PartError(f"expected the RISC-V TAP {IDCODE_RV:#010x}, saw IDCODE {idcode:#010x}", "wrong_part")
        self.hart.halt_at_reset(Deadline(self._seconds))

    def start(self, program: SramProgram) -> None:
        """Write the program, open PMP and execution, pass its CRC-32 in a0 and resume at its entry point."""
        self._jtag.write_words(program.address, program.words)
        self._open_memory()
        self.hart.write({GPR["ra"]: RETURN_ADDRESS, GPR["a0"]: program.crc32})
        self.hart.resume(program.entry)

    def wait_exit(self, deadline: Deadline, watch: Callable[[], None] | None = None) -> None:
        """Wait for the final ebreak; raises ``PartError`` unless sp holds the good exit code.

        ``watch`` is called at each poll and raises when the firmware shows its failure on a pin.
        """
        self.hart.wait_halted(deadline, "the SRAM program to end", watch)
        code = self.hart.read(GPR["sp"])[0]
        if code != SP_DONE:
            words = EXIT_WORDS.get(code, "no exit code of the start code")
            raise PartError(f"expected SRAM exit code {SP_DONE:#010x}, saw {code:#010x}: {words}", "firmware")

    def _open_memory(self) -> None:
        config2, config3 = self.hart.read(PMPCFG2, PMPCFG3)
        self.hart.write(
            {
                PMPCFG3: config3 & KEEP_LOWER_ENTRIES | SRAM_NAPOT_RWX_LOCKED,
                PMPADDR15: 0x0400_3FFF,
                PMPCFG2: config2 & KEEP_LOWER_ENTRIES | MMIO_TOR_RW_LOCKED,
                PMPADDR10: 0x1000_0000,
                PMPADDR11: 0x1400_0000,
            }
        )
        self._jtag.write_words(SRAM_CTRL_EXEC, [MUBI4_TRUE])
