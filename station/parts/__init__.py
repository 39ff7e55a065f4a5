"""What a chip in a socket can do, written against ports; a part opens no device and knows no flow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from station.errors import ConfigError
from station.formats.firmware import FirmwareGeneration

_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class Unfit:
    """One thing in a SKU pack that this kind of part cannot use: in an image (with its line, if known) or a setting.

    A part says so when a recipe is loaded: its class method ``findings(settings, images, realm)`` gives all of them.
    ``doubt``: it may be right all the same; a person is told and nothing is refused.
    """

    sentence: str
    image: str = ""
    line: int = 0
    setting: str = ""
    doubt: bool = False


class Shared:
    """What the parts in all sockets of one workbench have in common: one object of each kind, for as long as it lives.

    Safe from any thread; what it holds must be so itself.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._made: dict[type[object], object] = {}

    def of(self, kind: type[_K]) -> _K:
        """The one object of this kind; it is made, without arguments, for the first part that asks."""
        with self._guard:
            if kind not in self._made:
                self._made[kind] = kind()
            made = self._made[kind]
        assert isinstance(made, kind)
        return made


@dataclass(frozen=True, slots=True)
class PartServices:
    """What the run lends to a part.

    ``log(text, source, level)``; ``pause(seconds)`` sleeps and raises ``Stopped`` when a stop is asked for outside a
    burn; ``generation`` is the pack's ``firmware``, if it names one; ``settings`` are the pack's ``[part]`` values
    (times in seconds); ``shared`` is the workbench's, of its own for a part that is alone in its process.
    """

    log: Callable[[str, str, str], None]
    pause: Callable[[float], None]
    generation: FirmwareGeneration | None
    settings: Mapping[str, object] = field(default_factory=dict)
    shared: Shared = field(default_factory=Shared)

    @property
    def firmware(self) -> FirmwareGeneration:
        """The generation, for a part that cannot do without; ``ConfigError`` when the pack names none."""
        if self.generation is None:
            raise ConfigError("this part needs to know its firmware's generation; name it as `firmware` in pack.toml")
        return self.generation
