"""One deliberate mistake at a time in a copy of the program, and the ordinary tests that must notice it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("station", "drivers", "tests", "pyproject.toml")
LINKED = ("resources", "ui", "docs")
TESTS_FAILED = 1  # pytest's exit code for "tests were run and some failed"; an error of collection is 2 or more


@dataclass(frozen=True)
class Mutant:
    """``old`` occurs exactly once in ``file`` and becomes ``new``; ``tests`` are pytest arguments."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


ORDER = "tests/flows/test_flow_order.py"
MUTANTS = (
    Mutant(
        "the part is not asked after a burn", "station/burning.py",
        "            return self._done(), power_lost\n",
        "            return Answer(Evidence.DONE), power_lost\n",
        ("tests/spine/test_spine_decision.py",),
    ),
    Mutant(
        "the state is not read back after a transition", "station/parts/earlgrey/life_cycle.py",
        "        if seen is not LcState.POST_TRANSITION:\n",
        "        if False:\n",
        ("tests/parts/test_earlgrey_read_back.py",),
    ),
    Mutant(
        "the target is not read back before a transition", "station/parts/earlgrey/life_cycle.py",
        "        if seen != target.encoded:\n",
        "        if False:\n",
        ("tests/parts/test_earlgrey_read_back.py",),
    ),
    Mutant(
        "the strap step is skipped", "station/parts/earlgrey/pads.py",
        '        self._pins.drive({**TAP_STRAPS[tap], **software, **DFT_OFF, "trst": False})\n',
        '        self._pins.drive({"trst": False})\n',
        (f"{ORDER}::test_straps_are_set_before_each_release_of_reset",),
    ),
    Mutant(
        "the part is looked at without bootstrap straps, so that its firmware runs", "station/parts/earlgrey/part.py",
        "        self._pads.reset(Tap.LC, bootstrap=True)\n",
        "        self._pads.reset(Tap.LC, bootstrap=False)\n",
        (f"{ORDER}::test_straps_are_set_before_each_release_of_reset",),
    ),
    Mutant(
        "the appliance skips the WAS check", "station/appliance/endorse.py",
        "    if _was_matches(keystore, label, request.diversifier, data, request.signature):\n",
        "    if True:\n",
        ("tests/appliance/test_appliance_codes.py", "-k", "was"),
    ),
    Mutant(
        "the appliance skips the WAS check (seen by the flow)", "station/appliance/endorse.py",
        "    if _was_matches(keystore, label, request.diversifier, data, request.signature):\n",
        "    if True:\n",
        (f"{ORDER}::test_a_part_with_another_wafer_secret_is_refused_by_the_appliance",),
    ),
    Mutant(
        "registration before the boot check", "station/flows/final_test.py",
        "    with run.step(PLAN.boot):\n",
        "    run.send_registration(appliance)\n    with run.step(PLAN.boot):\n",
        (f"{ORDER}::test_a_part_whose_product_does_not_boot_is_not_registered",
         f"{ORDER}::test_a_part_is_registered_after_it_has_booted_its_product"),
    ),
    Mutant(
        "the journal does not wait for the disk", "station/journal_file.py",
        '            db.execute("PRAGMA synchronous = FULL")\n',
        '            db.execute("PRAGMA synchronous = OFF")\n',
        ("tests/spine/test_spine_sync.py",),
    ),
    Mutant(
        "intents share the next commit", "station/journal.py",
        '        return self.write(context, "intent", title, detail)\n',
        '        return self.append(context, "intent", title, detail)\n',
        ("tests/spine/test_spine_journal.py", "-k", "sync_count or plain_steps"),
    ),
    Mutant(
        "a release forgets that the power was lost", "station/journal_parts.py",
        "repairs a half-written partition\n",
        "repairs a half-written partition\n            facts.power_lost = False\n",
        ("tests/flows/test_crash_matrix.py::test_power_cut_and_rerun[final_test]",),
    ),
    Mutant(
        "the wrapped RMA seed is not kept", "station/flows/final_test.py",
        '    run.keep("wrapped_rma_seed", wrapped_seed)\n    run.keep("rma_token_hash", token_hash)\n',
        '    run.keep("rma_token_hash", token_hash)\n',
        ("tests/flows/test_flow_order.py::test_the_rma_seed_is_kept_before_its_hash_reaches_the_part",),
    ),
    Mutant(
        "a half done burn is done again", "station/decision.py",
        "        case (_, Evidence.HALF_DONE):\n            return Decision(\n                Move.FAIL,",
        "        case (_, Evidence.HALF_DONE):\n            return Decision(\n                Move.ACT,",
        ("tests/spine/test_spine_decision.py", "-k", "test_table"),
    ),
    Mutant(
        "key slots do not count as evidence", "station/parts/nordic/evidence.py",
        "        return late and self.keys.are_complete and self.implementation_id == implementation_id\n",
        "        return late and self.implementation_id == implementation_id\n",
        ("tests/parts/test_nordic_part.py", "-k", "answers_about"),
    ),
    Mutant(
        "the image may run on a part that holds keys", "station/flows/tfm_provisioning.py",
        "        _require_blank(run, seen)\n",
        "",
        ("tests/flows/test_tfm_faults.py::test_what_is_found_before_anything_is_burnt", "-k", "identity"),
    ),
    Mutant(
        "a known part is erased by the ordinary recipe", "station/flows/nordic_recovery.py",
        "    if is_known(run):\n",
        "    if False:\n",
        ("tests/flows/test_tfm_flow.py", "-k", "last_gate"),
    ),
    Mutant(
        "a part that attests is erased as a new one", "station/flows/nordic_recovery.py",
        "        _refuse_finished(run, part, recipe)\n",
        "        pass\n",
        ("tests/flows/test_tfm_identity.py", "-k", "of_another_station_is_not_erased"),
    ),
    Mutant(
        "a closed part is whoever its label says", "station/flows/tfm_provisioning.py",
        "        refuse_another(run, seen, since=PLAN.install)\n        if run.part.erasing",
        "        if run.part.erasing",
        ("tests/flows/test_tfm_identity.py", "-k", "needs_recovery"),
    ),
    Mutant(
        "a network core that is off counts as closed", "station/flows/tfm_provisioning.py",
        'HEARD if part.network.speaks() else ""',
        "HEARD",
        ("tests/flows/test_tfm_hazards.py", "-k", "core_that_is_off"),
    ),
    Mutant(
        "an image that has burnt nothing stays in flash", "station/parts/nordic/part.py",
        '        self._probe.erase("app", images.spans(self._of("provisioning", "app")))\n        self.network',
        "        self.network",
        ("tests/flows/test_tfm_hazards.py", "-k", "did_not_run and nrf9160"),
    ),
    Mutant(
        "the dummy key is taken for a key", "station/formats/attestation.py",
        "    is_dummy = token.instance_id == DUMMY_INSTANCE_ID\n",
        "    is_dummy = False\n",
        ("tests/formats/test_format_attestation.py", "-k", "dummy"),
    ),
)  # fmt: skip


def copy_program(target: Path) -> Path:
    """The program and its tests, to be changed; what is not changed is linked."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "mutants"))
        else:
            shutil.copy(source, target / name)
    for name in LINKED:
        (target / name).symlink_to(ROOT / name)
    return target


def mutate(program: Path, mutant: Mutant) -> None:
    """Make the mistake."""
    path = program / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} holds {mutant.old!r} {text.count(mutant.old)} times"
    path.write_text(text.replace(mutant.old, mutant.new))


def run_tests(program: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """The tests of a copy, in the copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "-m", "not full"]
    environment = {**os.environ, "PYTHONPATH": str(program), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*command, f"--basetemp={program / 'tmp'}", *tests],
        cwd=program,
        capture_output=True,
        text=True,
        env=environment,
    )
