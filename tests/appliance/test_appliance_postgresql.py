"""What is PostgreSQL's own: durability, its password, a database that was away, timeouts, rights, versions."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from access_bench import inner
from appliance_bench import Station, TestPart, copy_folder, dice_ca_of, endorsed
from store_bench import DEVICE, configure

from station.appliance import database_postgresql
from station.appliance.database import DatabaseFailed
from station.appliance.database_postgresql import PostgresAddress, PostgresDatabase
from station.appliance.database_schema import ACCOUNT, REGISTRY
from station.appliance.device_store import DeviceStore, Outcome, StoreFailed
from station.appliance.doctor import examine
from station.appliance.file_guard import exposed
from station.appliance.quota import Quota, Spent
from station.appliance.settings import read_settings
from station.appliance.stores import existing_store, open_stores
from station.errors import ConfigError
from station.secret import Secret


def failing(database, action) -> str:
    with pytest.raises((DatabaseFailed, StoreFailed)) as failed:
        action()
    return str(failed.value)


def test_what_is_durable_waits_for_the_disk(postgres):
    """Whatever the server, the database or the role prefers."""
    postgres.rows("ALTER ROLE station SET synchronous_commit = off")
    postgres.rows("ALTER ROLE station SET default_transaction_isolation = serializable")
    asked = "SELECT current_setting('synchronous_commit'), current_setting('transaction_isolation')"
    with closing(postgres.open()) as database:
        assert database.read(asked) == [("on", "read committed")]
        assert database.run(lambda transaction: transaction.execute(asked)) == [("on", "read committed")]
        assert database.run(lambda transaction: transaction.execute(asked), durable=False)[0][0] == "off"
        assert database.read(asked) == [("on", "read committed")]
    postgres.rows("ALTER ROLE station SET synchronous_commit = remote_apply")
    with closing(postgres.open()) as database:
        assert database.read(asked)[0][0] == "remote_apply"
    postgres.rows("ALTER ROLE station RESET ALL")


def test_a_server_that_does_not_sync_is_refused(cluster, postgres):
    with closing(cluster.connect()) as connection:
        try:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
            wait_for(lambda: cluster_says(cluster, "fsync") == "off")
            with pytest.raises(ConfigError, match="expected fsync = on"):
                postgres.open()
        finally:
            connection.execute("ALTER SYSTEM RESET fsync")
            connection.execute("SELECT pg_reload_conf()")
    wait_for(lambda: cluster_says(cluster, "fsync") == "on")
    postgres.open().close()


def wait_for(claim) -> None:
    for _ in range(2000):
        if claim():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")


def cluster_says(cluster, setting: str) -> str:
    with closing(cluster.connect()) as connection:
        return connection.execute(f"SHOW {setting}").fetchone()[0]


# ---- the database was away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_the_database_was_restarted(cluster, postgres, how):
    with closing(postgres.open()) as database:
        store = DeviceStore(database)
        run_at_once(4, lambda n: store.register(replace(DEVICE, device_id=f"0x{n}")))
        assert len(database._idle) > 0
        cluster.stop(how)
        cluster.start()
        assert store.register(DEVICE) is Outcome.NEW, "connections of before are replaced without a failure"
        assert store.count() == 5


def test_while_the_database_is_away_everything_fails_quickly_and_in_one_sentence(cluster, postgres, monkeypatch):
    with closing(postgres.open()) as database:
        store = DeviceStore(database)
        store.register(DEVICE)
        cluster.stop()
        try:
            connects = []
            real = psycopg.connect
            monkeypatch.setattr(psycopg, "connect", lambda *a, **k: connects.append(1) or real(*a, **k))
            for _ in range(20):
                said = failing(database, lambda: store.register(replace(DEVICE, device_id="0x2")))
                assert said == "the registration could not be stored: the database cannot be reached"
            assert len(connects) < 10, "after a failure nobody tries again for a moment"
            with pytest.raises(DatabaseFailed), database.lead("forward"):
                pass
        finally:
            cluster.start()
        monkeypatch.setattr(database_postgresql, "PAUSE_SECONDS", 0.0)
        database._pause_until = 0.0
        assert store.register(replace(DEVICE, device_id="0x2")) is Outcome.NEW
        assert store.count() == 2


def test_a_connection_that_breaks_inside_the_work_is_made_again(postgres):
    with closing(postgres.open()) as database:
        seen = []

        def work(transaction):
            seen.append(transaction.execute("SELECT pg_backend_pid()")[0][0])
            transaction.execute("DELETE FROM devices")
            if len(seen) == 1:
                postgres.rows(f"SELECT pg_terminate_backend({seen[0]}, 10000)")
            return transaction.execute("SELECT 1")

        assert database.run(work) == [(1,)]
        assert len(set(seen)) == 2


def test_a_connection_that_breaks_whenever_it_is_used_is_a_failure(postgres):
    with closing(postgres.open()) as database:
        tries = []

        def work(transaction):
            tries.append(1)
            (pid,) = transaction.execute("SELECT pg_backend_pid()")[0]
            postgres.rows(f"SELECT pg_terminate_backend({pid}, 10000)")
            transaction.execute("SELECT 1")

        assert "the database failed (57P01)" in failing(database, lambda: database.run(work))
        assert len(tries) == database_postgresql.TRIES


def test_transactions_that_are_in_one_anothers_way_go_again(postgres):
    """A deadlock: one of the two is ended by the server, and carried out once more."""
    with closing(postgres.open()) as database:
        gate = threading.Barrier(2)
        tries = []

        def work(first, second):
            def inside(transaction):
                tries.append(first)
                transaction.lock(first)
                if len(tries) <= 2:
                    gate.wait(20)
                transaction.lock(second)
                return first

            return database.run(inside)

        answers = run_at_once(2, lambda index: work(*(("a", "b") if index else ("b", "a"))))
        assert sorted(answers) == ["a", "b"]
        assert len(tries) == 3


def test_the_lead_ends_with_its_connection(postgres):
    with closing(postgres.open()) as one, closing(postgres.open()) as two:
        with one.lead("forward") as leading:
            assert leading
            pids = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
            ((pid,),) = postgres.rows(pids)
            postgres.rows(f"SELECT pg_terminate_backend({pid}, 10000)")
            with two.lead("forward") as taken:
                assert taken
        with one.lead("forward") as again:
            assert again


def test_no_connection_is_left_or_leaked(postgres):
    def open_connections() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'station appliance'"
        return postgres.rows(query)[0][0]

    with closing(postgres.open(connections=3)) as database:
        store = DeviceStore(database)
        run_at_once(8, lambda n: [store.register(replace(DEVICE, device_id=f"0x{n}.{k}")) for k in range(20)])
        for _ in range(50):
            failing(database, lambda: database.execute("SELECT 1 / 0"))
            failing(database, lambda: database.run(lambda transaction: transaction.execute("SELECT nothing")))
        assert open_connections() <= 3
        assert store.count() == 160
    wait_for(lambda: open_connections() == 0)
    assert "closed" in failing(database, lambda: store.register(DEVICE))


def test_all_connections_busy_is_a_sentence(postgres, monkeypatch):
    monkeypatch.setattr(database_postgresql, "WAIT_SECONDS", 0.05)
    with closing(postgres.open(connections=1)) as database, database.lead("forward"):
        assert failing(database, lambda: database.read("SELECT 1")) == "all connections to the database are busy"


def test_a_statement_that_hangs_is_ended(postgres, monkeypatch):
    monkeypatch.setitem(database_postgresql.SESSION, "statement_timeout", "100ms")
    with closing(postgres.open()) as database:
        assert "57014" in failing(database, lambda: database.read("SELECT pg_sleep(20)"))
        assert database.read("SELECT 1") == [(1,)]


def test_a_full_disk_of_the_database_acknowledges_nothing(postgres):
    """The server's own error for a full disk, raised where it would come from."""
    with closing(postgres.open()) as database:
        store = DeviceStore(database)
        postgres.rows(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
        )
        postgres.rows("CREATE TRIGGER full_disk BEFORE INSERT ON registrations EXECUTE FUNCTION full_disk()")
        assert "the database failed (53100)" in failing(database, lambda: store.register(DEVICE))
        postgres.rows("DROP TRIGGER full_disk ON registrations")
        assert store.register(DEVICE) is Outcome.NEW


# ---- settings, password, versions -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, made, postgres):
    folder = copy_folder(made, tmp_path / "appliance")
    postgres.configure(folder)
    return folder


def test_the_settings_lead_to_the_database(folder, postgres):
    with open_stores(read_settings(folder)) as stores:
        stores.store.register(DEVICE)
        stores.quota.endorse(None, "ft-1", "sival", [("a",)])
    assert postgres.rows("SELECT device_id FROM registrations") == [("0x01",)]
    assert postgres.rows("SELECT device FROM devices") == [("a",)]
    assert not (folder / "counters.db").exists()
    assert not (folder / "registry.db").exists()


def test_the_password_comes_from_a_credential_or_libpqs_own_file(folder, postgres, tmp_path, monkeypatch):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "database").write_text(postgres.cluster.password)
    configure(folder, registry_password="credential:database")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    with open_stores(read_settings(folder)) as stores:
        assert stores.store.count() == 0
    passfile = tmp_path / "passfile"
    passfile.write_text(f"*:*:*:station:{postgres.cluster.password}\n")
    passfile.chmod(0o600)
    configure(folder, registry=f"{postgres.url}&passfile={passfile}", registry_password="")
    with open_stores(read_settings(folder)) as stores:
        assert stores.store.count() == 0


def test_a_wrong_password_is_told_without_it(folder, tmp_path, caplog):
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password")
    wrong.chmod(0o600)
    configure(folder, registry_password=str(wrong))
    with (
        pytest.raises(ConfigError, match=r"cannot be reached: .*password authentication failed") as failed,
        open_stores(read_settings(folder)),
    ):
        pass
    assert "password authentication failed" in caplog.text
    assert "not-the-password" not in caplog.text + str(failed.value)
    wrong.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"), open_stores(read_settings(folder)):
        pass


def test_without_psycopg_it_is_one_sentence(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "station.appliance.database_postgresql")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with (
        pytest.raises(ConfigError, match=r"install provisioning-station\[postgresql\]"),
        open_stores(read_settings(folder)),
    ):
        pass


def test_a_database_of_a_newer_version_is_left_alone(postgres):
    postgres.open().close()
    postgres.rows("UPDATE station_schemas SET version = 99 WHERE name = 'registry'")
    with pytest.raises(ConfigError, match="newer version"):
        postgres.open()


def test_several_processes_that_begin_on_an_empty_database(postgres):
    databases = run_at_once(6, lambda index: postgres.open(connections=1))
    assert postgres.rows("SELECT name, version FROM station_schemas ORDER BY name") == [
        ("account", len(ACCOUNT.versions)), ("registry", len(REGISTRY.versions)),
    ]  # fmt: skip
    for database in databases:
        database.close()


def test_a_role_that_may_make_no_tables_is_enough(postgres):
    postgres.open().close()
    postgres.rows("DROP ROLE IF EXISTS clerk")
    postgres.rows(f"CREATE ROLE clerk LOGIN PASSWORD '{postgres.cluster.password}'")
    try:
        postgres.rows(f"GRANT USAGE ON SCHEMA {postgres.schema} TO clerk")
        postgres.rows(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {postgres.schema} TO clerk")
        url = postgres.url.replace("station@", "clerk@")
        password = Secret(postgres.cluster.password.encode(), "password")
        with closing(PostgresDatabase(PostgresAddress(url, lambda: password), REGISTRY, ACCOUNT)) as database:
            assert DeviceStore(database).register(DEVICE) is Outcome.NEW
            Quota(database).endorse(None, "ft-1", "sival", [("a",)])
            assert Quota(database).account() == [Spent("", "", 1, 1)]
            assert "42501" in failing(database, lambda: database.execute("DROP TABLE devices"))
            postgres.rows("REVOKE ALL ON failed_calls FROM clerk")  # as after a new version, before the new grant
            assert "42501" in failing(database, DeviceStore(database).failed_calls)
    finally:
        postgres.rows("DROP OWNED BY clerk")
        postgres.rows("DROP ROLE clerk")


def test_an_unreachable_database_at_the_start_is_one_sentence(folder, tmp_path):
    configure(folder, registry=f"postgresql://station@/x?host={tmp_path}")
    with pytest.raises(ConfigError, match="expected the database of the registry"), open_stores(read_settings(folder)):
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        configure(folder, registry=f"postgresql://station@127.0.0.1:{taken.getsockname()[1]}/x")
        with pytest.raises(ConfigError, match="expected the database"), open_stores(read_settings(folder)):
            pass


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"registry": "postgresql://a:pw@h/d"}, "expected no password in the address"),
        ({"registry": "postgresql://a@h/d?pass%77ord=pw"}, "expected no password in the address"),
        ({"registry": "postgres://a@h/d?sslpassword=pw"}, "expected no password in the address"),
        ({"registry": "postgresql://a@[h/d"}, "expected an address"),
        ({"registry": "postgresql://a@h/d", "counters": "counters.db"}, "expected no counters beside"),
        ({"registry": "postgresql://a@h/d", "registry_password": "fd:x"}, "expected a number after fd:"),
        ({"registry": "registry.db", "registry_password": "x"}, "a file has no password"),
        ({"registry_connections": 1}, "from 2 to 256"),
        ({"registry": "postgresql://a@db.example/d", "realm": "production"}, "sslmode=verify-full"),
        ({"registry": "postgresql://a@/d?host=/run/pg,db.example", "realm": "production"}, "database on db.example"),
        ({"registry": "postgresql://a@[2001:db8::1]:5/d?sslmode=require", "realm": "production"}, "on 2001:db8::1"),
        ({"registry": "postgresql:///?service=x", "realm": "production"}, "on the host of the service file"),
        (
            {"registry": "postgresql://localhost/?service=x&sslmode=require", "realm": "production"},
            "sslmode=verify-full",
        ),
    ],
)
def test_findings_of_the_settings(tmp_path, made, lines, words):
    folder = copy_folder(made, tmp_path / "appliance")
    configure(folder, **lines)
    with pytest.raises(ConfigError) as failed:
        read_settings(folder)
    (finding,) = failed.value.findings
    assert words in finding.sentence
    assert finding.line > 0
    assert "pw" not in str(failed.value).replace(str(folder), "")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://a@localhost/d", "postgresql://a@127.0.0.1:5/d", "postgresql://a@[::1]/d", "postgresql://a@%2Frun/d",
        "postgresql:///d?host=/run/postgresql", "postgresql://a@db.example/d?sslmode=verify-full", "postgresql:///?service=x&sslmode=verify-full",
    ],
)  # fmt: skip
def test_addresses_that_production_takes(tmp_path, made, address):
    folder = copy_folder(made, tmp_path / "appliance")
    configure(folder, registry=address, realm="production")
    assert read_settings(folder).registry.url == address


def test_the_doctor_looks_and_makes_nothing(folder, postgres):
    def said() -> dict[str, str]:
        return {check.check: check.sentence for check in examine(folder)}

    assert said()["device store"] == ""
    assert "counters" not in said()
    with existing_store(read_settings(folder)) as store:
        assert store is None
    assert postgres.rows("SELECT to_regclass('station_schemas')") == [(None,)], "a look makes no tables"
    with open_stores(read_settings(folder)) as stores:
        stores.store.register(DEVICE)
    with existing_store(read_settings(folder)) as store:
        assert store.count() == 1
    assert said()["device store"] == ""
    (folder / "appliance.toml").write_text((folder / "appliance.toml").read_text().replace("station@", "nobody@"))
    assert "cannot be reached" in said()["device store"]


def test_a_password_file_that_others_can_read_keeps_the_appliance_from_serving(folder, tmp_path):
    shown = tmp_path / "shown"
    shown.write_text("x")
    shown.chmod(0o644)
    configure(folder, registry_password=str(shown))
    assert any("chmod 600" in sentence for sentence in exposed(read_settings(folder)))


# ---- over the wire --------------------------------------------------------------------------------------------------


def test_the_server_lives_on_while_the_database_is_away(folder, postgres):
    part = TestPart(dice_ca_of(folder), 0x77)
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        uds = endorsed(client, part)
        postgres.cluster.stop()
        try:
            code, text = client.refused("RegisterDevice", part.registration(uds))
            assert (code, "RegisterDevice returned error" in text) == ("INTERNAL", True)
            assert not any(word in text for word in (postgres.schema, str(postgres.cluster.folder), "psycopg", "\n"))
            assert client.refused("EndorseCerts", request_for(client, TestPart(dice_ca_of(folder), 2)))[0] == "INTERNAL"
            client.log_in()  # it ends the session of before, which nobody can write down now
            later = Station(folder, appliance.target, "later")
            later.log_in()
            later.close()
        finally:
            postgres.cluster.start()
        wait_for(lambda: succeeds(lambda: client.call("RegisterDevice", part.registration(uds))))
        client.close()
    assert postgres.rows("SELECT count(*), count(DISTINCT device_id) FROM registrations") == [(1, 1)]
    assert postgres.rows("SELECT endorsed, unregistered FROM spent") == [(1, 0)]


def succeeds(action) -> bool:
    import grpc

    try:
        action()
    except grpc.RpcError as error:
        assert error.code().name == "INTERNAL"
        return False
    return True


def request_for(client, part):
    from appliance_bench import ecdsa, endorse_request, was_of

    return endorse_request(was_of(client), [(ecdsa("UDS"), part.uds_tbs)])


def test_the_log_has_no_password(folder, postgres, caplog):
    postgres.cluster.stop()
    try:
        with pytest.raises(ConfigError), open_stores(read_settings(folder)):
            pass
    finally:
        postgres.cluster.start()
    assert postgres.cluster.password not in caplog.text
    assert postgres.cluster.password not in repr(read_settings(folder))
    assert Path(postgres.cluster.password_file).read_text() == postgres.cluster.password


def run_at_once(number, work):
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(work(n))) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == number
    return answers
