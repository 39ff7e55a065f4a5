from __future__ import annotations

import hmac
import shutil
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from earlgrey_pad_flows import (
    CA_KEY_ID,
    EXIT,
    PROD,
    RMA,
    SKU_WORDS,
    WAS,
    bootstrap_twice,
    certificate_hash,
    chip_probe,
    endorse,
    flash,
    individualize,
    personalize,
    receive_blob,
    return_certificates,
    send_rma_hash,
    to_mission,
    words,
)
from earlgrey_pad_host import Console, Host, wait_until

from station.formats import dice, perso_blob
from station.formats.der import parse_certificate, parse_tbs

LOCKED_AT_THE_END = [
    "CREATOR_SW_CFG",
    "HW_CFG0",
    "HW_CFG1",
    "OWNER_SW_CFG",
    "ROT_CREATOR_AUTH_CODESIGN",
    "ROT_CREATOR_AUTH_STATE",
    "SECRET0",
    "SECRET1",
    "SECRET2",
]


@pytest.fixture(scope="module")
def mission_folder(tmp_path_factory):
    """A part that has just left TEST_UNLOCKED1 for PROD."""
    from earlgrey_pad_flows import IMAGES

    from drivers.virtual.earlgrey.chip import open_chip

    folder = tmp_path_factory.mktemp("mission") / "die"
    chip = open_chip(folder, IMAGES)
    host = Host(chip)
    chip_probe(host)
    to_mission(host)
    chip.close()
    return folder


@pytest.fixture
def mission(make_host, mission_folder, tmp_path) -> Host:
    """A host with a part in PROD and an empty flash."""
    shutil.copytree(mission_folder, tmp_path / "die")
    return make_host()


def test_whole_final_test(make_host) -> None:
    host = make_host()
    cp_id = chip_probe(host)
    to_mission(host)
    blob = personalize(host)
    assert blob.version == 0
    host.reset()
    assert "ROM_EXT:0.104\r\nownership: OWND\r\n" in host.uart_until("OWND\r\n")
    assert host.look() == (PROD, 4)
    device = [host.jtag.read(0x13 + n) for n in range(8)]
    assert device == [*cp_id, SKU_WORDS[0] & ~0xFF00 | 7 << 8, *SKU_WORDS[1:]]
    assert blob.payload(perso_blob.TYPES.DEVICE_ID) == struct.pack("<8I", *device)
    assert host.jtag.read(0x10) == 0x55555555
    seen = host.chip.state()
    assert seen["locked"] == LOCKED_AT_THE_END and seen["double_burns"] == []
    host.chip.close()
    again = make_host()
    again.reset()
    assert "OWND" in again.uart_until("OWND\r\n")


@pytest.mark.parametrize("version", [0, 1])
def test_second_generation_makes_both_blob_versions(mission: Host, version: int) -> None:
    blob = personalize(mission, "e1", version)
    assert blob.version == version
    mission.reset()
    assert "ROM_EXT:0.105" in mission.uart_until("OWND\r\n")


def test_blob_is_authenticated_and_chained(mission: Host) -> None:
    blob = personalize(mission)
    key = b"".join(WAS[n : n + 4][::-1] for n in range(0, 32, 4))  # appliance sheet 3.5
    message = perso_blob.was_message(blob.objects)
    assert blob.payload(perso_blob.TYPES.WAS_TBS_HMAC) == hmac.digest(key, message, "sha256")
    uds = parse_tbs(blob.certs(perso_blob.TYPES.X509_TBS)[0].body)
    assert uds.aki == CA_KEY_ID
    cdi = [parse_certificate(cert.body) for cert in blob.certs(perso_blob.TYPES.X509_CERT)]
    dice.check_device_links([uds, *(cert.tbs for cert in cdi)])
    for certificate, issuer in zip(cdi, [uds, cdi[0].tbs], strict=True):
        dice.verify_signature(certificate, issuer.spki)
    assert len(dice.tcb_info(uds).fwids) == 4


def test_secrets_are_hashes_where_the_controller_looks(mission: Host) -> None:
    personalize(mission)
    mission.look()
    assert mission.transition(19 * 0x02108421, words(EXIT)) == 0x41
    mission.look()
    assert mission.transition(19 * 0x02108421, words(RMA)) == 0x9
    assert mission.look() == (19 * 0x02108421, 6)


def test_changed_image_byte_is_a_boot_fault(mission: Host) -> None:
    image = bytearray(flash("ft_personalize_sival.bin"))
    image[300_000] ^= 1
    mission.bootstrap(bytes(image))
    assert f"LCV:{PROD:08x}" in mission.uart_until("VER:")


def test_first_bootstrap_is_unreadable_once_the_flash_keys_exist(mission: Host) -> None:
    mission.bootstrap(flash("ft_fw_bundle_sival.img"))
    mission.console.until("Bootstrap requested.")
    mission.reset()
    assert "BFV:" in mission.uart_until("VER:")


def test_wrong_crc_of_the_rma_hash_is_a_test_error(mission: Host) -> None:
    bootstrap_twice(mission)
    before = mission.chip.state()["fuse_writes"]
    send_rma_hash(mission, wrong_crc=1)
    mission.console.until("Personalization done.")
    assert mission.chip.outputs()["test_error"]
    assert mission.chip.state()["fuse_writes"] == before


def test_returned_blob_must_start_with_uds(mission: Host) -> None:
    bootstrap_twice(mission)
    send_rma_hash(mission)
    mission.console = Console(mission.chip)
    blob = receive_blob(mission)
    certificate = endorse(blob, ec.generate_private_key(ec.SECP256R1()))
    return_certificates(mission, [("CA", certificate)], 0)
    mission.console.until("Personalization done.")
    assert mission.chip.outputs()["test_error"] and not mission.chip.outputs()["test_done"]


def test_repeated_certificate_run_makes_the_same_blob(mission: Host) -> None:
    bootstrap_twice(mission)
    send_rma_hash(mission)
    blobs = []
    for _ in range(2):
        mission.console = Console(mission.chip)
        blobs.append(receive_blob(mission))
        mission.reset()
    assert blobs[0] == blobs[1]


def test_foreign_uds_certificate_is_found_at_boot(mission: Host, make_host, mission_folder, tmp_path) -> None:
    shutil.copytree(mission_folder, tmp_path / "other")
    document = (tmp_path / "other" / "chip.json").read_text().replace('"seed": "', '"seed": "ff')
    (tmp_path / "other" / "chip.json").write_text(document)
    other = make_host("other")
    certificates = []
    for host in (other, mission):
        bootstrap_twice(host)
        send_rma_hash(host)
        host.console = Console(host.chip)
        certificates.append(endorse(receive_blob(host), ec.generate_private_key(ec.SECP256R1())))
    return_certificates(mission, [("UDS", certificates[0])], 0)
    certificate_hash(mission)
    mission.console.until("Personalization done.")
    mission.reset()
    assert "error: UDS certificate not valid" in mission.uart_until("not valid\r\n")


def test_individualize_again_changes_nothing(make_host) -> None:
    host = make_host()
    chip_probe(host)
    host.look()
    assert host.transition(3 * 0x02108421, words(b"\x11" * 16)) == 0x9
    individualize(host)
    burnt = host.chip.state()["fuse_writes"]
    individualize(host)
    seen = host.chip.state()
    assert seen["fuse_writes"] == burnt and seen["double_burns"] == []


def test_image_with_a_built_in_id_asks_nothing(make_host) -> None:
    from earlgrey_pad_flows import elf

    host = make_host()
    chip_probe(host)
    host.look()
    host.transition(3 * 0x02108421, words(b"\x11" * 16))
    host.load(elf("sram_ft_individualize_sival_ate.elf"))
    assert host.debugger.exit_word() == 0xCAFEBABE
    assert "HW_CFG0" in (host.look() and host.chip.state()["locked"])


@pytest.mark.parametrize("number", [5, 30, 60])
def test_personalization_goes_on_after_a_power_cut(mission: Host, number: int) -> None:
    mission.bootstrap(b"")
    mission.chip.fault("power_cut:before", str(number))
    mission.bootstrap(flash("ft_personalize_sival.bin"))
    if number <= 44:  # flash keys: written again over the same bits
        wait_until(lambda: not mission.chip.powered, "the power cut")
        mission.chip.power(True)
        mission.reset()
    mission.console.until("Bootstrap requested.")
    mission.bootstrap(flash("ft_fw_bundle_sival.img"))
    send_or_die(mission, number)
    mission.console = Console(mission.chip)
    receive_blob(mission)
    assert len(mission.chip.state()["double_burns"]) == {5: 4, 30: 29, 60: 60 - 44 - 2 - 1}[number]


def send_or_die(host: Host, number: int) -> None:
    if number <= 44:
        send_rma_hash(host)
        return
    send_rma_hash(host)
    wait_until(lambda: not host.chip.powered, "the power cut")
    host.chip.power(True)
    host.reset()
    send_rma_hash(host)
