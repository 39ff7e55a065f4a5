"""``station appliance selftest``: everything in its order, what is left out and why, the last line, the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from station.appliance.commands import KINDS
from station.appliance.selftest.access_checks import access_checks
from station.appliance.selftest.ca_checks import ca_checks
from station.appliance.selftest.checks import Check, Report, Say
from station.appliance.selftest.endorse_checks import endorse_checks
from station.appliance.selftest.record_checks import record_checks
from station.appliance.selftest.registration_checks import registration_checks
from station.appliance.selftest.session_checks import session_checks
from station.appliance.selftest.throwaway import Throwaway, served, throwaway
from station.appliance.selftest.tls_checks import tls_checks
from station.appliance.selftest.token_checks import token_checks
from station.appliance.selftest.walk import Walk
from station.appliance.sku_templates import SkuTemplate, chosen, unservable
from station.errors import EXIT_PASS, ApplianceError, ConfigError, Stopped
from station.processes import interruptible
from station.verdict import sentence_of

NUMBERS_PER_SKU = 1_000_000
STOPPED = "the self-test was stopped"


def selftest(keystore: str, skus: Sequence[str], say: Say, as_json: bool) -> int:
    """Make, serve, try, remove; 0 when every check passed, else the code of an appliance at fault.

    ``keystore`` is ``software`` or ``softhsm2``. A SKU that it cannot serve is left out, and the last line says why.
    """
    reasons = [(template, unservable(template, KINDS[keystore])) for template in chosen(skus)]
    templates = [template for template, reason in reasons if not reason]
    skipped = [reason for _, reason in reasons if reason]
    if not templates:
        raise ConfigError("; ".join(skipped))
    report = Report(say, as_json)
    try:
        with interruptible() as report.signals:
            _try(report, templates, keystore)
    except BaseException as error:  # whoever reads the lines is never left waiting for the last one
        _end(report, skipped, STOPPED if isinstance(error, KeyboardInterrupt) else sentence_of(error))
        if isinstance(error, KeyboardInterrupt):
            raise Stopped(STOPPED) from None
        raise
    return _end(report, skipped)


def _try(report: Report, templates: Sequence[SkuTemplate], keystore: str) -> None:
    names = [template.name for template in templates]
    report.event({"event": "selftest_started", "keystore": keystore, "skus": names},
                 f"self-test of {', '.join(names)} with the keystore {keystore}")  # fmt: skip
    with throwaway(templates, KINDS[keystore]) as place:
        with served(place) as serving:
            report.run(tls_checks(place, serving.target))
            run_checks(report, place, templates, serving.target)
        report.run(record_checks(place, serving.exit_code))


def run_checks(report: Report, place: Throwaway, templates: Sequence[SkuTemplate], target: str) -> None:
    """All checks of an appliance that serves at ``target``."""
    with ExitStack() as stack:
        walks = [Walk(place, item, target, NUMBERS_PER_SKU * number) for number, item in enumerate(templates, 1)]
        for walk in walks:
            stack.callback(walk.close)
        report.run(access_checks(walks[0]))
        for walk in walks:
            report.run(_checks_of(walk))


def _checks_of(walk: Walk) -> Iterable[Check]:
    for checks in (session_checks, token_checks, ca_checks, endorse_checks, registration_checks):
        yield from checks(walk)


def _end(report: Report, skipped: Sequence[str], error: str = "") -> int:
    """The last line; ``error`` is what ended the self-test before its end."""
    for reason in skipped:
        report.event({"event": "selftest_skipped", "reason": reason}, f"left out: {reason}")
    body: dict[str, object] = {
        "event": "selftest_ended", "checks": report.count, "failed": report.failed, "skipped": list(skipped),
    }  # fmt: skip
    words = f"{report.count} checks, {report.failed} failed"
    report.event({**body, "error": error} if error else body, f"{words}; {error}" if error else words)
    return ApplianceError.exit_code if report.failed else EXIT_PASS
