"""A flow that mostly waits, as parts do: polls the pins at the bench's own pace, records, logs and burns in between."""

from __future__ import annotations

from typing import Any

from station.deadline import Deadline
from station.errors import PartError
from station.model import DONE, NOT_DONE, Answer
from station.parts.earlgrey.pads import Pads
from station.plan import Burn, Plan
from station.run import Run

STEPS = 12
STEP_SECONDS = 0.5

PLAN = Plan(
    first=Burn("First burn", settle=0.0),
    **{f"wait_{number}": f"Wait {number}" for number in range(STEPS)},
    last=Burn("Last burn", settle=0.0),
)


def bench_wait(run: Run, part: Any, appliance: Any) -> None:
    """Burn, wait, burn; nothing is done to the part."""
    pads = Pads(part.ports["pins"], run.pause)
    _burn(run, "first")
    for number in range(STEPS):
        with run.step(getattr(PLAN, f"wait_{number}")):
            run.log(f"waiting {STEP_SECONDS} s for the part", source="dut")
            _poll(pads)
            run.measure(f"wait {number}", STEP_SECONDS, "s")
    _burn(run, "last")


def _poll(pads: Pads) -> None:
    try:
        pads.wait("never", Deadline(STEP_SECONDS), "a signal that never comes")
    except PartError:  # the deadline, as meant
        return
    raise RuntimeError("a signal came that does not exist")


def _burn(run: Run, name: str) -> None:
    burnt: list[bool] = []

    def done() -> Answer:
        return DONE if burnt else NOT_DONE

    run.burn(getattr(PLAN, name), done=done, do=lambda: burnt.append(True))
