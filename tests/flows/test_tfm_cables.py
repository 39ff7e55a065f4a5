"""Consoles that are not heard, power that goes, a probe that is pulled out: each part is what its bin says."""

from __future__ import annotations

import pytest
from test_tfm_faults import ASKED, HALF, RECOVER, check, has_said

from station.flows import tfm_provisioning

# ---- consoles ----------------------------------------------------------------------------------------------

CONSOLES = [
    ("console_silence", {}, "stayed silent"),
    ("console_garbage", {}, "garbage, as at a wrong baud rate"),
    ("wrong_baud", {}, "garbage, as at a wrong baud rate"),
    ("ports_swapped", {}, "are swapped"),
    ("console_silence:net", {"net_lock": "child_image"}, "console of the network core said nothing"),
    ("console_garbage:net", {"net_lock": "child_image"}, "console of the network core said garbage"),
    ("ports_swapped", {"net_lock": "child_image"}, "are swapped"),
]


@pytest.mark.parametrize(("fault", "settings", "words"), CONSOLES)
def test_a_console_that_is_not_heard_stops_the_part_before_it_closes(nordic, fault, settings, words):
    """The keys are in; the port is still open, and once the console is right the part goes on where it was."""
    bench = nordic("nrf5340", provisioning_seconds=0.7, **settings)
    bench.fault(fault)
    result = bench.run()
    check(bench, result, "console", ("the part is provisioned, but", words), "PROVISIONING", burnt=None)
    assert "burnt up to 'Provision" in result.part_state and bench.chip["cores"]["app"]["debug_open"]
    bench.fault("clear")
    again = bench.run()
    assert again.kind == "pass" and "provision" not in again.witness.burns, again
    assert bench.chip["second_runs"] == [] and bench.chip["double_burns"] == []


def test_success_on_the_wrong_port_is_no_success(nordic):
    bench = nordic("nrf5340", net_lock="child_image")
    bench.fault("success_wrong_port")
    bench.fault("net_protect_failure")
    check(bench, bench.run(), "network_core", "could not close its debug port", "PROVISIONING", burnt=True)
    has_said(bench, "console_net", ["Cannot write to the UICR->APPROTECT register, exiting...!"])


# ---- power and cables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
@pytest.mark.parametrize("word", ["lcs.provisioning", "kmu2.perm", "kmu6.value0", "implementation_id.7"])
def test_power_lost_at_a_word_then_the_part_says_what_it_is(nordic, moment, word):
    bench = nordic("nrf9160")
    bench.fault(f"power_cut:{moment}:{word}")
    first = bench.run()
    assert first.kind == "quarantine" and "does not answer on SWD" in first.reason, first
    assert first.part_state == f"by its record '{tfm_provisioning.PLAN.provision.text}' {ASKED}"
    bench.fault("clear")
    bench.power(True)
    bench.wait_idle()
    bench.release()
    again = bench.run()
    complete = (moment, word) in (("before", "lcs.provisioning"), ("after", "implementation_id.7"))
    assert (again.kind, again.bin) == (("pass", "pass") if complete else ("fail", HALF)), again
    assert complete or RECOVER in again.reason
    assert all(run["cause"] == "power" for run in bench.chip["second_runs"]) and bench.chip["double_burns"] == []


FLASH, UICR_PAGE = range(0x10_0000), range(0xFF_8000, 0xFF_9000)
NET_UICR = range(0x1FF_8000, 0x1FF_9000)
OPEN_TFM = {"tfm_app": {"approtect_lock": False, "secure_approtect_lock": False}}
HOST_LOCK = {"app_lock": "host"}
NET_HOST_LOCK = {"net_lock": "host"}

UNPLUGGED = [  # chip, settings, images, verb, burn, done before, where and which write there, arrives, life cycle
    ("nrf9160", {}, {}, "provision", "provision", "", FLASH, 10, False, "ASSEMBLY"),
    ("nrf9160", {}, {}, "store", "data", "provision", UICR_PAGE, 3, False, "PROVISIONING"),
    ("nrf9160", {}, {}, "store", "data", "provision", UICR_PAGE, 3, True, "PROVISIONING"),
    ("nrf9160", {}, {}, "install", "install", "data", FLASH, 3, True, "PROVISIONING"),
    ("nrf9160", {}, {}, "install", "install", "data", FLASH, 25, False, "PROVISIONING"),
    ("nrf9160", HOST_LOCK, OPEN_TFM, "lock", "lock", "install", UICR_PAGE, 1, False, "PROVISIONING"),
    ("nrf9160", HOST_LOCK, OPEN_TFM, "lock", "lock", "install", UICR_PAGE, 1, True, "PROVISIONING"),
    ("nrf5340", NET_HOST_LOCK, {}, "network.close", "net_lock", "provision", NET_UICR, 1, False, "PROVISIONING"),
    ("nrf5340", NET_HOST_LOCK, {}, "network.close", "net_lock", "provision", NET_UICR, 1, True, "PROVISIONING"),
]


@pytest.mark.parametrize("row", UNPLUGGED, ids=lambda row: f"{row[0]}-{row[4]}-{row[7]}-{'after' * row[8] or 'before'}")
def test_the_probe_is_unplugged_in_the_middle_of_a_burn(nordic, row):
    """The sentence says what is done and what was begun; released, the part is asked and nothing is done twice."""
    chip, settings, images, verb, burn, before, place, count, arrives, lcs = row
    bench = nordic(chip, **settings)
    if images:
        bench.build(**images)
    first = bench.run(before=unplugging(bench, verb, place, count, arrives))
    texts = {title.id: title.text for title in tfm_provisioning.PLAN}
    assert first.kind == "quarantine", first
    assert first.reason.startswith(f"contact with the part was lost during '{texts[burn]}': "), first
    assert "the debug probe VP0001 is gone" in first.reason and bench.chip["lc_state"] == lcs
    done = f"'{texts[before]}' is done, " if before else ""
    assert first.part_state == f"by its record {done}'{texts[burn]}' {ASKED}"
    assert bench.rows("verdict")[-1]["part_state"] == first.part_state and bench.rows("outcome")[-1]["power_lost"]
    bench.close_socket()  # as the station does, whose next look at the sensors fails
    bench.hands.command("replug", 1)
    bench.release()
    again = bench.run()
    assert again.kind == "pass", again
    assert bench.chip["second_runs"] == [] and bench.chip["double_burns"] == [] and bench.chip["lc_state"] == "SECURED"


def unplugging(bench, verb, place, count, arrives):
    """Pull the probe's cable at the n-th write to a place during a verb of the part; ``arrives``: just after it."""

    def pull(part, run):
        owner = part.network if verb.startswith("network.") else part
        name = verb.rpartition(".")[2]
        act, link = getattr(owner, name), part._probe._link
        write, left = link.write, [count]

        def counted(port, address, words):
            left[0] -= address in place
            struck = address in place and not left[0]
            if struck and arrives:
                write(port, address, words)
                link.flush()
            if struck:
                bench.hands.command("unplug", 1)
            write(port, address, words)

        def pulled(*arguments):
            link.write = counted
            act(*arguments)

        setattr(owner, name, pulled)

    return pull
