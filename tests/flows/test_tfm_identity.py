"""Which part it is, once nothing but its attestation says so; and parts whose erasure broke off."""

from __future__ import annotations

import dataclasses

import pytest
from test_tfm_flow import passed, stop_before
from test_tfm_hazards import another_station

from drivers.pyocd_probe.probe import PyocdProbe
from drivers.virtual.nrf.firmware import keys
from station import labels
from station.errors import BenchError
from station.formats.attestation import parse
from station.model import Role
from station.parts.nordic.recovery import Recovery


@pytest.fixture
def two(nordic):
    """``two(chip, where)``: P000001 was stopped just before a title, P000002 has passed and lies in the socket."""

    def made(chip, where):
        bench = nordic(chip)
        assert bench.run("P000001", before=stop_before(where)).kind == "hold"
        bench.first = f"part-{bench.count:03}"
        bench.insert(f"another-{bench.count}")
        bench.lot = "LOT2"
        passed(bench.run("P000002"))
        return bench

    return made


@pytest.mark.parametrize(("chip", "where"), [("nrf91x1", "boot"), ("nrf5340", "attest"), ("nrf9160", "closed")])
def test_a_finished_part_is_not_taken_for_the_one_whose_label_was_scanned(two, chip, where):
    bench = two(chip, where)
    before = bench.kept("P000002")
    result = bench.run("P000001")
    assert result.kind == "quarantine" and result.witness.burns == []
    assert "P000002" in result.reason if where == "boot" else "is known as" in result.reason, result.reason
    assert bench.kept("P000001").get("instance_id") != before["instance_id"] and bench.kept("P000002") == before
    assert not bench.journal.known("part", "P000002").quarantine
    bench.insert(bench.first)
    bench.release("P000001")
    passed(bench.run("P000001"))
    assert bench.kept("P000001")["instance_id"] != before["instance_id"]


def test_a_finished_part_under_a_label_that_needs_recovery_is_not_sent_there(two):
    bench = two("nrf91x1", "install")
    result = bench.run("P000001")
    assert result.kind == "quarantine" and "attests as P000002" in result.reason


def test_two_parts_that_closed_without_a_name_cannot_be_told_apart(nordic):
    bench = nordic("nrf91x1")
    for label in ("P000001", "P000002"):
        bench.insert(f"{label}-{bench.count}")
        assert bench.run(label, before=stop_before("boot")).kind == "hold"
    bench.close_socket()
    bench.power_cycle()
    result = bench.run("P000001")
    assert result.kind == "quarantine" and "nobody can tell P000001 from P000002" in result.reason
    assert "instance_id" not in bench.kept("P000001")
    bench.insert(f"P000001-{bench.count}")
    bench.release("P000001")  # somebody has looked
    passed(bench.run("P000001"))
    bench.insert(f"P000002-{bench.count}")
    passed(bench.run("P000002"))
    assert bench.kept("P000001")["instance_id"] != bench.kept("P000002")["instance_id"]


def test_who_it_is_is_kept_at_the_first_boot(nordic):
    bench = nordic("nrf91x1")
    assert bench.run(before=stop_before("attest")).kind == "hold"
    kept = bench.kept()
    assert kept["instance_id"][0] == 1 and len(kept["instance_id"]) == 33 and kept["console_boot"]


def mute(part, run):
    """Its console says nothing: who it is, nobody can know before it is erased."""
    part.boot.identity = lambda *_: None


@pytest.mark.parametrize("suffix", ["", "-recover"])
def test_a_finished_part_under_a_wrong_label_is_not_erased(nordic, patience, suffix):
    bench = nordic("nrf5340")
    passed(bench.run("P000001"))
    patience()
    erased = len(bench.chip["erase_alls"])
    result = bench.run("P000777", suffix=suffix)
    assert result.kind == "bench" and "attests as P000001, but P000777 was scanned" in result.reason
    assert len(bench.chip["erase_alls"]) == erased and bench.chip["lc_state"] == "SECURED"
    assert bench.journal.known("part", "P000001").passed("tfm_provisioning")


@pytest.mark.parametrize("suffix", ["", "-recover"])
def test_a_finished_part_that_a_wrong_label_had_erased_is_told_so(nordic, suffix):
    """Everything was confirmed and nobody looked: whoever reads the quarantine must learn that the keys are gone."""
    bench = nordic("nrf5340")
    passed(bench.run("P000001"))
    result = bench.run("P000777", suffix=suffix, before=mute)
    assert result.kind == "quarantine"
    assert "belongs to label P000001, but label P000777 was scanned" in result.reason
    assert result.reason.endswith("; the chip in the socket has been erased just now, its keys are gone")
    assert "has been erased just now" in bench.journal.known("part", "P000001").quarantine
    assert bench.chip["lc_state"] != "SECURED"


def test_a_wrong_label_on_an_open_part_says_nothing_of_an_erasure(nordic):
    bench = nordic("nrf5340")
    assert bench.run("P000001", before=stop_before("provision")).kind in ("hold", "bench")
    result = bench.run("P000777", suffix="-recover")
    assert result.kind == "quarantine" and "erased" not in result.reason


# ---- erasures that broke off -----------------------------------------------------------------------------------


def broken(*_args, **_more):
    raise BenchError("the cable was pulled")


@pytest.mark.parametrize("chip", ["nrf91x1", "nrf5340"])
def test_an_erasure_that_broke_off_is_never_called_harmless(nordic, monkeypatch, chip):
    """Nothing was read from the part after its erasure began: whatever it was, its record does not say so any more."""
    bench = nordic(chip)
    passed(bench.run())
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_restart", broken)
        result = bench.run(suffix="-recover")
    record = bench.journal.known("part", "P000041")
    assert result.kind == "hold" and "its erasure was begun" in result.part_state
    assert record.erasing and record.passed("tfm_provisioning") is None
    labels.check_known(record, bench.recipe(), bench.bins, 1, Role.OPERATOR)
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "half_provisioned") and "-recover finishes it" in result.reason
    assert bench.run(suffix="-recover").bin == "recovered"
    passed(bench.run())


def test_an_erasure_is_recorded_before_the_part_is_kept_open(nordic, monkeypatch):
    bench = nordic("nrf91x1")
    passed(bench.run())
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_keep_open", broken)
        result = bench.run(suffix="-recover")
    record = bench.journal.known("part", "P000041")
    assert result.kind == "bench" and not record.erasing and not record.burnt("tfm_provisioning")
    bench.close_socket()
    bench.power_cycle()
    assert not bench.chip["cores"]["app"]["debug_open"]
    passed(bench.run())


def test_a_new_part_whose_erasure_broke_off_goes_on(nordic, monkeypatch):
    bench = nordic("nrf5340")
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_restart", broken)
        result = bench.run()
    assert result.kind == "hold" and bench.journal.known("part", "P000041").erasing
    passed(bench.run())
    record = bench.journal.known("part", "P000041")
    assert not record.erasing and record.passed("tfm_provisioning")


def test_a_network_core_that_was_not_erased_is_no_recovered_part(nordic):
    bench = nordic("nrf5340")
    passed(bench.run())
    bench.fault("erase_protected:net")
    result = bench.run(suffix="-recover")
    assert (result.kind, result.bin) == ("fail", "erase_protected") and "nobody can recover it" in result.reason
    assert bench.chip["lc_state"] == "SECURED" and result.witness.questions == []


def test_a_part_that_still_attests_was_not_erased(nordic, monkeypatch):
    """The probe went before anything was erased: the part proves it, and nobody has to destroy it."""
    bench = nordic("nrf91x1")
    passed(bench.run())
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "erase", broken)
        assert bench.run(suffix="-recover").kind == "hold"
    record = bench.journal.known("part", "P000041")
    assert record.erasing and record.passed("tfm_provisioning") is None
    passed(bench.run())
    record = bench.journal.known("part", "P000041")
    assert not record.erasing and record.passed("tfm_provisioning") and bench.chip["lc_state"] == "SECURED"


def test_a_bit_that_fell_over_on_the_line_is_nobodys_id(nordic):
    bench = nordic("nrf91x1")

    def bent(part, run):
        real, seen = part.boot.listen, []

        def listen(*kind, **more):
            boot = real(*kind, **more)
            if boot.token and not seen:
                seen.append(boot)
                at = boot.token.index(parse(boot.token).instance_id) + 9
                token = boot.token[:at] + bytes([boot.token[at] ^ 1]) + boot.token[at + 1 :]
                boot = part.boot.last = dataclasses.replace(boot, token=token)
            return boot

        part.boot.listen = listen

    result = bench.run(before=bent)
    assert (result.kind, result.bin) == ("fail", "attestation"), result
    assert "instance_id" not in bench.kept()
    passed(bench.run())


def test_a_killed_erasure_under_a_wrong_label_is_told_of_the_chip(nordic, monkeypatch):
    bench = nordic("nrf91x1")
    passed(bench.run("P000001"))
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_restart", broken)
        assert bench.run("P000777", before=mute).kind == "hold"
    result = bench.run("P000777", before=mute)
    assert result.kind == "quarantine" and "erased" in result.reason
    assert bench.journal.known("part", "P000001").passed("tfm_provisioning") is None


def test_a_part_that_is_lost_holds_up_no_other(nordic):
    bench = nordic("nrf5340")
    bench.fault("pcd_failure")
    assert bench.run("P000007").bin == "network_core"
    bench.insert(f"other-{bench.count}")
    assert bench.run("P000008", before=stop_before("boot")).kind == "hold"
    bench.close_socket()
    bench.power_cycle()
    passed(bench.run("P000008"))


# ---- tokens that come late, keys that are not the part's own --------------------------------------------------------


@pytest.mark.parametrize("fault", ["truncated_token", "token_error"])
@pytest.mark.parametrize("where", ["install", "boot"])
def test_a_token_that_comes_at_the_second_time_is_a_first_word_too(two, fault, where):
    bench = two("nrf91x1", where)
    before = bench.kept("P000002")
    bench.fault(fault)
    result = bench.run("P000001")
    assert result.kind == "quarantine" and "attests as P000002" in result.reason, result
    assert "instance_id" not in bench.kept("P000001") and bench.kept("P000002") == before


def test_a_token_that_comes_in_the_last_step_only_is_judged_before_it_is_kept(two, monkeypatch):
    bench = two("nrf91x1", "boot")
    result = bench.run("P000001", before=mute)
    assert result.kind == "quarantine" and "attests as P000002" in result.reason, result
    assert "instance_id" not in bench.kept("P000001") and "attestation_token" not in bench.kept("P000001")


def test_another_part_is_no_failure_of_the_one_whose_label_was_scanned(two):
    bench = two("nrf91x1", "attest")
    token = bench.kept("P000001").get("attestation_token")
    bench.fault("truncated_token")
    result = bench.run("P000001")
    assert result.kind == "quarantine" and "is known as" in result.reason
    assert bench.kept("P000001").get("attestation_token") == token


def test_two_parts_with_one_identity_key_do_not_pass(nordic, monkeypatch):
    """An image whose key is not born in the part, and is not the published dummy either."""
    monkeypatch.setattr(keys, "new_identity", lambda: 0x1234_5678_90AB_CDEF)
    bench = nordic("nrf91x1")
    passed(bench.run("P000001"))
    bench.insert(f"another-{bench.count}")
    result = bench.run("P000002")
    assert result.kind == "quarantine" and "both have the same identity key" in result.reason


# ---- who is erased --------------------------------------------------------------------------------------------------


def test_a_finished_part_of_another_station_is_not_erased_as_new(nordic, patience):
    bench = nordic("nrf5340")
    passed(bench.run("P000001"))
    patience()
    another_station(bench)
    erased = len(bench.chip["erase_alls"])
    result = bench.run("P000001")
    assert (result.kind, result.bin) == ("fail", "already_provisioned"), result
    assert "it attests (instance id 01" in result.reason
    assert len(bench.chip["erase_alls"]) == erased
    assert bench.run("P000001", suffix="-recover").bin == "recovered"
    passed(bench.run("P000001"))


def test_a_recovery_asks_a_part_whose_label_never_had_a_name(nordic):
    bench = nordic("nrf91x1")
    bench.fault("panic:huk")
    assert bench.run("P000001").bin == "half_provisioned"
    bench.insert(f"another-{bench.count}")
    passed(bench.run("P000002"))
    result = bench.run("P000001", suffix="-recover")
    assert result.kind == "bench" and "attests as P000002, but P000001 was scanned" in result.reason
    assert result.witness.questions == [] and bench.chip["lc_state"] == "SECURED"


def test_a_recovery_asks_again_when_the_token_comes_damaged(nordic):
    bench = nordic("nrf91x1")
    passed(bench.run("P000001"))
    bench.insert(f"another-{bench.count}")
    passed(bench.run("P000002"))
    bench.fault("truncated_token")
    result = bench.run("P000001", suffix="-recover")
    assert result.kind == "bench" and "attests as P000002" in result.reason and bench.chip["lc_state"] == "SECURED"


@pytest.mark.parametrize("chip", ["nrf91x1", "nrf5340"])
def test_a_part_that_is_closed_for_its_secure_side_only_is_no_new_one(nordic, chip):
    bench = nordic(chip)
    assert bench.run("P000001", before=stop_before("boot")).kind == "hold"
    bench.fault("secure_locked")
    another_station(bench)
    erased = len(bench.chip["erase_alls"])
    result = bench.run("P000003")
    assert (result.kind, result.bin) == ("fail", "locked") and "for the secure side only" in result.reason
    assert result.witness.questions == [] and len(bench.chip["erase_alls"]) == erased


def test_an_erasure_of_another_chip_ends_no_other_waiver(nordic, monkeypatch):
    """P000001 lies half erased elsewhere: that another chip was erased under its label says nothing of it."""
    bench = nordic("nrf91x1")
    passed(bench.run("P000001"))
    first = f"part-{bench.count:03}"
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_restart", broken)
        assert bench.run("P000001", suffix="-recover").kind == "hold"
    bench.close_socket()
    bench.insert(f"blank-{bench.count}")
    result = bench.run("P000001", suffix="-recover")
    assert result.kind == "quarantine" and "has been erased just now" in result.reason
    bench.release("P000001")
    record = bench.journal.known("part", "P000001")
    assert record.erasing and record.passed("tfm_provisioning") is None
    bench.insert(first)
    assert bench.run("P000001", suffix="-recover").bin == "recovered"
    assert not bench.journal.known("part", "P000001").erasing


def test_an_erasure_without_effect_is_not_recorded_as_one(nordic, monkeypatch):
    bench = nordic("nrf9160")
    assert bench.run(before=stop_before("install")).kind == "hold"
    with monkeypatch.context() as patch:
        patch.setattr(PyocdProbe, "erase_all", lambda *_: None)
        result = bench.run(suffix="-recover")
    record = bench.journal.known("part", "P000041")
    assert (result.kind, result.bin) == ("fail", "half_provisioned") and "is not blank" in result.reason
    assert record.erasures == 0 and record.erasing and record.burnt("tfm_provisioning")
    assert bench.run(suffix="-recover").bin == "recovered"
