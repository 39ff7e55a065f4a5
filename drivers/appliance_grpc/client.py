"""The ``Appliance`` port over gRPC: sessions by SKU, re-login, and answers checked before they are used.

Source: opentitan-appliance sheet 2.2 to 2.4 and 11. A call is repeated after the appliance refused it because it did
not know the session: such a refusal comes before any work, so even a fresh token may be asked for again then. In a
fleet of several instances it is also repeated, a few times, when an instance did not answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

from drivers.appliance_grpc.calls import Calls, Metadata
from drivers.appliance_grpc.doctor import (
    Diagnosis,
    cautions,
    diagnose_connection,
    diagnose_login,
    first_host_name,
    other_cas,
    other_sessions,
)
from drivers.appliance_grpc.messages import (
    KEY_ID_BYTES,
    derive_request,
    endorse_request,
    refuse,
    registration_request,
)
from drivers.appliance_grpc.sentences import CallFailed, JournalBehind
from drivers.appliance_grpc.settings import PICK_FIRST, ClientSettings
from station.errors import ApplianceError, FormatError
from station.formats.journal_anchor import parse
from station.model import Realm, Registration, TokenRequest
from station.secret import Sealed, Secret
from station.wire import pa_pb2

log = logging.getLogger(__name__)

REALM_KEY = "x-station-realm"
JOURNAL_KEY, HEAD_KEY, ANCHOR_KEY = "x-station-journal", "x-station-journal-head", "x-station-anchor"
CA_LABELS = ("UDS", "EXT")
FLEET_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 1.6)
"""Seconds before a fleet is asked again; an instance that came back is seen within them (``calls``)."""


class GrpcAppliance:
    """Implements ``station.ports.Appliance``; safe to call from any thread.

    ``tls`` is False only when the settings switched it off; the workbench then shows the ENGINEERING band.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self.tls = settings.tls is not None
        self._settings = settings
        self._calls = Calls(settings)
        self._lock = threading.Lock()
        self._sessions: dict[str, Secret] = {}
        self._users: dict[str, set[int]] = {}  # threads that opened the SKU's session
        self._last_sku = settings.sku
        self._one_fleet: set[str] = set()  # SKUs for which all instances were seen to be one

    def open_session(self, sku: str) -> None:
        """Log in for the SKU, or check a session that other threads use: a new login would end theirs.

        When the appliance cannot be reached, the error says what the connection doctor found.
        """
        self._last_sku = sku
        try:
            self._log_in(sku) if self._enter(sku) else self._check_session(sku)
        except CallFailed as failed:
            found = diagnose_connection(self._settings) if failed.code == "UNAVAILABLE" else []
            if found:
                raise ApplianceError(found[0].sentence, failed.code) from None
            raise failed.as_error(self._calls.address) from None

    def derive(self, sku: str, requests: Sequence[TokenRequest]) -> list[Secret]:
        """Tokens of the high or low seed, in order."""
        if any(request.seed == "keygen" for request in requests):
            raise refuse("expected seeds high or low: ask for a fresh token with generate")
        answer = self._call(sku, "DeriveTokens", derive_request(sku, requests))
        _require_count("tokens", len(answer.tokens), len(requests))
        return [_token(token, request) for token, request in zip(answer.tokens, requests, strict=True)]

    def generate(self, sku: str, request: TokenRequest) -> tuple[bytes, Sealed]:
        """The hash of a token of a fresh seed, and that seed wrapped; asked for again in a fleet only."""
        wanted = replace(request, seed="keygen", hashed=True)  # the plain token never leaves the appliance
        answer = self._call(sku, "DeriveTokens", derive_request(sku, [wanted]), keygen=True)
        _require_count("tokens", len(answer.tokens), 1)
        if not answer.tokens[0].wrapped_seed:
            raise _wrong_answer(f"a wrapped seed with {request.label!r}", "none")
        if len(answer.tokens[0].token) != request.bits // 8:
            raise _wrong_answer(f"a token hash of {request.bits // 8} bytes", f"{len(answer.tokens[0].token)}")
        return answer.tokens[0].token, Sealed(answer.tokens[0].wrapped_seed, f"wrapped seed of {request.label}")

    def ca_subject_keys(self, sku: str, labels: Sequence[str]) -> list[bytes]:
        """Key ids of 20 bytes; shorter ones are padded with zeros."""
        answer = self._call(sku, "GetCaSubjectKeys", pa_pb2.GetCaSubjectKeysRequest(sku=sku, cert_labels=labels))
        _require_count("key ids", len(answer.key_ids), len(labels))
        if any(len(key_id) > KEY_ID_BYTES for key_id in answer.key_ids):
            raise _wrong_answer(f"key ids of at most {KEY_ID_BYTES} bytes", "a longer one")
        return [key_id.ljust(KEY_ID_BYTES, b"\0") for key_id in answer.key_ids]

    def ca_certificates(self, sku: str, labels: Sequence[str]) -> list[bytes]:
        """CA certificates, DER."""
        answer = self._call(sku, "GetCaCerts", pa_pb2.GetCaCertsRequest(sku=sku, cert_labels=labels))
        _require_count("certificates", len(answer.certs), len(labels))
        return [cert.blob for cert in answer.certs]

    def endorse(self, sku: str, tbs: Sequence[tuple[str, bytes]], diversifier: bytes, signature: bytes) -> list[bytes]:
        """Certificates for the TBS, in order; each must answer its label and contain its TBS unchanged."""
        answer = self._call(sku, "EndorseCerts", endorse_request(sku, tbs, diversifier, signature))
        _require_count("certificates", len(answer.certs), len(tbs))
        for (label, body), bundle in zip(tbs, answer.certs, strict=True):
            if bundle.key_label != label or body not in bundle.cert.blob:
                raise _wrong_answer(f"the certificate of {label!r} with its TBS unchanged", "another certificate")
        return [bundle.cert.blob for bundle in answer.certs]

    def owner_boot_message(self, sku: str) -> str:
        """The regular expression that a good part's boot text matches."""
        answer = self._call(sku, "GetOwnerFwBootMessage", pa_pb2.GetOwnerFwBootMessageRequest(sku=sku))
        return str(answer.boot_message)

    def register(self, registration: Registration) -> None:
        """Register; returns only after the appliance acknowledged. Sending the same content again is harmless."""
        if not registration.ate_id:
            registration = replace(registration, ate_id=first_host_name(self._settings) or "No ATE ID")
        self._call(registration.sku, "RegisterDevice", registration_request(registration))

    def close_session(self) -> None:
        """Close the sessions that no other thread has opened; never raises."""
        me = threading.get_ident()
        with self._lock:
            for sku in list(self._sessions):
                users = self._users.setdefault(sku, set())
                users.discard(me)
                if not users:
                    self._close_locked(sku)

    def cancel(self) -> None:
        """Cancel the calls in flight, from any thread; they raise ``ApplianceError`` with code CANCELLED."""
        self._calls.cancel()

    def close(self) -> None:
        """Close all sessions and the channel."""
        with self._lock:
            for sku in list(self._sessions):
                self._close_locked(sku)
            self._users.clear()
        self._calls.close()

    def milliseconds(self) -> float | None:
        """Round trip of the last call that was answered, or None before the first."""
        return self._calls.milliseconds

    def cautions(self) -> list[Diagnosis]:
        """What keeps nothing from working yet: the station's key can be read by others, its certificate ends soon."""
        return cautions(self._settings)

    def diagnose(self, sku: str = "") -> list[Diagnosis]:
        """The connection doctor: what keeps the station from working with the appliance; empty when nothing does.

        Files, address, TLS and realm first; when they are right, a login for the SKU (given, configured or used last)
        in a session of its own. Of a fleet every instance is asked, until all were found to be one.
        """
        found = diagnose_connection(self._settings)
        sku = sku or self._last_sku
        if found or not sku:
            return found
        try:
            self._init_session(sku, f"{sku}.doctor")
            self._calls.run("CloseSession", pa_pb2.CloseSessionRequest(), self._metadata(f"{sku}.doctor"),
                            self._calls.cancels)  # fmt: skip
            return [] if sku in self._one_fleet else self._diagnose_fleet(sku)
        except CallFailed as failed:
            return [diagnose_login(failed, self._calls.address)]
        except JournalBehind as behind:
            return [Diagnosis("journal", str(behind))]
        except ApplianceError as error:
            return [Diagnosis("realm" if error.code == "FAILED_PRECONDITION" else "settings", str(error))]

    def _diagnose_fleet(self, sku: str) -> list[Diagnosis]:
        """What keeps the instances behind the target from being one; each is asked over a channel of its own."""
        alone = replace(self._settings, user_id=f"{self._settings.user_id}.doctor", load_balancing=PICK_FIRST)
        with ExitStack() as stack:
            first, *others = (
                stack.enter_context(closing(GrpcAppliance(replace(alone, target=target))))
                for target in self._settings.instances
            )
            by_turns = self._settings.load_balancing != PICK_FIRST
            found = list(dict.fromkeys(item for other in others for item in first._compare(sku, other, by_turns)))
        if not found:
            self._one_fleet.add(sku)
        return found

    def _compare(self, sku: str, other: GrpcAppliance, by_turns: bool) -> list[Diagnosis]:
        """Whether this instance and another one have the same CAs and, when calls go to both, the same sessions."""
        addresses = self._settings.target, other._settings.target
        asked = self
        try:
            ids = self._ca_ids(sku, self._log_in(sku))
            asked = other
            if other._ca_ids(sku, other._log_in(sku)) != ids:
                return [other_cas(*addresses)]
            if by_turns:
                other._ca_ids(sku, self._log_in(sku))
        except CallFailed as failed:
            lost = asked is other and failed.session_lost
            return [other_sessions(*addresses) if lost else diagnose_login(failed, asked._settings.target)]
        return []

    def _ca_ids(self, sku: str, token: Secret) -> list[bytes]:
        request = pa_pb2.GetCaSubjectKeysRequest(sku=sku, cert_labels=CA_LABELS)
        return list(self._run(sku, "GetCaSubjectKeys", request, token).key_ids)

    def _call(self, sku: str, call: str, request: Any, keygen: bool = False) -> Any:
        """One call in the SKU's session; once more after a fresh login when the session was unknown."""
        try:
            token = self._session(sku)
            try:
                return self._run(sku, call, request, token)
            except CallFailed as failed:
                if not failed.session_lost:
                    raise
                log.info("the appliance lost the session of sku %r: logging in again", sku)
            return self._run(sku, call, request, self._log_in(sku, lost=token))
        except CallFailed as failed:
            raise failed.as_error(
                self._calls.address, keygen and failed.call == call and not self._settings.is_fleet
            ) from None

    def _run(self, sku: str, call: str, request: Any, token: Secret) -> Any:
        with token.reveal() as raw:
            return self._carry_out(call, request, (*self._metadata(sku), ("authorization", raw.decode())))[0]

    def _carry_out(self, call: str, request: Any, metadata: Metadata) -> tuple[Any, dict[str, str]]:
        """One call; in a fleet once more, a few times, when an instance did not answer.

        All calls may be repeated as long as nobody has used the answer: tokens of a stored seed and CA data are the
        same again, an endorsement counts once per device, the same registration is a no-op, and of two fresh tokens
        only the one that arrives is ever used, which the log says.
        """
        cancels = self._calls.cancels
        for pause in FLEET_PAUSES if self._settings.is_fleet else ():
            try:
                return self._calls.run(call, request, metadata, cancels)
            except CallFailed as failed:
                if not failed.not_answered:
                    raise
                log.warning("%s was not answered by one instance of the appliance, asking another one", call)
                self._calls.pause(call, pause, cancels)
        return self._calls.run(call, request, metadata, cancels)

    def _session(self, sku: str) -> Secret:
        with self._lock:
            token = self._sessions.get(sku)
        return token or self._log_in(sku)

    def _enter(self, sku: str) -> bool:
        """Note that this thread uses the SKU's session; True when it is alone and should log in afresh."""
        with self._lock:
            users = self._users.setdefault(sku, set())
            alone = not users - {threading.get_ident()}
            if alone:
                self._sessions.pop(sku, None)
            users.add(threading.get_ident())
            return alone

    def _check_session(self, sku: str) -> None:
        """The cheapest call there is, to see that the appliance answers and knows the session."""
        self._call(sku, "GetCaSubjectKeys", pa_pb2.GetCaSubjectKeysRequest(sku=sku))

    def _close_locked(self, sku: str) -> None:
        """Close one session; the lock is held so that the close cannot hit a session opened meanwhile.

        Its token goes along: of several processes behind one address another one may have opened it.
        """
        token = self._sessions.pop(sku)
        try:
            self._run(sku, "CloseSession", pa_pb2.CloseSessionRequest(), token)
        except (CallFailed, ApplianceError) as error:
            log.info("the session of sku %r could not be closed: %s", sku, error)

    def _log_in(self, sku: str, lost: Secret | None = None) -> Secret:
        """Open a session; when another thread already opened one in place of the lost one, use that."""
        with self._lock:
            current = self._sessions.get(sku)
            if current is not None and current is not lost:
                return current
            token = self._init_session(sku, sku)
            self._sessions[sku] = token
            return token

    def _init_session(self, sku: str, session: str) -> Secret:
        with self._settings.password_of(sku).reveal() as raw:
            request = pa_pb2.InitSessionRequest(sku=sku, sku_auth=raw.decode("utf-8"))
        mark = ((REALM_KEY, self._settings.realm.value), *self._journal_marks())
        answer, received = self._carry_out("InitSession", request, (*self._metadata(session), *mark))
        self._require_realm(received.get(REALM_KEY))
        self._require_journal(received.get(ANCHOR_KEY))
        if not answer.sku_session_token:
            raise _wrong_answer("a session token", "none")
        return Secret(answer.sku_session_token.encode(), "session token")

    def _require_realm(self, mark: str | None) -> None:
        realm = self._settings.unmarked_realm if mark is None else mark
        if realm != self._settings.realm.value:
            kind = "carries no realm mark and counts as" if mark is None else "is of"
            raise ApplianceError(
                f"expected an appliance of realm {self._settings.realm}, {self._calls.address} {kind} realm "
                f"{Realm(realm) if realm in set(Realm) else 'unknown'}: use the appliance of the station's realm",
                "FAILED_PRECONDITION",
            )

    def _journal_marks(self) -> Metadata:
        """Which journal this is and how far it goes; an appliance of another make does not look at it."""
        journal = self._settings.journal
        if journal is None:
            return ()
        head = journal.anchor()
        return ((JOURNAL_KEY, journal.station), *(((HEAD_KEY, str(head)),) if head is not None else ()))

    def _require_journal(self, told: str | None) -> None:
        """Refuse to work with a journal that has forgotten what the appliance still knows of it."""
        journal = self._settings.journal
        if journal is None or told is None:
            return
        try:
            anchor = parse(told)
        except FormatError:
            raise _wrong_answer("an anchor of the journal", "something else") from None
        if not journal.holds(anchor):
            raise JournalBehind(self._calls.address, anchor.length)

    def _metadata(self, session: str) -> Metadata:
        """One user per station and SKU, so that sessions of different SKUs do not replace one another."""
        return (("user_id", f"{self._settings.user_id}.{session}".encode("ascii", "replace").decode()),)


def _token(token: pa_pb2.Token, request: TokenRequest) -> Secret:
    if len(token.token) * 8 != request.bits:
        raise _wrong_answer(f"{request.bits} bits for {request.label!r}", f"{8 * len(token.token)}")
    return Secret(token.token, request.label)


def _require_count(what: str, saw: int, expected: int) -> None:
    if saw != expected:
        raise _wrong_answer(f"{expected} {what}", str(saw))


def _wrong_answer(expected: str, saw: str) -> ApplianceError:
    return ApplianceError(
        f"expected {expected} from the appliance, saw {saw}: check the appliance's version", "DATA_LOSS"
    )
