"""One chain of certificates, root first, and the question whether it holds now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from station.formats.dice import verify_chain


@dataclass(frozen=True, slots=True)
class Chain:
    """Root, intermediate CA, and what hangs below it in order; all DER."""

    root: bytes
    intermediate: bytes
    below: tuple[bytes, ...]


def verify(chain: Chain, now: datetime) -> None:
    """Raise FormatError unless every certificate is signed by the one before and valid now."""
    verify_chain([chain.root, chain.intermediate, *chain.below], now)
