"""From a gRPC status to one sentence that says what was expected, what was seen and what to try."""

from __future__ import annotations

from station.errors import ApplianceError

# Fragments of the library's own status texts, in the order in which they are looked for.
_UNAVAILABLE = (
    ("hostname verification", "its certificate is not for this host name: correct the address or set target_name"),
    ("certificate has expired", "its certificate has expired: renew it on the appliance"),
    ("certificate_verify_failed", "its certificate is not from the configured CA: check the CA file"),
    ("wrong_version_number", "it speaks no TLS: check the address and its port"),
    ("connection refused", "the connection was refused: start the appliance or correct the address"),
    ("dns resolution failed", "its name could not be resolved: correct the address"),
    ("domain name not found", "its name could not be resolved: correct the address"),
    ("handshaker shutdown", "it closed the connection during the handshake: check the client certificate"),
    ("socket closed", "it closed the connection: check the client certificate, then whether the appliance runs"),
)
_CODES = {
    "DEADLINE_EXCEEDED": "no answer came in time: check network and appliance, then try again",
    "CANCELLED": "the call was cancelled at the station: start again when ready",
    "UNAUTHENTICATED": "the SKU password was not accepted: store the right one",
    "PERMISSION_DENIED": "the appliance does not allow this: ask who runs it",
    "UNIMPLEMENTED": "the appliance does not offer this: check its version",
    "INTERNAL": "the appliance failed: see its log",
    "RESOURCE_EXHAUSTED": "the appliance is overloaded or the message too large: try later",
}
_OF_CALL = {
    ("InitSession", "NOT_FOUND"): "the appliance does not know the SKU ({details}): correct the SKU name",
    ("InitSession", "UNKNOWN"): (
        "the appliance does not accept this computer ({details}): issue a client certificate for it"
    ),
    ("InitSession", "FAILED_PRECONDITION"): "wrong realm ({details}): use the appliance of the station's realm",
    ("EndorseCerts", "INVALID_ARGUMENT"): "it does not endorse this part ({details}): the part needs an engineer",
}
AMBIGUOUS = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "ABORTED", "RESOURCE_EXHAUSTED"})
_LONGEST = 300
_NO_CA = "could not find attribute"


class JournalBehind(ApplianceError):
    """The appliance keeps an anchor that the station's journal does not extend."""

    def __init__(self, address: str, length: int) -> None:
        sentence = (
            f"the appliance {address} keeps row {length} of this station's journal, and the journal lacks it: it was "
            "restored from an older copy or replaced; bring the newer one back, or whoever runs the appliance accepts "
            "this one (station appliance anchors FOLDER --accept)"
        )
        super().__init__(sentence, "FAILED_PRECONDITION")


class CallFailed(Exception):
    """A call ended with a status other than OK; ``details`` is the status text without secrets."""

    def __init__(self, call: str, code: str, details: str, cancelled_here: bool = False) -> None:
        self.call = call
        self.cancelled_here = cancelled_here
        self.code = code
        self.details = " ".join(details.split())[:_LONGEST]
        super().__init__(f"{call}: {code}")

    @property
    def session_lost(self) -> bool:
        """True when the appliance refused before acting, because it does not know the session (any more)."""
        if self.code == "INTERNAL":
            return "user not found" in self.details
        return self.code == "NOT_FOUND" and (
            "incorrect access token" in self.details or "Try calling InitSession first" in self.details
        )

    @property
    def not_answered(self) -> bool:
        """True when the connection was refused or broke, or an instance that ends let go of the call.

        Another instance may answer; this one may have acted.
        """
        return self.code == "UNAVAILABLE" or (self.code == "CANCELLED" and not self.cancelled_here)

    def as_error(self, address: str, keygen: bool = False) -> ApplianceError:
        """The sentence for people; ``keygen`` adds that a fresh token was not asked for again."""
        sentence = f"{self.call} at the appliance {address} failed: {self._reason()}"
        if keygen and self.code in AMBIGUOUS:
            sentence += (
                "; the fresh token was not asked for again, because the first one may exist: start the step again"
            )
        return ApplianceError(sentence, self.code)

    def _reason(self) -> str:
        if self.code == "UNAVAILABLE":
            lowered = self.details.lower()
            known = next((text for mark, text in _UNAVAILABLE if mark in lowered), None)
            return known or "it cannot be reached: check that it runs, the network and the address"
        if self.code == "CANCELLED" and not self.cancelled_here:
            return "the appliance let go of the call, as it does when it ends: try again"
        if (self.call, self.code) == ("EndorseCerts", "INVALID_ARGUMENT") and _NO_CA in self.details:
            return f"the SKU has no CA for a certificate of this label ({self.details}): correct the label or the SKU"
        if (self.call, self.code) in _OF_CALL:
            return _OF_CALL[self.call, self.code].format(details=self.details)
        advice = _CODES.get(self.code, "correct the request or the SKU's configuration")
        return f"{advice} ({self.code}: {self.details})" if self.details else f"{advice} ({self.code})"
