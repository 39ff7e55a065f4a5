"""The appliance ports of a workbench (one per socket, each with a session of its own) and the light in the header.

A station whose flows need no appliance has none: no port, no check, no light.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from station import plugins
from station.config import PluginEntry, StationConfig
from station.credentials import CredentialStore
from station.errors import ConfigError, StationError
from station.ports import Appliance, OwnJournal
from station.protocol import ApplianceState
from station.secret import Secret

CHECK_EVERY = 30.0
PASSWORD = "sku_password_"
NONE = "this station has no appliance; name one under [appliance] in the station file"


class NoAppliance:
    """What a flow gets that says it needs no appliance (``NEEDS_APPLIANCE = False`` beside its plan)."""

    def __getattr__(self, name: str) -> Any:
        raise ConfigError(f"the flow says that it needs no appliance, but asked one for {name}; correct the flow")


class Appliances:
    """Opens the driver on first use; checks the connection now and then without touching a run."""

    def __init__(
        self,
        config: StationConfig,
        credentials: CredentialStore,
        pending: Callable[[], int],
        emit: Callable[[ApplianceState], None],
        journal: OwnJournal | None = None,
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._pending = pending
        self._journal = journal
        self._emit = emit
        self._open: dict[int, Any] = {}
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._sku = ""
        self._entry = entry = config.appliance
        self.state = ApplianceState(False, entry.driver, "not checked yet", checked=False) if entry else None
        self._thread = threading.Thread(target=self._loop, name="appliance check", daemon=True)

    def start(self, sku: str) -> None:
        """Begin to check the connection."""
        self._sku = sku
        if self._entry is not None:
            self._thread.start()

    def check_soon(self, sku: str = "") -> None:
        """Something happened that may have changed the connection."""
        self._sku = sku or self._sku
        self._wake.set()

    def of(self, socket: int) -> Appliance:
        """The port for one socket; 0 is the outbox's and the doctor's. ``ConfigError`` where there is no appliance."""
        if self._entry is None:
            raise ConfigError(NONE)
        with self._guard:
            if socket not in self._open:
                opener = plugins.load("station.appliances", self._entry.driver)
                self._open[socket] = opener(self._settings(socket, self._entry))
            port: Appliance = self._open[socket]
            return port

    def check(self, sku: str = "") -> list[str]:
        """One sentence per thing that keeps the station from working with the appliance."""
        try:
            port = self.of(0)
            diagnose = getattr(port, "diagnose", None)
            if diagnose is not None:
                return [str(found) for found in diagnose(sku)]
            if sku:
                port.open_session(sku)
        except StationError as error:
            return [str(error)]
        except Exception as error:  # the light must not stay green because its thread died
            return [f"an error in the program ({type(error).__name__}) kept the station from asking the appliance"]
        return []

    def close(self) -> None:
        """Close all sessions."""
        self._ending = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        with self._guard:
            for port in self._open.values():
                close = getattr(port, "close", port.close_session)
                close()
            self._open.clear()

    def pending_changed(self, ok: bool | None = None) -> None:
        """Something left the outbox; ``ok``: the appliance itself has said so."""
        if self.state is not None:
            reached = self.state.ok if ok is None else ok
            self._emit(replace(self.state, ok=reached, pending_registrations=self._pending()))

    def _settings(self, socket: int, entry: PluginEntry) -> dict[str, object]:
        user = f"{self._config.name}-{socket}" if socket else f"{self._config.name}-outbox"
        ours = {"sku_password": self._passwords(), "journal": self._journal}
        return {"user_id": user, "realm": self._config.realm.value, **entry.settings, **ours}

    def _passwords(self) -> dict[str, Secret]:
        names = self._credentials.names(PASSWORD)
        return {name.removeprefix(PASSWORD): self._credentials.credential(name) for name in names}

    def _loop(self) -> None:
        while not self._ending:
            self._show(self.check(self._sku))
            self._wake.wait(CHECK_EVERY)
            self._wake.clear()

    def _show(self, found: list[str]) -> None:
        if self._ending or self._entry is None:
            return
        clock = getattr(self._open.get(0), "milliseconds", None)
        milliseconds = (clock() if clock is not None else None) or 0.0
        text = found[0] if found else f"mTLS · {milliseconds:.0f} ms"
        try:
            pending = self._pending()
        except (StationError, ConfigError):
            pending = 0
        name = str(self._entry.settings.get("name", self._entry.driver))
        self.state = ApplianceState(not found, name, text, round(milliseconds, 1), pending)
        self._emit(self.state)
