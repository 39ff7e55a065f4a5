"""Recorded-looking events for the tests and screenshots of the window."""

import math
from dataclasses import replace

from station.protocol import (
    ApplianceState,
    BinCount,
    Hello,
    Log,
    Lot,
    MapCell,
    PlanItem,
    PromptView,
    SignedIn,
    SocketState,
    StepState,
    Verdict,
)


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


PLAN = (
    PlanItem("contact", "Contact check", False),
    PlanItem("unlock", "Test unlock", True),
    PlanItem("individualize", "Individualize OTP", True),
    PlanItem("exit", "Test exit to PROD", True),
    PlanItem("personalize", "Personalize", True),
    PlanItem("endorse", "Endorse certificates", False),
    PlanItem("install", "Install certificates", True),
    PlanItem("boot", "Transport boot check", False),
    PlanItem("register", "Register device", False),
)
TIMES = (0.1, 0.4, 2.9, 0.6, 3.8, 0.2, 1.4, 0.9, 0.1)
DEVICE = "014003004433081988700500000000000000756530000000041564953000001"[:63] + "1"


def steps(upto, last="running"):
    done = [StepState(PLAN[i].id, "done", TIMES[i]) for i in range(upto)]
    return (*done, StepState(PLAN[upto].id, last, TIMES[upto])) if upto < len(PLAN) else tuple(done)


def verdict(kind, number=1, **extra):
    base = Verdict(kind, number, 1, kind, kind, "GOOD", "", "", "")
    return replace(base, **extra)


INSERT = SocketState(3, 10, "insert_part", contacts=4112, contacts_limit=50000, since=10.0)
SCAN = SocketState(3, 11, "scan", expects="part label", present=True, lid_closed=True, since=11.0)
LEFT_BEHIND = replace(
    INSERT,
    present=True,
    lid_closed=True,
    expects="Take out the part. P000041 passed here before the station was closed; nobody saw whether it is still the "
    "same one: look at its label.",
)
READY = replace(SCAN, epoch=12, state="scan", label="042", may_start=True)
CHECKING = SocketState(3, 13, "checking", label="042", present=True, lid_closed=True, plan=PLAN, steps=steps(0))
RUNNING = SocketState(
    1,
    20,
    "running",
    label="041",
    device_id=DEVICE,
    present=True,
    lid_closed=True,
    plan=PLAN,
    steps=steps(5),
    elapsed=8.1,
    typical=13.2,
    percent=61,
    since=20.0,
)
BURNING = replace(
    RUNNING,
    epoch=21,
    state="burning",
    steps=steps(4),
    elapsed=7.2,
    percent=54,
    burn_title="Personalize: seeds are being written",
    stop_allowed=False,
)
SETTLING = replace(BURNING, epoch=22, settling=True, percent=99)
PASS = SocketState(
    2,
    30,
    "pass",
    label="040",
    device_id=DEVICE,
    present=True,
    lid_closed=True,
    plan=PLAN,
    steps=steps(9),
    elapsed=12.6,
    percent=100,
    verdict=verdict("pass"),
    since=30.0,
)
FAIL = SocketState(
    4,
    40,
    "fail",
    label="039",
    device_id=DEVICE,
    present=True,
    lid_closed=True,
    plan=PLAN,
    steps=steps(5, "failed"),
    elapsed=9.1,
    percent=60,
    needs_acknowledge=True,
    since=40.0,
    verdict=verdict(
        "fail",
        7,
        bin_id="endorsement",
        name="Endorsement",
        tray="RED",
        retest="engineer",
        reason="Endorsement refused: WAS mismatch",
        part_state="The part is in PROD without certificates.",
    ),
)
HOLD = replace(
    FAIL,
    state="hold",
    epoch=41,
    steps=steps(8),
    verdict=verdict(
        "hold",
        90,
        tray="HOLD",
        reason="Registration pending: the appliance does not answer",
        part_state="The part is finished but not registered.",
        finishes_by="the outbox, when the appliance is back",
    ),
)
QUARANTINE = replace(
    FAIL,
    state="quarantine",
    epoch=42,
    steps=steps(4, "failed"),
    verdict=verdict(
        "quarantine",
        99,
        tray="Q",
        reason="The power failed while Personalize was being written; "
        "the part cannot say whether its seeds are complete",
        part_state="Life cycle PROD, seeds unknown.",
    ),
)
BENCH_FAULT = replace(
    FAIL,
    state="bench_fault",
    epoch=43,
    steps=(),
    elapsed=2.2,
    verdict=verdict(
        "bench",
        0,
        tray="INPUT",
        retest="same_socket",
        reason="The adapter of socket 4 does not answer: check its USB cable",
    ),
)
INTERRUPTED = SocketState(
    2,
    50,
    "interrupted",
    label="040",
    present=True,
    plan=PLAN,
    steps=steps(3),
    since=5.0,
    prompt=PromptView(7, "Is the part still in socket 2?", ("Check it", "No: quarantine")),
)
PROMPT = replace(
    RUNNING,
    prompt=PromptView(3, "The contact resistance is high. Try again?", ("Try again", "Reject")),
)

TILE_STATES = {
    "insert_part": INSERT,
    "left_behind": LEFT_BEHIND,
    "scan": SCAN,
    "ready": READY,
    "checking": CHECKING,
    "running": RUNNING,
    "prompt": PROMPT,
    "burning": BURNING,
    "settling": SETTLING,
    "pass": PASS,
    "fail": FAIL,
    "hold": HOLD,
    "quarantine": QUARANTINE,
    "bench_fault": BENCH_FAULT,
    "interrupted": INTERRUPTED,
}


def hello(sockets=4, mode="production", **extra):
    base = Hello(
        1,
        "BENCH-03",
        "0.1.0+g1a2b3c4",
        "dev",
        mode,
        sockets,
        ("sival-ft", "sival-cp"),
        "sival-ft",
        "Final Test",
        "12",
        "sival",
        "sha256:…",
    )
    return replace(base, **extra)


def yield_line(count=40):
    values, good = [], 0
    for i in range(count):
        good += i not in (9, 37)
        values.append(good / (i + 1))
    return tuple(values)


BINS = (
    BinCount(1, "Pass", "pass", 38),
    BinCount(7, "Endorsement", "fail", 1),
    BinCount(4, "Console timeout", "fail", 1),
    BinCount(3, "Unlock refused", "fail", 0),
    BinCount(2, "Contact", "fail", 0),
)


def tray_cells():
    cells = []
    for place in range(50):
        kind = "pass" if place < 40 else "running" if place == 40 else ""
        kind = {21: "fail", 38: "fail", 17: "hold", 30: "quarantine"}.get(place, kind)
        cells.append(MapCell(place % 10, place // 10, kind, 1))
    return tuple(cells)


def wafer_cells(size=25):
    cells = []
    for y in range(size):
        for x in range(size):
            if math.hypot(x - size // 2, y - size // 2) <= size / 2:
                number = y * size + x
                kind = "" if y > 17 else "fail" if number % 37 == 0 else "quarantine" if number % 131 == 0 else "pass"
                cells.append(MapCell(x, y, kind, 1))
    return tuple(cells)


LOT = Lot(
    "L24-0117",
    "T12",
    38,
    2,
    1,
    0,
    0.95,
    281.0,
    460,
    0.93,
    "2 more bin 7 stop the lot",
    yield_line(),
    BINS,
    "tray",
    tray_cells(),
)
WAFER = replace(LOT, wafer="W07", map_kind="wafer", cells=wafer_cells())
APPLIANCE = ApplianceState(True, "pa-1", "mTLS", 12.0)
OPERATOR = SignedIn("op-117", "operator")

LOGS = tuple(
    Log(1_700_000_000.412 + i * 0.4, socket, source, level, text)
    for i, (socket, source, level, text) in enumerate(
        (
            (1, "station", "info", "◆ Personalize: intent stored, writing"),
            (1, "dut", "info", "Waiting For RMA Unlock Token Hash ..."),
            (1, "station", "info", "sent RMA token hash  [16 bytes, secret]"),
            (4, "pa", "error", "EndorseCerts → INVALID_ARGUMENT: WAS signature"),
            (4, "station", "error", "bin 7  Endorsement refused"),
            (1, "dut", "info", "Waiting for certificate inputs ..."),
            (2, "station", "info", "✔ bin 1, record stored, registration acknowledged"),
            (1, "dut", "info", "Exporting TBS certificates ..."),
        )
    )
)


def bench(sockets=4, mode="production", states=None):
    """All events of a bench, in the order an engine sends them."""
    states = states if states is not None else (BURNING, PASS, INSERT, FAIL)
    return [hello(sockets, mode), APPLIANCE, OPERATOR, LOT, *states, *LOGS]
