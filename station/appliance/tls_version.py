"""TLS 1.3 as the only version of the appliance's server.

gRPC for Python has no setting for the lowest version. Its core takes the cipher suites of TLS 1.2 from a variable when
it is loaded; those of TLS 1.3 are fixed and stay. The one suite named here needs a key that both sides share
beforehand, which the server does not have: so no handshake of TLS 1.2 can succeed, for whatever kind of server key.
"""

from __future__ import annotations

import os

SWITCH = "GRPC_SSL_CIPHER_SUITES"
NEVER_AGREED = "PSK-AES128-CBC-SHA"


def require_tls13() -> None:
    """Refuse TLS below 1.3 in this process; must be called before gRPC is imported."""
    os.environ[SWITCH] = NEVER_AGREED


def tls13_is_required() -> bool:
    """True when ``require_tls13`` was called: the environment that the process came with has been dropped by then."""
    return os.environ.get(SWITCH) == NEVER_AGREED
