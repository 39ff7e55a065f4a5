"""What the workbench lends to a run: who listens, the SKU pack, the credentials (seen as small protocols)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from station.bins import Bins
from station.journal import Journal
from station.lot_answers import LotAnswers
from station.model import Realm
from station.plan import Title
from station.secret import Sealed, Secret


class Listener(Protocol):
    """Who watches a run: the socket's worker, or nobody. Its methods must not block, ``ask`` excepted."""

    def step(self, title: Title, status: str, seconds: float) -> None:
        """A title is running, done, found_done or failed."""

    def burning(self, title: Title | None) -> None:
        """A burn is open (DO NOT REMOVE), or none is any more."""

    def settling(self, title: Title) -> None:
        """Its chip may still be burning: nothing is done until the worst case has passed."""

    def log(self, text: str, source: str, level: str) -> None:
        """One line for the log."""

    def identified(self, device_id: str) -> None:
        """The chip's own id is known."""

    def ask(self, text: str, choices: Sequence[str]) -> str:
        """Put a question to the operator and wait for the answer."""


class Silent:
    """A listener that shows nothing and answers every question with the first choice."""

    def step(self, title: Title, status: str, seconds: float) -> None:
        """Nothing."""

    def burning(self, title: Title | None) -> None:
        """Nothing."""

    def settling(self, title: Title) -> None:
        """Nothing."""

    def log(self, text: str, source: str, level: str) -> None:
        """Nothing."""

    def identified(self, device_id: str) -> None:
        """Nothing."""

    def ask(self, text: str, choices: Sequence[str]) -> str:
        """The first choice."""
        return choices[0]


class Pack(Protocol):
    """What a run needs of a SKU pack."""

    sku: str
    realm: Realm

    @property
    def images(self) -> tuple[str, ...]:
        """Names of all images."""

    def image(self, name: str) -> bytes:
        """Bytes of an image, digest checked."""

    def limit(self, name: str) -> tuple[float | None, float | None]:
        """Low and high limit of a measurement."""

    def hook(self, name: str, *args: object) -> object:
        """Call a hook of the pack; None when it has none of this name."""


class Credentials(Protocol):
    """What a run needs of the credential store."""

    def credential(self, name: str) -> Secret:
        """A credential by name."""

    def seal(self, raw: bytes, label: str) -> Sealed:
        """Seal to the station's key."""

    def unseal(self, sealed: Sealed) -> bytes:
        """Open what ``seal`` made."""


@dataclass(frozen=True, slots=True)
class RunServices:
    """What the workbench lends to every run."""

    journal: Journal
    bins: Bins
    pack: Pack
    credentials: Credentials
    listener: Listener = Silent()  # noqa: RUF009 - it has no state
    lot_answers: LotAnswers | None = None  # shared by all sockets of a workbench
