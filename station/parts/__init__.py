"""What a chip in a socket can do, written against ports; a part opens no device and knows no flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from station.errors import ConfigError
from station.formats.firmware import FirmwareGeneration


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


@dataclass(frozen=True, slots=True)
class PartServices:
    """What the run lends to a part.

    ``log(text, source, level)``; ``pause(seconds)`` sleeps and raises ``Stopped`` when a stop is asked for outside a
    burn; ``generation`` is the pack's ``firmware``, if it names one; ``settings`` are the pack's ``[part]`` values
    (times in seconds).
    """

    log: Callable[[str, str, str], None]
    pause: Callable[[float], None]
    generation: FirmwareGeneration | None
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def firmware(self) -> FirmwareGeneration:
        """The generation, for a part that cannot do without; ``ConfigError`` when the pack names none."""
        if self.generation is None:
            raise ConfigError("this part needs to know its firmware's generation; name it as `firmware` in pack.toml")
        return self.generation
