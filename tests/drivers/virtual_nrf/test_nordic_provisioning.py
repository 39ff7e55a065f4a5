"""The provisioning image: every line of nordic-tfm sheet 1.3, 1.4, 1.5 and 1.7, and what each ending leaves behind."""

from __future__ import annotations

import re

import pytest
from nordic_rig import CHIPS, IMPLEMENTATION_ID, Rig

VERIFIED = "Successfully verified PSA lifecycle state ASSEMBLY!"
SWITCHED = "Successfully switched to PSA lifecycle state PROVISIONING!"
HUK = "Generating random HUK keys (including MKEK)"
IDENTITY = "Writing the identity key to KMU"
SUCCESS = "Success!"
BLANK, PERM_HUK, PERM_IDENTITY = 0xFFFF_FFFF, 0xFFFF_FFFC, 0xFFFF_FFFA
ASSEMBLY, PROVISIONING = [0xFFFF_FFFF, 0xFFFF_FFFF], [0xFFFF_0000, 0xFFFF_FFFF]
UNWRITTEN = b"\xff" * 32


def failure(reason):
    return f"Failure: {reason} Exiting!"


def keys(part):
    """How far the keys are: permission words of the slots that this kind uses."""
    kmu = part.state()["kmu"]
    huk = [kmu[str(slot)] for slot in sorted(part.silicon.huk_slots)]
    return huk, [kmu[str(slot)] for slot in part.silicon.identity_slots]


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


# ---- rows of section 1.3 --------------------------------------------------------------------------------------------

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


def left_behind(part):
    huk, identity = keys(part)
    some = {BLANK: "none", PERM_HUK: "huk"}
    what = some[huk[0]] if len(set(huk)) == 1 else "some huk"
    if identity == [PERM_IDENTITY] * 2:
        what = "all" if not part.foreign else "huk and foreign identity"
    elif identity == [PERM_IDENTITY, BLANK]:
        what += " and half identity"
    state = part.state()
    return state["lcs"], what, bytes.fromhex(state["implementation_id"])


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


# ---- older images ---------------------------------------------------------------------------------------------------


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


# ---- panics, silence, dummy keys ------------------------------------------------------------------------------------

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


# ---- second runs and power cuts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "reset"),
    [
        ("power", lambda part: (part.power(False), part.power())),
        ("pin", Rig.pin_reset),
        ("system", Rig.system_reset),
        ("ctrl_ap", Rig.ctrl_ap_reset),
    ],
)
def test_a_second_run_is_recorded_with_its_cause(rig, cause, reset):
    part = rig()
    part.open_words()
    part.start("provisioning_app")
    written = part.state()["uicr_writes"]
    reset(part)
    part.wait_idle()
    assert part.said()[-1] == failure("Lifecycle state is not ASSEMBLY as expected.")
    state = part.state()
    assert [(run["lcs"], run["cause"]) for run in state["second_runs"]] == [(PROVISIONING, cause)]
    assert (state["uicr_writes"], state["double_burns"]) == (written, [])


def words_of(part):
    """Everything that the image burns, in its order."""
    names = ["lcs.provisioning"]
    for slot in (*sorted(part.silicon.huk_slots), *part.silicon.identity_slots):
        names += [f"kmu{slot}.{word}" for word in ("dest", "value0", "value1", "value2", "value3", "perm")]
        if slot in part.silicon.identity_slots:
            names.remove(f"kmu{slot}.dest")  # all ones: nothing is written
    return [*names, *(f"implementation_id.{n}" for n in range(8))]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("phase", ["before", "inside", "after"])
def test_power_can_be_cut_at_every_uicr_write(rig, chip, phase):
    probe = rig(chip)
    names = words_of(probe)
    for number, name in enumerate(names, 1):
        part = rig(chip)
        part.chip.fault(f"power_cut:{phase}", str(number) if number % 2 else name)
        part.flash("provisioning_app")
        part.chip.power(True)
        assert part.wait_idle() == ""
        state = part.state()
        assert (state["powered"], state["faults"]) == (False, []), name
        assert state["uicr_writes"] == number - (phase == "before")
        complete = number - (phase != "after")
        assert state["lcs"] == (PROVISIONING if complete >= 1 else state["lcs"])
        perms = sum(name.endswith(".perm") for name in names[:complete])
        assert sum(value in (PERM_HUK, PERM_IDENTITY) for value in state["kmu"].values()) == perms
        part.reopen()
        assert part.state()["lcs"] == state["lcs"]
        part.power()
        part.wait_idle()
        again = part.state()
        if state["lc_state"] == "ASSEMBLY":
            assert (part.said()[-1], again["second_runs"]) == (SUCCESS, [])
        else:
            assert part.said()[-1].startswith("Failure: ")
            assert [run["cause"] for run in again["second_runs"]] == ["power"]
            assert again["uicr_writes"] == state["uicr_writes"]
        assert again["double_burns"] == []
        part.close()


def test_a_power_cut_can_wait_for_a_word(rig):
    part = rig()
    part.chip.fault("power_cut:inside:kmu4.perm")
    part.flash("provisioning_app")
    part.chip.power(True)
    part.wait_idle()
    kmu = part.state()["kmu"]
    assert (kmu["3"], kmu["5"]) == (PERM_HUK, BLANK)
    assert kmu["4"] in (0xFFFF_FFFE, 0xFFFF_FFFD)  # one of the two bits that were to fall


# ---- what is the right image ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0x0, 0x1C0, 0x200, 0x204, 0x210, 0x240, 0x7FF])
def test_one_changed_byte_is_another_program(rig, place):
    part = rig()
    part.flash("provisioning_app")
    stored = part.chip.file.flash(part.app.silicon)
    stored.put(place, bytes([stored.content[place] ^ 0x40]))
    part.power()
    core = part.state()["cores"]["app"]
    assert (core["state"], core["image"], part.console["app"]) == ("locked_up", "unknown", b"")
    assert part.state()["lcs"] == ASSEMBLY


def test_an_image_of_another_family_or_core_does_not_run(rig):
    from nordic_rig import image

    part = rig("nrf9160")
    part.chip.file.flash(part.app.silicon).put(0, image("nrf91x1", "provisioning_app"))
    part.power()
    assert part.state()["cores"]["app"]["state"] == "locked_up"
    dual = rig("nrf5340")
    dual.chip.file.flash(dual.app.silicon).put(0, image("nrf5340", "provisioning_net"))
    dual.power()
    assert dual.state()["cores"]["app"]["state"] == "locked_up"


def test_a_core_that_is_held_does_nothing(rig):
    part = rig()
    part.flash("provisioning_app")
    part.chip.reset_pin(True)
    part.power()
    assert part.console["app"] == b""
    part.chip.reset_pin(False)
    assert part.wait_idle() == "done"


# ---- the network core's child image ---------------------------------------------------------------------------------

NET_TEXT = "The UICR->APPROTECT register is now configured to deny debugging access for the network core!"


def test_child_image_protects_the_network_core_on_its_own_port(rig):
    part = rig()
    part.open_words()
    part.flash("provisioning_net")
    part.start("provisioning_app", net_child=True)
    part.wait_idle("net")
    assert part.said("net") == [NET_TEXT, SUCCESS]
    assert part.lines("net")[-2:] == [NET_TEXT, SUCCESS]  # printk: no prefix
    assert part.said("app")[-1] == SUCCESS
    net = part.state()["cores"]["net"]
    assert (net["approtect"], net["debug_open"], net["state"]) == (0, True, "done")
    assert part.state()["double_burns"] == []


def test_child_image_is_not_started_without_the_option(rig):
    part = rig()
    part.flash("provisioning_net")
    part.start("provisioning_app", net_child=False)
    assert (part.console["net"], part.state()["cores"]["net"]["state"]) == (b"", "off")


def test_child_image_runs_again_and_burns_nothing_twice(rig):
    part = rig()
    part.open_words()
    part.flash("provisioning_net")
    part.start("provisioning_app", net_child=True)
    part.wait_idle("net")
    part.system_reset()
    part.wait_idle()
    part.wait_idle("net")
    assert part.said("net") == [NET_TEXT, SUCCESS] * 2
    assert part.state()["double_burns"] == []


def test_child_image_that_cannot_write(rig):
    part = rig()
    part.flash("provisioning_net")
    part.chip.fault("net_protect_failure")
    part.start("provisioning_app", net_child=True)
    part.wait_idle("net")
    assert part.said("net") == ["Cannot write to the UICR->APPROTECT register, exiting...!"]
    assert part.state()["cores"]["net"]["approtect"] == 0xFFFF_FFFF


def test_power_cut_in_the_network_core_s_word(rig):
    part = rig()
    part.open_words()
    part.flash("provisioning_net")
    part.chip.fault("power_cut:after:net.approtect")
    part.flash("provisioning_app", net_child=True)
    part.chip.power(True)
    with part.chip.lock:
        part.chip.changed.wait_for(lambda: not part.chip.powered, 10)
    assert part.state()["cores"]["net"]["approtect"] == 0


def test_success_on_the_wrong_port(rig):
    part = rig()
    part.chip.fault("success_wrong_port")
    part.chip.fault("hang:huk")
    part.start("provisioning_app")
    assert part.said("net") == [SUCCESS]
    assert SUCCESS not in part.said("app")


# ---- parts with a past ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("argument", "huk", "identity"), [("lcs", BLANK, BLANK), ("huk", PERM_HUK, BLANK),
                                                           ("identity", PERM_HUK, PERM_IDENTITY)])  # fmt: skip
def test_half_provisioned(any_rig, argument, huk, identity):
    part = any_rig
    part.chip.fault("half_provisioned", argument)
    assert part.state()["lcs"] == PROVISIONING
    assert [set(words) for words in keys(part)] == [{huk}, {identity}]
    part.start("provisioning_app")
    assert part.said() == [failure("Lifecycle state is not ASSEMBLY as expected.")]


def test_already_secured(any_rig):
    part = any_rig
    part.chip.fault("already_secured")
    part.power()
    state = part.state()
    assert (state["lc_state"], state["cores"]["app"]["debug_open"]) == ("SECURED", False)
    assert [set(words) for words in keys(part)] == [{PERM_HUK}, {PERM_IDENTITY}]
    assert state["implementation_id"] not in (UNWRITTEN.hex(), IMPLEMENTATION_ID.hex())
