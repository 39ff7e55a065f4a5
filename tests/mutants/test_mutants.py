"""The suite fails for each mutant, and only because of it: the same tests pass on the unchanged copy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mutants import MUTANTS, ROOT, TESTS_FAILED, copy_program, mutate, run_tests

CHEAP = "intents share the next commit"


def survives(program: Path, mutant) -> None:
    done = run_tests(program, mutant.tests)
    assert done.returncode == TESTS_FAILED, f"{mutant.name} survives: {done.returncode}\n{done.stdout[-3000:]}"
    assert " failed" in done.stdout, done.stdout[-3000:]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_fits_the_program(mutant):
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1, f"the line that {mutant.name!r} changes has changed"


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name == CHEAP], ids=lambda mutant: mutant.name)
def test_a_cheap_mutant_is_caught(tmp_path, mutant):
    program = copy_program(tmp_path)
    mutate(program, mutant)
    survives(program, mutant)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(tmp_path, mutant):
    program = copy_program(tmp_path)
    mutate(program, mutant)
    survives(program, mutant)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tests", sorted({mutant.tests for mutant in MUTANTS}), ids=lambda tests: tests[0][6:])
def test_the_same_tests_pass_without_a_mutant(tmp_path, tests):
    program = copy_program(tmp_path)
    where = subprocess.run(
        [sys.executable, "-c", "import station; print(station.__file__)"], cwd=program, capture_output=True, text=True,
        env={"PYTHONPATH": str(program)},
    )  # fmt: skip
    assert str(program) in where.stdout, "the copy's tests would run the original program"
    done = run_tests(program, tests)
    assert done.returncode == 0, done.stdout[-3000:]
