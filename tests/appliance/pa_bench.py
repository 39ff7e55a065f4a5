"""``station pa`` by its options: where the appliance is, who asks, and the rows of its JSON."""

from __future__ import annotations

import json
from pathlib import Path

from station.appliance.pki import client_files


def direct(folder: Path, target: str = "") -> list[str]:
    """Options that say everything."""
    files = client_files(folder, "station-1")
    where = ["--target", target] if target else ["--endpoint", str(folder / "endpoint.json")]
    return [*where, "--ca", str(files.ca), "--certificate", str(files.certificate), "--key", str(files.key),
            "--password-file", str(files.password)]  # fmt: skip


def rows_of(out: str) -> list[dict]:
    return json.loads(out)
