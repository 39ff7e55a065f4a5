"""Every state's words, without widgets."""

from dataclasses import replace

import pytest
import ui_samples as s

from station.protocol import SocketState
from ui.verdict_words import part_state_words, reason_and_detail, retest_words
from ui.words import (
    TileContext,
    clock_words,
    count_words,
    mode_words,
    part_words,
    sentence,
    short_id,
    state_word,
    step_glyph,
    step_time,
    tile_words,
)

WORDS = {
    "insert_part": ("INSERT PART", "wait"),
    "scan": ("SCAN", "wait"),
    "ready": ("READY", "wait"),
    "checking": ("CHECKING", "run"),
    "running": ("RUNNING 61 %", "run"),
    "burning": ("DO NOT REMOVE", "burn"),
    "pass": ("✔ PASS  bin 1", "pass"),
    "fail": ("✖ FAIL  bin 7", "fail"),
    "hold": ("‖ HOLD", "hold"),
    "quarantine": ("⚠ QUARANTINE", "quarantine"),
    "bench_fault": ("⚠ BENCH FAULT", "neutral"),
    "interrupted": ("INTERRUPTED", "wait"),
    "prompt": ("ANSWER", "wait"),
    "settling": ("DO NOT REMOVE", "burn"),
}


@pytest.mark.parametrize("name", WORDS)
def test_every_state_has_its_word_and_role(name):
    words = tile_words(s.TILE_STATES[name])
    assert (words.word, words.role) == WORDS[name]


def test_burning_names_percent_and_title_and_why_stop_waits():
    words = tile_words(s.BURNING)
    assert "54 %" in words.band and "Personalize: seeds are being written" in words.band
    assert "never torn" in words.stop_reason
    assert "after this burn" in tile_words(replace(s.BURNING, stop_requested=True)).stop_reason


def test_an_open_question_waits_and_nothing_runs():
    words = tile_words(s.PROMPT)
    assert words.lead == "Waits for your answer." and not words.shows_bar and words.shows_stop
    assert tile_words(replace(s.PROMPT, prompt=None)).shows_bar


def test_a_chip_that_settles_counts_no_percent():
    words = tile_words(s.SETTLING)
    assert words.band == "◆ Waiting until the chip's worst case has passed" and not words.shows_bar


def test_a_half_done_part_says_each_thing_once():
    said = "'Provision: make the keys' is half done"
    state = f"{said}: only the erasure of the whole part, with all its keys, helps (recipe x-recover)"
    half = replace(s.FAIL.verdict, reason=f"{said}, and can be neither finished nor repeated", part_state=state)
    words = tile_words(replace(s.FAIL, verdict=half))
    assert words.notes[0] == "Only the erasure of the whole part, with all its keys, helps (recipe x-recover)"
    assert tile_words(replace(s.HOLD, verdict=replace(half, reason="stopped"))).notes[-1] == state


def test_a_colon_in_a_title_takes_nothing_away():
    state = "by its record 'Provision: make the keys' was begun and may be half done"
    reason = "'Provision: make the keys' was begun and the part cannot say whether it happened"
    assert part_state_words(state, reason) == state


def test_a_long_reason_puts_what_was_seen_into_the_small_print():
    said = "'Provision: make the keys' is half done, and can be neither finished nor repeated"
    seen = (
        "the firmware stopped: Kernel panic (assertion failed, at 0x3c1c): 4 of 4 slots of the keys (HUK) are written"
    )
    assert reason_and_detail(f"{said} ({seen})") == (said, seen)
    words = tile_words(replace(s.FAIL, verdict=replace(s.FAIL.verdict, reason=f"{said} ({seen})")))
    assert words.reason == said and words.detail == "T" + seen[1:]
    middle = f"the part (once again) {'is ' * 60}lost"
    for whole in ("short (seen)", middle, f"{middle} (x) and (y) end", said * 3):
        assert reason_and_detail(whole) == (whole, "")
    assert reason_and_detail(f"{middle} (x)") == (middle, "x")


def test_verdicts_say_where_the_part_goes():
    assert tile_words(s.PASS).lead == "→ tray GOOD"
    fail = tile_words(s.FAIL)
    assert fail.lead == "→ tray RED"
    assert fail.reason == "Endorsement refused: WAS mismatch"
    assert fail.notes == ("The part is in PROD without certificates.", "Do not retest: engineer only.")
    hold = tile_words(s.HOLD)
    assert hold.lead == "→ tray HOLD" and "Registration pending" in hold.reason and "the outbox" in hold.notes[0]
    quarantine = tile_words(s.QUARANTINE)
    assert quarantine.lead.startswith("Engineer only") and quarantine.hatched and "cannot say" in quarantine.reason


def test_bench_fault_blames_the_bench():
    words = tile_words(s.BENCH_FAULT)
    assert "USB cable" in words.lead and "not the part" in words.notes[0] and "tray INPUT" in words.reason


def test_the_engines_words_begin_like_sentences():
    small = replace(s.FAIL.verdict, reason="the firmware raised TestError", part_state="burnt up to 'Unlock RAW'")
    words = tile_words(replace(s.FAIL, verdict=small))
    assert words.reason == "The firmware raised TestError" and words.notes[0] == "Burnt up to 'Unlock RAW'"
    assert sentence("") == ""


def test_fail_without_reason_falls_back_to_the_bin_name():
    assert tile_words(replace(s.FAIL, verdict=replace(s.FAIL.verdict, reason=""))).reason == "Endorsement"


def test_insert_part_shows_lid_and_contacts():
    words = tile_words(s.INSERT)
    assert words.notes == ("Lid open · contacts 4 112 of 50 000",)
    assert tile_words(replace(s.INSERT, lid_closed=True, contacts_limit=0)).notes == ("Lid closed",)


def test_a_socket_without_a_lid_has_no_word_of_one():
    words = tile_words(replace(s.INSERT, has_lid=False, lid_closed=True))
    assert words.lead == "Put the part in. It is there when it answers."
    assert words.notes == ("contacts 4 112 of 50 000",)
    assert tile_words(replace(s.INSERT, has_lid=False, contacts_limit=0)).notes == ()


def test_engine_lost_says_what_was_in_flight():
    lost = TileContext(lost="gone")
    burning = tile_words(s.BURNING, lost)
    assert burning.word == "ENGINE STOPPED" and "Do not remove" in burning.lead and "seeds are being" in burning.reason
    running = tile_words(s.RUNNING, lost)
    assert "In flight: Endorse certificates" in running.reason
    idle = tile_words(s.PASS, lost)
    assert idle.lead == "Nothing was in flight." and "PASS" in idle.reason
    assert tile_words(None, lost).word == "ENGINE STOPPED"


def test_latched_journal_keeps_every_part_in_its_socket():
    latched = TileContext(latched="The disk is full.")
    assert tile_words(s.PASS, latched).word == "DO NOT REMOVE"
    assert tile_words(s.PASS, latched).reason == "The disk is full."
    assert tile_words(s.INSERT, latched).word == "INSERT PART"


def test_only_unacknowledged_alarms_blink():
    assert tile_words(s.QUARANTINE).alarm and tile_words(s.BENCH_FAULT).alarm
    assert not tile_words(replace(s.QUARANTINE, needs_acknowledge=False)).alarm
    assert not any(tile_words(state).alarm for state in (s.FAIL, s.PASS, s.BURNING, s.RUNNING, s.INTERRUPTED))


def test_unknown_state_of_a_newer_engine_is_shown_as_it_is():
    assert tile_words(SocketState(1, 1, "levitating")).word == "LEVITATING"


def test_short_things():
    assert short_id("0xabc") == "abc"
    assert short_id(s.DEVICE) == s.DEVICE[:32] + "…"
    first, second = "01400300443308198870050000000000", "01400300443308198870060000000000"
    assert short_id(first) == first != short_id(second) and short_id(first * 2) != short_id(second * 2)
    assert count_words(1234567) == "1 234 567"
    assert part_words(s.RUNNING).splitlines() == ["part 041", f"id {s.DEVICE[:32]}…"]
    assert clock_words(s.RUNNING) == "8.1 s / ~13 s"
    assert clock_words(s.PASS) == "12.6 s"
    assert clock_words(s.INSERT) == ""
    assert retest_words("same_socket") == "Retest allowed in the same socket."
    assert retest_words("Ask Anna.") == "Ask Anna."
    assert state_word(s.HOLD) == "‖ HOLD"


def test_checklist_signs():
    step = s.steps(1)[0]
    assert step_glyph(step) == "✔" and step_time(step) == "0.1 s"
    assert step_time(replace(step, status="found_done")) == "found done"
    assert step_glyph(None) == "·" and step_glyph(replace(step, status="failed")) == "✖"


def test_mode_band_is_empty_for_production_only():
    assert mode_words("production") == ""
    for mode in ("virtual", "engineering", "training", "replay"):
        assert mode_words(mode).startswith(mode.upper())
    assert mode_words("nonsense") == "NONSENSE"
