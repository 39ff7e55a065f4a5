"""Runs one target under atheris: ``python fuzz_run.py TARGET CORPUS_FOLDER [libFuzzer options]``; its own process."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

with atheris.instrument_imports(
    include=["station.formats", "station.appliance.device_data", "station.appliance.chains"]
):
    import fuzz_targets

if __name__ == "__main__":
    target = fuzz_targets.TARGETS[sys.argv[1]]
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(fuzz_targets.corpus(sys.argv[1])):
        (folder / f"seed-{number}").write_bytes(data)
    atheris.Setup([sys.argv[0], *sys.argv[3:], str(folder)], target)
    atheris.Fuzz()
