"""The plan of a flow: its titles in the order of the work instruction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from station.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Burn:
    """A title of something irreversible; ``settle`` is the chip's worst case in seconds for carrying it out."""

    text: str
    settle: float = 0.5


@dataclass(frozen=True, slots=True)
class Erasure:
    """A title of a step that destroys what was burnt: it may be repeated, but nothing brings back what it erased."""

    text: str


@dataclass(frozen=True, slots=True)
class Title:
    """One line of the operator's checklist: stable id, words for the screen, whether it burns, whether it erases."""

    id: str
    text: str
    burn: bool = False
    settle: float = 0.0
    erases: bool = False

    @property
    def irreversible(self) -> bool:
        """What the operator's sign for it says: afterwards nothing is as it was."""
        return self.burn or self.erases


class Plan:
    """Titles by their stable id: ``Plan(contact="Contact the die", lock=Burn("Lock"))``, then ``PLAN.lock``.

    ``takes_back``: flows whose burns this one undoes; ``ends_in``: the bin of a part that came to the end.
    """

    def __init__(self, **titles: str | Burn | Erasure) -> None:
        self._titles = {id: _title(id, text) for id, text in titles.items()}
        self.takes_back: frozenset[str] = frozenset()
        self.ends_in = "pass"

    def taking_back(self, *flows: str, ends_in: str) -> Plan:
        """This plan, of a flow that erases the whole part and so undoes what these flows burnt; may be run again."""
        self.takes_back, self.ends_in = frozenset(flows), ends_in
        return self

    def __getattr__(self, name: str) -> Title:
        try:
            return self.__dict__["_titles"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(f"the plan has no title {name!r}{nearest(name, self.__dict__['_titles'])}") from None

    def __iter__(self) -> Iterator[Title]:
        return iter(self._titles.values())

    def __len__(self) -> int:
        return len(self._titles)

    def __contains__(self, title: object) -> bool:
        if not isinstance(title, Title):
            return False
        own = self._titles.get(title.id)
        return own is title or own == title

    def check(self, title: Title, burn: bool) -> None:
        """Raise ``ConfigError`` when the title is not of this plan or is run with the wrong verb."""
        if title not in self:
            raise ConfigError(f"the flow ran '{title.id}', which is not in its plan{nearest(title.id, self._titles)}")
        if title.burn != burn:
            verb = "run.burn" if title.burn else "run.step"
            raise ConfigError(f"the title '{title.id}' of the plan must be run with {verb}")


def _title(id: str, text: str | Burn | Erasure) -> Title:
    if isinstance(text, Erasure):
        return Title(id, text.text, erases=True)
    return Title(id, text.text, True, text.settle) if isinstance(text, Burn) else Title(id, text)
