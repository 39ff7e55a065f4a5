"""The hands of a virtual bench: what an operator or a handling machine would do with parts, lids and cables."""

from __future__ import annotations

from station import plugins
from station.config import StationConfig
from station.errors import ConfigError, Refused, nearest
from station.ports import Handler

ACTIONS = ("insert", "remove", "lid", "power", "fault", "unplug", "replug")
WORDS = {"lid": {"open": False, "closed": True}, "power": {"off": False, "on": True}}


class Hands:
    """Opens the handler of the station file."""

    def __init__(self, config: StationConfig) -> None:
        if config.handler is None:
            raise ConfigError("the station file names no handler")
        self._data = config.data
        settings = dict(config.handler.settings)
        if config.virtual_bench is not None:
            settings.setdefault("bench", str(config.virtual_bench))
        self.port: Handler = plugins.load("station.handlers", config.handler.driver)(settings)

    def do(self, socket: int, action: str, argument: str) -> None:
        """One action by name; ``Refused`` in one sentence when there is no such action."""
        if action not in ACTIONS:
            raise Refused(f"the handler has no action '{action}'{nearest(action, ACTIONS)}")
        method = getattr(self.port, action)
        if action in ("remove", "unplug", "replug"):
            method(socket)
        elif action in WORDS:
            if argument not in WORDS[action]:
                saw = f"saw '{argument}'{nearest(argument, WORDS[action])}"
                raise Refused(f"expected {action} {' or '.join(WORDS[action])}, {saw}")
            method(socket, WORDS[action][argument])
        elif action == "insert" and "@" not in argument and (place := self._shelf_place(argument)):
            method(socket, f"{argument}@{place}")
        else:
            method(socket, argument)

    def _shelf_place(self, name: str) -> str:
        """Where a die of the shelf comes from: its label says it, and so must the die."""
        from station.shelf import Shelf

        return next((printed.die for known, printed in Shelf(self._data) if known == name), "")

    def state(self, socket: int) -> dict[str, object]:
        """What the bench says of a socket: its part, its sensors, what is armed."""
        return dict(self.port.state(socket))

    def close(self) -> None:
        """Let go of the bench."""
        close = getattr(self.port, "close", None)
        if close is not None:
            close()
