"""The verbs on one Earlgrey die or part: each is what the work instruction says, none decides what comes next.

A verb that asks (``look``, ``has_reached``, ``holds_…``, ``is_…``) changes nothing that lasts, but may reset the part.
Sources: opentitan-device sheet 1.2, 1.3; opentitan-rtl sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from station.deadline import Deadline, Pace
from station.errors import ConfigError, FirmwareFailed, PartError, PowerLost
from station.formats import console_json as messages
from station.formats import sram_elf
from station.formats.device_id import DeviceId, Din, SkuSpecific
from station.formats.firmware import FirmwareGeneration
from station.formats.lc import LcState
from station.formats.otp import DEV_SECRET0_KEY, ITEMS, MUBI8_TRUE, hw_digest
from station.model import CONTRADICTS, DONE, NOT_DONE, UNFINISHED, UNKNOWN, Answer, Evidence, Registration, Tap
from station.parts import PartServices
from station.parts.earlgrey import personalization
from station.parts.earlgrey.boot_check import BootWatcher
from station.parts.earlgrey.bootstrap import Bootstrap
from station.parts.earlgrey.life_cycle import LifeCycle, LifeCycleController
from station.parts.earlgrey.otp_view import OtpView
from station.parts.earlgrey.pads import Pads
from station.parts.earlgrey.personalization import Endorsed, Exported
from station.parts.earlgrey.probe_page import ProbePage
from station.parts.earlgrey.spi_console import SpiConsole
from station.parts.earlgrey.sram import SramLoader
from station.parts.earlgrey.stages import (
    CP_DONE,
    EXPORTS_CP_ID,
    EXPORTS_TBS,
    FIRST_WORDS,
    IMPORTED,
    IMPORTS,
    PERSONALIZED,
    WANTS_BOOTSTRAP,
    WANTS_CERTIFICATES,
    WANTS_CP_DATA,
    WANTS_FT_DATA,
    WANTS_HASH,
    Session,
    Stage,
    Witness,
)
from station.ports import Console, Jtag, Pins, Presence, Spi
from station.secret import Secret

_P = TypeVar("_P")

TRANSITION_SECONDS = 3.0
ATTACH_SECONDS = 1.0
CP_CONSOLE_SECONDS = 10.0
BOOTSTRAP_SECONDS = 5.0
BOOT_SECONDS = 2.0
SILENT_OWNER_SECONDS = 0.8
NEVER_COMPARED = "the product boots, but the hash of its certificates was never compared with what it was sent"
WEIGHT = {Evidence.DONE: 0, Evidence.NOT_DONE: 1, Evidence.UNKNOWN: 2, Evidence.CONTRADICTS: 3}
CODE_SIGNING = ("ROT_CREATOR_AUTH_CODESIGN", "ROT_CREATOR_AUTH_STATE")


@dataclass(frozen=True, slots=True)
class CpSecrets:
    """What Chip Probe writes: the wafer authentication secret (32 bytes) and two token hashes (16 bytes each)."""

    wafer_authentication: Secret
    test_unlock_hash: Secret
    test_exit_hash: Secret


class Earlgrey:
    """One part in one socket, with the ports of that socket; a missing port is a configuration error."""

    def __init__(self, ports: Mapping[str, object], services: PartServices) -> None:
        self.ports = ports
        self.services = services
        self._session = Session()
        self._witness = Witness()
        jtag, spi = self._port("jtag", Jtag), self._port("spi", Spi)
        pause, log = services.pause, services.log
        self._pads = Pads(self._port("pins", Pins), pause)
        self._controller = LifeCycleController(jtag, pause, TRANSITION_SECONDS)
        self._sram = SramLoader(jtag, pause, ATTACH_SECONDS)
        self._otp = OtpView(jtag, pause)
        self._probe_page = ProbePage(jtag, pause)
        self._console = SpiConsole(spi, self._pads, log, pause)
        self._bootstrap = Bootstrap(spi, pause, BOOTSTRAP_SECONDS)
        self._uart = BootWatcher(self._port("console", Console), log)

    # ---- looking -------------------------------------------------------------------------------------------------

    def look(self) -> LifeCycle:
        """Reset the part into ROM bootstrap with the LC TAP selected and read the life cycle registers."""
        self._check_contact()
        if self._witness.found_failed is None:
            self._witness.found_failed = bool(self._pads.sample().get("test_error"))
        self._enter_life_cycle()
        return self._controller.look()

    def has_reached(self, target: LcState) -> Answer:
        """Whether the part is in the target state or in a later one of its route; other states are unknown."""
        life = self.look()
        route = (LcState.RAW, LcState.TEST_UNLOCKED0, LcState.TEST_LOCKED0, LcState.TEST_UNLOCKED1, self.mission_state)
        if life.state not in route:
            seen = f"the life cycle state is {life.state.name}, which is not on this route"
            return CONTRADICTS(seen) if life.state.is_stored else UNKNOWN(seen)
        return DONE if route.index(life.state) >= route.index(target) else NOT_DONE

    @property
    def mission_state(self) -> LcState:
        """The state that Final Test leaves the part in (pack setting ``mission_state``, PROD by default)."""
        return LcState[str(self.services.settings.get("mission_state", "PROD"))]

    # ---- life cycle transitions -----------------------------------------------------------------------------------

    def unlock_raw(self, token: Secret) -> None:
        """RAW to TEST_UNLOCKED0 with the RAW unlock token, on the external clock: the internal one is uncalibrated."""
        self._transition(LcState.TEST_UNLOCKED0, token, external_clock=True)

    def lock(self) -> None:
        """TEST_UNLOCKED0 to TEST_LOCKED0; needs no token."""
        self._transition(LcState.TEST_LOCKED0, None)

    def test_unlock(self, token: Secret) -> None:
        """TEST_LOCKED0 to TEST_UNLOCKED1."""
        self._transition(LcState.TEST_UNLOCKED1, token)

    def test_exit(self, token: Secret) -> None:
        """TEST_UNLOCKED1 to the mission state."""
        self._transition(self.mission_state, token)

    # ---- Chip Probe -----------------------------------------------------------------------------------------------

    def holds_cp_secrets(self, secrets: CpSecrets) -> Answer:
        """SECRET0 by its digest, and by its words while it is not locked; a locked die cannot be asked."""
        state = self.look().state
        if state is not LcState.TEST_UNLOCKED0:
            return UNKNOWN(f"OTP cannot be read in {state.name}")
        self._enter_debug()
        self._witness.place = self._witness.place or self._probe_page.place()
        return self._otp.locked_or_blank(["SECRET0"], self._secret0_digest(secrets))

    def provision_cp(self, program: bytes, secrets: CpSecrets) -> None:
        """Run the CP program (ELF) and give it wafer secret and token hashes; failure is seen on TestError."""
        self._start_sram(program)
        deadline = Deadline(CP_CONSOLE_SECONDS)
        self._expect_program(WANTS_CP_DATA, deadline)
        self._console.send_secret(self._cp_message(secrets), deadline)
        self._console.expect(EXPORTS_CP_ID, deadline=deadline)
        self._console.answer(messages.parse_cp_device_id, deadline)
        self._console.expect(CP_DONE, deadline=deadline)
        # The done line is printed after a failure too; only the pin tells.
        self._pads.wait("test_done", deadline, "TestDone after the CP program")

    def cp_device_id(self) -> bytes:
        """Hardware origin (16 bytes, little-endian words) that the CP program left in flash info page (0, 0)."""
        self._enter_debug()
        return self._probe_page.device_id()

    @property
    def probed_place(self) -> Din | None:
        """Where wafer probing says the die lay, read when the die was asked for its secrets before any program ran."""
        return self._witness.place

    @property
    def lot_number(self) -> str:
        """Where the lot's number stands in its text (recipe setting ``lot_number``, a pattern; none by default)."""
        return str(self.services.settings.get("lot_number", ""))

    # ---- Final Test: identity -------------------------------------------------------------------------------------

    def is_individualized(self) -> Answer:
        """HW_CFG0 and HW_CFG1 by digest or blankness, software words one by one, code-signing partitions locked."""
        state = self.look().state
        if state is not LcState.TEST_UNLOCKED1:
            return UNKNOWN(f"OTP cannot be read in {state.name}")
        self._enter_debug()
        hardware = self._otp.locked_or_blank(["HW_CFG0", "HW_CFG1"], self._hw_cfg1_digest())
        software = self._software_answer()
        answers = (hardware, software, self._otp.are_locked(CODE_SIGNING))
        return max(answers, key=lambda answer: WEIGHT[answer.evidence])

    def _software_answer(self) -> Answer:
        """Software words against the SKU's; on the way there, the analog calibration against what probing measured."""
        software = self._otp.software_matches(self._software_words())
        if software is not NOT_DONE:
            return software
        item = ITEMS["AST_CFG"]
        places = range(item.offset, item.offset + item.size, 4)
        blank = dict.fromkeys(places, 0)
        if self._otp.software_matches(blank) is DONE:
            return NOT_DONE
        words = self._probe_page.calibration(len(places))
        calibration = self._otp.software_matches(dict(zip(places, words, strict=True)))
        return NOT_DONE if calibration is DONE else calibration

    def individualize(self, program: bytes) -> None:
        """Run the individualize program with the SKU's half of the device id; it ends in ebreak."""
        self._start_sram(program)
        deadline = Deadline(self.generation.console_timeout_s)
        self._expect_program(WANTS_FT_DATA, deadline)
        message = messages.encode_ft_individualize(self._sku_half(), self.generation.dialect)
        self._console.send(message, deadline, "SKU half of the device id")
        self._sram.wait_exit(deadline, lambda: self._pads.refuse_test_error("the end of the individualize program"))
        self._pads.refuse_test_error("the end of the individualize program")

    def device_id(self) -> bytes:
        """The 32 bytes of the device id from the LC registers; blank or unreadable raises ``PartError``."""
        raw = self.look().device_id
        if raw in (bytes(32), b"\xff" * 32):
            raise PartError("expected a device id after individualization, but it reads blank", "wrong_part")
        wanted = SkuSpecific.parse(self._sku_half())
        seen = DeviceId.parse(raw).sku
        if (seen.sku_id, seen.otp_id, seen.otp_version, seen.package) != (
            wanted.sku_id, wanted.otp_id, wanted.otp_version, wanted.package,
        ):  # fmt: skip
            raise PartError(
                f"the device id carries SKU {seen.sku_id}/{seen.otp_id}, this pack is {wanted.sku_id}", "wrong_part"
            )
        return raw

    @staticmethod
    def hardware_origin(device_id: bytes) -> bytes:
        """The first 16 bytes of a device id: what the die got at Chip Probe."""
        return device_id[:16]

    # ---- Final Test: secrets --------------------------------------------------------------------------------------

    def load(self, image: bytes) -> None:
        """Write an image by SPI bootstrap and leave the part in reset: nothing of it has run yet."""
        self._check_contact()
        self._pads.reset(None, bootstrap=True)
        self._bootstrap.write(image)
        self._hold()

    def holds_secret1(self) -> Answer:
        """The firmware's word at its first boot, said only after SECRET1 is locked; a locked SECRET2 implies it too."""
        if self._witness.first_boot is Stage.FAULT:
            return NOT_DONE  # the ROM refused the image: none of its code has run
        if self._witness.first_boot in FIRST_WORDS or self.look().is_personalized:
            return DONE
        self._refuse_found_failed()
        return UNKNOWN("SECRET1 cannot be read in a mission state")

    def first_boot(self) -> None:
        """Release the loaded personalization firmware: it writes SECRET1 and asks for the second bootstrap."""
        self._hold()
        self._witness.first_boot = stage = self._boot(self.generation.console_timeout_s)
        if stage is Stage.FAULT:
            raise PartError("the ROM refused the personalization image; check the image and the SPI wiring", "boot")
        if stage not in FIRST_WORDS:
            raise PartError(f"expected {WANTS_BOOTSTRAP!r} after the first boot, got: {stage.value}", "firmware")

    def holds_secret2(self) -> Answer:
        """LC_ID_STATE tells whether SECRET2 is locked; a blank one is sure only if no hash went to the part."""
        if self.look().is_personalized:
            return DONE
        if self._witness.hash_sent is False:
            return NOT_DONE
        self._refuse_found_failed()
        return UNFINISHED("SECRET2 is not locked, and whether it is partly written cannot be read in a mission state")

    def personalize(self, rma_token_hash: bytes) -> None:
        """Boot the bundle and give it the RMA token hash (16 bytes); it writes the device secrets and restarts."""
        self._witness.hash_sent = False
        self._hold()
        stage = self._boot(self.generation.console_timeout_s)
        if stage is not Stage.WANTS_HASH:
            raise PartError(f"expected {WANTS_HASH!r} after the second bootstrap, got: {stage.value}", "firmware")
        deadline = Deadline(self.generation.console_timeout_s)
        message = messages.encode_rma_hash(rma_token_hash, self.generation.dialect)
        self._witness.hash_sent = True
        self._console.send(message, deadline, "RMA token hash")
        self._console.restarted()
        self._console.expect(WANTS_CERTIFICATES, deadline=deadline)
        self._session.stage = Stage.WANTS_CERTIFICATES

    # ---- Final Test: certificates ---------------------------------------------------------------------------------

    def stage(self) -> Stage:
        """Where the firmware of a personalized part stands; boots it when this process has not seen it yet.

        Only for a part whose SECRET2 is locked: before that a boot may write fuses.
        """
        if self._session.stage is None:
            self._hold()
            self._boot(BOOT_SECONDS)
        return self._session.stage or Stage.SILENT

    def export_certificates(self, dice_key_id: bytes, extension_key_id: bytes) -> Exported:
        """Give the CA key ids, take the blob with TBS certificates, device certificates and WAS HMAC."""
        if self.stage() is not Stage.WANTS_CERTIFICATES:
            raise PartError(f"expected {WANTS_CERTIFICATES!r}, got: {self.stage().value}", "firmware")
        generation, deadline = self.generation, Deadline(self.generation.console_timeout_s)
        inputs = messages.encode_certgen_inputs(
            dice_key_id, extension_key_id, generation, generation.dialect, self._blob_version()
        )
        self._send_frames(inputs, deadline, "CA key ids")
        self._session.stage = None
        self._console.expect(EXPORTS_TBS, deadline=deadline)
        blob = self._console.answer(messages.parse_perso_blob, deadline)
        self._console.expect(IMPORTS, deadline=deadline)
        self._pads.wait("console_rx_ready", deadline, "the firmware to wait for endorsed certificates")
        self._session.exported = True
        return personalization.read_export(blob)

    def endorsed(self, exported: Exported, certificates: list[bytes], root: bytes, ica: bytes) -> Endorsed:
        """Put certificates to their TBS, check the whole chain and compute the hash the part must answer with."""
        return personalization.endorse(exported, certificates, root, ica)

    def is_installed(self, compared: bool = True) -> Answer:
        """The product boots: done. The firmware waits for certificates: not done. Anything else is unknown.

        ``compared``: the hash of the certificates that the part stored is known to be that of those it was sent.
        """
        if self._session.exported and self._console.waits_for_data():
            return NOT_DONE
        self._session = Session()
        stage = self.stage()
        if stage is Stage.SHIPPED:  # which a product does before the last words of its configuration are written
            self._refuse_found_failed()
            unproven = self._witness.install_failed or ("" if compared else NEVER_COMPARED)
            return UNKNOWN(unproven) if unproven else DONE
        return NOT_DONE if stage is Stage.WANTS_CERTIFICATES else UNKNOWN(f"after a boot the part is: {stage.value}")

    def install(self, endorsed: Endorsed | None, compared: Callable[[bytes], None]) -> None:
        """Give the endorsed certificates to the waiting firmware, compare its hash, wait until it is through.

        ``compared`` gets the right hash (32 bytes) while the firmware waits: no fuse is written before it returns.
        """
        if endorsed is None or not self._session.exported:
            raise PartError("the part has restarted since its certificates were exported; run it again", "firmware")
        self._session.exported = self._witness.found_failed = False
        try:
            self._hand_over(endorsed, compared, Deadline(self.generation.console_timeout_s))
        except FirmwareFailed as error:
            self._witness.install_failed = str(error)
            raise

    def _hand_over(self, endorsed: Endorsed, compared: Callable[[bytes], None], deadline: Deadline) -> None:
        def judge(seen: bytes) -> None:
            personalization.compare(seen, endorsed)
            compared(seen)

        message = messages.encode_perso_blob(endorsed.objects, endorsed.blob, self.generation.dialect)
        self._send_frames(message, deadline, "endorsed certificates")
        self._console.expect(IMPORTED, deadline=deadline)
        self._console.held_answer(messages.parse_sha256, deadline, judge)
        self._console.expect(PERSONALIZED, deadline=deadline)
        self._pads.wait("test_done", deadline, "TestDone after personalization")

    def check_transport_boot(self, boot_message: str) -> str:
        """Boot the product; ROM_EXT and the owner's message must come. Returns the ROM_EXT version."""
        self._hold()
        self._release()
        return self._uart.check_transport(
            boot_message, Deadline(BOOT_SECONDS if boot_message else SILENT_OWNER_SECONDS)
        )

    def registration(self, sku: str, device_id: bytes, wrapped_seed: bytes, endorsed: Endorsed) -> Registration:
        """The complete registration request of this part."""
        return personalization.registration(sku, device_id, self.mission_state.name, wrapped_seed, endorsed)

    # ---- inside -----------------------------------------------------------------------------------------------------

    @property
    def generation(self) -> FirmwareGeneration:
        """The firmware generation of the SKU pack."""
        return self.services.firmware

    def _port(self, name: str, kind: type[_P]) -> _P:
        port = self.ports.get(name)
        if not isinstance(port, kind):
            raise ConfigError(f"an Earlgrey part needs the port {name!r}, but the socket's driver does not provide it")
        return port

    def _blob_version(self) -> int:
        return int(str(self.services.settings.get("blob_version", self.generation.blob_version)))

    def _check_contact(self) -> None:
        presence = self.ports.get("presence")
        if not isinstance(presence, Presence):
            return
        contact = presence.contact()
        seen = (("no part", contact.present), ("an open lid", contact.lid_closed), ("no power", contact.power_good))
        wrong = " and ".join(words for words, good in seen if not good)
        if wrong:
            raise PowerLost(f"expected a part in the closed, powered socket, saw {wrong}; reseat the part")

    def _refuse_found_failed(self) -> None:
        """A firmware that failed while no station watched may have left its partition half written."""
        if self._witness.found_failed:
            raise FirmwareFailed(
                "the firmware had raised TestError before this run began; it failed while nobody watched"
            )

    def _enter_life_cycle(self) -> None:
        self._session = Session()
        self._pads.reset(Tap.LC, bootstrap=True)
        self._controller.attach()

    def _enter_debug(self) -> None:
        self._session = Session()
        self._pads.reset(Tap.RISCV, bootstrap=True)
        self._sram.attach()

    def _transition(self, target: LcState, token: Secret | None, external_clock: bool = False) -> None:
        self._enter_life_cycle()
        self._controller.transition(target, token, external_clock)

    def _start_sram(self, elf: bytes) -> None:
        program = sram_elf.parse(elf)
        self._session = Session()
        self._pads.reset(Tap.RISCV, bootstrap=False)
        self._sram.attach()
        self._console.reset()
        self._sram.start(program)

    def _expect_program(self, text: str, deadline: Deadline) -> None:
        """The SRAM program's first words; a silent one is asked over the debug module whether it has ended already."""
        try:
            self._console.expect(text, deadline=deadline)
        except PartError:
            if self._sram.hart.is_halted():
                self._sram.wait_exit(Deadline(ATTACH_SECONDS))
            raise

    def _hold(self) -> None:
        self._session = Session()
        self._pads.hold()
        self._uart.clear()
        self._console.reset()

    def _release(self) -> None:
        self._pads.release()

    def _boot(self, seconds: float) -> Stage:
        """Release reset and wait for the first word of either the firmware (SPI) or the boot stages (UART)."""
        self._release()
        self._session.stage = self._first_word(Deadline(seconds))
        return self._session.stage

    def _first_word(self, deadline: Deadline) -> Stage:
        pace, spoken = Pace(self.services.pause), (Stage.WANTS_BOOTSTRAP, Stage.WANTS_HASH, Stage.WANTS_CERTIFICATES)
        while not deadline.passed:
            levels = self._pads.sample()
            if levels.get("test_error"):
                raise FirmwareFailed("the firmware raised TestError while it started")
            if levels.get("console_tx_ready"):
                return Stage(self._console.expect(*(stage.value for stage in spoken), deadline=deadline))
            said = self._uart.poll()
            if said.rom_ext or said.fault:
                return Stage.SHIPPED if said.rom_ext else Stage.FAULT
            pace.rest()
        return Stage.SILENT

    def _send_frames(self, message: bytes, deadline: Deadline, what: str) -> None:
        frames = messages.frames_of(message, self.generation.dialect)
        self._console.send(frames[0], deadline, f"{what}, {len(frames)} frames" if len(frames) > 1 else what)
        for frame in frames[1:]:
            self._console.send_more(frame, deadline)

    def _cp_message(self, secrets: CpSecrets) -> Secret:
        with (
            secrets.wafer_authentication.reveal() as was,
            secrets.test_unlock_hash.reveal() as unlock,
            secrets.test_exit_hash.reveal() as leave,
        ):
            raw = messages.encode_cp_provisioning(was, unlock, leave, self.generation.dialect)
        return Secret(raw, "wafer secret and test token hashes")

    def _sku_half(self) -> bytes:
        settings = self.services.settings
        return SkuSpecific(
            package=int(str(settings["package"])),
            ast_cfg_version=int(str(settings.get("ast_cfg_version", 255))),
            otp_id=str(settings["otp_id"])[:2].upper(),
            otp_version=int(str(settings["otp_id"])[2:], 16),
            sku_id=str(settings["sku_id"]),
        ).pack()

    def _secret0_digest(self, secrets: CpSecrets) -> Mapping[str, int]:
        """The digest that exactly these tokens give; known only for the public netlist constants of realm dev."""
        if self.services.settings.get("otp_netlist") != "open-source":
            return {}
        with secrets.test_unlock_hash.reveal() as unlock, secrets.test_exit_hash.reveal() as leave:
            return {"SECRET0": hw_digest(unlock + leave, DEV_SECRET0_KEY)}

    def _hw_cfg1_digest(self) -> Mapping[str, int]:
        if self.services.settings.get("otp_netlist") != "open-source":
            return {}
        return {"HW_CFG1": hw_digest(bytes([MUBI8_TRUE] * 3).ljust(8, b"\0"))}

    def _software_words(self) -> Mapping[int, int]:
        words = self.services.settings.get("otp_words", {})
        return dict(words) if isinstance(words, Mapping) else {}
