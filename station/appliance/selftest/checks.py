"""A check: its name and what it does; what it expects; and how a row of them is carried out and told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from station.appliance.service_client import CallRefused, RawClient
from station.errors import StationError

Say = Callable[[str], None]


class CheckFailed(StationError):
    """A check saw something else than it expected; the sentence says both."""


@dataclass(frozen=True, slots=True)
class Check:
    """``run`` returns when all is well, and raises ``CheckFailed`` (or what stood in its way) when it is not."""

    name: str
    run: Callable[[], object]


def expect(claim: bool, expected: str, saw: object = "") -> None:
    """Fail unless the claim holds. What was seen is shown: give no secret."""
    if not claim:
        raise CheckFailed(f"expected {expected}, saw {saw if saw != '' else 'something else'}")


def expect_bytes(what: str, wanted: bytes, saw: bytes) -> None:
    """Fail unless the bytes are equal; only their lengths are shown."""
    if len(wanted) != len(saw):
        raise CheckFailed(f"expected {what} of {len(wanted)} bytes, saw {len(saw)} bytes")
    if wanted != saw:
        raise CheckFailed(f"expected {what} of the self-test's own reckoning, saw {len(saw)} other bytes")


def expect_refusal(client: RawClient, method: str, request: Any, code: str, words: str = "", **given: Any) -> None:
    """Fail unless the call is refused with this status and these words in its text."""
    try:
        client.ask(method, request, **given)
    except CallRefused as refused:
        expect(refused.code == code, f"{method} to be refused with {code}", f"{refused.code}: {refused.details[:200]}")
        expect(words in refused.details, f"{words!r} in the text of {code}", repr(refused.details[:200]))
        return
    raise CheckFailed(f"expected {method} to be refused with {code}, saw it answered")


class Report:
    """Carries checks out one after another, tells each, and counts; a failed one does not end the row.

    ``signals`` are those that came to end it all.
    """

    def __init__(self, say: Say, as_json: bool) -> None:
        self._say = say
        self._as_json = as_json
        self.signals: Sequence[int] = ()
        self.count = 0
        self.failed = 0

    def event(self, body: dict[str, object], words: str) -> None:
        """One line: JSON for machines, words for people."""
        self._say(json.dumps(body, ensure_ascii=False) if self._as_json else words)

    def run(self, checks: Iterable[Check]) -> None:
        """Carry out all checks."""
        for check in checks:
            sentence = _sentence_of(check)
            if self.signals:
                raise KeyboardInterrupt
            self.count += 1
            self.failed += bool(sentence)
            body: dict[str, object] = {"event": "selftest_check", "name": check.name, "ok": not sentence}
            if sentence:
                body["sentence"] = sentence
            self.event(body, f"{'✖' if sentence else '✔'} {check.name}{f': {sentence}' if sentence else ''}")


def _sentence_of(check: Check) -> str:
    """What is wrong; empty when nothing is."""
    try:
        check.run()
    except StationError as error:
        return str(error)
    except Exception as error:  # an answer that nobody thought of must not end the self-test; its words may be secret
        return f"expected an answer that can be judged, saw one that raised {type(error).__name__} in the self-test"
    return ""
