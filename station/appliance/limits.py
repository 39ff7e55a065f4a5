"""How large a request may be: what a device needs fits many times over, what would tie the appliance up does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from station.appliance.refusal import Refusal
from station.appliance.session_tokens import RESERVED
from station.formats.perso_blob import MAX_BLOB
from station.wire import pa_pb2

MESSAGE_BYTES = 1 << 20
"""Larger messages are refused with RESOURCE_EXHAUSTED before they are parsed."""
TRANSPORT_BYTES = 4 << 20
"""Larger ones are refused by the transport with the same code, before they are a call."""
TBS_BYTES = 8192
BUNDLES = 32
TOKENS = 64
LABELS = 64
NAME_CHARACTERS = 80
"""Of a label; a SKU is found by its name or not."""


def require_size(request: Any) -> None:
    """Refuse a request that no device can need, with the code that the wire contract has for bad input."""
    if isinstance(request, pa_pb2.EndorseCertsRequest):
        _at_most(BUNDLES, len(request.bundles), "bundles")
        _at_most(TBS_BYTES, max((len(bundle.tbs) for bundle in request.bundles), default=0), "bytes of TBS")
        _require_short_labels(bundle.key_params.key_label for bundle in request.bundles)
    elif isinstance(request, pa_pb2.DeriveTokensRequest):
        _at_most(TOKENS, len(request.params), "tokens")
        _require_free_diversifiers(request)
    elif isinstance(request, pa_pb2.GetCaSubjectKeysRequest | pa_pb2.GetCaCertsRequest):
        _at_most(LABELS, len(request.cert_labels), "labels")
        _require_short_labels(request.cert_labels)
    elif isinstance(request, pa_pb2.RegistrationRequest):
        _at_most(MAX_BLOB, len(request.device_data.perso_tlv_data), "bytes of personalization data")


def _require_free_diversifiers(request: pa_pb2.DeriveTokensRequest) -> None:
    if any(params.diversifier.startswith(RESERVED) for params in request.params):
        reserved = RESERVED.decode()
        raise Refusal("INVALID_ARGUMENT", f"diversifiers that begin with {reserved!r} are the appliance's own")


def _require_short_labels(labels: Iterable[str]) -> None:
    _at_most(NAME_CHARACTERS, max(map(len, labels), default=0), "characters of a label")


def _at_most(limit: int, saw: int, what: str) -> None:
    if saw > limit:
        raise Refusal("INVALID_ARGUMENT", f"expected at most {limit} {what} in one request, saw {saw}")
