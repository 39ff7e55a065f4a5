"""What else a flow may say: plan, steps, limits, stop, kept values, registration, questions, verdicts."""

from __future__ import annotations

import json
import threading

import pytest
from spine_help import (
    BINS,
    CHIP_ID,
    PLAN,
    FakeCredentials,
    FakePack,
    carry_out,
    dump,
    new_run,
    open_journal,
    rows_of,
)

from station.crash_report import CrashReports
from station.errors import (
    ApplianceError,
    BenchError,
    ConfigError,
    FormatError,
    JournalError,
    PowerLost,
    Quarantined,
    Reject,
    Stopped,
)
from station.formats.journal_anchor import unpack
from station.journal_rows import row_of
from station.model import DONE, NOT_DONE, Registration
from station.outbox import Outbox
from station.plan import Burn, Plan
from station.run_services import Silent
from station.secret import Sealed, Secret
from station.verdict import Facts, derive, exit_code

REGISTRATION = Registration("fake", b"\x01" * 32, "PROD", b"wrapped", b"device seeds", 3, b"\x02" * 32, b"\x03" * 32)


class FakeAppliance:
    """Remembers registrations; may be down."""

    def __init__(self, error: ApplianceError | None = None) -> None:
        self.error = error
        self.registered: list[Registration] = []

    def open_session(self, sku: str) -> None:
        if self.error:
            raise self.error

    def register(self, registration: Registration) -> None:
        if self.error:
            raise self.error
        self.registered.append(registration)

    def close_session(self) -> None:
        """Nothing."""


def burn_both(run):
    answers = iter([NOT_DONE, DONE] * 2)
    run.burn(PLAN.first, done=lambda: next(answers), do=lambda: None)
    run.burn(PLAN.second, done=lambda: next(answers), do=lambda: None)


# ---- plan --------------------------------------------------------------------------------------------------------


def test_plan_gives_titles_by_name_with_hints():
    assert [(t.id, t.burn) for t in PLAN][:2] == [("look", False), ("first", True)]
    with pytest.raises(AttributeError, match="did you mean 'second'"):
        _ = PLAN.secnd


def test_titles_outside_the_plan_and_wrong_verbs_raise(journal):
    run = new_run(journal)
    with pytest.raises(ConfigError, match="'alien', which is not in its plan"), run.step(Plan(alien="Alien").alien):
        pass
    with pytest.raises(ConfigError, match=r"run\.burn"), run.step(PLAN.first):
        pass
    with pytest.raises(ConfigError, match=r"run\.step"):
        run.burn(PLAN.look, done=lambda: DONE, do=lambda: None)
    with pytest.raises(ConfigError, match="not in its plan"):
        run.burn(Plan(first=Burn("Another text")).first, done=lambda: DONE, do=lambda: None)


def test_steps_are_recorded_with_their_end(journal):
    def flow(run):
        with run.step(PLAN.look):
            pass
        with run.step(PLAN.name):
            raise Reject("no id", bin="wrong_part")

    verdict, _ = carry_out(journal, flow)
    assert verdict.bin_id == "wrong_part"
    assert [(row["status"], row.get("sentence")) for row in rows_of(journal, "step")] == [
        ("done", None), ("failed", "no id"),
    ]  # fmt: skip


# ---- limits ------------------------------------------------------------------------------------------------------


def test_measurements_are_recorded_and_limited(journal):
    pack = FakePack({"volts": (1.7, None)})

    def flow(run):
        run.measure("amps", 0.1, "A", high=0.2)
        run.measure("volts", 1.65, "V", low=1.6, high=2.0)

    verdict, error = carry_out(journal, flow, pack=pack)
    assert verdict.bin_id == "limits" and "expected volts at least 1.7 at most 2 V, measured 1.65 V" in str(error)
    assert [row["inside"] for row in rows_of(journal, "measure")] == [True, False]


def test_require_says_what_was_seen_and_knows_its_bins(journal):
    run = new_run(journal)
    run.require(True, bin="wrong_state")
    with pytest.raises(Reject, match=r"not ours \(saw state RMA\)"):
        run.require(False, bin="wrong_state", sentence="not ours", state="RMA")
    with pytest.raises(ConfigError, match="did you mean 'wrong_state'"):
        run.require(True, bin="wrong_stat")


# ---- stop --------------------------------------------------------------------------------------------------------


def test_stop_ends_a_run_outside_a_burn_and_never_inside(journal):
    seen: list[str] = []

    def flow(run):
        def do():
            run.request_stop()
            run.check_stop()
            run.pause(0.0)
            seen.append("burnt")

        run.burn(PLAN.first, done=lambda: DONE if seen else NOT_DONE, do=do)
        seen.append("after")
        with run.step(PLAN.look):
            seen.append("never")

    verdict, error = carry_out(journal, flow)
    assert seen == ["burnt", "after"]
    assert verdict.kind == "hold" and isinstance(error, Stopped)
    assert exit_code(verdict, error) == 6


def test_stop_wakes_a_pause_at_once(journal):
    run = new_run(journal)
    waker = threading.Timer(0.05, run.request_stop)
    waker.start()
    with pytest.raises(Stopped):
        run.pause(60)
    waker.join()


# ---- kept values -------------------------------------------------------------------------------------------------


def test_kept_values_are_on_the_disk_before_they_are_used_and_outlive_the_process(tmp_path):
    journal = open_journal(tmp_path)
    run = new_run(journal)
    before = journal.syncs
    run.keep("hash", b"\x00\xff")
    run.keep("seed", Sealed(b"sealed", "seed"))
    run.keep("text", "words")
    assert journal.syncs == before + 3
    journal._store.close()  # as if killed
    journal._file = None
    journal.close()
    journal = open_journal(tmp_path)
    again = new_run(journal)
    assert (again.kept("hash"), again.kept("seed"), again.kept("text")) == (b"\x00\xff", b"sealed", b"words")
    assert again.kept("nothing") is None
    journal.close()


def test_values_kept_together_are_all_on_the_disk_or_none_of_them(tmp_path):
    journal = open_journal(tmp_path)
    run = new_run(journal)
    before = journal.syncs
    run.keep_all({"claims": "words", "token": b"\xd2"})
    assert journal.syncs == before + 1
    assert (run.kept("claims"), run.kept("token")) == (b"words", b"\xd2")
    with pytest.raises(TypeError, match="Secret is not kept"):
        run.keep_all({"first": b"1", "second": Secret(b"0123456789abcdef", "token")})  # type: ignore[dict-item]
    with pytest.raises(TypeError):  # whatever cannot be encoded
        journal.write_all(run.context, "keep", [{"name": "first", "form": "bytes", "value": "00"}, {"name": object()}])
    journal.flush()
    assert run.kept("first") is None
    run.keep_all({"claims": "words", "token": b"\xd3"})  # the same words again are not written again
    assert journal.syncs == before + 2 and run.kept("token") == b"\xd3"
    assert [row["name"] for row in rows_of(journal, "keep")] == ["claims", "token", "token"]
    another = new_run(journal)
    another.keep("token", b"\xd3")  # each run says what it has seen
    assert len(rows_of(journal, "keep")) == 4
    journal.close()


def test_a_secret_is_not_kept(journal):
    run = new_run(journal)
    with pytest.raises(TypeError, match="Secret is not kept"):
        run.keep("token", Secret(b"0123456789abcdef", "token"))  # type: ignore[arg-type]


# ---- registration ------------------------------------------------------------------------------------------------


def registering(appliance):
    def flow(run):
        burn_both(run)
        run.identify(CHIP_ID)
        run.hold_registration(REGISTRATION)
        with run.step(PLAN.send):
            run.send_registration(appliance)

    return flow


def test_registration_is_sent_from_the_sealed_row_with_the_journals_anchor(journal):
    appliance = FakeAppliance()
    verdict, _ = carry_out(journal, registering(appliance))
    assert verdict.kind == "pass"
    sent = appliance.registered[0]
    assert (sent.perso_tlv, sent.device_id, sent.ate_id) == (b"device seeds", b"\x01" * 32, "TEST-1")
    anchor = unpack(sent.ate_raw)
    length = anchor.length
    row = row_of(next(iter(journal._store.read("WHERE seq = ?", (length,)))))
    assert (row.hash, row.time_us) == (anchor.head, anchor.time_us)
    assert b"device seeds".hex() not in dump(rows_of(journal, "registration"))
    assert json.loads((journal.folder / "anchor.json").read_text())["length"] == length
    assert not journal.pending_registrations()


def make_outbox(journal, appliance, delivered):
    return Outbox(journal, FakeCredentials(), BINS, lambda: appliance, lambda row: False,
                  lambda row, verdict: delivered.append(verdict), lambda text, level: None,
                  CrashReports(journal.folder))  # fmt: skip


def test_registration_pending_is_hold_and_the_outbox_makes_it_pass(journal):
    verdict, error = carry_out(journal, registering(FakeAppliance(ApplianceError("down", "UNAVAILABLE"))))
    assert (verdict.kind, verdict.bin_id) == ("hold", "registration_pending")
    assert "outbox" in verdict.finishes_by and exit_code(verdict, error) == 6
    delivered: list[object] = []
    still_down = FakeAppliance(ApplianceError("down"))
    assert make_outbox(journal, still_down, delivered).deliver_all() is True
    appliance = FakeAppliance()
    outbox = make_outbox(journal, appliance, delivered)
    assert outbox.deliver_all() is False
    assert [verdict.kind for verdict in delivered] == ["pass"]
    assert journal.known("die", "L1").passed("fake")
    assert outbox.deliver_all() is False and len(appliance.registered) == 1


def test_a_held_registration_of_a_part_that_is_not_finished_is_not_delivered(journal):
    def flow(run):
        burn_both(run)
        run.hold_registration(REGISTRATION)
        raise ApplianceError("lost before the boot check")

    verdict, _ = carry_out(journal, flow)
    assert (verdict.kind, verdict.bin_id) == ("hold", "hold")
    appliance = FakeAppliance()
    make_outbox(journal, appliance, []).deliver_all()
    assert not appliance.registered


def test_a_rerun_after_a_crash_between_sending_and_verdict_does_not_register_twice(journal):
    appliance = FakeAppliance()
    run = new_run(journal)
    registering(appliance)(run)  # no verdict: killed here
    verdict, _ = carry_out(journal, lambda run: run.send_registration(appliance))
    assert verdict.kind == "pass" and len(appliance.registered) == 1


def test_already_registered_counts_as_acknowledged(journal):
    verdict, _ = carry_out(journal, registering(FakeAppliance(ApplianceError("there", "ALREADY_EXISTS"))))
    assert verdict.kind == "pass"


def test_sending_before_holding_is_a_program_error(journal):
    with pytest.raises(ConfigError, match="before it held one"):
        new_run(journal).send_registration(FakeAppliance())


# ---- others -------------------------------------------------------------------------------------------------------


def test_questions_are_recorded(journal):
    class Chooser(Silent):
        def ask(self, text, choices):
            return choices[1]

    run = new_run(journal, listener=Chooser())
    assert run.ask("Which?", ("a", "b")) == "b"
    assert rows_of(journal, "answer") == [{"question": "Which?", "choice": "b"}]


def test_what_an_operator_takes_to_answer_is_no_time_of_the_step(journal, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("station.run.time.monotonic", lambda: now[0])

    class Slow(Silent):
        def ask(self, text, choices):
            now[0] += 3600
            return choices[0]

    run = new_run(journal, listener=Slow())
    with run.step(PLAN.look):
        now[0] += 2
        run.ask("Which?", ("a", "b"))
        run.confirmed_for_lot("new", "All of them?", ("a", "b"))
    assert run.seconds == 2.0 and rows_of(journal, "step")[-1]["seconds"] == 2.0


def test_hooks_images_and_credentials_come_from_pack_and_store(journal):
    run = new_run(journal)
    assert run.hooks("known", 1) == ("known", 1) and run.hooks("unknown") is None
    assert run.image("x") == b"x"
    assert len(run.credential("raw_unlock_token")) == 16
    assert run.unseal(run.seal(b"secret", "x")) == b"secret"


def test_a_quarantined_chip_under_another_label_is_caught_when_it_is_identified(journal):
    def wrong(run):
        run.identify(CHIP_ID)
        run.burn(PLAN.first, done=lambda: DONE, do=lambda: None)

    assert carry_out(journal, wrong)[0].kind == "quarantine"
    verdict, error = carry_out(journal, lambda run: run.identify(CHIP_ID), "P1",
                               context={"label_kind": "part", "flow": "fake-ft"})  # fmt: skip
    assert verdict.kind == "quarantine" and isinstance(error, Quarantined)


def test_an_unfinished_burn_of_another_flow_is_not_blamed_on_the_part(journal):
    run = new_run(journal)
    run.identify(CHIP_ID)
    journal.intend(run.context, "first", {"settle": 0.0})
    verdict, _ = carry_out(journal, lambda run: run.identify(CHIP_ID), "P1",
                           context={"label_kind": "part", "flow": "fake-ft"})  # fmt: skip
    assert verdict.kind == "bench" and "unfinished fake" in verdict.reason


# ---- the verdict table --------------------------------------------------------------------------------------------

VERDICTS = [
    (Facts(None), "pass", 0),
    (Facts(Reject("x", bin="otp")), "otp", 1),
    (Facts(Reject("x", bin="otp"), burnt=["A"]), "otp", 1),
    (Facts(FormatError("x")), "communication", 1),
    (Facts(Reject("x", bin="no such bin")), "communication", 1),
    (Facts(BenchError("x")), "bench", 3),
    (Facts(ApplianceError("x")), "bench", 4),
    (Facts(Stopped("x")), "bench", 130),
    (Facts(ConfigError("x")), "bench", 2),
    (Facts(ValueError("x")), "bench", 70),
    (Facts(BenchError("x"), burnt=["A"]), "hold", 6),
    (Facts(ApplianceError("x"), burnt=["A"]), "hold", 6),
    (Facts(Stopped("x"), burnt=["A"]), "hold", 6),
    (Facts(ApplianceError("x"), burnt=["A"], pending=True), "registration_pending", 6),
    (Facts(None, burnt=["A"], pending=True), "registration_pending", 6),
    (Facts(None, open_now=["A"]), "quarantine", 7),
    (Facts(BenchError("x"), open_now=["A"]), "quarantine", 7),
    (Facts(Reject("x"), open_before=["A"]), "quarantine", 7),
    (Facts(BenchError("x"), open_before=["A"]), "hold", 6),
    (Facts(Reject("x", bin="otp"), quarantine="ids disagree"), "quarantine", 7),
]


@pytest.mark.parametrize("row", range(len(VERDICTS)))
def test_verdict_table(row):
    facts, bin_id, code = VERDICTS[row]
    verdict = derive(facts, BINS)
    assert verdict.bin_id == bin_id
    assert exit_code(verdict, facts.error) == code
    assert verdict.tray and verdict.retest and verdict.part_state


ERASURE_BEGUN = "its erasure was begun: whatever was in it counts as gone, until it is erased to the end"
STATES = [
    (Facts(None), "every step is done"),
    (Facts(Reject("x", bin="otp")), "nothing was burnt"),
    (Facts(Reject("x", bin="otp"), burnt=["A", "B"]), "burnt up to 'B'"),
    (Facts(BenchError("x"), open_now=["A"]), "by its record 'A' was begun and may be half done"),
    (Facts(None, open_now=["C"], burnt=["A", "B"]), "by its record 'B' is done, 'C' was begun and may be half done"),
    (
        Facts(None, open_before=["B"], open_now=["C"], burnt=["A"]),
        "by its record 'A' is done, 'B' and 'C' were begun and may be half done",
    ),
    (
        Facts(BenchError("x"), open_before=["B"], burnt=["A"]),
        "by its record 'A' is done, 'B' was begun and may be half done; put back, it is asked how far it came",
    ),
    (Facts(None, quarantine="contact was lost", burnt=["A"]), "burnt up to 'A'"),
    (Facts(None, open_before=["B"], burnt=["A"], erasing=True), ERASURE_BEGUN),
    (Facts(Reject("x", bin="otp"), quarantine="no answer", open_now=["B"], erasing=True), ERASURE_BEGUN),
    (Facts(None, open_before=["B"], half=["A"]), "by its record 'B' was begun and may be half done"),
    (
        Facts(None, pending=True, open_now=["B"], burnt=["A"]),
        "by its record 'A' is done, 'B' was begun and may be half done",
    ),
    (Facts(None, quarantine="ids disagree", doubted=True, open_now=["A"]), "the state of the part is not known"),
    (Facts(None, quarantine="damage", doubted=True, burnt=["A"]), "the state of the part is not known"),
]


@pytest.mark.parametrize(("facts", "sentence"), STATES)
def test_what_the_part_is_now(facts, sentence):
    assert derive(facts, BINS).part_state == sentence


@pytest.mark.parametrize(("only_powered", "state"), [(False, "burnt up to 'Burn A'"),
                                                    (True, "the state of the part is not known")])  # fmt: skip
def test_what_a_part_answers_after_a_loss_of_power_is_its_state_only_where_that_counts(journal, only_powered, state):
    plan, answers = Plan(a=Burn("Burn A", settle=0.0)), [NOT_DONE, DONE]

    def lose_contact():
        raise PowerLost("the lid was opened")

    def flow(run):
        run.burn(plan.a, done=lambda: answers.pop(0), do=lose_contact, only_powered=only_powered)

    verdict, _ = carry_out(journal, flow, plan=plan)
    assert verdict.kind == "quarantine" and verdict.part_state == state


def test_why_an_interrupted_burn_cannot_be_judged_is_said():
    facts = Facts(Reject("expected a part of the family nRF9160", bin="otp"), open_before=["B"])
    assert derive(facts, BINS).reason.endswith("cannot be judged any more: expected a part of the family nRF9160")


def test_a_journal_error_gives_no_verdict(journal):
    def flow(run):
        raise JournalError("cannot be written")

    with pytest.raises(JournalError):
        carry_out(journal, flow)
    assert not rows_of(journal, "verdict")
