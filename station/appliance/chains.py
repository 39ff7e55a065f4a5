"""One chain of certificates, root first, and the question whether it holds now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from station.errors import FormatError
from station.formats.der import KEY_CERT_SIGN, Certificate
from station.formats.dice import verify_chain


@dataclass(frozen=True, slots=True)
class Chain:
    """Root, intermediate CA, and what hangs below it in order; all DER."""

    root: bytes
    intermediate: bytes
    below: tuple[bytes, ...]


def verify(chain: Chain, now: datetime) -> None:
    """Raise FormatError unless every certificate is signed by the one before and valid now."""
    authorities = _signed(chain.root, chain.intermediate)
    verify_chain([*authorities, *chain.below], now, signed=len(authorities))


def verify_ca(root: bytes, intermediate: bytes, now: datetime) -> None:
    """Raise FormatError unless the root signed the intermediate, both may sign certificates and are valid now."""
    above, below = verify_chain([root, intermediate], now)
    limits = above.tbs.basic_constraints
    if limits is not None and limits.path_length == 0:
        raise FormatError("expected a root that allows a CA below it, saw path length 0: make another root")
    constraints, usage = below.tbs.basic_constraints, below.tbs.key_usage
    if constraints is None or not constraints.ca or (usage is not None and KEY_CERT_SIGN not in usage):
        raise FormatError("expected a CA certificate with keyCertSign, saw another: install the CA's certificate")


@lru_cache(maxsize=64)
def _signed(root: bytes, intermediate: bytes) -> tuple[Certificate, ...]:
    """The CAs of a SKU, whose two signatures are verified once for the same bytes; FormatError is not remembered.

    Dates, names, path lengths and everything else are checked again by each chain.
    """
    return verify_chain([root, intermediate])
