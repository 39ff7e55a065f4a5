from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from earlgrey_pad_flows import IMAGES
from earlgrey_pad_host import Host

from drivers.virtual.earlgrey.chip import open_chip


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Opens chips by folder name and closes them at the end."""
    opened = []

    def make(name: str = "die", images: Path = IMAGES) -> Host:
        chip = open_chip(tmp_path / name, images)
        opened.append(chip)
        return Host(chip)

    yield make
    for chip in opened:
        chip.close()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """A host with a new RAW die."""
    return make_host()
