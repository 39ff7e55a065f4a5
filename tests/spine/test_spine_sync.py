"""What must be on the disk is written while SQLite is set to wait for the disk, from the very first commit on."""

from __future__ import annotations

import pytest

from station.data_folder import DataFolder
from station.journal import Journal
from station.journal_rows import Context

FULL = 2
CONTEXT = Context(station="s", socket=1, label_kind="part", label="P0001", flow="f", recipe="r")


@pytest.fixture
def seen(tmp_path):
    """(kind, setting) at each commit of a journal that was just opened, and that journal."""
    commits: list[tuple[str, int]] = []

    def probe(moment: str, kind: str) -> None:
        if moment == "before":
            commits.append((kind, journal._store.synchronous()))

    journal = Journal(DataFolder(tmp_path / "data"), "s", ballast_bytes=1 << 16, probe=probe)
    yield commits, journal
    journal.close()


def test_the_first_commits_wait_for_the_disk(seen):
    commits, journal = seen
    journal.scan(CONTEXT, {"scan": "P0001"})
    journal.intend(CONTEXT, "unlock", {"settle": 0.1, "text": "Unlock"})
    journal.outcome(CONTEXT, "unlock", {"evidence": "done", "reason": ""})
    assert commits == [("scan", FULL), ("intent", FULL), ("outcome", FULL)]


def test_a_soft_commit_leaves_the_setting_as_it_was(seen):
    commits, journal = seen
    journal.start(CONTEXT, {"titles": []})
    journal.write(CONTEXT, "keep", "", {"name": "n", "form": "str", "value": "00"})
    journal.verdict(CONTEXT, {"kind": "pass", "bin_id": "pass"})
    assert [entry for entry in commits if entry[0]] == [("keep", FULL), ("verdict", FULL)]
