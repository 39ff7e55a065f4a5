"""The banner's sentence and action, and when its key may act."""

from dataclasses import replace

import pytest
import ui_samples as s

from station.protocol import Acknowledge, Finishing, Handle, Latched, SignedIn, Start
from ui.bench_view import BenchView
from ui.guard import DEAD_SECONDS, KeyGuard
from ui.primary import primary


def view(*states, mode="production", **extra):
    result = BenchView(**extra)
    for event in (s.hello(mode=mode), s.OPERATOR, *states):
        result.apply(event)
    return result


def test_start_names_socket_and_epoch():
    action = primary(view(s.READY))
    assert action.command == Start(3, 12) and action.meaning == ("start", 3, 12, 0)
    assert "Socket 3" in action.sentence and "Start socket 3" in action.button


def test_acknowledge_names_socket_and_epoch_and_tray():
    action = primary(view(s.FAIL))
    assert action.command == Acknowledge(4, 40)
    assert action.sentence == "Socket 4: read and acknowledge" and "then remove the part → tray RED" in action.hint
    assert "remove the part → tray RED" in primary(view(replace(s.FAIL, needs_acknowledge=False))).sentence


@pytest.mark.parametrize("state", [s.QUARANTINE, s.BENCH_FAULT, s.HOLD])
def test_every_alarm_is_acknowledged(state):
    assert primary(view(state)).command == Acknowledge(4, state.epoch)


def test_pass_waits_for_the_hand():
    action = primary(view(s.PASS))
    assert action.command is None and action.kind == "" and "tray GOOD" in action.sentence


def test_longest_waiting_socket_first():
    early, late = replace(s.READY, socket=4, since=5.0), replace(s.READY, socket=1, since=6.0)
    assert primary(view(late, early)).socket == 4


def test_a_socket_that_the_key_can_serve_comes_before_one_that_waits_for_hands():
    assert primary(view(replace(s.INSERT, since=1.0), s.FAIL)).socket == 4


def test_insert_and_scan_have_no_key_on_a_real_bench():
    assert primary(view(s.INSERT)).kind == "" and primary(view(s.SCAN)).kind == ""
    assert "scan the part label" in primary(view(s.SCAN)).sentence


def test_a_socket_without_a_lid_asks_for_none():
    for virtual in (False, True):
        shown = primary(view(replace(s.INSERT, socket=1, has_lid=False), mode="virtual" if virtual else "production"))
        assert shown.sentence == "Socket 1: insert the next part" and "lid" not in shown.hint


def test_a_question_outranks_the_choice_of_a_recipe():
    bench = view(s.INTERRUPTED)
    bench.apply(s.hello(recipe=""))
    assert primary(bench).sentence == "Socket 2: is the part 040 still in it?" and primary(bench).kind == "answer"
    bench.apply(replace(s.INSERT, socket=2))
    assert primary(bench).kind == "recipe"


def test_virtual_bench_is_handled_by_the_key():
    assert primary(view(s.INSERT, mode="virtual")).command == Handle(3, "insert")
    assert primary(view(s.SCAN, mode="virtual")).kind == ""
    assert primary(view(s.READY, mode="virtual")).command == Start(3, 12)
    assert primary(view(s.FAIL, mode="virtual")).command == Acknowledge(4, 40)
    read = replace(s.FAIL, needs_acknowledge=False)
    assert primary(view(read, mode="virtual")).command == Handle(4, "remove")
    opened = replace(s.INSERT, present=True)
    assert primary(view(opened, mode="virtual")).command == Handle(3, "lid", "closed")


def test_replay_of_a_virtual_bench_handles_nothing():
    assert primary(view(s.INSERT, mode="virtual", replay=True)).command is None


def test_a_bench_fault_without_a_part_says_what_to_check():
    fault = replace(s.INSERT, state="bench_fault", expects="the adapter does not answer")
    action = primary(view(fault, mode="virtual"))
    assert action.kind == "" and action.hint == "the adapter does not answer" and "bench fault" in action.sentence


def test_an_open_question_comes_before_every_other_socket():
    for state in (s.PROMPT, s.INTERRUPTED):
        asked = primary(view(s.READY, s.FAIL, replace(state, since=999.0)))
        assert (asked.kind, asked.command, asked.socket) == ("answer", None, state.socket)
        assert [answer.choice for _, answer in asked.choices] == list(state.prompt.choices)
    assert [text for text, _ in asked.choices] == ["Yes: check it   [F1]", "No: quarantine   [F2]"]
    assert primary(view(s.INTERRUPTED, replay=True)).choices == ()


def test_a_part_that_nobody_watched_is_taken_out_first():
    action = primary(view(s.LEFT_BEHIND))
    assert (action.sentence, action.kind) == ("Socket 3: take out the part", "") and "look at its label" in action.hint
    assert primary(view(s.LEFT_BEHIND, mode="virtual")).command == Handle(3, "remove")


def test_bench_wide_matters_come_first():
    assert primary(BenchView()).sentence == "Waiting for the engine"
    signed_out = view(s.READY)
    signed_out.apply(SignedIn(""))
    assert primary(signed_out).kind == "sign_in"
    no_recipe = view(s.READY)
    no_recipe.apply(s.hello(recipe=""))
    assert primary(no_recipe).kind == "recipe"
    latched = view(s.READY)
    latched.apply(Latched("The disk is full."))
    assert primary(latched).kind == "" and "DO NOT REMOVE" in primary(latched).sentence
    finishing = view(s.READY)
    finishing.apply(Finishing((2,), "The engine is finishing socket 2"))
    assert primary(finishing).sentence == "The engine is finishing socket 2"
    lost = view(s.READY)
    lost.engine_gone("Exit code 3")
    assert primary(lost).kind == "restart" and primary(lost).hint == "Exit code 3"


def test_a_failed_sign_in_signs_nobody_out():
    known = view(s.READY)
    known.apply(SignedIn("", failed="wrong PIN"))
    assert known.signed_in.operator == "op-117"


def test_nothing_to_do_while_all_work():
    action = primary(view(replace(s.BURNING, socket=1)))
    assert action.kind == "" and action.button == "" and "1" in action.hint


def test_keys_are_dead_for_400_ms_after_a_change(clock):
    guard = KeyGuard(clock)
    assert guard.show(("start", 1, 1))
    clock.pass_(DEAD_SECONDS - 0.01)
    assert not guard.take()
    clock.pass_(0.02)
    assert guard.take()


def test_showing_the_same_again_does_not_prolong_the_pause(clock):
    guard = KeyGuard(clock)
    guard.show(("start", 1, 1))
    clock.pass_(0.3)
    assert not guard.show(("start", 1, 1))
    clock.pass_(0.11)
    assert guard.take()


def test_a_new_epoch_is_a_change_and_a_bounce_is_no_second_press(clock):
    guard = KeyGuard(clock)
    guard.show(("start", 1, 1))
    clock.pass_(1)
    assert guard.show(("start", 1, 2)) and not guard.take()
    clock.pass_(1)
    assert guard.take() and not guard.take()
