"""What the virtual bench can play: per chip its sockets' driver, its SKU and recipes, and the way of a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from station.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Stage:
    """One recipe on a part's way; ``label`` is the kind of label that is scanned for it (``die`` or ``part``)."""

    name: str
    recipe: str
    label: str


@dataclass(frozen=True, slots=True)
class Chip:
    """One kind of chip.

    ``noun``: what lies on the shelf; ``more_recipes``: those of another way, and those for repair; ``settings``: what
    the driver needs to find the bench's adapters; ``probed_by``: the flow that a packaged part must have passed.
    """

    name: str
    noun: str
    driver: str
    sku: str
    stages: tuple[Stage, ...]
    settings: Mapping[str, str]
    more_recipes: tuple[str, ...] = ()
    appliance: bool = True
    probed_by: str = ""
    at_once: tuple[str, ...] = ("unplug", "lid_open", "power_off")
    """Faults of the demo that are made during a burn, since before the start they leave no run to show them on."""

    @property
    def recipes(self) -> tuple[str, ...]:
        """All recipes that fit the chip."""
        return (*(stage.recipe for stage in self.stages), *self.more_recipes)


def _nordic(name: str, sku: str, board: str, recipe: str, *variants: str) -> Chip:
    recovering = [f"{one}{more}" for one in (recipe, *variants) for more in ("", "-recover")]
    return Chip(
        name=name, noun="part", driver="pyocd", sku=sku, stages=(Stage("tfm", recipe, "part"),),
        settings={"board": board, "finder": "drivers.virtual.nrf_finder"}, more_recipes=tuple(recovering[1:]),
        appliance=False, at_once=("unplug", "lid_open", "power_off", "no_contact"),
    )  # fmt: skip


CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip(
            name="earlgrey", noun="die", driver="ft4232h", sku="sival",
            stages=(Stage("cp", "earlgrey-cp", "die"), Stage("ft", "earlgrey-ft", "part")),
            settings={"usb_backend": "drivers.virtual.usb_backend"}, probed_by="chip_probe",
        ),
        _nordic("nrf5340", "nrf5340_tfm", "nrf5340dk", "nrf5340-dk", "nrf5340-dk-child"),
        _nordic("nrf9160", "nrf9160_tfm", "nrf9160dk", "nrf9160-dk"),
        _nordic("nrf91x1", "nrf91x1_tfm", "nrf9161dk", "nrf9161-dk"),
    )
}  # fmt: skip
DEFAULT_CHIP = "earlgrey"


def chip_named(name: str) -> Chip:
    """A chip by its name; ``ConfigError`` with a hint when there is none."""
    if name not in CHIPS:
        raise ConfigError(
            f"the virtual bench knows no chip '{name}'{nearest(name, CHIPS)}; it knows {', '.join(CHIPS)}"
        )
    return CHIPS[name]


def chip_of_pack(chip: str) -> Chip:
    """The chip that a recipe is for, whatever it is called; the usual one for a kind of one's own."""
    return CHIPS.get(chip, CHIPS[DEFAULT_CHIP])
