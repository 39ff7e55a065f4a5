"""What a program that drives the engine by hand is told: the page's tables, sentences for a line that does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from station.protocol import Handle, ProtocolError, Scan, decode_command

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_lists_every_command_and_event_as_they_are():
    page = (ROOT / "docs" / "architecture.md").read_text()
    made = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "helpers" / "protocol_table.py")], cwd=ROOT, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    assert made in page, "print the new ones with: PYTHONPATH=. python tests/helpers/protocol_table.py"
    assert "architecture.md#the-engines-json-lines" in (ROOT / "docs" / "out-of-scope.md").read_text()


@pytest.mark.parametrize(
    "body, words",
    [
        ({"type": "Scan", "label": "P1"},
         "expected the field 'text' in Scan, but it is missing; its fields are text, socket"),
        ({"type": "Start", "socket": "1", "epoch": 2}, "expected a whole number in the field 'socket' of Start"),
        ({"type": "Handle", "socket": 1, "action": 5}, "expected text in the field 'action' of Handle"),
        ({"type": "Query", "query": "run", "request": 1, "arguments": []},
         "expected an object in the field 'arguments'"),
        ({"type": "SignIn", "operator": "sup", "pin": 271828}, "expected text in the field 'pin' of SignIn"),
        ({"type": "Scna", "text": "P1"}, "expected one of Acknowledge, Answer"),
    ],
)  # fmt: skip
def test_a_command_that_does_not_fit_names_the_field_and_nothing_of_its_values(body, words):
    with pytest.raises(ProtocolError) as caught:
        decode_command(json.dumps(body).encode())
    assert words in str(caught.value) and "271828" not in str(caught.value) and "P1" not in str(caught.value)


def test_what_may_be_left_out_may_and_what_is_unknown_is_ignored():
    assert decode_command(b'{"type": "Scan", "text": "P1", "newer": 1}') == Scan("P1")
    assert decode_command(b'{"type": "Handle", "socket": 1, "action": "insert"}') == Handle(1, "insert")
