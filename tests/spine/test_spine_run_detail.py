"""What the journal tells of one run, and the witness between a run and its appliance."""

from __future__ import annotations

import json

import pytest
from spine_help import open_journal

from station.errors import ApplianceError
from station.journal_rows import Context
from station.model import Registration, TokenRequest
from station.records import views
from station.records.history import History
from station.secret import Sealed, Secret
from station.witness import Told, Witness

VALUE = b"the value of a secret that nobody may read"


class Answers:
    """An appliance that answers with recognizable values."""

    def open_session(self, sku):
        """Nothing."""

    def derive(self, sku, requests):
        return [Secret(VALUE, request.label) for request in requests]

    def generate(self, sku, request):
        return VALUE[:16], Sealed(VALUE, "seed")

    def ca_subject_keys(self, sku, labels):
        return [VALUE[:20] for _ in labels]

    def ca_certificates(self, sku, labels):
        return [VALUE for _ in labels]

    def endorse(self, sku, tbs, diversifier, signature):
        raise ApplianceError("WAS mismatch", "INVALID_ARGUMENT")

    def owner_boot_message(self, sku):
        return "pattern"

    def register(self, registration):
        """Nothing."""

    def close_session(self):
        """Nothing."""


@pytest.fixture
def told():
    return []


@pytest.fixture
def witness(told):
    return Witness(Answers(), told.append)


def test_calls_are_told_by_name_and_length(witness, told):
    asked = TokenRequest("test unlock token", "low", 128, b"test_unlock")
    witness.open_session("sival")
    assert witness.derive("sival", [asked])[0].label == "test unlock token"
    assert witness.generate("sival", asked)[0] == VALUE[:16]
    assert len(witness.ca_subject_keys("sival", ["UDS", "EXT"])) == 2
    assert witness.ca_certificates("sival", ["root"]) == [VALUE]
    assert witness.owner_boot_message("sival") == "pattern"
    witness.register(Registration("sival", VALUE[:32], "PROD", VALUE, VALUE, 4, bytes(32), bytes(32)))
    witness.close_session()
    assert [call.call for call in told] == [
        "InitSession", "DeriveTokens", "DeriveTokens", "GetCaSubjectKeys", "GetCaCerts", "GetOwnerFwBootMessage",
        "RegisterDevice"]  # fmt: skip
    assert told[1].sent == "test unlock token (seed low, diversifier 11 bytes)"
    assert told[1].got == "test unlock token [16 bytes, secret]"
    assert told[2].got == f"test unlock token [16 bytes], wrapped seed [{len(VALUE)} bytes, sealed]"
    assert told[3].got == "UDS [20 bytes], EXT [20 bytes]"
    assert "4 objects" in told[6].sent and told[6].got == "acknowledged"
    everything = json.dumps([call.detail() for call in told])
    assert VALUE.decode() not in everything and VALUE.hex() not in everything and "test_unlock" not in everything


def test_a_refused_call_is_told_and_raised(witness, told):
    with pytest.raises(ApplianceError):
        witness.endorse("sival", [("UDS", b"x" * 675)], b"was", b"s" * 32)
    (call,) = told
    assert call.sent == "UDS [675 bytes], signature [32 bytes]" and call.outcome == "refused: WAS mismatch"
    assert Told("X", "", milliseconds=12.4).outcome == "answered in 12 ms"


def test_run_query_shows_burns_calls_and_lengths(tmp_path):
    journal = open_journal(tmp_path / "data")
    run = journal.start(Context(recipe="r", flow="f", label_kind="part", label="P1"), {"titles": ["one"]}).context
    other = journal.start(Context(recipe="r", flow="f", label_kind="part", label="P2"), {"titles": ["one"]}).context
    journal.append(run, "appliance", "", Told("DeriveTokens", "a", "b [16 bytes]", "", 3.5).detail())
    journal.append(other, "appliance", "", Told("GetCaCerts", "a", "b", "", 1.0).detail())
    journal.intend(run, "one", {"settle": 0.5, "text": "Burn one"})
    journal.outcome(run, "one", {"evidence": "unknown", "reason": "no answer"})
    journal.write(run, "keep", "", {"name": "hash", "form": "bytes", "value": "aabb"})
    journal.append(run, "step", "one", {"status": "failed", "seconds": 0.2, "sentence": "the lid was opened"})
    journal.append(run, "answer", "", {"question": "Again?", "choice": "no"})
    journal.append(run, "quarantine", "one", {"reason": "nobody knows"})
    journal.verdict(run, {"kind": "quarantine", "bin_id": "quarantine", "soft": 99, "hard": 9, "reason": "nobody knows",
                          "part_state": "", "tray": "Q", "seconds": 1.0, "error": "", "pending": False})  # fmt: skip
    journal.close()
    records = History(tmp_path / "data")
    try:
        columns, rows = views.ask(records, "run", {"run": str(run.run)})
        assert records.of_run(987_654) == []
    finally:
        records.close()
    assert columns == ("what", "name", "value", "detail")
    found = [(what, name, detail) for what, name, _, detail in rows if what != "run"]
    assert found == [
        ("step", "one", "failed"),
        ("appliance", "DeriveTokens", "a → b [16 bytes]"),
        ("burn", "one", "intent recorded: Burn one"),
        ("burn", "one", "read back: unknown (no answer)"),
        ("kept", "hash", "bytes, bytes"),
        ("failure", "one", "the lid was opened"),
        ("question", "Again?", "no"),
        ("quarantine", "one", "nobody knows"),
        ("verdict", "quarantine", "bin 99 quarantine → Q · nobody knows"),
    ]
    assert next(row[2] for row in rows if row[0] == "kept") == 2


def run_table(tmp_path, kind, **where):
    """The query ``run`` of a run with one confirmed question, under a label of that kind."""
    journal = open_journal(tmp_path / "data")
    context = Context(socket=1, label_kind=kind, label="P1", recipe="r", flow="f", **where)
    run = journal.start(context, {"titles": []}).context
    journal.write(run, "confirmed", "new_parts", {"question": "Is it new?", "choice": "yes"})
    journal.verdict(run, {"kind": "pass", "bin_id": "pass", "soft": 1, "hard": 1, "reason": "", "part_state": "",
                          "tray": "GOOD", "seconds": 1.0, "error": "", "pending": False})  # fmt: skip
    journal.flush()
    journal.close()
    records = History(tmp_path / "data")
    try:
        return views.ask(records, "run", {"run": str(run.run)})[1]
    finally:
        records.close()


def test_a_part_without_wafer_has_no_place_on_one(tmp_path):
    rows = run_table(tmp_path, "part")
    names = {name for what, name, *_ in rows if what == "run"}
    assert not names & {"wafer", "x", "y"} and {"label", "lot", "touchdown"} <= names
    assert ("question", "confirmed for this part") in [row[:2] for row in rows]


def test_a_part_from_a_tray_says_so(tmp_path):
    rows = run_table(tmp_path, "part", lot="L1", wafer="T04")
    assert [row[1:3] for row in rows if row[1] in ("wafer", "from_tray", "tray")] == [
        ("from_tray", "T04"),
        ("tray", "GOOD"),
    ]


def test_a_die_has_its_place_and_a_lot_its_confirmation(tmp_path):
    rows = run_table(tmp_path, "die", lot="L1", wafer="W2", x=0, y=7)
    place = {name: value for what, name, value, _ in rows if what == "run" and name in ("wafer", "x", "y")}
    assert place == {"wafer": "W2", "x": 0, "y": 7}
    assert ("question", "confirmed for the lot") in [row[:2] for row in rows]
