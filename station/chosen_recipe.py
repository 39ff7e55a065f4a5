"""The recipe that was chosen last at this station, kept in its data folder for the next start of the engine."""

from __future__ import annotations

import json
from pathlib import Path

from station.data_folder import write_durably
from station.errors import ConfigError

FILE = "chosen-recipe.json"


class ChosenRecipe:
    """One name in one file; lot and wafer are not kept: which lot lies on the bench is for a scan to say."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def keep(self, name: str) -> None:
        """Remember a recipe; raises ``ConfigError`` in one sentence when the folder cannot be written."""
        if name == self._read():
            return
        try:
            write_durably(self._path, json.dumps({"recipe": name}))
        except OSError as error:
            raise ConfigError(
                f"expected to remember the recipe in {self._path}, but: {error.strerror}; "
                "choose it again after the next start"
            ) from None

    def name(self) -> str:
        """The remembered name, empty when there is none; ``ConfigError`` when the file cannot be read."""
        name = self._read()
        if name is None:
            raise ConfigError(f"expected the recipe chosen last in {self._path}, but it cannot be read; choose one")
        return name

    def _read(self) -> str | None:
        try:
            return str(json.loads(self._path.read_text(encoding="utf-8"))["recipe"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError):
            return None
