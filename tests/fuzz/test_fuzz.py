"""The fuzz targets: over their corpus and simple changes of it in every run, under atheris in ``test --full``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_targets import TARGETS, corpus, registration
from hypothesis import given, settings
from hypothesis import strategies as st

RUN = Path(__file__).with_name("fuzz_run.py")
LIMITS = ("-runs=30000", "-max_total_time=40", "-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", "-seed=1")


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_itself(name):
    for data in corpus(name):
        TARGETS[name](data)
    for data in (b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\xf0\x04\x00\x01", bytes(70_000)):
        TARGETS[name](data)


def changed(data: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    """Some places overwritten, shortened or filled."""
    for at, length, new in cuts:
        at %= len(data) + 1
        data = data[:at] + new + data[at + length :]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_changes_of_the_corpus(name):
    seeds = corpus(name)
    cuts = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 9), st.binary(max_size=9)), min_size=1, max_size=4)

    @settings(deadline=None, max_examples=200)
    @given(st.builds(changed, st.sampled_from(seeds), cuts))
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()


def test_the_corpus_reaches_the_end():
    """A good registration is accepted: what the target refuses is not refused for want of a good one."""
    from fuzz_targets import NOW, SKU, UDS_HASH

    from station.appliance.device_data import verify_device_data
    from station.wire import device_id_pb2, pa_pb2, registry_record_pb2

    good = corpus("registration")[0]
    registration(good)
    origin = device_id_pb2.HardwareOrigin(silicon_creator_id=1, product_id=1, device_identification_number=1)
    data = registry_record_pb2.DeviceData(device_id={"hardware_origin": origin}, perso_tlv_data=good)
    request = pa_pb2.RegistrationRequest(device_data=data, hash_type=3, certs_hash=UDS_HASH)
    assert verify_device_data(SKU, request, NOW).registry_hex.endswith("00010001")
    assert device_id_pb2.DeviceId(hardware_origin=origin) == data.device_id


@pytest.mark.full
@pytest.mark.parametrize("name", TARGETS)
def test_under_atheris(name, tmp_path):
    """Bounded in count and time; a finding is in the message, with the bytes that led to it."""
    command = [sys.executable, str(RUN), name, str(tmp_path / "corpus"), *LIMITS, f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=110)
    found = {path.name: path.read_bytes().hex() for path in tmp_path.iterdir() if path.is_file()}
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{found}"
    assert found == {}
    assert "Done " in done.stderr
    assert len(list((tmp_path / "corpus").iterdir())) >= len(corpus(name))
