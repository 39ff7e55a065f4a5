"""``python -m benchmarks``: run the measurements one after the other, each in a process and a folder of its own."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.figures import NotMeasuredError, Options, machine, text_of

CATALOGUE = {
    "steps": ("plain steps against OpenHTF, syncs of the journal", 300),
    "sram": ("32 KiB SRAM load over JTAG against OpenOCD", 400),
    "part": ("USB round trips and CPU of one part over CP and FT", 300),
    "probe": ("probe requests of programming against bare pyOCD, CPU of one Nordic part", 300),
    "waiting": ("eight waiting sockets", 240),
    "log": ("100,000 log lines from engine to window", 300),
    "latency": ("stop, start of window and command line, peak memory", 300),
    "appliance": ("conversations with the appliance, beside openssl speed", 420),
}
"""Name of each benchmark: what it measures, and after how many seconds it is ended."""

END_SECONDS = 15
MARK = "benchmark report: "


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 unless a benchmark broke, or with ``--strict`` an aim was missed."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are ended on this way out, too
    if options.inside:
        return _inside(options.inside, Options(options.quick))
    chosen = options.only or list(CATALOGUE)
    reports = {}
    for name in chosen:
        if not options.json:
            print(f"{name}: {CATALOGUE[name][0]}", flush=True)
        reports[name] = _measured(name, options.quick)
        if not options.json:
            _show(reports[name])
    missed = [f"{name}: {figure['name']}" for name, report in reports.items() for figure in report["figures"]
              if figure["met"] is False]  # fmt: skip
    broken = [name for name, report in reports.items() if report["broken"]]
    unmeasured = [name for name, report in reports.items() if report["not_measured"]]
    if options.json:
        print(json.dumps({"machine": machine(), "quick": options.quick, "benchmarks": reports, "missed": missed}))
    else:
        print(f"{machine()}; {len(missed)} aim(s) missed" + "".join(f"\n  MISSED {line}" for line in missed))
    return 1 if broken or (options.strict and (missed or unmeasured)) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--only", action="append", choices=list(CATALOGUE), metavar="NAME",
                        help=f"measure only this (may be repeated): {', '.join(CATALOGUE)}")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one short run of each: figures are rough")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when an aim is missed")
    parser.add_argument("--inside", choices=list(CATALOGUE), help=argparse.SUPPRESS)
    return parser


def _measured(name: str, quick: bool) -> dict[str, Any]:
    """The report of one benchmark, measured in a child that is ended when it takes too long."""
    began = time.monotonic()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        environment = {
            **os.environ,
            "TMPDIR": folder,
            "XDG_DATA_HOME": f"{folder}/data",
            "QT_QPA_PLATFORM": "offscreen",
        }
        command = [sys.executable, "-m", "benchmarks", "--inside", name, *(["--quick"] if quick else [])]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        try:
            output, _ = child.communicate(timeout=CATALOGUE[name][1])
            late = False
        except BaseException as error:
            output, late = _end(child), True
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
    last = output.decode(errors="replace").rstrip().rpartition(MARK)
    report: dict[str, Any] = {"figures": [], "notes": [], "not_measured": "", "broken": ""}
    if late:
        report["broken"] = f"it was ended after {CATALOGUE[name][1]} s"
    elif child.returncode or not last[1]:
        report["broken"] = f"it ended with code {child.returncode}; its messages are above"
    else:
        report |= json.loads(last[2])
    report["seconds"] = round(time.monotonic() - began, 1)
    report["load"] = load
    if load > (os.cpu_count() or 1) / 2:
        report["notes"].append(f"the machine was busy before (load {load:.1f}): wall times and rates are too bad")
    return report


def _end(child: subprocess.Popen[bytes]) -> bytes:
    """End a child that is late: politely, so that it ends its own children, then with everything in its session."""
    child.terminate()
    try:
        return child.communicate(timeout=END_SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.communicate()[0]


def _inside(name: str, options: Options) -> int:
    """The child: measure, and print the report behind a mark that no other output has."""
    module = importlib.import_module(f"benchmarks.{name}")
    try:
        report = {**module.measure(options).plain(), "not_measured": ""}
    except NotMeasuredError as error:
        report = {"figures": [], "notes": [], "not_measured": str(error)}
    print(f"\n{MARK}{json.dumps(report)}", flush=True)
    return 0


def _show(report: dict[str, Any]) -> None:
    for figure in report["figures"]:
        print(text_of(figure))
    for note in report["notes"]:
        print(f"  note: {note}")
    for key, words in (("not_measured", "NOT MEASURED"), ("broken", "BROKEN")):
        if report[key]:
            print(f"  {words}: {report[key]}")
    print(f"  took {report['seconds']} s\n", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
