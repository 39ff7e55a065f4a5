"""Runs of one part, each in a forked child of a process that has everything imported: a child may be killed anywhere.

The parent speaks JSON lines: a request is answered with ``{"pid": …}``; after the line ``go`` the child works, and its
wait status follows as ``{"status": …}``. The child is the real workbench on a real station file; what it adds is what
the request asks for: where to kill itself, where to raise, and that the settle times are those of the virtual chip.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from station import commands, plugins, protocol, socket_worker
from station.config import load_config
from station.flows import chip_probe, final_test, tfm_provisioning
from station.model import Realm, Role
from station.parts.earlgrey import part as earlgrey_part
from station.processes import clean_environment
from station.workbench import Workbench

WAIT = 60.0
VIRTUAL_SETTLE = 0.25
"""The virtual chip carries out its longest burn in about 0.1 s; the plan's seconds are those of silicon."""


def preload() -> None:
    """Import what a run needs and shorten what only silicon needs."""
    for group in ("station.drivers", "station.appliances", "station.parts", "station.flows"):
        for name in plugins.names(group):
            plugins.load(group, name)
    import drivers.serial_console
    import drivers.virtual.usb_backend  # noqa: F401

    for flow in (chip_probe, final_test, tfm_provisioning):
        for title in flow.PLAN:
            if title.burn:
                object.__setattr__(title, "settle", VIRTUAL_SETTLE)
    earlgrey_part.TRANSITION_SECONDS = 1.0
    socket_worker.POLL = socket_worker.WATCH = 0.02


class Trap:
    """Counts what happens and strikes at the chosen occurrence."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.probes: list[str] = []
        self.calls: list[str] = []

    def probe(self, moment: str, kind: str) -> None:
        """The journal's probe: ``before`` or ``after`` a commit of this kind."""
        self.probes.append(f"{moment} {kind or 'soft'}")
        if self.request.get("kill_probe") == len(self.probes):
            kill_myself()
        if moment == "before" and kind == "intent":
            intents = sum(entry == "before intent" for entry in self.probes)
            if self.request.get("kill_before_intent") == intents:
                kill_myself()

    def wrap(self, name: str, port: Any) -> Any:
        """A port of the same face whose calls are counted."""
        face = {n: getattr(port, n) for n in dir(port) if not n.startswith("_")}
        counted = {n: self._method(name, value) if callable(value) else value for n, value in face.items()}
        return type(f"Counted{name.title()}", (), counted)()

    def _method(self, name: str, real: Any) -> Any:
        def call(_: object, *arguments: Any, **named: Any) -> Any:
            self.calls.append(f"{name}.{real.__name__}")
            if real.__name__ == "owner_boot_message" and "boot_message" in self.request:
                return self.request["boot_message"]
            number = len(self.calls)
            if self.request.get("kill_before_call") == number:
                kill_myself()
            if self.request.get("raise_at_call") == number:
                raise RuntimeError("an error that nobody foresaw")
            answer = real(*arguments, **named)
            if self.request.get("kill_after_call") == number:
                kill_myself()
            return answer

        return call


def kill_myself() -> None:
    """As if somebody had pulled the plug of this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def run(request: dict[str, Any]) -> dict[str, Any]:
    """One part, one recipe, from whatever the data folder says; the result as plain values."""
    trap = Trap(request)
    config = load_config(Path(request["station"]), Path(request["data"]))
    bench = Workbench(config, probe=trap.probe)
    try:
        return one_part(bench, trap, request)
    finally:
        bench.close()


def one_part(bench: Workbench, trap: Trap, request: dict[str, Any]) -> dict[str, Any]:
    refused: list[str] = []
    log: list[str] = []

    def listen(event: Any) -> None:
        if isinstance(event, protocol.CommandRefused):
            refused.append(event.sentence)
        elif isinstance(event, protocol.Log):
            log.append(f"{event.source}: {event.text}")
        if request.get("talkative"):
            logging.debug("event %r %s", event, protocol.encode(event))

    bench.subscribe(listen)
    bench.operator, bench.role = "matrix", Role.SUPERVISOR
    result: dict[str, Any] = {"known_before": known(bench, request["label"])}
    if request.get("release") and bench.journal.find(request["label"]).quarantine:
        commands.release(bench, request["label"], "the crash matrix looks at this part again")
        result["released"] = True
    worker = bench.worker(1)
    tap_ports(bench, worker, trap)
    bench.start()
    recovered = worker.view.now.state == "interrupted"
    if not (answer_question(bench, worker) if recovered else start(bench, worker, request)):
        result |= {"refused": refused[-1] if refused else f"the tile stays in {worker.view.now.state}"}
    else:
        assert answered_until_idle(bench, worker), "the run does not end"
    now, error = worker.view.now, worker.last_error
    verdict = now.verdict if "refused" not in result else None
    result |= {
        "kind": verdict.kind if verdict else "", "bin": verdict.bin_id if verdict else "",
        "reason": verdict.reason if verdict else "", "state": now.state, "recovered": recovered,
        "error": "" if error is None else f"{type(error).__name__}: {error}",
        "steps": {step.id: step.status for step in now.steps}, "seconds": now.elapsed,
        "device_id": now.device_id, "known": known(bench, request["label"]),
        "known_by_id": known(bench, now.device_id) if now.device_id else None,
        "probes": trap.probes, "calls": trap.calls, "log": log[-200:], "refusals": refused,
    }  # fmt: skip
    return result


def tap_ports(bench: Workbench, worker: Any, trap: Trap) -> None:
    ports, appliance = worker._ports, bench.appliance

    def counted_ports() -> Any:
        return {name: trap.wrap(name, port) for name, port in ports().items()}

    worker._ports = counted_ports
    bench.appliance = lambda socket: trap.wrap("appliance", appliance(socket)) if socket else appliance(socket)


def answer_question(bench: Workbench, worker: Any) -> bool:
    """The part is still where it was when the station died."""
    return bench.handle(protocol.Answer(1, worker.view.now.prompt.id, socket_worker.CHECK_IT))


def answered_until_idle(bench: Workbench, worker: Any) -> bool:
    """Say yes, the first choice, to whatever the flow asks, until the run has its verdict."""
    end = time.monotonic() + WAIT
    while not worker.wait_idle(0.02):
        prompt = worker.view.now.prompt
        if prompt is not None:
            bench.handle(protocol.Answer(1, prompt.id, prompt.choices[0]))
        if time.monotonic() > end:
            return False
    return True


def start(bench: Workbench, worker: Any, request: dict[str, Any]) -> bool:
    """Choose the recipe, scan the label, press the key."""
    if not bench.handle(protocol.SelectRecipe(request["recipe"])):
        return False
    if not until(lambda: worker.view.now.state == "scan"):
        return False
    if not bench.handle(protocol.Scan(request["label"], 1)):
        return False
    return any(bench.handle(protocol.Start(1, worker.view.now.epoch)) for _ in range(5))


def until(claim: Any, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def known(bench: Workbench, text: str) -> dict[str, Any]:
    """What the journal says of a part that is named by label or id."""
    record = bench.journal.find(text)
    return {
        "labels": sorted(label for _, label in record.labels), "device_id": record.device_id,
        "quarantine": record.quarantine, "registered": record.registered,
        "verdicts": {flow: facts.kind for flow, facts in record.verdicts.items()}, "erasing": record.erasing,
        "burns": {f"{flow}.{title}": str(facts.state) for (flow, title), facts in record.burns.items()},
    }  # fmt: skip


def child(request: dict[str, Any]) -> int:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    if request.get("talkative"):
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
        logging.getLogger("pyftdi").setLevel(logging.DEBUG)
    try:
        result = run(request)
    except BaseException as error:
        traceback.print_exc()
        result = {"crashed": f"{type(error).__name__}: {error}"}
    place = Path(request["result"])
    fresh = place.with_suffix(".new")
    fresh.write_text(json.dumps(result))
    os.replace(fresh, place)
    return 0


def serve() -> int:
    usb = {name: os.environ[name] for name in ("PYUSB_DEBUG", "LIBUSB_DEBUG") if name in os.environ}
    clean_environment(Realm.DEV)  # as every way to start a station does, before gRPC is loaded
    os.environ.update(usb)  # a station drops these too; here what pyusb says is looked at
    preload()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    answers.write(json.dumps({"ready": os.getpid()}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)
            code = 1
            with contextlib.suppress(BaseException):
                code = child(request)
            os._exit(code)
        os.close(read)
        answers.write(json.dumps({"pid": pid}) + "\n")
        sys.stdin.readline()
        os.close(write)
        _, status = os.waitpid(pid, 0)
        answers.write(json.dumps({"status": status}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(serve())
