"""One POST to the HTTP registry: TLS, headers from a private file that is read at every call, one time limit for all.

No proxy, no redirection, no connection that is kept: what the registry says is either an answer or a failure.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from station.appliance.files import require_private
from station.appliance.registry_json import one_line
from station.appliance.registry_settings import ForwardSettings
from station.errors import ConfigError, Finding, StationError

LARGEST_ANSWER = 8 << 20
OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*", re.ASCII)


class PostFailed(StationError):
    """No usable answer; ``reached``: the request was sent, so the registry may have acted on it."""

    def __init__(self, sentence: str, reached: bool) -> None:
        self.reached = reached
        super().__init__(sentence)


class HttpRegistry:
    """Posts from one thread, until ``close`` is called from another one. ``name``: host and port, for the log."""

    def __init__(self, settings: ForwardSettings) -> None:
        self._settings = settings
        self._parts = urlsplit(settings.url)
        self._guard = threading.Lock()
        self._socket: socket.socket | None = None
        self._closed = False
        self._cut = ""
        self.name = self._parts.netloc

    def post(self, body: bytes) -> bytes:
        """The body of an answer with a status of 200 to 299; raises ``PostFailed``."""
        headers = self._headers()
        with self._guard:
            self._cut = ""
        seconds = self._settings.seconds
        limit = threading.Timer(seconds, self._end, (f"it gave no complete answer within {seconds:g} s",))
        limit.daemon = True
        limit.start()
        try:
            return self._exchange(body, headers)
        finally:
            limit.cancel()
            limit.join()
            self._let_go()

    def check(self) -> None:
        """Raise ``ConfigError`` when the files of headers or CA cannot be used; nothing is sent."""
        self._headers()
        if self._parts.scheme == "https":
            try:
                self._tls()
            except OSError as error:
                raise ConfigError(f"expected a usable registry: {error}") from None

    def close(self) -> None:
        """End the post in progress, and allow no other one."""
        self._closed = True
        self._end("the appliance ends")

    def _end(self, why: str) -> None:
        with self._guard:
            self._cut = self._cut or why
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _exchange(self, body: bytes, headers: dict[str, str]) -> bytes:
        sent = False
        try:
            connection = self._connect()
            sent = True
            connection.request("POST", self._target(), body, headers)
            answer = connection.getresponse()
            text = answer.read(LARGEST_ANSWER + 1)
            if self._cut:  # without a length in the answer, a shut socket looks like its end
                raise OSError(self._cut)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = self._cut or _words(error)
            raise PostFailed(f"the registry {self.name} failed: {why}", sent) from None
        if not 200 <= answer.status < 300:
            raise PostFailed(f"the registry {self.name} answered with HTTP status {answer.status}", True)
        if len(text) > LARGEST_ANSWER:
            raise PostFailed(f"the registry {self.name} answered with more than {LARGEST_ANSWER} bytes", True)
        return text

    def _connect(self) -> http.client.HTTPConnection:
        """A connection whose socket can be shut from outside at any moment."""
        host, secure = self._parts.hostname or "", self._parts.scheme == "https"
        port = self._parts.port or (443 if secure else 80)
        plain = self._open(host, port)
        if secure:
            plain = self._encrypted(plain, host)
        connection = http.client.HTTPConnection(host, port, timeout=self._settings.seconds)
        connection.sock = plain
        return connection

    def _open(self, host: str, port: int) -> socket.socket:
        failed: OSError = OSError(f"no address for {host}")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            opened = socket.socket(family, kind, protocol)
            self._keep(opened)
            opened.settimeout(self._settings.seconds)
            try:
                opened.connect(address)
                return opened
            except OSError as error:
                failed = error
                opened.close()
        raise failed

    def _encrypted(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        wrapped = self._tls().wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._keep(wrapped)
        wrapped.do_handshake()
        return wrapped

    def _keep(self, opened: socket.socket) -> None:
        """From now on it can be shut from outside."""
        with self._guard:
            if self._cut or self._closed:
                opened.close()
                raise OSError(self._cut or "the appliance ends")
            self._socket = opened

    def _let_go(self) -> None:
        with self._guard:
            opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()

    def _tls(self) -> ssl.SSLContext:
        ca = self._settings.ca
        try:
            return ssl.create_default_context(cafile=str(ca) if ca is not None else None)
        except OSError as error:
            raise OSError(f"the CA file {ca} cannot be used ({_words(error)})") from None

    def _target(self) -> str:
        query = f"?{self._parts.query}" if self._parts.query else ""
        return f"{self._parts.path or '/'}{query}"

    def _headers(self) -> dict[str, str]:
        port = f":{self._parts.port}" if self._parts.port else ""
        host = self._parts.hostname or ""
        given = read_headers(self._settings.headers) if self._settings.headers is not None else {}
        ours = {"content-type": "application/json", "accept": "application/json"}
        fixed = {"host": f"[{host}]{port}" if ":" in host else f"{host}{port}", "connection": "close"}
        return {**ours, **given, **fixed}


def read_headers(path: Path) -> dict[str, str]:
    """Headers of a file with a line ``Name: value`` each; they may be credentials, so only its owner may read it."""
    require_private(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigError([Finding(path, 0, "expected a readable text file of headers")]) from None
    headers: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _HEADER.fullmatch(line)
        if found is None or found[1].lower() in OURS:
            expected = f"expected 'Name: value' in ASCII, and none of {', '.join(sorted(OURS))}"
            raise ConfigError([Finding(path, number, expected)])
        headers[found[1].lower()] = found[2]
    return headers


def _words(error: Exception) -> str:
    """The reason in short; a header's value can be in none of these errors, it was checked before."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return one_line(str(getattr(error, "strerror", None) or error)) or type(error).__name__
