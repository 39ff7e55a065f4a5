"""What the tables of the command line shorten, and what they never do."""

from __future__ import annotations

import sys

import pytest

from station.cli_common import cell, show_table
from station.demo import _counted

DIGEST = "caa3fc1c" * 8
SENTENCE = "nobody confirmed that the part may be erased; nothing was changed in it, and the next question stays"


def shown(monkeypatch, capsys, terminal, rows):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    show_table(("label", "sha256", "reason", "file"), rows, as_json=False)
    return capsys.readouterr().out


@pytest.mark.parametrize("terminal", [True, False])
def test_a_digest_is_never_cut(monkeypatch, capsys, terminal):
    assert DIGEST + "  " in shown(monkeypatch, capsys, terminal, [("root", DIGEST, "", "root.der")])


def test_a_terminal_gets_an_ellipsis(monkeypatch, capsys):
    out = shown(monkeypatch, capsys, True, [("root", DIGEST, SENTENCE, SENTENCE)])
    assert "nobody confirmed that the part may be erased; nothing was c…  " + SENTENCE in out


def test_a_pipe_gets_everything(monkeypatch, capsys):
    assert shown(monkeypatch, capsys, False, [("root", DIGEST, SENTENCE, "")]).count(SENTENCE) == 1


def test_the_widest_sentence_that_is_whole():
    assert cell("a b" + "c" * 57, whole=False) == "a b" + "c" * 57
    assert cell("a b" + "c" * 58, whole=False) == "a b" + "c" * 56 + "…"
    assert cell(None, whole=False) == ""


@pytest.mark.parametrize(("terminal", "heads"), [(True, ["label", "sha256", "file"]), (False, None)])
def test_a_terminal_gets_no_column_without_a_value(monkeypatch, capsys, terminal, heads):
    out = shown(monkeypatch, capsys, terminal, [("root", DIGEST, "", "root.der"), ("", "0", None, "")])
    assert out.splitlines()[0].split() == (heads or ["label", "sha256", "reason", "file"])
    assert "root.der" in out and len(out.splitlines()) == 3


def test_parts_and_sockets_are_counted_in_words():
    assert [_counted(count, "part") for count in (0, 1, 2)] == ["0 parts", "1 part", "2 parts"]
