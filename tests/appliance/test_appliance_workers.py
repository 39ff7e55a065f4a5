"""Several processes behind one port: one appliance to its clients, looked after by a supervisor."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from access_bench import BOOT
from appliance_bench import WAIT, Served, Serving, Station, TestPart, copy_folder, dice_ca_of, endorsed

from station.appliance import workers
from station.appliance.keystore_settings import PKCS11
from station.appliance.metrics_address import MetricsAddress
from station.appliance.passphrase import SecretSource, read_secret
from station.appliance.quota import Quota
from station.appliance.settings import read_settings
from station.appliance.workers import Order, _handed_on, reserved_port, secret_sources, supervise, with_secrets
from station.errors import ConfigError
from station.secret import Secret
from station.wire import pa_pb2

CONNECTIONS = 24
"""The system deals them out by chance: that all go to the same of two workers happens once in eight million times."""
ANSWERS = re.compile(r"worker (\d) \(process (\d+)\) answers")


def set_up(source: Path, target: Path, *lines: str) -> Path:
    folder = copy_folder(source, target)
    with (folder / "appliance.toml").open("a") as toml:
        toml.write("".join(f"{line}\n" for line in ("workers = 2", *lines)))
    return folder


def pids(appliance: Served) -> dict[str, int]:
    """The last process of each worker, by its number in the log."""
    return {number: int(pid) for number, pid in ANSWERS.findall(appliance.log.read_text())}


def wait_for(what: str, claim) -> None:
    latest = time.monotonic() + WAIT
    while not claim():
        assert time.monotonic() < latest, f"expected {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def shared(tmp_path_factory, made):
    """Two workers for all tests that leave them as they were."""
    folder = set_up(made, tmp_path_factory.mktemp("workers") / "appliance", 'metrics = "127.0.0.1:0"')
    appliance = Serving(folder)
    yield appliance
    running = pids(appliance)
    assert appliance.stop() == 0
    assert not [pid for pid in running.values() if is_running(pid)]
    assert not (folder / "endpoint.json").exists()


@pytest.fixture
def many(shared, request):
    """Clients of one user with a connection each; the first one has logged in for all."""
    clients = [Station(shared.folder, shared.target, request.node.name[:60]) for _ in range(CONNECTIONS)]
    clients[0].log_in()
    for client in clients:
        client.token = clients[0].token
    yield clients
    for client in clients:
        client.close()


def test_the_supervisor_says_where_all_of_them_answer(shared):
    assert (shared.ready["workers"], shared.ready["pid"]) == (2, shared.process.pid)
    assert sorted(pids(shared)) == ["1", "2"]
    urls = shared.ready["metrics"]
    assert len(set(urls)) == 2
    assert all(url.startswith("http://127.0.0.1:") for url in urls)


def test_a_session_is_good_at_every_worker_and_closed_at_every_worker(shared, many):
    for client in many:
        assert client.call("GetOwnerFwBootMessage", BOOT).boot_message
    lines = [line for line in shared.log.read_text().splitlines() if "GetOwnerFwBootMessage" in line]
    assert {int(pid) for line in lines for pid in re.findall(r"\[(\d+)\]", line)} == set(pids(shared).values())
    many[-1].call("CloseSession", pa_pb2.CloseSessionRequest())
    codes = {client.refused("GetOwnerFwBootMessage", BOOT)[0] for client in many}
    assert codes <= {"NOT_FOUND", "INTERNAL"}  # "incorrect access token" where the user is known, else "user not found"


def test_a_device_may_be_endorsed_by_one_and_registered_by_another(shared, many):
    for number, client in enumerate(many[:8]):
        part = TestPart(dice_ca_of(shared.folder), 900 + number)
        uds = endorsed(client, part)
        many[-1 - number].call("RegisterDevice", part.registration(uds))
    quota = Quota(shared.folder / "counters.db")
    assert quota.unregistered() == 0
    quota.close()


def test_a_worker_that_is_killed_is_replaced_and_the_passphrase_is_read_once(tmp_path, made):
    """The supervisor reads the descriptor at its start, and hands the passphrase to the later worker too."""
    folder = set_up(made, tmp_path / "appliance", 'passphrase = "fd:0"')
    appliance = Serving(folder, (folder / "keystore.passphrase").read_bytes())
    before = pids(appliance)
    os.kill(before["2"], signal.SIGKILL)
    wait_for("another second worker", lambda: pids(appliance)["2"] != before["2"])
    assert pids(appliance)["1"] == before["1"]
    log = appliance.log.read_text()
    assert f"worker 2 (process {before['2']}) was ended by signal 9: another one takes its place" in log
    clients = [Station(folder, appliance.target) for _ in range(CONNECTIONS)]
    clients[0].log_in()
    for client in clients:
        assert client.call("GetOwnerFwBootMessage", BOOT, token=clients[0].token).boot_message
        client.close()
    running = pids(appliance)
    assert appliance.stop() == 0
    assert not [pid for pid in running.values() if is_running(pid)]
    secret = (folder / "keystore.passphrase").read_text().strip()
    assert secret not in appliance.log.read_text()


def test_workers_end_when_the_supervisor_is_killed(tmp_path, made):
    folder = set_up(made, tmp_path / "appliance")
    appliance = Serving(folder)
    running = pids(appliance)
    appliance.kill()
    wait_for("no worker", lambda: not any(is_running(pid) for pid in running.values()))
    again = Serving(folder)  # neither lock nor port nor files are left behind
    assert again.stop() == 0


def test_a_worker_that_finds_no_database_is_tried_again(tmp_path, made, postgres):
    folder = set_up(made, tmp_path / "appliance")
    postgres.configure(folder)
    appliance = Serving(folder)
    before = pids(appliance)
    postgres.cluster.stop()
    try:
        os.kill(before["2"], signal.SIGTERM)
        said = re.compile(rf"worker 2 \(process \d+\) ended with exit code {ConfigError.exit_code}: another one takes")
        wait_for("a worker that finds no database", lambda: said.search(appliance.log.read_text()))
        assert appliance.process.poll() is None
    finally:
        postgres.cluster.start()
    wait_for("a second worker again", lambda: pids(appliance)["2"] != before["2"])
    assert pids(appliance)["1"] == before["1"]
    assert appliance.stop() == 0


def test_what_is_wrong_with_the_folder_is_said_once(tmp_path, made):
    folder = set_up(made, tmp_path / "appliance")
    (folder / "keystore.passphrase").write_text("other")
    appliance = Serving(folder)
    assert appliance.wait() == ConfigError.exit_code
    assert appliance.log.read_text().count("passphrase is wrong") == 1
    assert not appliance.ready


def test_one_appliance_per_folder(shared, monkeypatch):
    monkeypatch.setattr(workers, "harden_process", lambda: None)
    with pytest.raises(ConfigError, match="another appliance process serves it"):
        supervise(shared.folder, 2)


def test_sigterm_at_the_start_ends_what_was_started(tmp_path, made, monkeypatch):
    """A stop that comes before the workers answer is obeyed; nothing stays."""
    monkeypatch.setattr(workers, "harden_process", lambda: None)
    started = []
    child = workers.Child
    monkeypatch.setattr(workers, "Child", lambda *given, **named: started.append(child(*given, **named)) or started[-1])
    stop = workers.threading.Event()
    stop.set()
    folder = set_up(made, tmp_path / "appliance")
    assert supervise(folder, 2, port=0, stop=stop) == 0
    assert len(started) == 2
    assert all(one.process.poll() is not None for one in started)
    assert not (folder / "endpoint.json").exists()


# ---- the port ---------------------------------------------------------------------------------------------------


def test_a_port_of_somebody_else_is_refused_even_if_they_would_share_it():
    for share in (False, True):
        with socket.socket() as taken:
            if share:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ConfigError, match=f"port {port}: the port is taken"), reserved_port("127.0.0.1", port):
                pass


def test_a_reserved_port_is_for_those_who_share_it():
    with reserved_port("127.0.0.1", 0) as port:
        assert port > 0
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.socket() as worker:
            for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):  # as gRPC has them
                worker.setsockopt(socket.SOL_SOCKET, option, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
            with socket.create_connection(("127.0.0.1", port), 5):  # the reserving socket takes none of them
                worker.accept()[0].close()
    with reserved_port("127.0.0.1", port) as again:
        assert again == port
    with pytest.raises(ConfigError, match="not of here"), reserved_port("192.0.2.1", 1):
        pass


def test_a_system_that_cannot_share_ports_is_told_so(monkeypatch):
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(ConfigError, match="workers = 1"), reserved_port("127.0.0.1", 0):
        pass


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "workers"), [("", 1), ("workers = 3", 3)])
def test_number_of_workers(tmp_path, line, workers):
    (tmp_path / "appliance.toml").write_text(f'realm = "dev"\n{line}\n')
    assert read_settings(tmp_path).run.workers == workers


@pytest.mark.parametrize("value", ["0", "65", "true", '"two"'])
def test_a_wrong_number_of_workers(tmp_path, value):
    (tmp_path / "appliance.toml").write_text(f'realm = "dev"\nworkers = {value}\n')
    with pytest.raises(ConfigError, match=r"appliance\.toml:2: expected a whole number from 1 to 64 for 'workers'"):
        read_settings(tmp_path)


def test_what_can_be_read_once_is_handed_on_by_descriptor(tmp_path):
    lines = (
        'realm = "dev"',
        'passphrase = "fd:7"',
        'registry = "postgresql://db/station"',
        'registry_password = "fd:8"',
    )
    (tmp_path / "appliance.toml").write_text("\n".join(lines))
    settings = read_settings(tmp_path)
    names = list(secret_sources(settings))
    assert list(secret_sources(settings).values()) == [SecretSource("fd", "7"), SecretSource("fd", "8")]
    given = with_secrets(settings, {name: number for number, name in enumerate(names, 20)})
    assert (given.keys.passphrase, given.registry.password) == (SecretSource("fd", "20"), SecretSource("fd", "21"))
    secrets = {name: Secret(name.encode(), name) for name in names}
    with _handed_on(secrets) as descriptors:
        order = json.dumps(asdict(Order(0, "localhost", 1, descriptors)))
        assert Order(**json.loads(order)).secrets == descriptors
        for name, descriptor in descriptors.items():
            assert descriptor > 2
            with read_secret(SecretSource("fd", str(os.dup(descriptor))), name).reveal() as raw:
                assert raw == name.encode()
    for descriptor in descriptors.values():
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(descriptor)


def test_metrics_of_the_processes_are_on_ports_one_after_the_other():
    address = MetricsAddress("127.0.0.1", 9464)
    assert [address.next(number).port for number in range(3)] == [9464, 9465, 9466]
    assert MetricsAddress("127.0.0.1", 0).next(2).port == 0


def test_calls_may_wait_for_hsm_and_database_beside_those_that_compute(made, tmp_path):
    keys = read_settings(made).keys
    assert (keys.waiting, read_settings(made).waiting) == (0, 0)
    lines = ('keystore_kind = "pkcs11"', 'module = "hsm.so"', "hsm_sessions = 5", "registry_connections = 3")
    (tmp_path / "appliance.toml").write_text("\n".join(('realm = "dev"', 'registry = "postgresql://db/x"', *lines)))
    assert read_settings(tmp_path).waiting == 8
    assert keys.secret == keys.passphrase
    given = SecretSource("fd", "7")
    assert keys.reading(given).passphrase == given
    token = replace(keys, kind=PKCS11, sessions=5)
    assert (token.waiting, replace(token, softhsm=tmp_path).waiting) == (5, 0)
    assert (token.secret, token.reading(given).pin) == (keys.pin, given)
