"""The appliance ports of a workbench (one per socket, each with a session of its own) and the light in the header."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from station import plugins
from station.config import StationConfig
from station.credentials import CredentialStore
from station.errors import ConfigError, StationError
from station.ports import Appliance
from station.protocol import ApplianceState
from station.secret import Secret

CHECK_EVERY = 30.0
PASSWORD = "sku_password_"


class Appliances:
    """Opens the driver on first use; checks the connection now and then without touching a run."""

    def __init__(
        self,
        config: StationConfig,
        credentials: CredentialStore,
        pending: Callable[[], int],
        emit: Callable[[ApplianceState], None],
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._pending = pending
        self._emit = emit
        self._open: dict[int, Any] = {}
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._sku = ""
        self.state = ApplianceState(ok=False, name=config.appliance.driver, text="not checked yet", checked=False)
        self._thread = threading.Thread(target=self._loop, name="appliance check", daemon=True)

    def start(self, sku: str) -> None:
        """Begin to check the connection."""
        self._sku = sku
        self._thread.start()

    def check_soon(self, sku: str = "") -> None:
        """Something happened that may have changed the connection."""
        self._sku = sku or self._sku
        self._wake.set()

    def of(self, socket: int) -> Appliance:
        """The port for one socket; 0 is the outbox's and the doctor's."""
        with self._guard:
            if socket not in self._open:
                opener = plugins.load("station.appliances", self._config.appliance.driver)
                self._open[socket] = opener(self._settings(socket))
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

    def _settings(self, socket: int) -> dict[str, object]:
        user = f"{self._config.name}-{socket}" if socket else f"{self._config.name}-outbox"
        given = self._config.appliance.settings
        return {"user_id": user, "realm": self._config.realm.value, **given, "sku_password": self._passwords()}

    def _passwords(self) -> dict[str, Secret]:
        names = self._credentials.names(PASSWORD)
        return {name.removeprefix(PASSWORD): self._credentials.credential(name) for name in names}

    def _loop(self) -> None:
        while not self._ending:
            self._show(self.check(self._sku))
            self._wake.wait(CHECK_EVERY)
            self._wake.clear()

    def _show(self, found: list[str]) -> None:
        if self._ending:
            return
        clock = getattr(self._open.get(0), "milliseconds", None)
        milliseconds = (clock() if clock is not None else None) or 0.0
        text = found[0] if found else f"mTLS · {milliseconds:.0f} ms"
        try:
            pending = self._pending()
        except (StationError, ConfigError):
            pending = 0
        name = str(self._config.appliance.settings.get("name", self._config.appliance.driver))
        self.state = ApplianceState(not found, name, text, round(milliseconds, 1), pending)
        self._emit(self.state)
