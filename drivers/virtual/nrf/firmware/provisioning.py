"""The provisioning sample of the application core: every line, in order, with every way to fail.

Sources: nordic-tfm sheet 1.3 (steps and lines), 1.4 (library lines), 1.1 (generations: older ones ignore what the key
writers return). Steps take their real order: the life cycle is burnt before any key exists.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.virtual.nrf.firmware import keys
from drivers.virtual.nrf.firmware.machine import Machine
from drivers.virtual.nrf.firmware.zephyr import Zephyr
from drivers.virtual.nrf.silicon import WORD
from drivers.virtual.nrf.storage import ENTERING, Lcs
from drivers.virtual.nrf.words import IMPLEMENTATION_ID, IMPLEMENTATION_ID_WORDS

MODULE, HUK_MODULE, IDENTITY_MODULE = "provisioning_image", "hw_unique_key", "identity_key"
BOOT_SECONDS, RNG_SECONDS, KEYGEN_SECONDS = 0.03, 0.02, 0.03
CC_RNG_SELF_TEST, CC_TRNG_TIMEOUT, CC_KEY_WRITE = -0x7003, -0x7019, -0x701D
CC_IDENTITY_WRITE, CC_IDENTITY_READ = -0x7026, -0x7027
PSA_GENERIC_ERROR, PSA_INSUFFICIENT_ENTROPY, PSA_CORRUPTION = -132, -148, -151
DUMMY_WARNING = "WARNING: Using a dummy identity key not meant for production!"


class LibraryError(Exception):
    """A key library has printed its line and returns an error."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault of a key library: what it prints, and whether the key is complete all the same."""

    text: str
    level: str = ""
    """Empty for printk."""
    written: bool = False


HUK_TROUBLE = {
    "huk:already_set": Trouble("One or more keys already set. Cannot overwrite"),
    "huk:rng_setup": Trouble(f"The RNG setup failed with error code: {CC_RNG_SELF_TEST}"),
    "huk:rng_call": Trouble(f"The RNG call failed with error code: {CC_TRNG_TIMEOUT} or wrong size 0"),
    "huk:drbg": Trouble("Could not free nrf_cc3xx_platform_ctr_drbg context: -28674", written=True),
    "huk:ram": Trouble("The key bytes weren't correctly deleted from RAM.", written=True),
}
IDENTITY_TROUBLE = {
    "identity:psa_crypto_init": Trouble(f"psa_crypto_init failed! Error: {PSA_GENERIC_ERROR}", "err"),
    "identity:psa_generate_key": Trouble(f"psa_generate_key failed! Error: {PSA_INSUFFICIENT_ENTROPY}", "err"),
    "identity:psa_export_key": Trouble(f"psa_export_key failed! Error: {PSA_CORRUPTION}", "err"),
    "identity:size": Trouble("Exported size mismatch! Key size: 31", "err"),
    "identity:psa_destroy_key": Trouble(f"psa_destroy_key failed! Error: {PSA_CORRUPTION}", "err"),
    "identity:no_mkek": Trouble("Could not find the MKEK!", "err"),
}


class Provisioning:
    """One run of the image."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._zephyr = Zephyr(machine)
        self._newest = machine.option("generation") == "newest"

    def run(self) -> None:
        """All steps; each failure ends the program with its line."""
        machine, zephyr = self._machine, self._zephyr
        machine.pause(BOOT_SECONDS)
        zephyr.banner()
        if machine.option("net_child"):
            machine.start_net()
        zephyr.step("start")
        if machine.take_fault("success_wrong_port") is not None:
            machine.send(b"Success!\r\n", core="net")
        self._check_state()
        zephyr.step("lcs")
        self._enter_provisioning()
        zephyr.step("huk")
        self._hardware_unique_keys()
        zephyr.step("identity")
        self._identity()
        zephyr.step("implementation_id")
        self._implementation_id()
        self._say("Success!")
        machine.finish("done")

    # ---- life cycle -----------------------------------------------------------------------------------------------

    def _check_state(self) -> None:
        lcs = self._lcs()
        if lcs is not Lcs.ASSEMBLY:
            self._machine.note_second_run()
        if lcs is Lcs.UNKNOWN:
            self._fail("Cannot read PSA lifecycle state. Exiting!")
        if lcs is not Lcs.ASSEMBLY:
            self._fail("Lifecycle state is not ASSEMBLY as expected. Exiting!")
        self._say("Successfully verified PSA lifecycle state ASSEMBLY!")

    def _enter_provisioning(self) -> None:
        refused = self._machine.take_fault("transition_failure")
        if refused != "refused":
            offset, word = ENTERING[Lcs.PROVISIONING]
            self._machine.write_uicr(self._machine.storage.base + offset, word)
        if refused is not None:
            self._fail("Cannot set PSA lifecycle state PROVISIONING. Exiting!")
        seen = self._read_back()
        if seen == Lcs.UNKNOWN:
            self._fail("Cannot read PSA lifecycle state. Exiting!")
        if seen != Lcs.PROVISIONING:
            self._say(f"Lifecycle state was {seen}")
            self._fail("Lifecycle state is not PROVISION as expected. Exiting!")
        self._say("Successfully switched to PSA lifecycle state PROVISIONING!")

    def _read_back(self) -> int:
        spoilt = self._machine.take_fault("lcs_readback")
        if spoilt is None:
            return self._lcs()
        return int(spoilt) if spoilt.isdecimal() else Lcs.UNKNOWN

    def _lcs(self) -> Lcs:
        return self._machine.do(lambda: self._machine.storage.lcs)

    # ---- keys -----------------------------------------------------------------------------------------------------

    def _hardware_unique_keys(self) -> None:
        self._say("Generating random HUK keys (including MKEK)")
        try:
            self._write_hardware_unique_keys()
        except LibraryError:
            if self._newest:
                self._fail("Writing random HUK keys failed. Exiting!")

    def _write_hardware_unique_keys(self) -> None:
        machine = self._machine
        if keys.any_huk_is_written(machine):
            self._complain(HUK_TROUBLE["huk:already_set"])
        trouble = next((t for name, t in HUK_TROUBLE.items() if machine.take_fault(name) is not None), None)
        if trouble is not None and not trouble.written:
            self._complain(trouble)
        broken_slot = machine.take_fault("huk:write")
        incomplete = machine.take_fault("huk:not_set") is not None
        slots = sorted(machine.silicon.huk_slots)
        for slot in slots:
            machine.pause(RNG_SECONDS)
            if broken_slot is not None and slot >= int(broken_slot):
                self._complain(
                    Trouble(f"The HUK writing to: {slot} failed with error code: {CC_KEY_WRITE}", "err"), panics=True
                )
            keys.write_huk_slot(machine, slot, WORD if incomplete and slot == slots[-1] else keys.PERM_HUK)
        if trouble is not None:
            self._complain(trouble)
        if not keys.huk_is_written(machine):
            self._complain(Trouble("One or more keys not set correctly"))

    def _identity(self) -> None:
        machine = self._machine
        if keys.identity_is_written(machine):
            self._fail("Identity key slot already written. Exiting!")
        self._say("Writing the identity key to KMU")
        try:
            self._write_identity()
        except LibraryError:
            if self._newest:
                self._fail("Identity key write failed! Exiting!")
        if not keys.identity_is_written(machine):
            self._fail("Identity key is not written! Exiting!")

    def _write_identity(self) -> None:
        machine = self._machine
        private = self._make_identity()
        if machine.take_fault("identity:write") is not None:
            keys.write_identity(machine, private, slots=1)
            self._complain(Trouble(f"Identity key write failed! Error: {CC_IDENTITY_WRITE}", "err"), IDENTITY_MODULE)
        lost = machine.take_fault("identity:not_written") is not None
        keys.write_identity(machine, private, permission=WORD if lost else keys.PERM_IDENTITY)
        if machine.take_fault("identity:read") is not None:
            slot = machine.silicon.identity_slots[0]
            text = f"The identity key read from: {slot} failed with error code: {CC_IDENTITY_READ}"
            self._complain(Trouble(text, "err"), IDENTITY_MODULE)

    def _make_identity(self) -> int:
        machine = self._machine
        for name, trouble in IDENTITY_TROUBLE.items():
            if machine.take_fault(name) is not None:
                self._complain(trouble, IDENTITY_MODULE)
        if not keys.huk_is_written(machine):
            self._complain(IDENTITY_TROUBLE["identity:no_mkek"], IDENTITY_MODULE)
        machine.pause(KEYGEN_SECONDS)
        if machine.option("dummy_identity") or machine.take_fault("identity:dummy") is not None:
            self._zephyr.log("wrn", IDENTITY_MODULE, DUMMY_WARNING)
            return keys.DUMMY_IDENTITY
        return keys.new_identity()

    # ---- implementation id ----------------------------------------------------------------------------------------

    def _implementation_id(self) -> None:
        machine = self._machine
        content = bytes.fromhex(machine.option("implementation_id"))
        fails_at = int(machine.take_fault("implementation_id:write") or IMPLEMENTATION_ID_WORDS)
        for n in range(IMPLEMENTATION_ID_WORDS):
            if n >= fails_at:
                if self._newest:
                    self._fail("Writing implementation ID failed. Exiting!")
                return
            word = int.from_bytes(content[4 * n : 4 * n + 4], "little")
            machine.write_uicr(machine.storage.base + IMPLEMENTATION_ID + 4 * n, word)

    # ---- text -----------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._zephyr.log("inf", MODULE, text)

    def _fail(self, reason: str) -> None:
        """A failure is a line at level INFO; then main returns."""
        self._say(f"Failure: {reason}")
        self._machine.finish("failed")

    def _complain(self, trouble: Trouble, module: str = HUK_MODULE, panics: bool = False) -> None:
        if trouble.level:
            self._zephyr.log(trouble.level, module, trouble.text)
        else:
            self._zephyr.printk(trouble.text)
        if panics and not self._newest:
            self._zephyr.panic()
        raise LibraryError


def run(machine: Machine) -> None:
    """The image's main."""
    Provisioning(machine).run()
