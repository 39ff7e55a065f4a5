"""A serving process runs on one core, its workers on different ones, and only when it may and is told to."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from access_bench import BOOT
from appliance_bench import Serving, Station, copy_folder

from station.appliance import one_core
from station.appliance.one_core import keep_to_one_core

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets a process choose cores")
"""On other systems nothing is chosen, which every other test of the appliance shows there."""


def cores_of(pid: int) -> set[frozenset[int]]:
    """The cores of every thread of a process; what a serving process may do is in files of its threads."""
    return {frozenset(os.sched_getaffinity(int(thread.name))) for thread in Path(f"/proc/{pid}/task").iterdir()}


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def serve(source: Path, target: Path, *lines: str) -> Serving:
    folder = copy_folder(source, target / "appliance")
    with (folder / "appliance.toml").open("a") as toml:
        toml.write("".join(f"{line}\n" for line in lines))
    return Serving(folder)


def call_once(appliance: Serving) -> None:
    """All threads of a call are there afterwards."""
    client = Station(appliance.folder, appliance.target)
    client.log_in()
    client.call("GetOwnerFwBootMessage", BOOT)
    client.close()


def test_all_threads_of_a_serving_process_are_on_one_core(made, tmp_path):
    appliance = serve(made, tmp_path)
    try:
        call_once(appliance)
        (cores,) = cores_of(appliance.process.pid)
        assert len(cores) == 1
        assert cores <= os.sched_getaffinity(0)
    finally:
        assert appliance.stop() == 0


def test_it_is_left_to_the_system_when_switched_off(made, tmp_path):
    appliance = serve(made, tmp_path, "one_core = false")
    try:
        call_once(appliance)
        assert cores_of(appliance.process.pid) == {frozenset(os.sched_getaffinity(0))}
    finally:
        assert appliance.stop() == 0


def test_workers_are_on_different_cores_and_their_supervisor_on_any(made, tmp_path):
    appliance = serve(made, tmp_path, "workers = 2")
    try:
        workers = children_of(appliance.process.pid)
        assert len(workers) == 2
        chosen = [cores for pid in workers for cores in cores_of(pid)]
        assert [len(cores) for cores in chosen] == [1, 1]
        assert len(set(chosen)) == min(2, len(os.sched_getaffinity(0)))
        assert cores_of(appliance.process.pid) == {frozenset(os.sched_getaffinity(0))}
    finally:
        assert appliance.stop() == 0


def in_a_thread(work) -> None:
    """What a thread may use is its own: pytest's is left alone."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_following_numbers_have_following_cores(monkeypatch):
    chosen = []
    monkeypatch.setattr(one_core.os, "sched_getaffinity", lambda _: {7, 2, 5})
    monkeypatch.setattr(one_core.os, "sched_setaffinity", lambda _, cores: chosen.append(cores))
    for number in range(3, 8):
        keep_to_one_core(number)
    assert chosen == [{2}, {5}, {7}, {2}, {5}]


def test_threads_that_begin_later_are_there_too():
    seen = []

    def work() -> None:
        keep_to_one_core(0)
        in_a_thread(lambda: seen.append(os.sched_getaffinity(0)))

    in_a_thread(work)
    assert seen == [{min(os.sched_getaffinity(0))}]


def test_a_system_that_refuses_is_borne(monkeypatch, caplog):
    def refuse(_, cores):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(one_core.os, "sched_setaffinity", refuse)
    keep_to_one_core(0)
    assert "may not choose one core to run on: Operation not permitted" in caplog.text


def test_a_system_without_such_a_choice_is_left_alone(monkeypatch):
    before = os.sched_getaffinity(0)
    monkeypatch.delattr(one_core.os, "sched_setaffinity")
    keep_to_one_core(0)
    assert os.sched_getaffinity(0) == before
