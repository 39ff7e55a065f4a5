"""What a run sends to the appliance and gets back: names and lengths, in the journal and in the log, never a value."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from station.errors import StationError
from station.model import Registration, TokenRequest
from station.ports import Appliance
from station.secret import Sealed, Secret


@dataclass(slots=True)
class Told:
    """One call: what was sent and what came back, by name and length."""

    call: str
    sent: str
    got: str = ""
    error: str = ""
    milliseconds: float = 0.0

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        return f"refused: {self.error}" if self.error else f"answered in {self.milliseconds:.0f} ms"

    def detail(self) -> dict[str, object]:
        """The plain values for the journal."""
        return asdict(self)


class Witness:
    """An ``Appliance`` that tells of every call of one run and passes it on."""

    def __init__(self, appliance: Appliance, tell: Callable[[Told], None]) -> None:
        self._appliance = appliance
        self._tell = tell

    def open_session(self, sku: str) -> None:
        """InitSession."""
        with self._told("InitSession", sku):
            self._appliance.open_session(sku)

    def derive(self, sku: str, requests: Sequence[TokenRequest]) -> list[Secret]:
        """DeriveTokens: which tokens of how many bits were asked for."""
        with self._told("DeriveTokens", _listed(_asked(request) for request in requests)) as told:
            tokens = self._appliance.derive(sku, requests)
            told.got = _listed(f"{request.label} [{request.bits // 8} bytes, secret]" for request in requests)
        return tokens

    def generate(self, sku: str, request: TokenRequest) -> tuple[bytes, Sealed]:
        """DeriveTokens with a fresh seed."""
        with self._told("DeriveTokens", _asked(request)) as told:
            token_hash, wrapped = self._appliance.generate(sku, request)
            sealed = f"wrapped seed [{len(wrapped.blob)} bytes, sealed]"
            told.got = f"{request.label} [{len(token_hash)} bytes], {sealed}"
        return token_hash, wrapped

    def ca_subject_keys(self, sku: str, labels: Sequence[str]) -> list[bytes]:
        """GetCaSubjectKeys."""
        with self._told("GetCaSubjectKeys", _listed(labels)) as told:
            found = self._appliance.ca_subject_keys(sku, labels)
            told.got = _lengths(labels, found)
        return found

    def ca_certificates(self, sku: str, labels: Sequence[str]) -> list[bytes]:
        """GetCaCerts."""
        with self._told("GetCaCerts", _listed(labels)) as told:
            found = self._appliance.ca_certificates(sku, labels)
            told.got = _lengths(labels, found)
        return found

    def endorse(self, sku: str, tbs: Sequence[tuple[str, bytes]], diversifier: bytes, signature: bytes) -> list[bytes]:
        """EndorseCerts."""
        labels = [label for label, _ in tbs]
        sent = f"{_lengths(labels, [body for _, body in tbs])}, signature [{len(signature)} bytes]"
        with self._told("EndorseCerts", sent) as told:
            found = self._appliance.endorse(sku, tbs, diversifier, signature)
            told.got = _lengths(labels, found)
        return found

    def owner_boot_message(self, sku: str) -> str:
        """GetOwnerFwBootMessage."""
        with self._told("GetOwnerFwBootMessage", sku) as told:
            found = self._appliance.owner_boot_message(sku)
            told.got = f"pattern [{len(found)} characters]"
        return found

    def register(self, registration: Registration) -> None:
        """RegisterDevice."""
        sent = (
            f"device id [{len(registration.device_id)} bytes], "
            f"wrapped seed [{len(registration.wrapped_rma_seed)} bytes], "
            f"{registration.perso_tlv_objects} objects [{len(registration.perso_tlv)} bytes]"
        )
        with self._told("RegisterDevice", sent) as told:
            self._appliance.register(registration)
            told.got = "acknowledged"

    def close_session(self) -> None:
        """CloseSession."""
        self._appliance.close_session()

    @contextmanager
    def _told(self, call: str, sent: str) -> Iterator[Told]:
        """Tell of the call when it has ended, also when it failed."""
        told = Told(call, sent)
        began = time.monotonic()
        try:
            yield told
        except StationError as error:
            told.error = str(error)
            raise
        finally:
            told.milliseconds = round(1000 * (time.monotonic() - began), 1)
            self._tell(told)


def _asked(request: TokenRequest) -> str:
    return f"{request.label} (seed {request.seed}, diversifier {len(request.diversifier)} bytes)"


def _listed(names: Iterator[str] | Sequence[str]) -> str:
    return ", ".join(names)


def _lengths(labels: Sequence[str], values: Sequence[bytes]) -> str:
    return _listed(f"{label} [{len(value)} bytes]" for label, value in zip(labels, values, strict=False))
