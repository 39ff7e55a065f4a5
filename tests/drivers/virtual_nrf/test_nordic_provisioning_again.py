"""The provisioning image on a part with a past, run again, and with the power cut at every word that it burns."""

from __future__ import annotations

import pytest
from nordic_rig import CHIPS, IMPLEMENTATION_ID, Rig
from provisioning_help import BLANK, PERM_HUK, PERM_IDENTITY, PROVISIONING, SUCCESS, UNWRITTEN, failure, keys


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


# ---- parts with a past -----------------------------------------------------------------------------------------------


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
