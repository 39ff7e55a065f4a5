"""The verbs of an Earlgrey part against a virtual die: what they do, what they answer, how they fail."""

import time

import pytest

from station.errors import PartError, PowerLost
from station.formats.lc import LcState
from station.formats.lc_token import DEV_RAW_UNLOCK_LITERAL, lc_hash, raw_from_literal
from station.model import DONE, NOT_DONE, Evidence
from station.parts.earlgrey import CpSecrets, Stage
from station.parts.earlgrey import part as part_module
from station.secret import Secret

UNLOCK, EXIT, RMA = b"\x11" * 16, b"\x22" * 16, b"\x33" * 16
RAW_TOKEN = raw_from_literal(DEV_RAW_UNLOCK_LITERAL)


def secret(raw, label="token"):
    return Secret(raw, label)


@pytest.fixture
def die(seat):
    die = seat.open()
    yield die
    assert seat.chip["double_burns"] == []


@pytest.fixture
def unlocked(die):
    die.unlock_raw(secret(RAW_TOKEN))
    return die


@pytest.fixture
def exited(unlocked, secrets, pack):
    """A part in PROD, individualized, not yet personalized."""
    die = unlocked
    die.provision_cp(pack.image("cp_sram"), secrets)
    die.lock()
    die.test_unlock(secret(UNLOCK))
    die.individualize(pack.image("individualize"))
    die.test_exit(secret(EXIT))
    return die


def test_a_fresh_die_is_raw(die):
    life = die.look()
    assert (life.state, life.count, life.transitions_left, life.is_personalized) == (LcState.RAW, 0, 24, False)
    assert die.has_reached(LcState.TEST_UNLOCKED0) == NOT_DONE


def test_a_good_token_unlocks(unlocked, seat):
    assert unlocked.has_reached(LcState.TEST_UNLOCKED0) == DONE
    assert seat.chip["count"] == 1


def test_a_wrong_token_is_refused_and_costs_an_attempt(die, seat):
    with pytest.raises(PartError, match="0x45") as refused:
        die.unlock_raw(secret(bytes(16)))
    assert refused.value.bin == "unlock_refused"
    assert die.has_reached(LcState.TEST_UNLOCKED0) == NOT_DONE
    assert die.look().count == 1


def test_a_state_off_the_route_is_unknown(die, seat):
    seat.fault("wrong_state:SCRAP")
    answer = die.has_reached(LcState.TEST_UNLOCKED0)
    assert answer.evidence is Evidence.CONTRADICTS and "SCRAP" in answer.reason


def test_cp_secrets_are_proven_by_their_digest(unlocked, secrets, pack):
    assert unlocked.holds_cp_secrets(secrets) == NOT_DONE
    unlocked.provision_cp(pack.image("cp_sram"), secrets)
    assert unlocked.holds_cp_secrets(secrets) == DONE
    other = CpSecrets(secrets.wafer_authentication, secrets.test_exit_hash, secrets.test_unlock_hash)
    assert unlocked.holds_cp_secrets(other).evidence is Evidence.CONTRADICTS
    assert unlocked.cp_device_id()[:4] == bytes.fromhex("01400300")


def test_a_half_written_secret0_is_seen(unlocked, secrets, pack, seat, monkeypatch):
    monkeypatch.setattr(part_module, "CP_CONSOLE_SECONDS", 1.0)
    seat.fault("power_cut:after:5")
    with pytest.raises(PowerLost):
        unlocked.provision_cp(pack.image("cp_sram"), secrets)
    seat.handler.power(1, True)
    answer = unlocked.holds_cp_secrets(secrets)
    assert answer.evidence is Evidence.CONTRADICTS and "partly written" in answer.reason


def test_a_locked_die_cannot_be_asked_for_its_secrets(unlocked, secrets, pack):
    unlocked.provision_cp(pack.image("cp_sram"), secrets)
    unlocked.lock()
    assert unlocked.holds_cp_secrets(secrets).evidence is Evidence.UNKNOWN


def test_a_firmware_failure_is_seen_on_the_pin_and_not_by_timeout(unlocked, secrets, pack, seat):
    seat.fault("test_error")
    began = time.monotonic()
    with pytest.raises(PartError) as failed:
        unlocked.provision_cp(pack.image("cp_sram"), secrets)
    assert failed.value.bin == "test_error"
    assert time.monotonic() - began < part_module.CP_CONSOLE_SECONDS / 2


@pytest.mark.parametrize("fault", ["console_silence", "console_garbage"])
def test_a_bad_console_ends_in_its_bin(unlocked, secrets, pack, seat, fault, monkeypatch):
    monkeypatch.setattr(part_module, "CP_CONSOLE_SECONDS", 0.5)
    seat.fault(fault)
    with pytest.raises(PartError) as failed:
        unlocked.provision_cp(pack.image("cp_sram"), secrets)
    assert failed.value.bin == "console"
    assert unlocked.holds_cp_secrets(secrets) == NOT_DONE


def test_one_flipped_byte_of_the_sram_program_is_caught_by_its_checksum(unlocked, secrets, pack, monkeypatch):
    monkeypatch.setattr(part_module, "CP_CONSOLE_SECONDS", 0.5)
    image = bytearray(pack.image("cp_sram"))
    image[-100] ^= 1
    start = part_module.sram_elf.parse

    def parse(elf):
        good, bad = start(pack.image("cp_sram")), start(elf)
        return type(good)(bad.address, bad.data, bad.entry, good.crc32)  # the checksum of the right program

    monkeypatch.setattr(part_module.sram_elf, "parse", parse)
    with pytest.raises(PartError, match="checksum"):
        unlocked.provision_cp(bytes(image), secrets)
    assert unlocked.holds_cp_secrets(secrets) == NOT_DONE


def test_individualization_is_proven_word_by_word(unlocked, secrets, pack, seat):
    die = unlocked
    die.provision_cp(pack.image("cp_sram"), secrets)
    die.lock()
    die.test_unlock(secret(UNLOCK))
    assert die.is_individualized() == NOT_DONE
    die.individualize(pack.image("individualize"))
    assert die.is_individualized() == DONE
    device_id = die.device_id()
    assert die.hardware_origin(device_id) == die.cp_device_id()
    address = next(iter(pack.settings["otp_words"]))
    die.services.settings["otp_words"] = {**pack.settings["otp_words"], address: 0x12345678}
    assert die.is_individualized().evidence is Evidence.CONTRADICTS
    die.services.settings["otp_words"] = pack.settings["otp_words"]


def test_a_damaged_image_is_refused_by_the_rom_before_anything_is_burnt(exited, pack, seat):
    image = bytearray(pack.image("perso"))
    image[0x2000] ^= 0x10
    exited.load(bytes(image))
    assert exited.holds_secret1().evidence is Evidence.UNKNOWN
    with pytest.raises(PartError, match="refused the personalization image"):
        exited.first_boot()
    assert exited.holds_secret1() == NOT_DONE
    assert "SECRET1" not in seat.chip["locked"]


def test_secrets_of_the_mission_state(exited, pack):
    die = exited
    die.load(pack.image("perso"))
    die.first_boot()
    assert die.holds_secret1() == DONE
    die.load(pack.image("bundle"))
    blank = die.holds_secret2()
    assert blank.evidence is Evidence.UNKNOWN and blank.unfinished
    die.personalize(lc_hash(RMA))
    assert die.holds_secret2() == DONE
    assert die.stage() is Stage.WANTS_CERTIFICATES


def test_a_corrupt_blob_is_refused(exited, pack, seat):
    die = exited
    die.load(pack.image("perso"))
    die.first_boot()
    die.load(pack.image("bundle"))
    die.personalize(lc_hash(RMA))
    seat.fault("corrupt_blob:header")
    with pytest.raises(PartError) as refused:
        die.export_certificates(bytes(20), bytes(20))
    assert refused.value.bin == "certificate"


def test_no_secret_is_logged(unlocked, secrets, pack, seat):
    unlocked.provision_cp(pack.image("cp_sram"), secrets)
    text = " ".join(line for _, line in seat.lines)
    assert "wafer secret and test token hashes" in text
    assert bytes(range(32)).hex() not in text and lc_hash(UNLOCK).hex() not in text
