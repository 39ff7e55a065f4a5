"""The record under hostile conditions: full disks, false outcomes, mixed-up parts, lost registrations, leaks."""

from __future__ import annotations

import dataclasses

import pytest
from spine_help import BINS, CHIP_ID, PLAN, FakeCredentials, carry_out, context, new_run, open_journal, rows_of
from test_spine_journal import make_full
from test_spine_run import REGISTRATION, FakeAppliance, registering

from station.crash_report import CrashReports
from station.errors import ApplianceError, FirmwareFailed, JournalError, PartError
from station.formats.console_text import parse_response
from station.journal_parts import BurnState
from station.model import DONE, NOT_DONE, UNKNOWN, DmiWrite, SpiFrame
from station.outbox import Outbox
from station.parts.earlgrey.spi_console import SpiConsole

OTHER_CHIP = "f" * 32
DUMB = UNKNOWN("it is locked")


def release(journal, label="L1"):
    """What the workbench writes when a supervisor releases a part."""
    for row in journal.find(label).quarantine_rows:
        journal.write(row.context, "release", "", {"reason": "looked at it"})


# ---- a full disk ----------------------------------------------------------------------------------------------------


def test_the_outcome_of_a_burn_in_progress_is_written_though_another_socket_met_the_full_disk_first(
    tmp_path, monkeypatch
):
    journal = open_journal(tmp_path)
    run = new_run(journal)
    did: list[int] = []

    def burn_while_another_socket_fills_the_disk():
        did.append(1)
        make_full(journal, monkeypatch)
        with pytest.raises(JournalError):
            journal.scan(context("L2", socket=2), {})
        assert journal.latched

    with pytest.raises(JournalError, match="disk is full"):
        run.burn(PLAN.first, done=lambda: DONE if did else NOT_DONE, do=burn_while_another_socket_fills_the_disk)
        run.finish(None)
    assert journal.latched
    with pytest.raises(JournalError):
        journal.scan(context("L3"), {})
    journal.close()
    monkeypatch.undo()
    journal = open_journal(tmp_path)
    assert journal.known("die", "L1").burn("fake", "first").state is BurnState.DONE
    assert not rows_of(journal, "verdict")
    journal.close()


# ---- outcomes that nobody saw ---------------------------------------------------------------------------------------


def test_an_attempt_that_the_part_cannot_judge_is_never_recorded_as_not_done(journal):
    run = new_run(journal)
    journal.intend(run.context, "first", {"settle": 0.0})
    answers = iter([DUMB, DONE])
    carry_out(journal, lambda run: run.burn(PLAN.first, done=lambda: next(answers), do=lambda: None, guarded="checked"))
    assert [row["evidence"] for row in rows_of(journal, "outcome")] == ["unknown", "done"]


def test_attempts_that_the_part_cannot_judge_are_counted(journal):
    run = new_run(journal)
    for _ in range(5):
        journal.intend(run.context, "first", {"settle": 0.0})
        journal.append(run.context, "outcome", "first", {"evidence": "unknown", "interrupted": True})
    did: list[int] = []
    verdict, _ = carry_out(
        journal, lambda run: run.burn(PLAN.first, done=lambda: DUMB, do=lambda: did.append(1), guarded="checked")
    )
    assert not did and verdict.kind == "quarantine"


def test_a_firmware_that_failed_in_a_guarded_burn_is_quarantined_for_good(journal):
    def fail():
        did.append(1)
        raise FirmwareFailed("TestError")

    def flow(run):
        run.burn(PLAN.first, done=lambda: DUMB, do=fail, tries=3, guarded="checked")

    did: list[int] = []
    assert carry_out(journal, flow)[0].kind == "quarantine"
    release(journal)
    assert carry_out(journal, flow)[0].kind == "quarantine"
    assert did == [1]


def test_a_silent_firmware_in_a_guarded_burn_is_tried_again(journal):
    answers = iter([DUMB, DUMB, DONE])
    errors = [PartError("silence", "console"), None]

    def do():
        if (error := errors.pop(0)) is not None:
            raise error

    verdict, _ = carry_out(journal, lambda run: run.burn(PLAN.first, done=lambda: next(answers), do=do, tries=2,
                                                         guarded="checked"))  # fmt: skip
    assert verdict.kind == "pass"


@pytest.mark.parametrize("way", ["stop", "lid"])
def test_nothing_is_begun_after_a_stop_or_on_a_part_that_is_gone(journal, way):
    did: list[int] = []

    def flow(run):
        def ask():
            run.lost_contact("the lid was opened") if way == "lid" else run.request_stop()
            return NOT_DONE

        run.burn(PLAN.first, done=ask, do=lambda: did.append(1))

    verdict, _ = carry_out(journal, flow)
    assert not did and not rows_of(journal, "intent")
    assert verdict.kind == "bench"


def test_an_interrupted_burn_is_not_begun_again_on_a_part_that_is_gone(journal):
    run = new_run(journal)
    journal.intend(run.context, "first", {"settle": 0.0})
    did: list[int] = []

    def flow(run):
        def ask():
            run.lost_contact("the lid was opened")
            return DUMB

        run.burn(PLAN.first, done=ask, do=lambda: did.append(1), guarded="checked")

    verdict, _ = carry_out(journal, flow)
    assert not did and verdict.kind == "quarantine"


# ---- parts that are mixed up ----------------------------------------------------------------------------------------


def test_a_release_that_judged_no_mix_up_keeps_label_and_chip_together(journal):
    def flow(run):
        run.identify(CHIP_ID)
        run.burn(PLAN.first, done=lambda: DONE, do=lambda: None)  # done elsewhere

    assert carry_out(journal, flow)[0].kind == "quarantine"
    release(journal)
    verdict, _ = carry_out(journal, lambda run: run.identify(OTHER_CHIP))
    assert verdict.kind == "quarantine" and "belongs to device" in verdict.reason


def test_a_released_mix_up_does_not_leave_the_other_chips_id_on_the_label(journal):
    carry_out(journal, lambda run: run.identify(CHIP_ID))
    assert carry_out(journal, lambda run: run.identify(OTHER_CHIP))[0].kind == "quarantine"
    assert journal.known("die", "L1").device_id == CHIP_ID
    release(journal)
    run = new_run(journal)
    assert run.device_id == "", "whose chip it is, the chip says"
    journal.intend(run.context, "first", {"settle": 0.0})
    assert not journal.known(device_id=OTHER_CHIP).burns
    run.identify(CHIP_ID)
    assert journal.known("die", "L1").device_id == CHIP_ID


# ---- registrations --------------------------------------------------------------------------------------------------


class Unreadable(FakeCredentials):
    """A station key that gives garbage back."""

    def unseal(self, sealed):
        return b"{}"


def make_outbox(journal, appliance, delivered, sealer=None, said=None):
    lines = said if said is not None else []
    return Outbox(journal, sealer or FakeCredentials(), BINS, lambda: appliance, lambda row: False,
                  lambda row, verdict: delivered.append(verdict), lambda text, level: lines.append(text),
                  CrashReports(journal.folder))  # fmt: skip


def test_a_registration_that_cannot_be_read_holds_up_neither_the_thread_nor_the_others(journal):
    down = FakeAppliance(ApplianceError("down", "UNAVAILABLE"))
    carry_out(journal, registering(down))
    said: list[str] = []
    outbox = make_outbox(journal, FakeAppliance(), [], Unreadable(), said)
    assert outbox.deliver_all() is True
    assert any("an error in the program" in line for line in said)


def test_the_outbox_thread_survives_whatever_an_appliance_throws(journal):
    class Broken(FakeAppliance):
        def open_session(self, sku):
            raise AttributeError("no code")

    carry_out(journal, registering(FakeAppliance(ApplianceError("down", "UNAVAILABLE"))))
    delivered: list[object] = []
    said: list[str] = []
    outbox = make_outbox(journal, Broken(), delivered, said=said)
    outbox._delay = 0.01
    outbox.start()
    while not said:
        outbox.wake()
    assert outbox._thread.is_alive()
    outbox.close()


def test_the_outbox_delivers_but_does_not_pass_a_quarantined_part(journal):
    carry_out(journal, registering(FakeAppliance(ApplianceError("down", "UNAVAILABLE"))))
    row = journal.rows("WHERE kind = 'registration'")[0]
    journal.write(row.context, "quarantine", "", {"reason": "found it cracked"})
    delivered: list[object] = []
    appliance = FakeAppliance()
    make_outbox(journal, appliance, delivered).deliver_all()
    assert len(appliance.registered) == 1 and delivered == [None]
    assert journal.known("die", "L1").passed("fake") is None


# ---- what must not be shown -----------------------------------------------------------------------------------------


def test_values_that_carry_secrets_do_not_show_them():
    seeds = "123, 45, 67"
    response = parse_response('RESP_OK:{"body": [123, 45, 67]} CRC:0\n')
    shown = [repr(dataclasses.replace(REGISTRATION, perso_tlv=b"device seeds")), repr(response),
             repr(SpiFrame(b"device seeds")), repr(DmiWrite(7, 0xC0FFEE))]  # fmt: skip
    for text in shown:
        assert "device seeds" not in text and seeds not in text and str(0xC0FFEE) not in text


@pytest.mark.parametrize("cut", [3, 20, 200, 2020, 2050])
def test_no_piece_of_an_answer_is_logged_however_it_is_cut_into_frames(cut):
    lines: list[str] = []
    console = SpiConsole(None, None, lambda text, source, level: lines.append(text), lambda seconds: None)
    body = ",".join(["171"] * 520)
    stream = f"Exporting TBS certificates ...\nRESP_OK:{{{body}}} CRC:0\nImporting ...\n".encode()
    for start in range(0, len(stream), cut):
        console._take(stream[start : start + cut])
    text = "\n".join(lines)
    assert "171" not in text
    if cut > 20:
        assert "Exporting TBS certificates ..." in text and "Importing ..." in text


def test_what_was_kept_for_one_chip_is_never_used_for_another_under_the_same_label(journal):
    def provision(run):
        run.identify(CHIP_ID)
        run.keep("rma_token_hash", b"\x01" * 16)
        answers = iter([NOT_DONE, DONE])
        run.burn(PLAN.first, done=lambda: next(answers), do=lambda: None)
        run.hold_registration(REGISTRATION)
        raise ApplianceError("down")

    assert carry_out(journal, provision)[0].kind == "hold"
    assert carry_out(journal, lambda run: run.identify(OTHER_CHIP))[0].kind == "quarantine"
    assert journal.find("L1").quarantine and journal.find(CHIP_ID).kept
    release(journal)
    run = new_run(journal)
    run.identify(OTHER_CHIP)
    assert run.kept("rma_token_hash") is None
    assert not run.part.registrations and run.part.burn("fake", "first").state is BurnState.NOTHING
    assert journal.find(CHIP_ID).kept == {"rma_token_hash": b"\x01" * 16}
