"""The production chain of the application core: bootloaders, TF-M, the sample that prints its attestation token.

Sources: nordic-tfm sheet 2.8 (checks in order, who locks what), 4.2 (console form of the token).
"""

from __future__ import annotations

import hashlib
import secrets

from drivers.virtual.nrf.firmware import attestation, keys
from drivers.virtual.nrf.firmware.machine import Machine
from drivers.virtual.nrf.firmware.zephyr import Zephyr
from drivers.virtual.nrf.silicon import PROTECTED
from drivers.virtual.nrf.storage import ENTERING, Lcs

BOOT_SECONDS, SIGN_SECONDS = 0.05, 0.03
PCD_FIRST_SECONDS, PCD_SECONDS, PCD_STEP = 0.05, 0.5, 0.02
"""Upstream waits 1 s and then up to 3 s."""
SECURITY_LIFECYCLE = {Lcs.ASSEMBLY: 0x1000, Lcs.PROVISIONING: 0x2000, Lcs.SECURED: 0x3000, Lcs.DECOMMISSIONED: 0x6000}
ROW = 16
HEADER = "0  1  2  3  4  5  6  7   8  9  A  B  C  D  E  F"
DUMMY_WARNING = "This device was provisioned with dummy keys and is NOT secure."


class TrustedFirmware:
    """One boot."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._zephyr = Zephyr(machine)

    def run(self) -> None:
        """Boot, be provisioned or refuse, say who one is."""
        machine = self._machine
        machine.pause(BOOT_SECONDS)
        self._boot_chain()
        self._zephyr.step("tfm")
        self._init_debug()
        if machine.option("nrf_provisioning"):
            self._provisioning()
        else:
            self._write_missing_keys()
        self._application()
        machine.finish("done")

    # ---- boot -----------------------------------------------------------------------------------------------------

    def _boot_chain(self) -> None:
        print_line = self._machine.print
        self._zephyr.banner()
        print_line("Attempting to boot slot 0.")
        print_line("Firmware signature verified.")
        print_line("I: Starting bootloader")
        print_line("I: Bootloader chainload address offset: 0x28000")
        if self._machine.option("starts_net"):
            self._machine.start_net()

    def _init_debug(self) -> None:
        """Write the protection words of the lock options; the start-up code has locked the CPU's side already."""
        machine, core = self._machine, self._machine.core
        for option, place in (
            ("approtect_lock", core.silicon.approtect),
            ("secure_approtect_lock", core.silicon.secure_approtect),
        ):
            if machine.option(option) and machine.read_uicr(place) != PROTECTED:
                machine.write_uicr(place, PROTECTED)
                if machine.read_uicr(place) != PROTECTED:
                    machine.finish("failed")  # platform error, without a word
        if machine.silicon.disable_keys:  # with or without lock options, nobody opens the port after this
            machine.do(core.protection.cpu_locks_all)

    # ---- provisioning ---------------------------------------------------------------------------------------------

    def _provisioning(self) -> None:
        lcs = self._lcs()
        if lcs not in (Lcs.PROVISIONING, Lcs.SECURED):
            self._refuse(f"Invalid LCS: {lcs.value}")
        if lcs is Lcs.SECURED:
            return
        machine = self._machine
        if not keys.huk_is_written(machine):
            self._refuse("This device has not been provisioned with Hardware Unique Keys.")
        if not keys.identity_is_written(machine):
            self._refuse("This device has not been provisioned with an Initial Attestation Key.")
        core = machine.silicon.app
        if any(machine.read_uicr(place) != PROTECTED for place in (core.approtect, core.secure_approtect)):
            machine.finish("failed")  # platform error, without a word
        if machine.option("lock_net") and not self._lock_network_core():
            self._refuse("Failed to lock debug in network core.")
        refused = machine.take_fault("transition_failure")
        if refused != "refused":
            offset, word = ENTERING[Lcs.SECURED]
            machine.write_uicr(machine.storage.base + offset, word)
        if refused is not None or self._lcs() is not Lcs.SECURED:
            machine.finish("failed")  # platform error, without a word
        machine.system_reset()

    def _lock_network_core(self) -> bool:
        """PCD command to b0n: restart the network core, wait for its answer."""
        machine = self._machine
        machine.do(machine.core.chip.command_pcd)
        machine.restart_net()
        machine.pause(PCD_FIRST_SECONDS)
        for _ in range(int(PCD_SECONDS / PCD_STEP)):
            answer = machine.do(lambda: machine.core.chip.pcd_answer)
            if answer is not None:
                return answer
            machine.pause(PCD_STEP)
        return False

    def _write_missing_keys(self) -> None:
        """TF-M built without the provisioning checks writes hardware unique keys itself."""
        machine = self._machine
        if keys.any_huk_is_written(machine):
            return
        self._say("Writing random Hardware Unique Keys to the KMU.")
        for slot in sorted(machine.silicon.huk_slots):
            keys.write_huk_slot(machine, slot)
        self._say("Success")

    def _refuse(self, text: str) -> None:
        self._say(text)
        self._machine.finish("failed")

    def _say(self, text: str) -> None:
        self._machine.print(f"[ERR] {text}" if not text.startswith(("Writing", "Success")) else text)

    def _lcs(self) -> Lcs:
        return self._machine.do(lambda: self._machine.storage.lcs)

    # ---- application ----------------------------------------------------------------------------------------------

    def _application(self) -> None:
        machine, zephyr = self._machine, self._zephyr
        if keys.identity_is_written(machine) and self._identity_is_dummy():
            self._say(DUMMY_WARNING)
        zephyr.banner()
        self._firmware_info()
        challenge = bytes.fromhex(machine.option("challenge"))
        machine.print(f"Requesting initial attestation token with {len(challenge)} byte challenge.")
        machine.pause(SIGN_SECONDS)
        error = machine.take_fault("token_error")
        if error is not None or not keys.identity_is_written(machine):
            machine.print(f"psa_initial_attest_get_token (err {error or -132})")
            return
        self._print_token(self._token(challenge))

    def _firmware_info(self) -> None:
        for slot, address in (("S0", "0x00008200"), ("S1", "0x00014200")):
            for line in (f"FW info {slot}:", "Magic: 0x281ee6de8fcebb4c00003502", "Version: 1", f"Address: {address}"):
                self._machine.print(line)
            self._machine.print()
        self._machine.print("Active slot: S0")
        self._machine.print()

    def _identity_is_dummy(self) -> bool:
        return keys.read_identity(self._machine).private_numbers().private_value == keys.DUMMY_IDENTITY

    def _token(self, challenge: bytes) -> bytes:
        machine = self._machine
        wrong = machine.take_fault("corrupt_token")
        key = keys.read_identity(machine)
        profile = str(machine.option("profile"))
        lcs = self._lcs()
        claims: dict[str, attestation.Claim] = {
            "nonce": _flip(challenge, 0) if wrong == "nonce" else challenge,
            "boot_seed": secrets.token_bytes(32),
            "instance_id": attestation.instance_id(key.public_key()),
            "implementation_id": machine.do(lambda: machine.storage.implementation_id),
            "client_id": attestation.CLIENT_ID,
            "lifecycle": SECURITY_LIFECYCLE.get(lcs, 0),
            "profile": profile,
            "no_measurements": 1,
            "components": [{1: "NSPE", 2: hashlib.sha256(b"NSPE").digest(), 4: "1.0.0"}],
            "certificate": machine.do(lambda: machine.storage.certificate_reference)
            or str(machine.option("certificate_reference")),
            "service": str(machine.option("verification_service")),
        }
        token = attestation.sign(attestation.payload(profile, claims), key)
        places = {"signature": len(token) - 1, "payload": len(token) // 2}
        return _flip(token, places[wrong]) if wrong in places else token

    def _print_token(self, token: bytes) -> None:
        machine = self._machine
        machine.print(f"Received initial attestation token of {len(token)} bytes.")
        machine.print()
        machine.print(HEADER)
        rows = [_row(token[at : at + ROW]) for at in range(0, len(token), ROW)]
        if machine.take_fault("truncated_token") is not None:
            middle = len(rows) // 2
            for row in rows[:middle]:
                machine.print(row)
            machine.send(rows[middle][:20].encode())
            machine.finish("hang")
        for row in rows:
            machine.print(row)
        machine.print()


def _row(data: bytes) -> str:
    groups = (data[:8].hex(" ").upper(), data[8:].hex(" ").upper())
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return f"{groups[0]:23}  {groups[1]:23}  |  {text}"


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def run(machine: Machine) -> None:
    """The chain from reset on."""
    TrustedFirmware(machine).run()
