"""How the appliance says no: a status name of the wire contract and one sentence; this module knows no gRPC."""

from __future__ import annotations

from station.errors import StationError

LONGEST_ECHO = 80
LONGEST_DETAILS = 1000
"""The transport refuses longer headers, and the client then sees that instead of what was wrong."""


def echoed(text: str) -> str:
    """A text that a client chose, in quotes, on one line and not too long: for sentences and the log."""
    return ascii(text if len(text) <= LONGEST_ECHO else text[:LONGEST_ECHO] + "...")


class Refusal(StationError):
    """A request is refused; ``code`` is the name of a gRPC status code, the sentence goes to the client."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)

    @property
    def details(self) -> str:
        """The sentence as it may be sent: ASCII, at most a kilobyte."""
        return str(self).encode("ascii", "backslashreplace")[:LONGEST_DETAILS].decode()


class SkuNotLoaded(Refusal):
    """No session was ever opened for the SKU in this process."""

    def __init__(self, sku: str) -> None:
        super().__init__("NOT_FOUND", f"unable to find sku {echoed(sku)}. Try calling InitSession first")
