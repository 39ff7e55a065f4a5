"""Sessions and the interceptor in front of every call: who calls, with which token, may it call this, from where.

Source: opentitan-appliance sheet 2.2 to 2.5. The order of the checks and their status codes are part of the contract.
Tokens come from the operating system's generator and are never logged.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc

from station.appliance.refusal import Refusal
from station.secret import Secret

log = logging.getLogger(__name__)

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890"
TOKEN_LENGTH = 16
SERVICE = "/pa.ProvisioningApplianceService/"
WITHOUT_SESSION = ("InitSession", "CloseSession")
REALM_KEY = "x-station-realm"

Handler = Callable[[Any, grpc.ServicerContext], Any]


def new_token() -> Secret:
    """A session token of 16 unguessable characters."""
    return Secret("".join(secrets.choice(ALPHABET) for _ in range(TOKEN_LENGTH)).encode(), "session token")


@dataclass(frozen=True, slots=True)
class Session:
    """One user's session; a new one replaces it."""

    sku: str
    token: Secret
    methods: tuple[str, ...]


@dataclass(slots=True)
class Sessions:
    """Sessions by user; they live in this process only."""

    _by_user: dict[str, Session] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, user: str, session: Session) -> None:
        """Store the user's session in place of an older one."""
        with self._lock:
            self._by_user[user] = session

    def close(self, user: str) -> None:
        """Forget the user's session, if there is one."""
        with self._lock:
            self._by_user.pop(user, None)

    def find(self, user: str) -> Session | None:
        """The user's session."""
        with self._lock:
            return self._by_user.get(user)


class SessionInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Checks every call of the service in the order of the contract, then audits it with one line."""

    def __init__(self, sessions: Sessions, endpoint_check: bool) -> None:
        self._sessions = sessions
        self._endpoint_check = endpoint_check

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Wrap the handlers of the service; other services (health) pass."""
        handler = continuation(details)
        if handler is None or not details.method.startswith(SERVICE):
            return handler
        method = details.method.removeprefix(SERVICE)
        return grpc.unary_unary_rpc_method_handler(
            self._guarded(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    def _guarded(self, method: str, inner: Handler) -> Handler:
        def guarded(request: Any, context: grpc.ServicerContext) -> Any:
            started = time.monotonic()
            code = "OK"
            try:
                self._authorise(method, context)
                return inner(request, context)
            except Refusal as refusal:
                code = refusal.code
                abort(context, refusal)
            except Exception as error:  # no stack trace to the client, and the server lives on
                code = "INTERNAL"
                log.error(
                    "%s failed: %s\n%s", method, type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
                )
                abort(context, Refusal("INTERNAL", "internal error: see the appliance's log"))
            finally:
                _audit(method, request, context, code, started)

        return guarded

    def _authorise(self, method: str, context: grpc.ServicerContext) -> None:
        if method not in WITHOUT_SESSION:
            session = self._sessions.find(user_of(context))
            if session is None:
                raise Refusal("INTERNAL", "user not found: call InitSession first")
            _check_token(session, context)
            if method not in session.methods:
                raise Refusal("PERMISSION_DENIED", f"sku {session.sku!r} may not call {method}")
        if self._endpoint_check and "x509_subject_alternative_name" in context.auth_context():
            check_endpoint(context)


def metadata_value(context: grpc.ServicerContext, key: str) -> str | None:
    """First value of a metadata key."""
    return next((str(value) for name, value in context.invocation_metadata() if name == key), None)


def user_of(context: grpc.ServicerContext) -> str:
    """Who calls: the ``user_id`` metadata, else the peer's address without its port."""
    return metadata_value(context, "user_id") or peer_address(context)


def peer_address(context: grpc.ServicerContext) -> str:
    """IP address of the peer, without port and brackets."""
    text = unquote(str(context.peer()))
    address = text.partition(":")[2] if text.startswith(("ipv4:", "ipv6:")) else text
    return _canonical(address.rpartition(":")[0].strip("[]") or text)


def check_endpoint(context: grpc.ServicerContext) -> None:
    """Refuse a peer whose address, and the name that its address resolves to, are not in its certificate."""
    identity: Mapping[str, Any] = context.auth_context()
    names = {_canonical(name.decode()) for name in identity.get("x509_subject_alternative_name", ())}
    address = peer_address(context)
    if address in names:
        return
    host = _reverse_name(address)
    if not host or host not in {name.lower() for name in names}:
        raise Refusal("UNKNOWN", f"the client certificate does not name the client's address {address}")


def abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    """End the call with the refusal's status."""
    context.abort(grpc.StatusCode[refusal.code], str(refusal))
    raise AssertionError("abort returned")


def _check_token(session: Session, context: grpc.ServicerContext) -> None:
    sent = metadata_value(context, "authorization")
    if sent is None:
        raise Refusal("UNAUTHENTICATED", "no access token was sent")
    with session.token.reveal() as raw:
        if not hmac.compare_digest(raw, sent.encode()):
            raise Refusal("NOT_FOUND", "incorrect access token")


def _canonical(text: str) -> str:
    """One spelling per IP address; an IPv4 address inside IPv6 counts as IPv4; names stay as they are."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


def _reverse_name(address: str) -> str:
    try:
        return socket.gethostbyaddr(address)[0].partition(".")[0].lower()
    except OSError:
        return ""


def _audit(method: str, request: Any, context: grpc.ServicerContext, code: str, started: float) -> None:
    data = getattr(request, "device_data", None)
    sku = getattr(request, "sku", "") or (data.sku if data is not None else "")
    milliseconds = 1000 * (time.monotonic() - started)
    log.info("%s user=%r sku=%r %s %.1f ms", method, user_of(context), sku, code, milliseconds)
