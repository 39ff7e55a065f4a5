"""The words of a verdict: bin, tray, retest rule, and what happened, apart from what was seen."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from station.protocol import Verdict

translate = QCoreApplication.translate

LONG_REASON = 160


def bin_words(verdict: Verdict | None) -> str:
    """The bin as shown after PASS and FAIL."""
    return "" if verdict is None else translate("words", "bin {bin}").format(bin=verdict.bin)


def tray_words(verdict: Verdict | None) -> str:
    """Where the part goes now."""
    if verdict is None or not verdict.tray:
        return ""
    return translate("words", "→ tray {tray}").format(tray=verdict.tray)


def retest_words(retest: str) -> str:
    """Whether the part may be tried again; text that is no rule is shown as the engine wrote it."""
    rules = {
        "never": translate("words", "Do not retest."),
        "same_socket": translate("words", "Retest allowed in the same socket."),
        "other_socket": translate("words", "Retest allowed in another socket."),
        "engineer": translate("words", "Do not retest: engineer only."),
    }
    return rules.get(retest, retest)


def reason_and_detail(reason: str) -> tuple[str, str]:
    """A long reason without what it ends with in brackets, and that: what happened comes before what was seen."""
    place = reason.find(" (") if len(reason) > LONG_REASON and reason.endswith(")") else -1
    while place >= 0:
        inside = reason[place + 2 : -1]
        depth = 1
        for sign in inside:
            depth += {"(": 1, ")": -1}.get(sign, 0)
            if not depth:  # closed before the end: it is in the middle of the sentence
                break
        if depth == 1:
            return reason[:place], inside
        place = reason.find(" (", place + 1)
    return reason, ""


def part_state_words(part_state: str, reason: str) -> str:
    """What is known of the part, without what the reason has said already."""
    said, colon, news = part_state.rpartition(": ")
    in_title = reason.startswith(said + colon)  # a title has a colon of its own, and both sentences begin with it
    return news if said and reason.startswith(said) and not in_title else part_state
