"""Delivers pending registrations in the background; a part on hold passes when the appliance acknowledges."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from station.bins import Bins
from station.crash_report import CrashReports
from station.errors import ApplianceError, StationError
from station.journal import Journal
from station.journal_rows import Row
from station.ports import Appliance
from station.protocol import Verdict
from station.registrations import Sealer, acknowledge, confirm, deliver, kept_of
from station.verdict import verdict_of

FIRST_DELAY = 2.0
LONGEST_DELAY = 300.0
MAY_BE_THERE = (
    "; if it stays so, the part may be registered already: look in the registry, then a supervisor says "
    "'station part registered'"
)


class Outbox:
    """One thread; waits longer after every failure, and starts at once when ``wake`` is called."""

    def __init__(
        self,
        journal: Journal,
        sealer: Sealer,
        bins: Bins,
        appliance: Callable[[], Appliance],
        busy: Callable[[Row], bool],
        delivered: Callable[[Row, Verdict | None], None],
        log: Callable[[str, str], None],
        crashes: CrashReports,
    ) -> None:
        self._journal = journal
        self._sealer = sealer
        self._bins = bins
        self._appliance = appliance
        self._busy = busy
        self._delivered = delivered
        self._log = log
        self._crashes = crashes
        self._delay = FIRST_DELAY
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._loop, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin delivering."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new, or the appliance is back."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the delivery in progress."""
        self._ending = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _loop(self) -> None:
        while not self._ending:
            self._wake.wait(self._delay)
            self._wake.clear()
            if self._ending:
                return
            try:
                failed = self.deliver_all()
            except StationError as error:
                self._log(str(error), "error")
                failed = True
            except Exception as error:  # the thread must live: what waits here nobody else delivers
                self._log(self._crashes.note(error).sentence, "error")
                failed = True
            self._delay = min(self._delay * 2, LONGEST_DELAY) if failed else FIRST_DELAY

    def deliver_all(self) -> bool:
        """Try every pending registration once; True when one could not be delivered."""
        failed = False
        for row in self._journal.pending_registrations():
            if self._ending or self._busy(row):
                continue
            failed = not self._deliver(row) or failed
        return failed

    def send(self, row: Row) -> None:
        """Deliver one pending registration now; what keeps the appliance from taking it is raised."""
        self._hand_over(row)
        self._acknowledged(row)

    def _deliver(self, row: Row) -> bool:
        try:
            self._hand_over(row)
        except StationError as error:
            hint = MAY_BE_THERE if isinstance(error, ApplianceError) and error.code == "INTERNAL" else ""
            self._log(f"registration of {row.context.label or row.context.device_id} waits: {error}{hint}", "warning")
            return False
        except Exception as error:  # one request that cannot be read or sent must not hold up the others
            said = self._crashes.note(error).sentence
            self._log(f"registration of {row.context.label or row.context.device_id} waits: {said}", "error")
            return False
        self._acknowledged(row)
        return True

    def _hand_over(self, row: Row) -> None:
        kept = kept_of(row)
        appliance = self._appliance()
        appliance.open_session(kept.sku)
        deliver(kept, appliance, self._sealer)

    def _acknowledged(self, row: Row) -> None:
        acknowledge(self._journal, row.context, kept_of(row))
        self._delivered(row, self._promote(row, "the outbox delivered the registration"))

    def confirm(self, row: Row, operator: str, reason: str) -> Verdict | None:
        """Take a pending registration for acknowledged because ``operator`` found it in the registry.

        Returns the verdict of a part that this was the last thing missing for; no appliance has said anything.
        """
        context = row.context.but(operator=operator)
        confirm(self._journal, context, kept_of(row), reason)
        words = f"registered, as {operator} found in the registry: {reason}"
        return self._promote(replace(row, context=context), words)

    def _promote(self, row: Row, words: str) -> Verdict | None:
        """Hold becomes pass when nothing but the registration was missing."""
        context = row.context
        record = self._journal.known(context.label_kind, context.label, context.device_id)
        last = record.verdicts.get(context.flow)
        if last is None or last.bin_id != "registration_pending" or record.open_burns() or record.quarantine:
            return None
        verdict = verdict_of(self._bins["pass"], words, "provisioned and registered")
        detail = {
            "kind": str(verdict.kind), "bin_id": verdict.bin_id, "soft": verdict.bin, "hard": verdict.hard_bin,
            "reason": verdict.reason, "part_state": verdict.part_state, "tray": verdict.tray, "seconds": 0.0,
            "error": "", "pending": False, "promoted": True,
        }  # fmt: skip
        self._journal.verdict(context, detail)
        return verdict
