"""The pieces of the Nordic part on a probe of plain memory: what is asked in which order, and every answer."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from nordic_fakes import MemoryProbe

from drivers.virtual.nrf import images as builder
from station.errors import ConfigError, PartError
from station.formats import bl_storage, kmu
from station.formats.bl_storage import LifeCycle
from station.formats.firmware_image import CoreImage
from station.formats.hex_file import Block
from station.formats.kmu import Slot
from station.formats.nordic_family import FAMILIES, NETWORK_FORCEOFF, NETWORK_FORCEOFF_UNLOCK, family
from station.formats.provisioning_console import Outcome, PartNow, Transcript
from station.model import DebugAccess, EraseWaiver, Evidence, Realm, Segment
from station.parts import PartServices
from station.parts.nordic import Nordic, content, evidence, settings
from station.parts.nordic.debug_port import NordicDebugPort
from station.parts.nordic.recovery import Recovery
from station.recipe import recipe_names

ROOT = Path(__file__).resolve().parents[2]
ID = bytes(range(32))
WAIVER = EraseWaiver("a test", 1)
SKUS = ("nrf5340_tfm", "nrf9160_tfm", "nrf91x1_tfm")


# ---- debug port ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "revision"), [("nrf5340", 1), ("nrf9160", 2), ("nrf91x1", 3)])
def test_a_part_of_its_family(name, revision):
    probe = MemoryProbe(name, revision)
    port = NordicDebugPort(probe, probe.family)
    found = port.look()
    assert found.is_open and not found.erase_protected and port.device_id() == "5566778811223344"
    assert probe.calls == ["attach"] and probe.writes == [], "looking changes nothing"


def test_an_erasure_under_way_is_awaited():
    probe, rests = MemoryProbe(), []
    probe.erasing = [1, 1, 0, 1]
    assert NordicDebugPort(probe, probe.family, rests.append).look().is_open
    assert len(rests) == 3 and probe.erasing == [], "both cores are asked"


def wrong(probe, **changes):
    for name, value in changes.items():
        setattr(probe, name, value)
    with pytest.raises(PartError) as caught:
        NordicDebugPort(probe, probe.family).look()
    assert caught.value.bin == "wrong_part"
    return str(caught.value)


def test_other_parts_are_named():
    assert "nRF54L" in wrong(MemoryProbe(), aps={2: 0x32880000})
    assert "(nRF9160)" in wrong(MemoryProbe(), targetid=0x2009_0289)
    assert "TARGETID 0x12345678" in wrong(MemoryProbe(), targetid=0x1234_5678)
    assert "where its CTRL-AP should be" in wrong(MemoryProbe(), aps={0: 0x84770001})
    assert "revision 3" in wrong(MemoryProbe("nrf9160", 3)) and "revision 2" in wrong(MemoryProbe("nrf91x1", 2))


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_blank_device_id_is_none(low, high):
    probe = MemoryProbe()
    probe.words |= {0x00FF0204: low, 0x00FF0208: high}
    with pytest.raises(PartError, match="reads blank"):
        NordicDebugPort(probe, probe.family).device_id()


def test_the_part_number_is_compared():
    probe = MemoryProbe()
    probe.words[0x00FF020C] = 0x9160
    with pytest.raises(PartError, match="part number 0x9160"):
        NordicDebugPort(probe, probe.family).device_id()


def test_the_network_core_is_let_out_by_the_erratums_detour_and_only_once():
    probe = MemoryProbe()
    port = NordicDebugPort(probe, probe.family)
    assert port.release_network() is DebugAccess.OPEN
    assert [(address, value) for _, address, value in probe.writes] == [
        (NETWORK_FORCEOFF_UNLOCK, 1), (NETWORK_FORCEOFF, 0), (NETWORK_FORCEOFF, 1), (NETWORK_FORCEOFF, 0),
        (NETWORK_FORCEOFF_UNLOCK, 0),
    ]  # fmt: skip
    probe.writes.clear()
    port.release_network()
    assert probe.writes == [], "off and on again would close a core whose UICR says so"


def test_a_port_that_says_closed_and_gives_a_word_is_open():
    probe = MemoryProbe("nrf9160", 2)
    probe.app = DebugAccess.CLOSED
    proof = NordicDebugPort(probe, probe.family).prove_closed()
    assert proof["app"] == "closed" and proof["read"] == "closed"
    probe.read_words = lambda core, address, count: [0]
    with pytest.raises(PartError, match="can be read through it"):
        NordicDebugPort(probe, probe.family).prove_closed()


# ---- evidence --------------------------------------------------------------------------------------------------


def provisioned(probe, identity=ID, state=LifeCycle.PROVISIONING):
    low, high = bl_storage.life_cycle_words(state)
    base = probe.family.storage
    probe.words |= {base: low, base + 4: high}
    probe.words |= {base + 8 + at: int.from_bytes(identity[at : at + 4], "little") for at in range(0, 32, 4)}
    for number, dest in probe.family.huk_slots.items():
        at = kmu.config_address(number)
        probe.words |= {at: dest, at + 4: 0xFFFFFFFC}
    for number in probe.family.identity_slots:
        probe.words[kmu.config_address(number) + 4] = 0xFFFFFFFA
    return probe


@pytest.mark.parametrize("name", FAMILIES)
def test_evidence_is_read_with_the_core_halted_and_no_slot_left_selected(name):
    probe = provisioned(MemoryProbe(name))
    seen = evidence.read(probe, probe.family)
    assert probe.calls[0] == "halt app" and seen.is_complete(ID) and seen.life_cycle is LifeCycle.PROVISIONING
    assert [value for _, _, value in probe.writes] == [*(n + 1 for n in kmu.slots_of(probe.family)), 0]
    assert seen.record()["implementation_id"] == ID.hex() and "PROVISIONING" in seen.sentence


def test_the_selection_is_taken_back_when_reading_fails():
    probe = MemoryProbe()
    read = probe.read_words

    def failing(core, address, count):
        if address == kmu.config_address(3):
            raise PartError("the part fell silent")
        return read(core, address, count)

    probe.read_words = failing
    with pytest.raises(PartError):
        evidence.read(probe, probe.family)
    assert probe.writes[-1][2] == 0


def said(outcome=None):
    return Transcript(5, 5, outcome, True, False)


BURNT = Outcome(PartNow.BURNT, "half_provisioned", "a key could not be written")
ANSWERS = [  # what is changed on a provisioned part, transcript, answer, bin, word of the reason
    (lambda w: None, said(), Evidence.DONE, "", ""),
    (lambda w: None, None, Evidence.DONE, "", ""),
    (lambda w: w.clear(), said(), Evidence.NOT_DONE, "", ""),
    (lambda w: None, said(BURNT), Evidence.HALF_DONE, "half_provisioned", "a key could not be written"),
    (lambda w: None, said(replace(BURNT, now=PartNow.CLEAN)), Evidence.DONE, "", ""),
    (lambda w: w.update({0x00FF8414: 0xFFFFFFFF, 0x00FF8410: 0xFFFFFFFF}), None, Evidence.HALF_DONE, "half_provisioned",
     "3 of 4 slots"),
    (lambda w: w.update({0x00FF8434: 0xFFFFFFFE}), None, Evidence.HALF_DONE, "half_provisioned", "slot 6"),
    (lambda w: w.update({0x00FF8124: 0xFFFFFFFF}), None, Evidence.HALF_DONE, "half_provisioned", "implementation id"),
    (lambda w: w.update({0x00FF8124: 0x1F1E1D5C}), None, Evidence.HALF_DONE, "half_provisioned", "implementation id"),
    (lambda w: w.update({0x00FF8100: 0xFFFF0001}), None, Evidence.HALF_DONE, "half_provisioned", "illegal"),
    (lambda w: w.update({0x00FF8100: 0xFFFFFFFF}), None, Evidence.HALF_DONE, "half_provisioned", "ASSEMBLY"),
    (lambda w: w.update({0x00FF8100: 0}), None, Evidence.DONE, "", ""),
    (lambda w: w.update({0x00FF8100: 0, 0x00FF8104: 0xFFFF}), None, Evidence.CONTRADICTS, "", "DECOMMISSIONED"),
    (lambda w: w.update({0x00FF8108 + at: 0x11111111 for at in range(0, 32, 4)}), None, Evidence.CONTRADICTS, "",
     "another implementation id"),
    (lambda w: None, said(replace(BURNT, bin="dummy_key")), Evidence.HALF_DONE, "dummy_key", "only a recovery helps"),
]  # fmt: skip


@pytest.mark.parametrize("row", range(len(ANSWERS)))
def test_what_a_part_answers_about_its_provisioning(row):
    change, transcript, wanted, bin, words = ANSWERS[row]
    probe = provisioned(MemoryProbe())
    change(probe.words)
    answer = evidence.answer(evidence.read(probe, probe.family), ID, transcript)
    assert (answer.evidence, answer.bin) == (wanted, bin) and words in answer.reason
    assert bool(answer.reason) == (wanted not in (Evidence.DONE, Evidence.NOT_DONE))


def test_a_key_slot_in_a_part_that_is_still_in_assembly_is_not_untouched():
    probe = MemoryProbe()
    probe.words[kmu.config_address(2) + 4] = 0xFFFFFFFC
    seen = evidence.read(probe, probe.family)
    assert not seen.is_untouched and seen.slots[2] == Slot(0xFFFFFFFF, 0xFFFFFFFC)


# ---- words of UICR ---------------------------------------------------------------------------------------------


WORDS = {0x00FF8128: 0x00008000, 0x00FF812C: 0x00014000}


def test_words_are_written_where_they_are_blank_and_only_there():
    probe = MemoryProbe()
    assert content.are_written(probe, WORDS).evidence is Evidence.NOT_DONE
    probe.words[0x00FF8128] = 0x00008000
    assert content.are_written(probe, WORDS).evidence is Evidence.NOT_DONE
    content.write_blank(probe, WORDS)
    assert probe.calls == ["write_once 0x00ff812c"] and content.are_written(probe, WORDS).evidence is Evidence.DONE


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [(0x00018000, Evidence.HALF_DONE), (0x0F008000, Evidence.HALF_DONE), (0x00004000, Evidence.CONTRADICTS)],
)
def test_a_torn_word_has_bits_too_many_and_another_value_bits_too_few(seen, wanted):
    probe = MemoryProbe()
    probe.words |= {0x00FF8128: seen}
    answer = content.are_written(probe, WORDS)
    assert answer.evidence is wanted and "0x00ff8128 holds" in answer.reason


@pytest.mark.parametrize("before", [0xFFFFFFFF, 0x50FA50FA, 0x40024000, 0])
def test_the_debug_port_is_closed_from_whatever_it_was(before):
    probe = MemoryProbe()
    probe.words |= {0x00FF8000: before, 0x00FF801C: 0}
    assert content.is_locked(probe, probe.family).evidence is (Evidence.DONE if not before else Evidence.NOT_DONE)
    content.lock(probe, probe.family)
    assert probe.calls == (["write_once 0x00ff8000"] if before else []) and probe.words[0x00FF8000] == 0


def test_protection_words_of_an_image_are_no_data():
    image = CoreImage((), {0x00FF8000: 0, 0x00FF801C: 0, 0x00FF8128: 5})
    assert content.data_words(family("nrf5340").app, image) == {0x00FF8128: 5}


# ---- what lies in the flash -------------------------------------------------------------------------------------


FLASH = bytes(range(1, 200))


def holding(*blocks):
    """A part with these blocks in its flash, and the image of them."""
    probe = MemoryProbe()
    probe.program("app", [Segment(block.address, block.data) for block in blocks])
    return probe, CoreImage(blocks)


@pytest.mark.parametrize("address", range(0x8000, 0x8005))
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 63, 64, 65, 66, 67, 130])
def test_every_byte_of_a_block_is_compared_wherever_it_begins_and_ends(address, length):
    vectors = Block(0, FLASH[:64])
    probe, image = holding(vectors, Block(address, FLASH[:length]))
    assert content.flash_holds(probe, image)
    for at in (*range(4), 63, *range(address, address + length)):
        probe.words[at - at % 4] ^= 0x10 << 8 * (at % 4)
        assert not content.flash_holds(probe, image), f"byte {at:#x} is not looked at"
        probe.words[at - at % 4] ^= 0x10 << 8 * (at % 4)


def test_bytes_around_a_block_may_be_anything():
    probe, image = holding(Block(0x8001, b"abcde"))
    for at in (0x8000, 0x8006, 0x8007):
        probe.words[at - at % 4] ^= 0x10 << 8 * (at % 4)
    assert content.flash_holds(probe, image)


def test_two_blocks_in_one_word():
    probe, image = holding(Block(0, b"\x00\x0e"), Block(2, b"abcde"))
    assert content.flash_holds(probe, image)


def test_a_blank_part_holds_no_image():
    assert not content.flash_holds(MemoryProbe(), CoreImage((Block(2, b"a"),)))


# ---- recovery --------------------------------------------------------------------------------------------------


def recovery(name, revision=1):
    probe = MemoryProbe(name, revision)
    return probe, Recovery(probe, probe.family, NordicDebugPort(probe, probe.family))


def test_the_network_core_is_erased_first_and_both_are_kept_open():
    probe, one = recovery("nrf5340")
    one.erase(WAIVER)
    assert not any("write_once" in call for call in probe.calls)
    one.keep_erased_open()
    assert [call for call in probe.calls if call.startswith("erase_all")] == ["erase_all net", "erase_all app"]
    assert probe.words[0x00FF8000] == probe.words[0x00FF801C] == probe.words[0x01FF8000] == 0x50FA50FA
    assert [call for call in probe.calls if call.startswith("program")] == ["program app", "program net"]
    assert ("ap2", 0, 1) in probe.writes and ("ap2", 0, 0) in probe.writes, "a soft reset keeps a hardened part open"
    assert not any(call.startswith("reset") for call in probe.calls)


def test_an_nrf9160_is_reset_by_its_pin_and_needs_no_word():
    probe, one = recovery("nrf9160", 2)
    one.erase(WAIVER)
    one.keep_erased_open()
    assert probe.calls[:2] == ["erase_all app", "reset pin"] and not any("write_once" in c for c in probe.calls)


def test_a_part_that_stays_closed_after_its_erasure_is_said_to():
    probe, one = recovery("nrf91x1", 3)
    probe.app = DebugAccess.CLOSED
    with pytest.raises(PartError, match="it is closed: take the supply away") as caught:
        one.erase(WAIVER)
    assert caught.value.bin == "locked"


def test_keeping_open_writes_blank_words_only():
    probe, one = recovery("nrf5340")
    probe.words[0x00FF8000] = 0x50FA50FA
    one.keep_open()
    assert probe.calls == ["write_once 0x00ff801c"]


# ---- settings and packs ------------------------------------------------------------------------------------------


GOOD = {"family": "nrf9160", "implementation_id": "11" * 32}


def test_settings_have_their_defaults_and_ignore_those_of_other_layers():
    found = settings.NordicSettings.of({**GOOD, "otp_words": {}, "lot_number": ""})
    assert found.family is FAMILIES["nrf9160"] and found.net_lock == "production" and found.provisioning_seconds == 20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": None}, "expected text"),
        ({"implementation_id": "zz"}, "expected hex digits"),
        ({"challenge": "00"}, "0 or 32 or 48 or 64 bytes"),
        ({"boot_seconds": 0}, "seconds up to 600"),
        ({"boot_seconds": True}, "seconds up to 600"),
        ({"first_reset": "soft"}, "expected one of system, pin"),
        ({"uicr_allowed": "approtect"}, "expected a list"),
        ({"netlock": "x"}, "did you mean 'net_lock'"),
    ],
)
def test_every_bad_setting_is_one_sentence(change, words):
    found, unfit = settings.read({**GOOD, **change})
    assert found is None and len(unfit) == 1 and words in unfit[0].sentence and unfit[0].setting in change


def test_missing_settings_are_all_named():
    found, unfit = settings.read({})
    assert found is None and [one.setting for one in unfit] == ["family", "implementation_id"]


def test_a_port_that_is_missing_is_a_configuration_error():
    services = PartServices(lambda *_: None, lambda _: None, None, GOOD)
    with pytest.raises(ConfigError, match="needs the port 'probe'"):
        Nordic({}, services)
    with pytest.raises(ConfigError, match=r"pack\.toml \[part\]"):
        Nordic({}, replace(services, settings={}))


@pytest.mark.parametrize("sku", SKUS)
def test_committed_images_are_what_the_builder_makes_and_have_no_finding(sku):
    folder = ROOT / "resources/skus" / sku
    built = builder.build(tomllib.loads((folder / "images.toml").read_text()))
    pack = tomllib.loads((folder / "pack.toml").read_text())
    raw = {name: (folder / entry["file"]).read_bytes() for name, entry in pack["image"].items()}
    assert {f"{name}.hex": content.decode() for name, content in raw.items()} == built
    assert list(Nordic.findings(pack["part"], raw, Realm.PRODUCTION)) == []


def test_every_kit_has_a_recipe_and_one_for_recovery():
    kits = {"nrf5340-dk", "nrf5340-dk-child", "nrf9160-dk", "nrf9161-dk"}
    assert kits | {f"{kit}-recover" for kit in kits} <= set(recipe_names())


def findings_with(name, content, **changes):
    folder = ROOT / "resources/skus/nrf5340_tfm"
    pack = tomllib.loads((folder / "pack.toml").read_text())
    raw = {key: (folder / entry["file"]).read_bytes() for key, entry in pack["image"].items()}
    raw[name] = raw.get(content, content)
    return [one.sentence for one in Nordic.findings({**pack["part"], **changes}, raw, Realm.DEV)]


def test_images_in_the_wrong_place_are_found():
    assert "for the flash of the net core, saw nothing" in findings_with("tfm_net", "tfm_app")[0]
    assert "for the flash of the app core, saw nothing" in findings_with("provisioning_app", "tfm_net")[0]
    assert "a binary image" in findings_with("tfm_app", b"\x00\x80\x00\x20" * 9)[0]


def test_a_merged_file_beside_another_one_for_the_network_core_is_refused():
    folder = ROOT / "resources/skus/nrf5340_tfm/images"
    app, net = ((folder / f"provisioning_{core}.hex").read_text() for core in ("app", "net"))
    merged = (app.replace(":00000001FF\n", "") + net).encode()
    [found] = findings_with("provisioning_app", merged, net_lock="child_image")
    assert "provisioning_net and provisioning_app both hold 0x01000000" in found
    assert found.endswith("'provisioning_app' is a merged file: leave 'provisioning_net' out")
