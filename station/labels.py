"""What a scan means: part label, lot label, tray, badge; and whether this part may be started here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from station.bins import RECOVER_TRAY, Bins
from station.errors import Refused
from station.journal_parts import PartRecord
from station.model import Retest, Role
from station.operators import may
from station.recipe import Recipe

LONGEST_SCAN = 256
ENVELOPE = re.compile(r"\[\)>\x1e(?:05|06|12)\x1d(?P<fields>.*?)(?:\x1e\x04?)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scanned:
    """One scan: ``meaning`` is part, lot, tray or badge."""

    meaning: str
    value: str


def understand(text: str) -> Scanned:
    """Read the prefixes: MH10.8 identifiers 1T (lot) and S (serial), alone or in a 2D envelope; TRAY: and OP: ours."""
    text = text.strip().removeprefix("]d2").removeprefix("]C1")
    if len(text) > LONGEST_SCAN or not text or any(not _may_be_scanned(sign) for sign in text):
        raise Refused("expected one printable scan of at most 256 characters; scan again")
    if envelope := ENVELOPE.fullmatch(text):
        found = {_identifier(field): field for field in envelope["fields"].split("\x1d")}
        for identifier, meaning in (("S", "part"), ("1T", "lot")):
            if identifier in found:
                return Scanned(meaning, found[identifier].removeprefix(identifier))
        raise Refused("this two-dimensional label holds neither a serial number (S) nor a lot (1T)")
    for prefix, meaning in (("1T", "lot"), ("TRAY:", "tray"), ("OP:", "badge")):
        if text.startswith(prefix):
            return Scanned(meaning, text.removeprefix(prefix))
    return Scanned("part", text)


def _may_be_scanned(sign: str) -> bool:
    """No control characters but the separators of a 2D envelope, and no half of a character."""
    return (ord(sign) >= 0x20 or sign in "\x1d\x1e\x04") and not "\ud800" <= sign <= "\udfff"


def part_label(recipe: Recipe, value: str) -> str:
    """The label as the recipe's pattern wants it, with or without the identifier S, else ``Refused``."""
    for candidate in (value, value.removeprefix("S")):
        if recipe.label_pattern.fullmatch(candidate):
            return candidate
    raise Refused(f"expected a {recipe.label_prompt} such as {recipe.label_example}, scanned {value[:40]!r}")


def check_known(
    record: PartRecord, recipe: Recipe, bins: Bins, socket: int, role: Role | None,
    recovery: Callable[[], str] = lambda: "",
) -> None:  # fmt: skip
    """Raise ``Refused`` with one sentence when what is known of the part forbids another run here.

    ``recovery`` finds the name of this station's recipe that erases such parts.
    """
    if record.quarantine:
        raise Refused(f"this part is in quarantine ({record.quarantine}); only a supervisor releases it")
    takes_back = recipe.plan.takes_back
    if (passed := record.passed(recipe.flow_name)) and not takes_back:
        limit = "; the appliance cannot be asked" if recipe.needs_appliance else ""
        raise Refused(f"this part passed {recipe.title} at {passed.moment} (as far as this station knows{limit})")
    if others := sorted({flow for flow, _ in record.open_burns()} - {recipe.flow_name, *takes_back}):
        raise Refused(f"a burn of {others[0]} was interrupted on this part; finish that first")
    last = record.verdicts.get(recipe.flow_name)
    if last is not None and last.kind == "fail":
        _check_retest(record, recipe, bins, socket, role, recovery)


def _check_retest(
    record: PartRecord, recipe: Recipe, bins: Bins, socket: int, role: Role | None, recovery: Callable[[], str]
) -> None:
    last = record.verdicts[recipe.flow_name]
    if last.bin_id not in bins:
        return
    bin = bins[last.bin_id]
    went = f"this part went to bin {bin.soft} ({bin.name}) at {last.moment}"
    if bin.retest is Retest.NEVER:
        name = recovery() if bin.tray == RECOVER_TRAY else ""
        hint = f"; recipe {name} erases it, with every key in it, and then it may be tried again" if name else ""
        raise Refused(f"{went}; it must not be retested{hint}")
    if bin.retest is Retest.ENGINEER and not may(role, Role.ENGINEER):
        raise Refused(f"{went}; only an engineer may retest it")
    if record.fails.get((recipe.flow_name, bin.id), 0) >= bin.attempts and not may(role, Role.ENGINEER):
        raise Refused(f"{went} for the last of {bin.attempts} attempts")
    if bin.retest is Retest.SAME_SOCKET and last.socket != socket:
        raise Refused(f"{went}; it may be retested in socket {last.socket} only")
    if bin.retest is Retest.OTHER_SOCKET and last.socket == socket and not may(role, Role.ENGINEER):
        raise Refused(f"{went}; it may be retested in another socket only")


def _identifier(field: str) -> str:
    match = re.match(r"\d{0,3}[A-Z]", field)
    return match[0] if match else ""
