"""What a station knows of its recipes before one is chosen: whether their parts come on wafers or on trays."""

from __future__ import annotations

from station.recipe import map_kind, recipe_names


def test_what_the_parts_of_a_recipe_come_on():
    assert (map_kind("earlgrey-cp"), map_kind("earlgrey-ft"), map_kind("nrf5340-dk-recover")) == (
        "wafer", "tray", "tray")  # fmt: skip
    assert all(map_kind(name) in ("wafer", "tray") for name in recipe_names())


def test_a_recipe_that_cannot_be_read_comes_on_nothing(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "broken.toml").write_text("schema = [")
    assert (map_kind("broken", (tmp_path,)), map_kind("missing", (tmp_path,))) == ("", "")
