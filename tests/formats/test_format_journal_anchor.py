"""The anchor of a station's journal: both forms lead back to it, everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats.journal_anchor import LARGEST, JournalAnchor, parse, unpack

HEAD = "ab" * 32
NUMBERS = st.integers(0, LARGEST)
ANCHORS = st.builds(JournalAnchor, NUMBERS, st.binary(min_size=32, max_size=32).map(bytes.hex), NUMBERS)


def test_the_bytes():
    raw = JournalAnchor(0x0102, HEAD, 0x030405).pack()
    assert raw == b"PSJA" + bytes.fromhex("0000000000000102" + HEAD + "0000000000030405")


@given(ANCHORS)
def test_both_forms_lead_back(anchor):
    assert unpack(anchor.pack()) == anchor
    assert parse(str(anchor)) == anchor


def test_rows_of_older_stations_have_no_time():
    assert parse(f"7:{HEAD}") == JournalAnchor(7, HEAD, 0)


@pytest.mark.parametrize(
    "text",
    ["", "7", f"7:{HEAD}:", f"7:{HEAD[1:]}:1", f"7:{HEAD.upper()}:1", f"-7:{HEAD}:1", f"7:{HEAD}:1\n", f"٧:{HEAD}:1",
     f"7:{HEAD}:1:1", f"{LARGEST + 1}:{HEAD}:1", f"7:{HEAD}:{LARGEST + 1}"],
)  # fmt: skip
def test_other_texts(text):
    with pytest.raises(FormatError):
        parse(text)


@given(st.binary(max_size=80))
def test_what_others_send_is_refused(raw):
    if len(raw) != 52 or not raw.startswith(b"PSJA"):
        with pytest.raises(FormatError):
            unpack(raw)


def test_numbers_that_no_journal_has():
    for raw in (JournalAnchor(LARGEST + 1, HEAD, 0).pack(), JournalAnchor(0, HEAD, LARGEST + 1).pack()):
        with pytest.raises(FormatError, match="63 bits"):
            unpack(raw)
