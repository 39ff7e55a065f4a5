"""How the appliance says no: a status name of the wire contract and one sentence; this module knows no gRPC."""

from __future__ import annotations

from station.errors import StationError


class Refusal(StationError):
    """A request is refused; ``code`` is the name of a gRPC status code, the sentence goes to the client as it is."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)


class SkuNotLoaded(Refusal):
    """No session was ever opened for the SKU in this process."""

    def __init__(self, sku: str) -> None:
        super().__init__("NOT_FOUND", f"unable to find sku {sku!r}. Try calling InitSession first")
