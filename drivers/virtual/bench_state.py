"""What the virtual bench consists of: adapters, sockets and the shelf of chips; and the commands a test gives it."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivers.virtual.bench_kind import EARLGREY, BenchKind, Fitting, bench_kind
from drivers.virtual.ft4232h import Ft4232h
from drivers.virtual.place import Place
from drivers.virtual.socket import VirtualSocket
from drivers.virtual.whereabouts import MEMORY

FIRST_ADDRESS, LAST_ADDRESS = 2, 127
BENCH_FAULTS = {
    "unplug": "The adapter's USB cable is pulled, at once or (argument N) after N more bulk OUT transfers or requests "
    "to a debug probe.",
    "power_off": "The socket's supply is off until it is switched on again.",
    "lid_open": "The lid is opened.",
}


def known_faults(chip: str = EARLGREY) -> dict[str, str]:
    """Every fault that can be simulated, the chip's and the bench's, with one sentence: the one list there is."""
    return {**bench_kind(chip, Path()).faults, **BENCH_FAULTS}


class BenchState:
    """Adapters and sockets, numbered from 1; every method may be called from any thread."""

    def __init__(self, data: Path, sockets: int, kind: BenchKind) -> None:
        self.kind = kind
        self._chips = data / "chips"
        self._memory = data / MEMORY
        self._chips.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._next_address = FIRST_ADDRESS
        self._unplug_after: dict[int, int] = {}
        fitted = [kind.fit(self._fitting(number)) for number in range(1, sockets + 1)]
        self.sockets = [socket for socket, _ in fitted]
        self.adapters = [adapter for _, adapter in fitted]
        self._restore()

    def _fitting(self, number: int) -> Fitting:
        return Fitting(number, self._new_address(), lambda: self._count_transfer(number))

    # ---- USB side -------------------------------------------------------------------------------------------------

    def usb_adapters(self) -> list[Ft4232h]:
        """The adapters that an enumeration over the bench's own USB link finds."""
        return [adapter for adapter in self.adapters if isinstance(adapter, Ft4232h) and adapter.plugged]

    def adapter_at(self, address: int) -> Ft4232h | None:
        """The adapter at a bus address; None when it is gone."""
        return next((adapter for adapter in self.usb_adapters() if adapter.address == address), None)

    def _count_transfer(self, number: int) -> None:
        """One more transfer through this socket's adapter: an armed unplug may strike."""
        if number not in self._unplug_after:
            return
        with self._lock:
            if number in self._unplug_after:
                self._unplug_after[number] -= 1
                if self._unplug_after[number] < 0:
                    del self._unplug_after[number]
                    self.adapters[number - 1].unplug()

    def release_session(self, session: str) -> None:
        """A client is gone: its claims are free."""
        for adapter in self.adapters:
            adapter.release_all(session)

    def _new_address(self) -> int:
        address = self._next_address
        self._next_address = address + 1 if address < LAST_ADDRESS else FIRST_ADDRESS
        return address

    # ---- commands -------------------------------------------------------------------------------------------------

    def command(self, body: Mapping[str, Any]) -> Any:
        """Carry out one JSON command; raises ValueError with one sentence when it cannot be."""
        name = str(body.get("do", ""))
        action = getattr(self, f"do_{name}", None)
        if action is None:
            known = ", ".join(sorted(n[3:] for n in dir(self) if n.startswith("do_")))
            raise ValueError(f"the bench does not know the command {name!r}; it knows {known}")
        with self._lock:
            return action(body)

    def _socket(self, body: Mapping[str, Any]) -> Place[Any]:
        number = int(body.get("socket", 1))
        if not 1 <= number <= len(self.sockets):
            raise ValueError(f"this bench has sockets 1 to {len(self.sockets)}, not {number}")
        return self.sockets[number - 1]

    def do_insert(self, body: Mapping[str, Any]) -> None:
        """Put the part with this label into a socket; a new label is a fresh die, of the wafer ``place`` if given."""
        socket = self._socket(body)
        label = str(body.get("label") or "")
        if not label:
            raise ValueError("a part needs a label")
        other = next((s.number for s in self.sockets if s.label == label), 0)
        if other:
            raise ValueError(f"part {label!r} is in socket {other}; remove it first")
        folder = Path(str(body["folder"])) if body.get("folder") else self._chips / folder_name(label)
        folder.mkdir(parents=True, exist_ok=True)
        if body.get("place"):
            _lie_at(folder, str(body["place"]))
        socket.insert(label, folder)
        self._remember()

    def do_remove(self, body: Mapping[str, Any]) -> str:
        """Take the part out; returns its label."""
        label = self._socket(body).remove()
        self._remember()
        return label

    def do_lid(self, body: Mapping[str, Any]) -> None:
        """Close or open the lid."""
        self._socket(body).lid(bool(body["closed"]))
        self._remember()

    def do_power(self, body: Mapping[str, Any]) -> None:
        """Switch a socket's supply."""
        self._socket(body).supply(bool(body["on"]))
        self._remember()

    def do_touchdown(self, body: Mapping[str, Any]) -> int:
        """Lift the part and press it down again: it loses its power. Returns the count of contacts."""
        socket = self._socket(body)
        socket.supply(False)
        socket.supply(True)
        socket.touchdowns += 1
        self._remember()
        return socket.touchdowns

    def do_fault(self, body: Mapping[str, Any]) -> None:
        """Arm a fault: of the bench, or of the chip in the socket."""
        socket = self._socket(body)
        name, argument = str(body["name"]), str(body.get("argument", ""))
        head, _, tail = name.partition(":")
        if head == "unplug":
            self._arm_unplug(socket.number, argument or tail)
        elif head == "power_off":
            socket.supply(False)
        elif head == "lid_open":
            socket.lid(False)
        else:
            if head == "clear":
                self._unplug_after.pop(socket.number, None)
                if socket.chip is None:
                    return  # an empty socket has nothing else to clear
            socket.fault(name, argument)

    def _arm_unplug(self, number: int, argument: str) -> None:
        if argument:
            if not argument.isdecimal():
                raise ValueError(f"expected a number of transfers, got {argument!r}")
            self._unplug_after[number] = int(argument)
        else:
            self.adapters[number - 1].unplug()

    def do_unplug(self, body: Mapping[str, Any]) -> None:
        """Pull the adapter's USB cable."""
        self.adapters[self._socket(body).number - 1].unplug()

    def do_replug(self, body: Mapping[str, Any]) -> None:
        """Plug the adapter in again: it comes back under a new address."""
        adapter = self.adapters[self._socket(body).number - 1]
        if not adapter.plugged:
            adapter.replug(self._new_address())

    def do_state(self, body: Mapping[str, Any]) -> dict[str, object]:
        """Everything about one socket, its chip and its adapter."""
        socket = self._socket(body)
        adapter = self.adapters[socket.number - 1]
        state = {**socket.state(), "plugged": adapter.plugged, **adapter.details()}
        return {**state, "armed": self._armed(socket)}

    def _armed(self, socket: Place[Any]) -> list[str]:
        """Faults of this socket that wait to strike or have struck and are not put right."""
        pending = self._unplug_after.get(socket.number)
        bench = [f"unplug:{pending}"] if pending is not None else []
        bench += [] if self.adapters[socket.number - 1].plugged else ["unplug"]
        bench += [] if socket.supply_on else ["power_off"]
        return [*bench, *(socket.chip.state().get("faults", ()) if socket.chip is not None else ())]

    def do_faults(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Every fault that can be armed, with one sentence."""
        return {**self.kind.faults, **BENCH_FAULTS}

    def do_adapters(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All adapters: serial number, whether they are plugged in, and where they are found."""
        return [{"plugged": adapter.plugged, **adapter.details()} for adapter in self.adapters]

    def do_edges(self, body: Mapping[str, Any]) -> list[list[object]]:
        """Recorded edges of the nets the adapter drives: time, signal, level; ``clear`` empties the record."""
        socket = self._socket(body)
        if not isinstance(socket, VirtualSocket):
            raise ValueError("the sockets of this bench record no edges")
        edges = [list(edge) for edge in socket.edges]
        if body.get("clear"):
            socket.edges.clear()
            socket.edge_counts.clear()
        return edges

    def do_parts(self, body: Mapping[str, Any]) -> list[str]:
        """Labels of the chips on the shelf and in the sockets."""
        shelf = {_label_of(folder) for folder in self._chips.iterdir() if folder.is_dir()}
        return sorted(shelf | {socket.label for socket in self.sockets if socket.label})

    def do_sockets(self, body: Mapping[str, Any]) -> int:
        """How many sockets there are."""
        return len(self.sockets)

    # ---- what survives the process -----------------------------------------------------------------------------------

    def _remember(self) -> None:
        body = [
            {"label": s.label, "lid_closed": s.lid_closed, "supply_on": s.supply_on, "touchdowns": s.touchdowns}
            for s in self.sockets
        ]
        for socket in self.sockets:
            if socket.label:
                name = self._chips / folder_name(socket.label) / "label"
                if name.parent.is_dir() and not name.exists():
                    name.write_text(socket.label)
        fresh = self._memory.with_suffix(".new")
        fresh.write_text(json.dumps(body))
        os.replace(fresh, self._memory)

    def _restore(self) -> None:
        try:
            entries = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return
        for socket, entry in zip(self.sockets, entries, strict=False):
            socket.lid_closed = bool(entry["lid_closed"])
            socket.supply_on = bool(entry["supply_on"])
            if entry["label"]:
                socket.insert(entry["label"], self._chips / folder_name(entry["label"]))
            socket.touchdowns = int(entry["touchdowns"])

    def close(self) -> None:
        """Stop all chips."""
        for socket in self.sockets:
            socket.close()


def folder_name(label: str) -> str:
    """A label as a folder name: everything but letters, digits, dot, dash and underscore becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", label).lstrip(".") or "_"


def _label_of(folder: Path) -> str:
    name = folder / "label"
    return name.read_text() if name.exists() else folder.name


def _lie_at(folder: Path, place: str) -> None:
    """A die that is made anew in this folder comes from this place, ``LOT/WAFER/X/Y`` with numbers in each."""
    found = re.fullmatch(r"[^/]*?([0-9]{0,3})/W([0-9]+)/X([0-9]+)/Y([0-9]+)", place)
    if found is None:
        raise ValueError(f"expected a place such as L24-0117/W12/X7/Y19, got {place!r}")
    chosen = folder / "identity.json"
    if not chosen.exists():
        numbers = [int(text or "0") for text in found.groups()]
        chosen.write_text(json.dumps(dict(zip(("lot", "wafer", "x", "y"), numbers, strict=True))), encoding="utf-8")
