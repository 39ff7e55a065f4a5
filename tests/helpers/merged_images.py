"""Makes of a pack with a file for each core one with merged files, as the SDK's builds write them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

ENTRY = '[image.{name}]\nfile = "images/{file}"\nsha256 = "{digest}"\n'


def merge(folder: Path, *stages: str, twice: bool = False) -> None:
    """Put both cores' files of each stage (``provisioning``, ``tfm``) into one that the pack names once, or twice."""
    for stage in stages:
        app, net = ((folder / "images" / f"{stage}_{core}.hex").read_text().splitlines() for core in ("app", "net"))
        merged = folder / "images" / f"{stage}_merged_domains.hex"
        merged.write_text("\n".join([*app[:-1], *net, ""]))
        digest = hashlib.sha256(merged.read_bytes()).hexdigest()
        text = (folder / "pack.toml").read_text()
        for name in (f"{stage}_app", f"{stage}_net"):
            named = twice or name.endswith("_app")
            entry = ENTRY.format(name=name, file=merged.name, digest=digest) if named else ""
            text, count = re.subn(rf"\[image\.{name}\]\nfile = .*\nsha256 = .*\n", entry, text)
            assert count == 1
        (folder / "pack.toml").write_text(text)
