"""One persistent channel and its calls: deadline, cancellation from another thread, round-trip time.

No call is ever repeated here and the library's own retries are off: what may be repeated is the caller's decision.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import grpc

from drivers.appliance_grpc.sentences import CallFailed
from drivers.appliance_grpc.settings import ClientSettings, TlsPaths
from station.errors import ApplianceError
from station.secret import Secret
from station.wire import pa_pb2_grpc

log = logging.getLogger(__name__)

Metadata = tuple[tuple[str, str], ...]
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
)
_RECONNECT_MS, _FLEET_RECONNECT_MS = 2000, 500
"""Longest wait before a lost instance is looked for again: of a fleet it may be the only one that is left."""


class Calls:
    """Carries calls out, from any thread."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._cancelled = threading.Condition(self._lock)
        self._cancels = 0
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self._address = ""
        self._running: set[Any] = set()
        self.milliseconds: float | None = None

    @property
    def address(self) -> str:
        """The target that was used last."""
        return self._address or self._settings.target

    def run(self, call: str, request: Any, metadata: Metadata, cancels: int) -> tuple[Any, dict[str, str]]:
        """Carry out one call; returns the answer and the metadata that came with it, raises ``CallFailed``.

        ``cancels``: of the moment when the caller began; a cancel since then ends this call, too.
        """
        method = getattr(self._current_stub(), call)
        started = time.monotonic()
        running = method.future(request, timeout=self._settings.deadline, metadata=metadata)
        with self._lock:
            self._running.add(running)
            cancelled = self._cancels != cancels
        if cancelled:  # before it could be found among those in flight
            running.cancel()
        try:
            answer = running.result()
            metadata_of = (*running.initial_metadata(), *running.trailing_metadata())
            received = {str(key): str(value) for key, value in metadata_of}
        except grpc.FutureCancelledError:
            raise CallFailed(call, "CANCELLED", "", cancelled_here=True) from None
        except grpc.RpcError as error:
            raise CallFailed(call, error.code().name, self._without_secrets(str(error.details()), metadata)) from None
        finally:
            with self._lock:
                self._running.discard(running)
            self._note(call, running, started)
        return answer, received

    def cancel(self) -> None:
        """Cancel every call that is in flight; later calls are not affected."""
        with self._lock:
            running = list(self._running)
            self._cancels += 1
            self._cancelled.notify_all()
        for call in running:
            call.cancel()

    @property
    def cancels(self) -> int:
        """How often calls were cancelled; ``run`` and ``pause`` compare with it."""
        with self._lock:
            return self._cancels

    def pause(self, call: str, seconds: float, cancels: int) -> None:
        """Wait before the call is tried again; raises ``CallFailed`` when it was cancelled since ``cancels``."""
        with self._lock:
            if self._cancelled.wait_for(lambda: self._cancels != cancels, seconds):
                raise CallFailed(call, "CANCELLED", "", cancelled_here=True)

    def close(self) -> None:
        """Close the channel; the next call opens another one."""
        with self._lock:
            channel, self._channel, self._address = self._channel, None, ""
        if channel is not None:
            channel.close()

    def _note(self, call: str, running: Any, started: float) -> None:
        milliseconds = 1000 * (time.monotonic() - started)
        code = running.code()
        if code is grpc.StatusCode.OK:
            self.milliseconds = milliseconds
        log.debug("%s %s in %.1f ms", call, code.name if code else "?", milliseconds)

    def _current_stub(self) -> Any:
        """The stub for the address of now; another address (an embedded appliance restarted) means another channel."""
        address = self._settings.address()
        with self._lock:
            if self._channel is not None and self._address == address:
                return self._stub
            old, self._channel = self._channel, _open_channel(self._settings, address)
            self._address = address
            self._stub = pa_pb2_grpc.ProvisioningApplianceServiceStub(self._channel)  # type: ignore[no-untyped-call]
            stub = self._stub
        if old is not None:
            old.close()
        return stub

    def _without_secrets(self, details: str, metadata: Metadata) -> str:
        """Status texts are the server's words: strike out what it must not repeat."""
        secrets = [value for key, value in metadata if key == "authorization"]
        passwords = self._settings.password
        for password in [passwords] if isinstance(passwords, Secret) else passwords.values():
            with password.reveal() as raw:
                secrets.append(raw.decode("utf-8", "replace"))
        for secret in filter(None, secrets):
            details = details.replace(secret, "…")
        return details


def _open_channel(settings: ClientSettings, address: str) -> grpc.Channel:
    longest = _FLEET_RECONNECT_MS if settings.is_fleet else _RECONNECT_MS
    options = [*_OPTIONS, ("grpc.max_reconnect_backoff_ms", longest)]
    options.append(("grpc.service_config", json.dumps({"loadBalancingConfig": [{settings.load_balancing: {}}]})))
    if settings.tls is None:
        return grpc.insecure_channel(address, options)
    if settings.target_name:
        options.append(("grpc.ssl_target_name_override", settings.target_name))
    return grpc.secure_channel(address, _credentials(settings.tls), options)


def _credentials(tls: TlsPaths) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(_pem(tls.ca), _pem(tls.key), _pem(tls.certificate))


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ApplianceError(
            f"expected a PEM file at {path}: {error.strerror}; correct the settings or issue the file", "UNAVAILABLE"
        ) from None
