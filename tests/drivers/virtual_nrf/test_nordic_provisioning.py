"""The provisioning image: every line of nordic-tfm sheet 1.3, 1.4 and 1.5, and what each ending leaves behind."""

from __future__ import annotations

import re

import pytest
from nordic_rig import IMPLEMENTATION_ID
from provisioning_help import (
    ASSEMBLY,
    BLANK,
    HUK,
    IDENTITY,
    PERM_HUK,
    PERM_IDENTITY,
    PROVISIONING,
    SUCCESS,
    SWITCHED,
    UNWRITTEN,
    VERIFIED,
    failure,
    keys,
    left_behind,
)


def test_success(any_rig):
    part = any_rig
    part.start("provisioning_app")
    assert part.said() == [VERIFIED, SWITCHED, HUK, IDENTITY, SUCCESS]
    state = part.state()
    assert (state["lc_state"], state["lcs"]) == ("PROVISIONING", PROVISIONING)
    huk, identity = keys(part)
    assert set(huk) == {PERM_HUK}
    assert set(identity) == {PERM_IDENTITY}
    assert len(huk) == {"nrf5340": 4, "nrf9160": 2, "nrf91x1": 2}[part.silicon.name]
    assert state["implementation_id"] == IMPLEMENTATION_ID.hex()
    destinations = [part.app.uicr.destination(slot) for slot in sorted(part.silicon.huk_slots)]
    first = 0x5084_5400 if part.silicon.name == "nrf5340" else 0x5084_1400
    assert destinations == ([first, first + 16] * 2 if part.silicon.name == "nrf5340" else [first] * 2)
    assert (state["double_burns"], state["second_runs"], state["erase_alls"]) == ([], [], [])
    assert state["cores"]["app"]["state"] == "done"


def test_lines_look_like_zephyr_s(rig):
    part = rig()
    part.start("provisioning_app")
    text = part.console["app"].decode("ascii")
    assert re.match(r"\*\*\* Booting nRF Connect SDK \S+ \*\*\*\r\n\*\*\* Using Zephyr OS \S+ \*\*\*\r\n", text)
    stamped = re.findall(r"^\[(\d\d:\d\d:\d\d\.\d{3},\d{3})\] <inf> provisioning_image: (.+)\r$", text, re.M)
    assert [line for _, line in stamped] == [VERIFIED, SWITCHED, HUK, IDENTITY, SUCCESS]
    assert [stamp for stamp, _ in stamped] == sorted(stamp for stamp, _ in stamped)


def test_colours_surround_lines_when_the_image_has_them(rig):
    part = rig()
    part.start("provisioning_app", colours=True)
    assert b"] \x1b[0m<inf> provisioning_image: Success!\x1b[0m\r\n" in part.console["app"]


def test_hardware_unique_keys_differ_between_parts_and_slots(rig):
    values = []
    for _ in range(2):
        part = rig()
        part.start("provisioning_app")
        values += [part.app.uicr.value(slot) for slot in part.silicon.huk_slots]
    assert len(set(values)) == len(values)


def test_keys_cannot_be_read_by_the_debugger(rig):
    part = rig()
    part.open_words()
    part.start("provisioning_app")
    for slot, readable in ((2, False), (3, False), (4, False), (5, False), (6, True), (7, True)):
        part.write(0x5003_9500, slot + 1)
        seen = part.port.read_words(0, 0x00FF_8800 + 16 * slot, 4)
        assert (seen != [0xDEAD_DEAD] * 4) is readable
    part.write(0x5003_9500, 0)


# ---- rows of section 1.3 ---------------------------------------------------------------------------------------------

CLEAN = (ASSEMBLY, "none", UNWRITTEN)
ROWS = {
    "1 unreadable": (["wrong_state:INVALID"], [failure("Cannot read PSA lifecycle state.")], None),
    "2 provisioning": (
        ["wrong_state:PROVISIONING"],
        [failure("Lifecycle state is not ASSEMBLY as expected.")],
        (PROVISIONING, "none", UNWRITTEN),
    ),
    "2 secured": (
        ["wrong_state:SECURED"],
        [failure("Lifecycle state is not ASSEMBLY as expected.")],
        ([0, BLANK], "none", UNWRITTEN),
    ),
    "2 decommissioned": (
        ["wrong_state:DECOMMISSIONED"],
        [failure("Lifecycle state is not ASSEMBLY as expected.")],
        ([0, 0x0000_FFFF], "none", UNWRITTEN),
    ),
    "3 refused": (
        ["transition_failure"],
        [VERIFIED, failure("Cannot set PSA lifecycle state PROVISIONING.")],
        CLEAN,
    ),
    "3 burnt all the same": (
        ["transition_failure:burnt"],
        [VERIFIED, failure("Cannot set PSA lifecycle state PROVISIONING.")],
        (PROVISIONING, "none", UNWRITTEN),
    ),
    "4 unreadable": (
        ["lcs_readback"],
        [VERIFIED, failure("Cannot read PSA lifecycle state.")],
        (PROVISIONING, "none", UNWRITTEN),
    ),
    "4 other state": (
        ["lcs_readback:1"],
        [VERIFIED, "Lifecycle state was 1", failure("Lifecycle state is not PROVISION as expected.")],
        (PROVISIONING, "none", UNWRITTEN),
    ),
    "4 torn word": (["torn_word:lcs.provisioning"], [VERIFIED, failure("Cannot read PSA lifecycle state.")], None),
    "5 keys set": (
        ["huk:already_set"],
        [VERIFIED, SWITCHED, HUK, "One or more keys already set. Cannot overwrite",
         failure("Writing random HUK keys failed.")],
        (PROVISIONING, "none", UNWRITTEN),
    ),
    "5 generator set-up": (
        ["huk:rng_setup"],
        [VERIFIED, SWITCHED, HUK, "The RNG setup failed with error code: -28675",
         failure("Writing random HUK keys failed.")],
        (PROVISIONING, "none", UNWRITTEN),
    ),
    "5 generator": (
        ["huk:rng_call"],
        [VERIFIED, SWITCHED, HUK, "The RNG call failed with error code: -28697 or wrong size 0",
         failure("Writing random HUK keys failed.")],
        (PROVISIONING, "none", UNWRITTEN),
    ),
    "5 context": (
        ["huk:drbg"],
        [VERIFIED, SWITCHED, HUK, "Could not free nrf_cc3xx_platform_ctr_drbg context: -28674",
         failure("Writing random HUK keys failed.")],
        (PROVISIONING, "huk", UNWRITTEN),
    ),
    "5 traces in RAM": (
        ["huk:ram"],
        [VERIFIED, SWITCHED, HUK, "The key bytes weren't correctly deleted from RAM.",
         failure("Writing random HUK keys failed.")],
        (PROVISIONING, "huk", UNWRITTEN),
    ),
    "5 last key": (
        ["huk:not_set"],
        [VERIFIED, SWITCHED, HUK, "One or more keys not set correctly", failure("Writing random HUK keys failed.")],
        (PROVISIONING, "some huk", UNWRITTEN),
    ),
    "5 second key": (
        ["huk:write:4"],
        [VERIFIED, SWITCHED, HUK, "The HUK writing to: 4 failed with error code: -28701",
         failure("Writing random HUK keys failed.")],
        (PROVISIONING, "some huk", UNWRITTEN),
    ),
    "6 identity written": (
        ["identity:already_written"],
        [VERIFIED, SWITCHED, HUK, failure("Identity key slot already written.")],
        (PROVISIONING, "huk and foreign identity", UNWRITTEN),
    ),
    "7 first slot only": (
        ["identity:write"],
        [VERIFIED, SWITCHED, HUK, IDENTITY, "Identity key write failed! Error: -28710",
         failure("Identity key write failed!")],
        (PROVISIONING, "huk and half identity", UNWRITTEN),
    ),
    "7 read back": (
        ["identity:read"],
        [VERIFIED, SWITCHED, HUK, IDENTITY, "The identity key read from: 6 failed with error code: -28711",
         failure("Identity key write failed!")],
        (PROVISIONING, "all", UNWRITTEN),
    ),
    "8 not written": (
        ["identity:not_written"],
        [VERIFIED, SWITCHED, HUK, IDENTITY, failure("Identity key is not written!")],
        (PROVISIONING, "huk", UNWRITTEN),
    ),
    "9 at word 4": (
        ["implementation_id:write"],
        [VERIFIED, SWITCHED, HUK, IDENTITY, failure("Writing implementation ID failed.")],
        (PROVISIONING, "all", IMPLEMENTATION_ID[:16] + b"\xff" * 16),
    ),
    "9 at word 0": (
        ["implementation_id:write:0"],
        [VERIFIED, SWITCHED, HUK, IDENTITY, failure("Writing implementation ID failed.")],
        (PROVISIONING, "all", UNWRITTEN),
    ),
}  # fmt: skip
PSA_LINES = {
    "identity:psa_crypto_init": "psa_crypto_init failed! Error: -132",
    "identity:psa_generate_key": "psa_generate_key failed! Error: -148",
    "identity:psa_export_key": "psa_export_key failed! Error: -151",
    "identity:size": "Exported size mismatch! Key size: 31",
    "identity:psa_destroy_key": "psa_destroy_key failed! Error: -151",
    "identity:no_mkek": "Could not find the MKEK!",
}
ROWS |= {
    f"7 {name}": (
        [name],
        [VERIFIED, SWITCHED, HUK, IDENTITY, line, failure("Identity key write failed!")],
        (PROVISIONING, "huk", UNWRITTEN),
    )
    for name, line in PSA_LINES.items()
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("chip", ["nrf5340", "nrf9160"])
def test_rows_of_the_table(rig, chip, row):
    faults, expected, left = ROWS[row]
    part = rig(chip)
    for fault in faults:
        part.chip.fault(fault)
    part.foreign = faults == ["identity:already_written"]
    part.start("provisioning_app")
    assert part.said() == expected
    assert part.state()["cores"]["app"]["state"] == "failed"
    if left is not None:
        assert left_behind(part) == left
    burnt = [burn["word"] for burn in part.state()["double_burns"]]
    assert burnt == []


def test_a_torn_life_cycle_word_is_an_illegal_one(rig):
    part = rig()
    part.chip.fault("torn_word:lcs.provisioning")
    part.start("provisioning_app")
    (word, other) = part.state()["lcs"]
    assert part.state()["lc_state"] == "INVALID"
    assert 0 < word & 0xFFFF < 0xFFFF
    assert (word >> 16, other) == (0xFFFF, 0xFFFF_FFFF)


def test_every_fault_of_the_image_is_reached(rig):
    """A name in the catalogue that no row, no other test of this file and no state reaches would be a promise."""
    from drivers.virtual.nrf.faults import FAULTS

    named = {name for row in ROWS.values() for name in row[0]} | {"identity:dummy", "huk:write"}
    prefixes = ("huk:", "identity:", "implementation_id:")
    assert {name for name in FAULTS if name.startswith(prefixes)} <= {*named, "implementation_id:write"}


# ---- older images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("huk:rng_setup", [HUK, "The RNG setup failed with error code: -28675", IDENTITY, "Could not find the MKEK!",
                           failure("Identity key is not written!")]),
        ("huk:ram", [HUK, "The key bytes weren't correctly deleted from RAM.", IDENTITY, SUCCESS]),
        ("identity:psa_export_key", [HUK, IDENTITY, "psa_export_key failed! Error: -151",
                                     failure("Identity key is not written!")]),
        ("identity:read", [HUK, IDENTITY, "The identity key read from: 6 failed with error code: -28711", SUCCESS]),
        ("implementation_id:write", [HUK, IDENTITY, SUCCESS]),
    ],
)  # fmt: skip
def test_older_images_ignore_what_key_writers_return(rig, fault, expected):
    part = rig()
    part.chip.fault(fault)
    part.start("provisioning_app", generation="older")
    assert part.said() == [VERIFIED, SWITCHED, *expected]


def test_older_images_panic_when_a_key_slot_fails(rig):
    part = rig()
    part.chip.fault("huk:write:3")
    part.start("provisioning_app", generation="older")
    assert "The HUK writing to: 3 failed with error code: -28701" in part.said()
    assert part.state()["cores"]["app"]["state"] == "panic"
    assert part.said()[-1] == "Halting system"


# ---- panics, silence, dummy keys -------------------------------------------------------------------------------------

STEPS = {
    "start": ([], ASSEMBLY, "none"),
    "lcs": ([VERIFIED], ASSEMBLY, "none"),
    "huk": ([VERIFIED, SWITCHED], PROVISIONING, "none"),
    "identity": ([VERIFIED, SWITCHED, HUK], PROVISIONING, "huk"),
    "implementation_id": ([VERIFIED, SWITCHED, HUK, IDENTITY], PROVISIONING, "all"),
}


@pytest.mark.parametrize("step", STEPS)
def test_panic(rig, step):
    part = rig()
    part.foreign = False
    part.chip.fault("panic", step)
    part.start("provisioning_app")
    before, lcs, what = STEPS[step]
    said = part.said()
    assert said[: len(before)] == before
    signature = said[len(before) :]
    assert signature[0] == ("ASSERTION FAIL [err == 0] @ WEST_TOPDIR/nrf/lib/hw_unique_key/hw_unique_key.c:73")
    assert ">>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0" in signature
    assert re.fullmatch(r"r0/a1:  0x[0-9a-f]{8}  r1/a2:  0x[0-9a-f]{8}  r2/a3:  0x[0-9a-f]{8}", signature[1])
    assert signature[-1] == "Halting system"
    assert [line for line in part.lines() if "Halting" in line] == ["<err> os: Halting system"]
    assert left_behind(part)[:2] == (lcs, what)
    assert part.state()["cores"]["app"]["state"] == "panic"


def test_cpu_fault(rig):
    part = rig()
    part.chip.fault("cpu_fault:identity")
    part.start("provisioning_app")
    said = part.said()
    assert said[:4] == [*STEPS["identity"][0], "***** BUS FAULT *****"]
    assert ">>> ZEPHYR FATAL ERROR 0: CPU exception on CPU 0" in said
    assert said[-1] == "Halting system"
    assert part.state()["cores"]["app"]["state"] == "panic"


@pytest.mark.parametrize("step", STEPS)
def test_hang(rig, step):
    part = rig()
    part.chip.fault("hang", step)
    part.start("provisioning_app")
    assert part.said() == STEPS[step][0]
    assert part.state()["cores"]["app"]["state"] == "hang"


@pytest.mark.parametrize("by", ["image", "fault"])
def test_dummy_identity_is_written_with_a_warning(rig, by):
    from drivers.virtual.nrf.firmware import keys as key_store

    part = rig()
    if by == "fault":
        part.chip.fault("identity:dummy")
    part.start("provisioning_app", dummy_identity=by == "image")
    assert "<wrn> identity_key: WARNING: Using a dummy identity key not meant for production!" in part.lines()
    assert part.said()[-1] == SUCCESS
    assert key_store.DUMMY_IDENTITY == 0xA9B454B26D6F90A4EA31193564CBA91FEC6F9A002A7DC0504B92A1937134585F
