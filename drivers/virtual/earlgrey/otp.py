"""The fuse controller: partitions with their locks, direct access, digests, registers on the system bus.

Source: opentitan-device sheet 4.1–4.3, hw/ip/otp_ctrl (direct access descrambles every secret granule, a blank one too;
an uncorrectable read ends direct access until the next reset). A software partition whose digest is torn goes into its
terminal error state at reset and gives bus errors (otp_ctrl_part_unbuf.sv: InitWaitSt, ErrorSt). Silicon goes further:
the controller's initialisation then never ends (otp_ctrl_dai.sv: InitPartSt), and nothing of the chip comes up.
"""

from __future__ import annotations

import hashlib

from drivers.virtual.earlgrey import scramble
from drivers.virtual.earlgrey.fuses import Burn, FuseMacro
from drivers.virtual.earlgrey.partitions import AST_CFG_SIZE, PARTITIONS, Partition, partition_at
from drivers.virtual.taps.bus import BusError

MACRO_UNCORRECTABLE, WRITE_BLANK, ACCESS, DEAD = 3, 4, 5, 7
_DAI_ERROR, _DAI_IDLE = 1 << 11, 1 << 18
_ERROR_CODES, _DIGESTS, _WINDOW = 0x14, 0x90, 0x800
_DAI_INDEX = 11


class DaiError(Exception):
    """A direct access ended with an error code of the controller."""

    def __init__(self, code: int, address: int) -> None:
        self.code = code
        super().__init__(f"OTP access at {address:#05x} ended with error code {code}")


class PowerLostInOtp(Exception):
    """Power failed while a word was being programmed."""


class OtpController:
    """Everything between the fuse macro and the bus; all methods are called under the chip's lock."""

    def __init__(self, macro: FuseMacro) -> None:
        self._macro = macro
        self.reset()

    def reset(self) -> None:
        """Sense partitions: locks and digest registers keep what the fuses say now until the next reset."""
        self.digests = {p.name: self._sense_digest(p) for p in PARTITIONS.values() if p.kind != "life_cycle"}
        self.errors = {p.name: self._sense_error(p) for p in PARTITIONS.values() if p.kind != "life_cycle"}
        self._device = self._sense_device()
        self._dai = {0x50: 0, 0x54: 0, 0x58: 0, 0x5C: 0, 0x60: 0}
        self._dai_code = 0
        self._dai_dead = False

    def locked(self, name: str) -> bool:
        """Whether the partition had a digest at the last reset."""
        return self.digests[name] != 0

    @property
    def partition_error(self) -> bool:
        """Whether a buffered partition failed its check at the last reset."""
        return any(bad for name, bad in self.errors.items() if PARTITIONS[name].kind != "software")

    @property
    def device_words(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """DEVICE_ID and MANUF_STATE, 8 words each, as sensed at the last reset (all ones after an error)."""
        return self._device

    def token(self, partition: str, address: int) -> bytes | None:
        """16 descrambled bytes of a locked secret partition; None when it was not locked at the last reset."""
        if not self.locked(partition) or self.errors[partition]:
            return None
        return b"".join(self._granule(a, partition).to_bytes(8, "little") for a in (address, address + 8))

    # --- direct access -------------------------------------------------------------------------------------------

    def read(self, address: int) -> int:
        """One granule over direct access; raises `DaiError`."""
        partition, size = self._access(address)
        if partition.kind == "secret" and self.locked(partition.name) and address < partition.digest:
            raise DaiError(ACCESS, address)
        value = self._blocks(address & -size, size)
        if value is None:
            self._dai_dead = True
            raise DaiError(MACRO_UNCORRECTABLE, address)
        if partition.kind == "secret" and address < partition.digest:
            return scramble.decrypt(scramble.SECRET_KEYS[partition.name], value)
        return value

    def plan_write(self, address: int, value: int) -> list[tuple[int, int]]:
        """The (fuse word, 16 data bits) that a write of one granule programs; raises `DaiError`."""
        partition, size = self._access(address)
        hardware_digest = partition.kind != "software" and address >= partition.digest
        if self.locked(partition.name) or hardware_digest:
            raise DaiError(ACCESS, address)
        if partition.kind == "secret":
            value = scramble.encrypt(scramble.SECRET_KEYS[partition.name], value)
        return _words(address & -size, value, size)

    def plan_digest(self, name: str) -> list[tuple[int, int]]:
        """The words that the digest command programs for a hardware or secret partition; raises `DaiError`."""
        partition = PARTITIONS[name]
        self._access(partition.digest)
        if partition.kind not in ("hardware", "secret") or self.locked(name):
            raise DaiError(ACCESS, partition.digest)
        digest = self.compute_digest(partition)
        if digest is None:
            raise DaiError(MACRO_UNCORRECTABLE, partition.digest)
        return _words(partition.digest, digest, 8)

    def burn(self, index: int, data: int, who: str) -> None:
        """Program one planned word; raises `DaiError` or `PowerLostInOtp`."""
        result = self._macro.program(index, data, who)
        if result is Burn.POWER_LOST:
            raise PowerLostInOtp
        if result is Burn.WRITE_BLANK:
            raise DaiError(WRITE_BLANK, 2 * index)

    def compute_digest(self, partition: Partition) -> int | None:
        """The digest over what the fuses of a hardware or secret partition hold; None when a word is torn."""
        blocks = [self._blocks(a, 8) for a in range(partition.offset, partition.digest, 8)]
        known = [block for block in blocks if block is not None]
        return scramble.digest(known) if len(known) == len(blocks) else None

    def software_content(self, name: str) -> bytes:
        """Contents of a software partition without its digest; torn words read as zero."""
        partition = PARTITIONS[name]
        words = (self._macro.read(a // 2) or 0 for a in range(partition.offset, partition.digest, 2))
        return b"".join(word.to_bytes(2, "little") for word in words)

    def software_digest(self, name: str) -> int:
        """What the firmware writes as digest of a software partition: the low half of SHA-256 in its register form."""
        content = self.software_content(name)
        if name == "CREATOR_SW_CFG":
            content = content[AST_CFG_SIZE:]
        return int.from_bytes(hashlib.sha256(content).digest()[-8:], "big")

    # --- registers -----------------------------------------------------------------------------------------------

    def read_register(self, offset: int) -> int:
        """A 32-bit register or a word of the software window; raises ``BusError``."""
        single = {0x10: self._status(), _ERROR_CODES + 4 * _DAI_INDEX: self._dai_code, 0x48: 1, **self._dai}
        if offset in single:
            return single[offset]
        if _DIGESTS <= offset < _DIGESTS + 8 * len(self.digests):
            number, half = divmod(offset - _DIGESTS, 8)
            return list(self.digests.values())[number] >> 8 * half & 0xFFFF_FFFF
        if offset >= _WINDOW:
            return self._window(offset - _WINDOW)
        return 0

    def write_register(self, offset: int, value: int) -> None:
        """Write a register; a command is carried out at once."""
        if offset in self._dai and offset < 0x5C:
            self._dai[offset] = value
        elif offset == 0x4C and not self._dai_dead:
            self._command(value)

    def _command(self, command: int) -> None:
        address = self._dai[0x50]
        self._dai_code = 0
        try:
            if command & 1:
                value = self.read(address)
                self._dai[0x5C], self._dai[0x60] = value & 0xFFFF_FFFF, value >> 32
            elif command & 2:
                self._burn_all(self.plan_write(address, self._dai[0x54] | self._dai[0x58] << 32))
            elif command & 4:
                self._burn_all(self.plan_digest(self._access(address)[0].name))
        except DaiError as error:
            self._dai_code = error.code
        except PowerLostInOtp:
            return

    def _burn_all(self, plan: list[tuple[int, int]]) -> None:
        for index, data in plan:
            self.burn(index, data, "direct access over the system bus")

    def _status(self) -> int:
        status = sum(1 << PARTITIONS[name].number for name, bad in self.errors.items() if bad)
        return status | (_DAI_ERROR if self._dai_code else 0) | (0 if self._dai_dead else _DAI_IDLE)

    def _window(self, address: int) -> int:
        try:
            partition = partition_at(address)
        except KeyError:
            raise BusError(f"OTP window address {address:#x}") from None
        readable = partition.kind == "software" and not self.errors[partition.name]
        value = self._blocks(address, 4) if readable else None
        if value is None:
            raise BusError(f"OTP window address {address:#x} cannot be read")
        return value

    # --- sensing -------------------------------------------------------------------------------------------------

    def _access(self, address: int) -> tuple[Partition, int]:
        if self._dai_dead:
            raise DaiError(DEAD, address)
        try:
            partition = partition_at(address)
        except KeyError:
            raise DaiError(ACCESS, address) from None
        if partition.kind == "life_cycle" or (partition.kind == "software" and self.errors[partition.name]):
            raise DaiError(ACCESS, address)
        return partition, 8 if address >= partition.digest else partition.granule

    def _blocks(self, address: int, size: int) -> int | None:
        words = [self._macro.read((address + n) // 2) for n in range(0, size, 2)]
        return None if None in words else sum((word or 0) << 16 * n for n, word in enumerate(words))

    def _granule(self, address: int, partition: str) -> int:
        return scramble.decrypt(scramble.SECRET_KEYS[partition], self._blocks(address, 8) or 0)

    def _sense_digest(self, partition: Partition) -> int:
        # A torn digest word reads as its raw bits: not zero, so the partition counts as locked.
        words = [self._macro.raw(partition.digest // 2 + n) & 0xFFFF for n in range(4)]
        return sum(word << 16 * n for n, word in enumerate(words))

    def _sense_error(self, partition: Partition) -> bool:
        if partition.kind == "software":  # of these only the digest is sensed; VENDOR_TEST is read without check bits
            return partition.name != "VENDOR_TEST" and self._blocks(partition.digest, 8) is None
        if any(self._macro.read(a // 2) is None for a in range(partition.offset, partition.end, 2)):
            return True
        return self.locked(partition.name) and self.compute_digest(partition) != self.digests[partition.name]

    def _sense_device(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        start = PARTITIONS["HW_CFG0"].offset
        if self.errors["HW_CFG0"]:
            return (0xFFFF_FFFF,) * 8, (0xFFFF_FFFF,) * 8
        words = [self._blocks(start + 4 * n, 4) or 0 for n in range(16)]
        return tuple(words[:8]), tuple(words[8:])


def _words(address: int, value: int, size: int) -> list[tuple[int, int]]:
    return [(address // 2 + n, value >> 16 * n & 0xFFFF) for n in range(size // 2)]
