"""The recipe that an engineer chose is there again after a restart of the engine; the operator still signs in."""

from __future__ import annotations

import shutil

import pytest
from spine_bench import Bench

from station.chosen_recipe import FILE, ChosenRecipe
from station.errors import ConfigError
from station.protocol import Log, Scan, SelectRecipe, SignedIn


def engine(folder):
    """A workbench as the engine starts it."""
    bench = Bench(folder)
    bench.bench.resume_recipe()
    return bench


def choose_and_end(folder):
    bench = engine(folder)
    bench.choose("LOT1")
    bench.close()


def test_the_chosen_recipe_is_restored_and_nobody_is_signed_in(folder):
    choose_and_end(folder)
    bench = engine(folder)
    try:
        assert (bench.bench.recipe.name, bench.bench.lot, bench.bench.hello().recipe) == ("fake-cp", "", "fake-cp")
        bench.world.insert(1)
        assert bench.wait("scan").expects == "die label"
        assert bench.refused(Scan("D1")) == "sign in first"
        bench.sign_in()
        assert "needs the role engineer" in bench.refused(SelectRecipe("fake-cp"))
        assert bench.last(SignedIn).role == "operator"
        assert bench.go("D1").state == "pass"
    finally:
        bench.close()


def test_a_command_neither_takes_nor_leaves_a_recipe(folder):
    bench = Bench(folder)
    bench.choose("LOT1")
    bench.close()
    assert not (folder / "data" / FILE).exists()
    choose_and_end(folder)
    bench = Bench(folder)
    assert bench.bench.recipe is None
    bench.close()


@pytest.mark.parametrize("spoil", ["gone", "other realm", "garbled"])
def test_a_recipe_that_is_right_no_more_is_not_restored(folder, spoil):
    choose_and_end(folder)
    recipe = folder / "res/recipes/fake-cp.toml"
    if spoil == "gone":
        shutil.move(recipe, recipe.with_name("new.toml"))
        recipe.with_name("new.toml").write_text(recipe.with_name("new.toml").read_text().replace("fake-cp", "new"))
        station = folder / "station.toml"
        station.write_text(station.read_text().replace('"fake-cp"', '"new"'))
    elif spoil == "other realm":
        recipe.write_text(recipe.read_text().replace('realm = "dev"', 'realm = "production"'))
    else:
        (folder / "data" / FILE).write_text("[]")
    bench = engine(folder)
    try:
        assert bench.bench.recipe is None and bench.bench.book is None
        (said,) = [e.text for e in bench.events if isinstance(e, Log) and e.level == "warning"]
        assert {"gone": "is not there any more", "other realm": "realm", "garbled": "cannot be read"}[spoil] in said
    finally:
        bench.close()


def test_a_choice_holds_even_when_it_cannot_be_kept(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("station.chosen_recipe.write_durably", full)
    with pytest.raises(ConfigError, match="No space left"):
        ChosenRecipe(folder / "data").keep("fake-cp")
    bench = engine(folder)
    try:
        bench.choose()
        assert bench.bench.recipe.name == "fake-cp"
        assert any(isinstance(e, Log) and "expected to remember the recipe" in e.text for e in bench.events)
    finally:
        bench.close()
