"""A flow's questions at the command line: given ahead, typed, or nobody there."""

from __future__ import annotations

import json
import os
import pty
import sys

import pytest
from fake_station import PIN, World
from spine_bench import SECONDS, Bench

from station import cli_questions
from station.cli_questions import Questions, chosen
from station.errors import Refused
from station.protocol import PromptView, Start

CHOICES = ("New part: go on", "Stop")


@pytest.mark.parametrize("typed", ["1", " 1 ", "new part: go on", "New part: go on"])
def test_a_choice_is_named_by_number_or_words(typed):
    assert chosen(typed, CHOICES) == CHOICES[0]


@pytest.mark.parametrize("typed", ["", "0", "3", "yes", "²"])
def test_anything_else_is_no_choice(typed):
    with pytest.raises(Refused, match="expected one of New part: go on, Stop"):
        chosen(typed, CHOICES)


@pytest.fixture
def asked(folder):
    """A bench whose flow asks which way, started on a part."""
    made = Bench(folder)
    made.ready()
    made.world.set(question=True)
    state = made.load("D1")
    assert made.bench.handle(Start(1, state.epoch)), made.said()
    yield made
    made.close()


def verdict(bench, *given):
    questions = Questions(bench.bench, bench.watcher, 1, given)
    return bench.watcher.wait_verdict(1, SECONDS, questions).verdict


def recorded(bench):
    return [(row.detail["question"], row.detail["choice"]) for row in bench.bench.journal.rows("WHERE kind='answer'")]


def test_an_answer_given_ahead_is_taken_and_recorded(asked):
    assert verdict(asked, "right").kind == "pass"
    assert recorded(asked) == [("Which way?", "right")]


def test_an_answer_that_is_no_choice_stops_the_run_and_says_which_there_are(asked):
    found = verdict(asked, "up")
    assert found.kind == "bench"
    assert "expected one of left, right (or its number) for an answer, got 'up'" in found.reason
    assert recorded(asked) == []


def test_where_nobody_can_answer_nothing_is_taken_for_a_yes(asked, monkeypatch):
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        found = verdict(asked)
    assert found.kind == "bench"
    assert found.reason == "the flow asks 'Which way?' and nobody answers; give --answer, 1 (left) or 2 (right)"
    assert recorded(asked) == []


@pytest.fixture
def terminal(monkeypatch):
    """Standard input is a terminal; gives the other end."""
    ours, theirs = pty.openpty()
    stdin = os.fdopen(theirs, "r")
    monkeypatch.setattr(sys, "stdin", stdin)
    yield ours
    stdin.close()
    os.close(ours)


def test_who_sits_at_the_terminal_is_asked(asked, terminal, capsys):
    os.write(terminal, b"2\n")
    assert verdict(asked).kind == "pass"
    assert recorded(asked) == [("Which way?", "right")]
    assert "socket 1: Which way?\n1 (left) or 2 (right): " in capsys.readouterr().err


def test_a_stop_closes_the_question_at_the_terminal(asked, terminal):
    asked.watcher.wait(1, "the question", lambda now: now.prompt is not None, SECONDS)
    looks = []

    def stopped_meanwhile():
        looks.append(1)
        asked.bench.worker(1).stop("somebody pulled the plug")
        return False

    assert cli_questions.typed_line(stopped_meanwhile) == "" and looks
    found = verdict(asked)
    assert (found.kind, found.reason) == ("bench", "somebody pulled the plug")


def test_a_question_that_was_closed_meanwhile_takes_no_answer(asked):
    questions = Questions(asked.bench, asked.watcher, 1, ["left"])
    questions(PromptView(99, "Which way?", ("left", "right")))
    assert "open question" not in asked.said()
    assert verdict(asked, "left").kind == "pass"


def test_run_takes_answers_as_options(folder, station):
    World(folder).insert(1)
    World(folder).set(question=True)
    command = ["run", "fake-cp", "--label", "D1", "--operator", "eng", "--pin-stdin", "--json", "--wait", "10"]
    out = station(*command, "--answer", "2", given=PIN + b"\n")
    assert json.loads(next(line for line in out.splitlines() if line.startswith("{")))["kind"] == "pass"
