"""What the OTP of a part in a test state says, read over the system bus; nothing is written.

Sources: opentitan-device sheet 4.1, 4.2 (controller registers), hw/ip/otp_ctrl/doc/programmers_guide.md. The digest
registers and the software window show what was loaded at the last reset; direct access shows the words as they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from station.errors import PartError
from station.formats.otp import PARTITIONS, Partition, sw_digest, sw_digest_data
from station.model import CONTRADICTS, DONE, NOT_DONE, UNKNOWN, Answer
from station.ports import Jtag

BASE = 0x4013_0000
STATUS, DAI_CMD, DAI_ADDRESS, DAI_RDATA = BASE + 0x10, BASE + 0x4C, BASE + 0x50, BASE + 0x5C
ERR_CODE_DAI = BASE + 0x14 + 4 * 11
DIGESTS, SW_WINDOW = BASE + 0x90, BASE + 0x800
DAI_READ, DAI_IDLE, DAI_ERROR = 1, 1 << 18, 1 << 11


class OtpView:
    """Reads partitions of a halted part in TEST_UNLOCKED (hardware debug enabled)."""

    def __init__(self, jtag: Jtag, pause: Callable[[float], None]) -> None:
        self._jtag = jtag
        self._pause = pause

    def digests(self) -> Mapping[str, int]:
        """All partition digests (64 bits, 0 = not locked), as loaded at the last reset."""
        locked = [partition for partition in PARTITIONS.values() if partition.digest_offset is not None]
        words = self._jtag.read_words(DIGESTS, 2 * len(locked))
        return {p.name: words[2 * n] | words[2 * n + 1] << 32 for n, p in enumerate(locked)}

    def software_words(self, partition: Partition) -> list[int]:
        """All 32-bit words of a software partition through the memory-mapped window."""
        return self._jtag.read_words(SW_WINDOW + partition.offset, partition.size // 4)

    def is_blank(self, partition: Partition) -> bool:
        """Whether no word of the partition was ever programmed; raises ``PartError`` on an unreadable (torn) word.

        A blank block of a scrambled partition reads as the descrambled zero: some constant of the netlist, the same in
        every block. Blocks that differ were programmed.
        """
        granule = partition.granule // 8
        end = partition.offset + partition.data_size
        words = {self._read_word(address, granule) for address in range(partition.offset, end, granule)}
        return len(words) == 1 if partition.secret else words == {0}

    def are_locked(self, names: Iterable[str]) -> Answer:
        """DONE when each named software partition carries the digest of its contents, NOT_DONE when one has none."""
        digests = self.digests()
        missing = False
        for name in names:
            try:
                words = self.software_words(PARTITIONS[name])
            except PartError as error:
                return UNKNOWN(f"{name} cannot be read, a word of it was torn: {error}")
            content = b"".join(word.to_bytes(4, "little") for word in words)
            wanted = sw_digest(sw_digest_data(name, content[: PARTITIONS[name].data_size]))
            if digests[name] not in (0, wanted):
                seen = f"{name} is locked with digest {digests[name]:#018x}"
                return CONTRADICTS(f"{seen}, its contents give {wanted:#018x}")
            missing = missing or not digests[name]
        return NOT_DONE if missing else DONE

    def _read_word(self, address: int, granule: int) -> int:
        self._jtag.write_words(DAI_ADDRESS, [address])
        self._jtag.write_words(DAI_CMD, [DAI_READ])
        for _ in range(100):
            status = self._jtag.read_words(STATUS, 1)[0]
            if status & DAI_IDLE:
                break
            self._pause(0.001)
        if status & DAI_ERROR or not status & DAI_IDLE:
            code = self._jtag.read_words(ERR_CODE_DAI, 1)[0]
            raise PartError(
                f"OTP word {address:#05x} cannot be read (error code {code}): it was torn or is locked", "otp"
            )
        low, *high = self._jtag.read_words(DAI_RDATA, granule // 4)
        return low | (high[0] << 32 if high else 0)

    def locked_or_blank(self, names: Iterable[str], expected: Mapping[str, int]) -> Answer:
        """DONE when each named hardware partition carries its expected digest, NOT_DONE when each is right or blank."""
        digests = self.digests()
        missing = False
        failed = self._jtag.read_words(STATUS, 1)[0]
        for name in names:
            if failed >> list(PARTITIONS).index(name) & 1:
                return CONTRADICTS(f"{name} fails the controller's own check: a word of it or its digest was torn")
            if digests[name]:
                if name in expected and digests[name] != expected[name]:
                    seen = f"{name} is locked with digest {digests[name]:#018x}"
                    return CONTRADICTS(f"{seen}, not {expected[name]:#018x}")
                continue
            missing = True
            try:
                if not self.is_blank(PARTITIONS[name]):
                    return CONTRADICTS(f"{name} is partly written and not locked")
            except PartError as error:
                return UNKNOWN(str(error))
        return NOT_DONE if missing else DONE

    def software_matches(self, wanted: Mapping[int, int]) -> Answer:
        """Compare software words (byte address in OTP -> value): equal DONE, some blank NOT_DONE, other CONTRADICTS.

        The firmware reads each of these words before it writes and skips equal ones, so blanks may be filled in.
        """
        try:
            seen = self._software(wanted)
        except PartError as error:
            return UNKNOWN(f"the software configuration cannot be read, a word of it was torn: {error}")
        wrong = {a: v for a, v in wanted.items() if seen[a] not in (0, v)}
        if wrong:
            address, value = next(iter(sorted(wrong.items())))
            return CONTRADICTS(f"OTP word {address:#05x} holds {seen[address]:#010x}, the SKU wants {value:#010x}")
        return DONE if all(seen[a] == v for a, v in wanted.items()) else NOT_DONE

    def _software(self, wanted: Mapping[int, int]) -> dict[int, int]:
        seen: dict[int, int] = {}
        for partition in PARTITIONS.values():
            mine = [a for a in wanted if partition.offset <= a < partition.end]
            if mine:
                words = self.software_words(partition)
                seen |= {a: words[(a - partition.offset) // 4] for a in mine}
        return seen
