"""TF-M provisioning end to end on virtual parts through the real pyOCD: good parts, resumed parts, recovered parts."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from merged_images import merge

from station import labels
from station.errors import Refused
from station.flows import tfm_provisioning
from station.flows.tfm_provisioning import PLAN
from station.formats import attestation, cose_sign1, tfm_console
from station.model import EraseWaiver, Role

CHIPS = ("nrf5340", "nrf9160", "nrf91x1")
NO = 1


def kept_ever(bench, name):
    """Every value that was kept under a name, also of a part that was erased since."""
    return [json.loads(bytes.fromhex(row["value"])) for row in bench.rows("keep") if row["name"] == name]


def passed(result):
    assert (result.kind, result.bin) == ("pass", "pass"), result
    return result


def untouched_twice(chip):
    """No word was burnt twice, and the image never ran on a part that was past ASSEMBLY."""
    assert chip["double_burns"] == [] and chip["second_runs"] == []


# ---- good parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHIPS)
def test_a_blank_part_is_provisioned_secured_closed_and_attested(nordic, name):
    bench = nordic(name)
    result = passed(bench.run())
    chip = bench.chip
    assert chip["lc_state"] == "SECURED" and not any(core["debug_open"] for core in chip["cores"].values())
    untouched_twice(chip)
    closed_at_first = name != "nrf9160"
    assert bool(result.witness.questions) == closed_at_first and bool(chip["erase_alls"]) == closed_at_first
    low, high = chip["device_id"]
    assert result.run.device_id == f"{high:08x}{low:08x}"
    before, after = bench.kept_json("evidence_before"), bench.kept_json("evidence_after")
    assert (before["life_cycle"], after["life_cycle"]) == ("ASSEMBLY", "PROVISIONING")
    assert after["implementation_id"] == chip["implementation_id"] == bench.recipe().pack.settings["implementation_id"]
    pack = bench.recipe().pack
    assert before["probe"] == after["probe"] == "VP0001"
    assert before["images"] == {name: hashlib.sha256(pack.image(name)).hexdigest() for name in before["images"]}
    assert all("allows" in words for words in after["key_slots"].values())
    assert (
        "Success!" in bench.kept()["console_app"].decode() and "closed" in bench.kept_json("debug_port_closed")["read"]
    )


def test_the_kept_token_is_signed_by_the_kept_key(nordic):
    bench = nordic("nrf9160")
    passed(bench.run())
    kept = bench.kept()
    signed = cose_sign1.parse(kept["attestation_token"])
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), kept["iak_public_key"])
    key.verify(encode_dss_signature(signed.r, signed.s), signed.to_be_signed, ec.ECDSA(hashes.SHA256()))
    assert kept["instance_id"] == b"\x01" + hashlib.sha256(kept["iak_public_key"]).digest()
    assert attestation.parse(kept["attestation_token"]).life_cycle == attestation.SECURED
    assert bench.kept_json("attestation_claims")["problems"] == []


@pytest.mark.parametrize("name", ["nrf5340", "nrf9160"])
def test_the_waiver_and_every_intent_stand_before_their_act(nordic, name):
    bench = nordic(name)
    result = passed(bench.run())
    kinds = [
        (row.kind, row.title) for row in bench.journal.rows("WHERE run = ? ORDER BY seq", (result.run.context.run,))
    ]
    burns = [title.id for title in PLAN if title.burn and title.id not in ("lock", "net_lock")]
    assert [title for kind, title in kinds if kind == "intent"] == burns
    assert [title for kind, title in kinds if kind == "outcome"] == burns
    if name == "nrf5340":
        order = [kind for kind, _ in kinds]
        assert order.index("confirmed") < order.index("waiver") < order.index("erased") < order.index("intent")


def test_a_part_of_one_core_hears_nothing_of_another(nordic):
    assert not [line for line in passed(nordic("nrf9160").run()).witness.lines if "network" in str(line)]
    assert [title.id for title in PLAN if title.irreversible and not title.burn] == ["recover"]


def test_the_network_core_closed_by_the_child_image(nordic):
    """The child closes its port at that core's next reset: the production image must be in before anything resets."""
    bench = nordic("nrf5340", net_lock="child_image")
    passed(bench.run())
    assert "deny debugging access for the network core!" in bench.kept()["console_net"].decode()
    assert (
        bench.chip["cores"]["net"]["image"] == "tfm_net"
        and bench.kept_json("evidence_after")["net_approtect"] == "0x00000000"
    )
    untouched_twice(bench.chip)


def test_the_shipped_recipe_with_a_child_image_and_its_recovery(nordic):
    bench = nordic("nrf5340")
    result = passed(bench.run(suffix="-child"))
    assert result.run.context.recipe == "nrf5340-dk-child" and bench.chip["cores"]["net"]["image"] == "tfm_net"
    assert "deny debugging access for the network core!" in bench.kept()["console_net"].decode()
    assert bench.kept_json("evidence_after")["net_approtect"] == "0x00000000"
    assert "closed: UICR.APPROTECT 0x00000000" in bench.kept_json("debug_port_closed")["net"]
    assert set(bench.kept_json("evidence_before")["images"]) == {"provisioning_app", "provisioning_net", "tfm_app",
                                                                 "tfm_net"}  # fmt: skip
    untouched_twice(bench.chip)
    result = bench.run(suffix="-child-recover")
    assert (result.kind, result.bin) == ("pass", "recovered") and bench.chip["lc_state"] == "ASSEMBLY"


@pytest.mark.parametrize(("suffix", "child"), [("", False), ("-child", True)])
def test_merged_files_for_both_cores(nordic, suffix, child):
    """One file with both domains for each stage: the child's half runs only where the recipe lets it close the core."""
    bench = nordic("nrf5340")
    merge(bench.build(), "provisioning", "tfm")
    passed(bench.run(suffix=suffix))
    chip, kept = bench.chip, bench.kept()
    assert chip["lc_state"] == "SECURED" and not any(core["debug_open"] for core in chip["cores"].values())
    assert (chip["cores"]["app"]["image"], chip["cores"]["net"]["image"]) == ("tfm_app", "tfm_net")
    assert (b"deny debugging access for the network core!" in kept["console_net"]) == child
    pack = bench.recipe(suffix).pack
    provisioning, tfm = (hashlib.sha256(pack.image(name)).hexdigest() for name in ("provisioning_app", "tfm_app"))
    names = {"provisioning_app": provisioning, "tfm_app": tfm, "tfm_net": tfm}
    names |= {"provisioning_net": provisioning} if child else {}
    assert sorted(pack.images) == ["provisioning_app", "tfm_app"]
    assert bench.kept_json("evidence_before")["images"] == names
    untouched_twice(chip)


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ("", "-child", "was begun with no provisioning_net, which is used now"),
        ("-child", "", "and none is used now; finish it as it was, or erase it (recipe nrf5340-dk-recover)"),
    ],
)
def test_a_part_is_finished_by_the_way_of_closing_its_network_core_that_it_was_begun_with(nordic, first, then, words):
    bench = nordic("nrf5340")
    merge(bench.build(), "provisioning", "tfm")
    assert bench.run(suffix=first, before=stop_before("console")).kind == "hold"
    result = bench.run(suffix=then)
    assert result.kind == "hold" and words in result.reason
    passed(bench.run(suffix=first))


@pytest.mark.parametrize("name", ["nrf5340", "nrf91x1"])
def test_the_debug_port_closed_by_this_station(nordic, name):
    bench = nordic(name, app_lock="host")
    bench.build(tfm_app={"approtect_lock": False, "secure_approtect_lock": False})
    result = passed(bench.run())
    assert "lock" in result.witness.burns and not bench.chip["cores"]["app"]["debug_open"]
    assert bench.chip["cores"]["app"]["approtect"] == 0 and bench.chip["cores"]["app"]["secureapprotect"] == 0


def test_production_firmware_without_its_lock_is_found_out(nordic):
    """TF-M stops without a word when nobody has closed the port: it stays open, and the part is no good one."""
    bench = nordic("nrf91x1")
    bench.build(tfm_app={"approtect_lock": False, "secure_approtect_lock": False})
    result = bench.run()
    assert result.kind == "fail" and result.bin in ("first_boot", "burn_failed")
    assert bench.chip["lc_state"] == "PROVISIONING"


def test_a_network_core_that_stays_open_is_found_out(nordic):
    bench = nordic("nrf5340")
    bench.build(tfm_app={"lock_net": False})
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "debug_open") and "that of the net core is open" in result.reason


def test_an_image_with_another_implementation_id_is_no_half(nordic):
    bench = nordic("nrf9160")
    bench.build(provisioning_app={"implementation_id": "11" * 32})
    result = bench.run()
    assert result.kind == "quarantine" and "holds another implementation id" in result.reason


@pytest.mark.parametrize("name", ["nrf5340", "nrf91x1"])
def test_firmware_built_without_its_provisioning_is_found_out(nordic, name):
    bench = nordic(name)
    bench.build(tfm_app={"nrf_provisioning": False})
    result = bench.run()
    assert (result.kind, result.bin, bench.chip["lc_state"]) == ("fail", "boot_refused", "PROVISIONING"), result
    assert "its token says the life cycle PSA RoT provisioning" in result.reason and "half done" in result.part_state
    assert b"Writing random Hardware Unique Keys" not in bench.kept()["console_boot"]


def test_firmware_that_makes_its_own_keys_is_refused(nordic):
    """It does so where there are none: in a blank part that boots it, past every step of the flow."""
    bench = nordic("nrf91x1")
    bench.build(tfm_app={"nrf_provisioning": False})

    def boots_blank(part, run):
        part.load({file: run.image(file) for file in run.pack.images})
        part.look()
        part.erase_all(EraseWaiver("a test's own part", 1))
        part.keep_erased_open()
        part.install()
        part.first_boot()

    result = bench.run(before=boots_blank)
    assert (result.kind, result.bin) == ("fail", "boot_refused"), result
    assert "makes its own hardware unique keys" in result.reason and "CONFIG_TFM_NRF_PROVISIONING" in result.reason
    assert tfm_console.WRITES_KEYS in result.part.boot.transcript
    assert bench.chip["lc_state"] == "ASSEMBLY" and bench.chip["double_burns"] == []


def test_a_lot_is_asked_about_once(nordic):
    bench = nordic("nrf91x1")
    first = passed(bench.run("P000001"))
    bench.insert("another-2")
    second = passed(bench.run("P000002"))
    assert len(first.witness.questions) == 1 and second.witness.questions == []
    bench.insert("another-3")
    bench.lot = "LOT2"
    result = bench.run("P000003", answers=[NO])
    assert (result.kind, result.bin) == ("fail", "locked") and bench.chip["erase_alls"] == []
    assert "nobody has confirmed that the part is new" in result.reason and "nrf9161-dk-recover" in result.reason


# ---- second runs -------------------------------------------------------------------------------------------


def test_a_part_that_passed_is_refused_and_nothing_is_done_to_it(nordic):
    bench = nordic("nrf9160")
    passed(bench.run())
    with pytest.raises(Refused, match="this part passed"):
        labels.check_known(bench.journal.known("part", "P000041"), bench.recipe(), bench.bins, 1, Role.OPERATOR)
    again = passed(bench.run())
    assert again.witness.burns == [], "found done, each of them"
    untouched_twice(bench.chip)


def test_a_secured_part_of_another_bench_is_not_touched(nordic):
    bench = nordic("nrf9160")
    bench.fault("already_secured")
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "locked") and "somebody closed it" in result.reason
    assert bench.chip["erase_alls"] == []


def test_a_known_part_under_a_new_label_is_not_erased(nordic, patience):
    """The lot was called new, but a closed part that attests is nobody's new one."""
    bench = nordic("nrf91x1")
    passed(bench.run("P000001"))
    patience()
    erased = len(bench.chip["erase_alls"])
    result = bench.run("P000002")
    assert result.kind == "bench" and "attests as P000001, but P000002 was scanned" in result.reason
    assert len(bench.chip["erase_alls"]) == erased and bench.chip["lc_state"] == "SECURED"
    assert bench.journal.known("part", "P000001").passed("tfm_provisioning")


def test_a_part_known_here_is_not_erased_by_the_ordinary_recipe(nordic):
    bench = nordic("nrf91x1")
    bench.fault("panic:huk")
    assert bench.run().bin == "half_provisioned"
    bench.fault("locked")
    erased = len(bench.chip["erase_alls"])
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "locked"), result
    assert "provisioned here, but its debug port closed" in result.reason and len(bench.chip["erase_alls"]) == erased


def test_the_last_gate_before_an_erasure_asks_the_journal_once_more(nordic, monkeypatch):
    """Whatever a flow thinks it knows: a part with anything burnt into it is erased by its own recipe only."""
    bench = nordic("nrf91x1")
    passed(bench.run())
    erased = len(bench.chip["erase_alls"])
    monkeypatch.setattr(tfm_provisioning, "_has_begun", lambda run: False)
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "locked") and "has worked on the part before" in result.reason
    assert len(bench.chip["erase_alls"]) == erased and bench.chip["lc_state"] == "SECURED"


# ---- recovery ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHIPS)
def test_a_secured_part_is_recovered_with_two_confirmations_and_provisioned_again(nordic, name):
    bench = nordic(name)
    passed(bench.run())
    old = bench.kept()["iak_public_key"]
    result = bench.run(suffix="-recover")
    assert (result.kind, result.bin) == ("pass", "recovered") and len(result.witness.questions) == 2
    assert all("PASSED on 20" in question for question in result.witness.questions), "it is a good part that goes"
    record = bench.journal.known("part", "P000041")
    assert (
        record.erasures == 1 + (name != "nrf9160") and record.kept == {} and record.passed("tfm_provisioning") is None
    )
    (erased,) = kept_ever(bench, "evidence_erased")
    assert (erased["probe"], erased["app"]) == ("VP0001", "closed") and int(erased["targetid"], 16) & 0xFFF == 0x289
    assert bench.chip["lc_state"] == "ASSEMBLY" and bench.chip["cores"]["app"]["debug_open"]
    again = passed(bench.run())
    assert again.witness.questions == [] and bench.kept()["iak_public_key"] != old
    untouched_twice(bench.chip)


def test_what_an_open_part_was_is_kept_before_it_is_erased(nordic):
    bench = nordic("nrf9160")
    assert bench.run(before=stop_before("install")).kind == "hold"
    assert bench.run(suffix="-recover").bin == "recovered"
    (erased,) = kept_ever(bench, "evidence_erased")
    assert (erased["probe"], erased["app"], erased["life_cycle"]) == ("VP0001", "open", "PROVISIONING")


@pytest.mark.parametrize("answers", [[NO], [0, NO]])
def test_nothing_is_erased_without_both_confirmations(nordic, answers):
    bench = nordic("nrf91x1")
    passed(bench.run())
    erased = len(bench.chip["erase_alls"])
    result = bench.run(suffix="-recover", answers=answers)
    assert (result.kind, result.bin) == ("bench", "bench") and len(bench.chip["erase_alls"]) == erased
    assert (
        "nothing was changed" in result.reason
        and kept_ever(bench, "evidence_erased") == []
        and bench.chip["lc_state"] == "SECURED"
        and bench.rows("waiver") == [{"reason": "new part, the debug port is closed"}]
    )


def test_a_recovery_with_another_part_in_the_socket_erases_nothing(nordic):
    """A closed part says who it is by its attestation: the label of one does not destroy the identity of another."""
    bench = nordic("nrf91x1")
    passed(bench.run("P000001"))
    first = bench.kept("P000001")
    bench.insert(f"another-{bench.count}")
    passed(bench.run("P000002"))
    erased = len(bench.chip["erase_alls"])
    result = bench.run("P000001", suffix="-recover")
    assert result.kind == "bench" and "it is another part, and nothing was erased" in result.reason
    labels.check_known(bench.journal.known("part", "P000001"), bench.recipe("-recover"), bench.bins, 1, Role.OPERATOR)
    assert result.witness.questions == [] and len(bench.chip["erase_alls"]) == erased
    assert bench.kept("P000001") == {**first, **bench.kept("P000001")} and bench.chip["lc_state"] == "SECURED"


def test_a_silent_part_under_the_wrong_label_is_erased_as_itself(nordic):
    """Nothing tells a silent, closed part from another: both are set aside, and the record of neither lies."""
    bench = nordic("nrf91x1")
    passed(bench.run("P000001"))
    instance = bench.kept("P000001")["instance_id"]
    bench.insert(f"another-{bench.count}")
    passed(bench.run("P000002"))
    bench.fault("console_silence")
    result = bench.run("P000001", suffix="-recover")
    assert result.kind == "quarantine" and "label P000001 belongs to device" in result.reason
    first, second = (bench.journal.known("part", label) for label in ("P000001", "P000002"))
    assert first.kept["instance_id"] == instance and first.begun("tfm_provisioning", "provision")
    assert "instance_id" not in second.kept and not second.burnt("tfm_provisioning")
    assert first.quarantine and second.quarantine


def test_a_recovered_part_keeps_its_port_open_over_a_power_cycle(nordic):
    """The word in UICR and the tiny firmware of a recovery, on both cores."""
    bench = nordic("nrf5340")
    assert bench.run(suffix="-recover").bin == "recovered"
    bench.power_cycle()
    assert bench.chip["cores"]["app"]["debug_open"]
    result = passed(bench.run())
    assert result.witness.questions == [], "it was open, so that nothing had to be erased"


def test_an_erase_protected_part_is_not_recovered(nordic):
    bench = nordic("nrf91x1")
    bench.fault("erase_protected")
    bench.fault("locked")
    result = bench.run(suffix="-recover")
    assert (result.kind, result.bin) == ("fail", "erase_protected") and "nobody can recover it" in result.reason


# ---- stopped and resumed -----------------------------------------------------------------------------------

OPTIONAL = ("images", "lock", "net_lock")
STOPS = [(title.id, cycle) for title in PLAN if title.id not in OPTIONAL for cycle in (False, True)]
SOME = [("before", True), ("provision", False), ("console", True), ("network", True), ("install", True), ("boot", True)]


@pytest.mark.parametrize(("where", "cycle"), SOME)
def test_a_stop_is_resumed(nordic, where, cycle):
    stopped_and_resumed(nordic("nrf5340", net_lock="child_image"), where, cycle)


@pytest.mark.full
@pytest.mark.parametrize(("where", "cycle"), STOPS)
def test_a_stop_at_every_title_is_resumed(nordic, where, cycle):
    stopped_and_resumed(nordic("nrf5340", net_lock="child_image"), where, cycle)


def stop_before(where):
    """Stop a run just before a title."""

    def stop(part, run):
        begin = run.begin_title

        def at(title, burn):
            if title.id == where:
                run.request_stop("the test stopped the run")
            return begin(title, burn)

        run.begin_title = at

    return stop


def stopped_and_resumed(bench, where, cycle):
    """Stop just before a title, perhaps take the supply away, and run again: all of it once, nothing twice."""
    first = bench.run(before=stop_before(where))
    assert first.kind in ("bench", "hold") and "the test stopped" in first.reason, first
    if cycle:
        bench.power_cycle()
    again = bench.run()
    assert (again.kind, again.bin) == ("pass", "pass"), again
    untouched_twice(
        {**bench.chip, "second_runs": [run for run in bench.chip["second_runs"] if run["cause"] != "power"]}
    )
    assert json.loads(bench.kept()["attestation_claims"])["problems"] == []
