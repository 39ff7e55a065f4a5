"""A client walks every row of the status-code tables of the appliance sheet, sections 1.5 and 2.1 to 2.5."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count

import grpc
import pytest
from access_bench import Holder, issue
from appliance_bench import (
    Served,
    Station,
    TestPart,
    copy_folder,
    dice_ca_of,
    ecdsa,
    endorse_request,
    password_of,
)
from code_table import ODD_SKUS, OK, ROWS, Setting, boot, endorse, registration, stored

from station.appliance.certificates import new_endpoint, realm_name
from station.appliance.pki import init, tls_authority
from station.appliance.selftest.oracle import registry_id
from station.appliance.service_client import CallRefused, Identity, RawClient
from station.model import Realm
from station.wire import pa_pb2

LOGIN_FREE = pa_pb2.CloseSessionRequest()
BOOT = boot(None, "sival")
NOT_ON_THE_WIRE = {
    "1.5 InitSession: HSM slot missing": "the appliance does not start (test_appliance_pkcs11.py)",
    "1.5 EndorseCerts: signing failure": "a key that cannot sign is refused when the SKU is loaded; a token that is "
    "removed meanwhile: test_appliance_pkcs11_server.py",
    "2.4 step 2: no controller": "our sessions are part of the appliance",
    "2.4 step 3: no metadata": "gRPC always sends some; without user_id the connection is looked up (2.2)",
}
"""Rows of the tables that no client can bring about, and why."""


def odd_folder(folder) -> None:
    """An appliance of ``sival`` and ``sival_pqc`` with all the odd SKUs."""
    init(folder, ["station-1", "station-2"], skus=["sival", "sival_pqc"])
    text = (folder / "skus/sku_sival.yml").read_text()
    for name, change in ODD_SKUS.items():
        (folder / f"skus/sku_{name}.yml").write_text(change(text).replace("sku: sival\n", f"sku: {name}\n"))
    pqc = (folder / "skus/sku_sival_pqc.yml").read_text().replace("sku: sival_pqc\n", "sku: sival_pqc_ext\n")
    cert = "  - name: SigningKey/Ext/Mldsa/v0\n    path: ca/sival_pqc-dice-key-mldsa-v0.der\n"
    key = "  SigningKey/Ext/Mldsa/v0: sival_pqc-dice-key-mldsa-v0.priv\n"
    pqc = pqc.replace("certs:\n", f"certs:\n{cert}").replace("attributes:\n", f"attributes:\n{key}")
    (folder / "skus/sku_sival_pqc_ext.yml").write_text(pqc)


class Table:
    """The served appliance, a client per SKU, the setting of the rows."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.appliance = Served(folder)
        self.target = self.appliance.target
        self._clients: dict[str, Station] = {}
        client = self.client("sival")
        params = pa_pb2.TokenParams(seed=2, type=1, size=2, diversifier=b"was".ljust(48, b"\0"))
        was = client.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[params])).tokens[0].token
        part = TestPart(dice_ca_of(folder), 1)
        uds = client.call("EndorseCerts", endorse_request(was, [(ecdsa("UDS"), part.uds_tbs)])).certs[0].cert.blob
        mldsa = (folder / "skus/ca/sival_pqc-dice-key-mldsa-v0.der").read_bytes()
        self.setting = Setting(was, dice_ca_of(folder), mldsa, part, uds, count(100))

    def password(self, sku: str) -> str:
        family = "sival_pqc" if sku.startswith("sival_pqc") else "sival"
        return (self.folder / f"clients/sku_password_{family}").read_text().strip()

    def client(self, sku: str) -> Station:
        """Logged in for the SKU."""
        if sku not in self._clients:
            self._clients[sku] = self.visitor(f"row-{sku}")
            self._clients[sku].log_in(sku, self.password(sku))
        return self._clients[sku]

    def visitor(self, user: str, sku: str = "") -> Station:
        """A client of its own; close it."""
        client = Station(self.folder, self.target, user)
        if sku:
            client.log_in(sku, self.password(sku))
        return client

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        assert self.appliance.stop() == 0


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table") / "appliance"
    odd_folder(folder)
    made = Table(folder)
    yield made
    made.close()


# ---- 1.5 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.sheet)
def test_row(table, row):
    asked = row.sku if row.asked is None else row.asked
    request = row.ask(table.setting, asked)
    client = table.client(row.sku)
    given = {}
    if row.call == "InitSession":
        given = {"user": "logs in", "token": None}
        if request.sku_auth == "?":
            request.sku_auth = table.password(asked)
    try:
        answer = client.ask(row.call, request, **given).message
    except CallRefused as refused:
        assert refused.code == row.code, refused.details
        assert row.words in refused.details
        return
    assert row.code == OK, "it was answered"
    assert row.good(answer)


def test_rows_have_names_of_their_own():
    names = [row.sheet for row in ROWS]
    assert len(set(names)) == len(names) > 110
    assert not {*names} & {*NOT_ON_THE_WIRE}


def test_stored_tokens_are_unimplemented_once_allowed(made, tmp_path):
    """1.5 GetStoredTokens: always UNIMPLEMENTED (after the allow-list)."""
    folder = copy_folder(made, tmp_path / "appliance")
    auth = folder / "skus/sku_auth.yml"
    auth.write_text(auth.read_text().replace("[DeriveTokens,", "[GetStoredTokens, DeriveTokens,"))
    with closing(Running(folder)) as running:
        assert running.client.refused("GetStoredTokens", stored(None, "sival"))[0] == "UNIMPLEMENTED"


class Running:
    """An appliance for one test, with a client that is logged in."""

    def __init__(self, folder) -> None:
        self.appliance = Served(folder)
        self.client = Station(folder, self.appliance.target)
        self.client.log_in()

    def close(self) -> None:
        self.client.close()
        assert self.appliance.stop() == 0

    def setting(self) -> Setting:
        folder = self.client.folder
        params = pa_pb2.TokenParams(seed=2, type=1, size=2, diversifier=b"was".ljust(48, b"\0"))
        request = pa_pb2.DeriveTokensRequest(sku="sival", params=[params])
        was = self.client.call("DeriveTokens", request).tokens[0].token
        part = TestPart(dice_ca_of(folder), 1)
        request = endorse_request(was, [(ecdsa("UDS"), part.uds_tbs)])
        uds = self.client.call("EndorseCerts", request).certs[0].cert.blob
        return Setting(was, dice_ca_of(folder), b"", part, uds, count(2))


def test_no_registry(made, tmp_path):
    """1.5 RegisterDevice: PA started without registry."""
    folder = copy_folder(made, tmp_path / "appliance")
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text().replace('registry = "registry.db"', 'registry = ""'))
    with closing(Running(folder)) as running:
        code, text = running.client.refused("RegisterDevice", registration()(running.setting(), "sival"))
    assert (code, "PA started without ProxyBuffer" in text) == ("INTERNAL", True)


def test_the_registry_fails(made, tmp_path):
    """1.5 RegisterDevice: proxy buffer error; the same content again is a no-op, unlike upstream."""
    folder = copy_folder(made, tmp_path / "appliance")
    with closing(Running(folder)) as running:
        setting = running.setting()
        request = registration()(setting, "sival")
        running.client.call("RegisterDevice", request)
        said = running.client.ask("RegisterDevice", request).trailing
        assert said["x-station-registration"] == "same"
        with closing(sqlite3.connect(folder / "registry.db")) as database:
            tables = database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
            for (name,) in tables.fetchall():
                full = f"BEFORE INSERT ON \"{name}\" BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
                database.execute(f'CREATE TRIGGER "no_{name}" {full}')
        code, text = running.client.refused("RegisterDevice", registration()(setting, "sival"))
        assert (code, "RegisterDevice returned error" in text) == ("INTERNAL", True)
        assert running.client.call("GetOwnerFwBootMessage", BOOT).boot_message, "the server is alive"
    assert "Traceback" not in (folder / "serve.log").read_text()
    assert registry_id(2) not in text


# ---- 2.1 to 2.5 -------------------------------------------------------------------------------------------------

SESSION_ROWS: dict[str, Callable[[Table], None]] = {}


def row(sheet: str):
    def keep(function: Callable[[Table], None]) -> Callable[[Table], None]:
        SESSION_ROWS[sheet] = function
        return function

    return keep


def refused(client: Station, code: str, words: str = "", method: str = "GetOwnerFwBootMessage", request=BOOT, **given):
    found, text = client.refused(method, request, **given)
    assert (found, words in text) == (code, True), (found, text)


def boots(client: Station, **given) -> None:
    assert client.call("GetOwnerFwBootMessage", BOOT, **given).boot_message


@row("2.1 check: the password as sent, compared with the hash of the SKU")
def password_is_taken_as_it_is(table):
    with closing(table.visitor("pads")) as client:
        for password in ("", table.password("sival") + " ", table.password("sival").upper()):
            request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=password)
            refused(client, "UNAUTHENTICATED", "incorrect sku authentication", "InitSession", request)


@row("2.1 lookup: exact key first, else the key that the SKU begins with, the longest of several")
def family(table):
    with closing(table.visitor("family")) as client:
        client.log_in("sival_pqc_ext", table.password("sival_pqc"))
        request = pa_pb2.InitSessionRequest(sku="sival_pqc_ext", sku_auth=table.password("sival"))
        refused(client, "UNAUTHENTICATED", "", "InitSession", request, token=None)


@row("2.1 methods: those of the SKU's list are answered to InitSession")
def methods(table):
    with closing(table.visitor("methods")) as client:
        answer = client.log_in("sival", table.password("sival"))
        assert sorted(answer.auth_methods) == [
            "DeriveTokens", "EndorseCerts", "GetCaCerts", "GetCaSubjectKeys", "GetOwnerFwBootMessage", "RegisterDevice",
        ]  # fmt: skip


@row("2.2 token: letters and digits; longer than 16 characters here, and never the same")
def token(table):
    with closing(table.visitor("token")) as client:
        tokens = {client.log_in("sival", table.password("sival")).sku_session_token for _ in range(5)}
        assert len(tokens) == 5
        assert all(text.isalnum() and text.isascii() and len(text) > 16 for text in tokens)


@row("2.2 lifetime: until the next InitSession of the same user")
def next_login(table):
    with closing(table.visitor("next", "sival")) as client:
        before = client.token
        client.log_in("sival", table.password("sival"))
        refused(client, "NOT_FOUND", "incorrect access token", token=before)
        boots(client)


@row("2.2 lifetime: until CloseSession")
def until_close(table):
    with closing(table.visitor("closes", "sival")) as client:
        client.call("CloseSession", LOGIN_FREE)
        refused(client, "INTERNAL", "user not found")


@row("2.2 lifetime: a restart of the PA; here the session lives on, upstream forgets it")
def restart(table):
    with closing(table.visitor("restarts", "sival")) as client:
        assert table.appliance.stop() == 0
        table.appliance = Served(table.folder)
        table.target = table.appliance.target
        for known in table._clients.values():
            known.close()
        table._clients.clear()
        with closing(table.visitor("restarts")) as again:
            boots(again, token=client.token)


@row("2.2 identity: the first user_id")
def first_user(table):
    with closing(table.visitor("", "sival")) as client:
        metadata = [("user_id", "two"), ("user_id", "three")]
        request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=table.password("sival"))
        answer = client.ask("InitSession", request, token=None, metadata=metadata).message
        boots(client, user="two", token=answer.sku_session_token)
        refused(client, "INTERNAL", "user not found", user="three", token=answer.sku_session_token)


@row("2.2 identity: without user_id the peer; here the certificate's connection, upstream its address")
def no_user(table):
    one, other = table.visitor("", "sival"), table.visitor("", "sival")
    with closing(one), closing(other):
        boots(one)
        boots(other)
        one.call("CloseSession", LOGIN_FREE, token=None)
        refused(one, "INTERNAL", "user not found")
        boots(other)


@row("2.2 cross-SKU: upstream answers; here another loaded SKU is refused")
def cross_sku(table):
    table.client("sival_leaf_uds")
    with closing(table.visitor("crosses", "sival")) as client:
        refused(client, "PERMISSION_DENIED", "sival_leaf_uds", request=boot(None, "sival_leaf_uds"))


@row("2.2 CloseSession: no token needed, deleting nothing is no error")
def close_nothing(table):
    with closing(table.visitor("never came")) as client:
        for token in (None, "", "A" * 16):
            client.call("CloseSession", LOGIN_FREE, token=token)
    with closing(table.visitor("closes twice", "sival")) as client:
        client.call("CloseSession", LOGIN_FREE, token=None)
        client.call("CloseSession", LOGIN_FREE, token=None)
        refused(client, "INTERNAL", "user not found")


@row("2.2 logging: upstream writes the token, here nothing does")
def silent(table):
    with closing(table.visitor("silent", "sival")) as client:
        boots(client)
        for name in ("serve.log", "audit.jsonl"):
            assert client.token not in (table.folder / name).read_text()


@row("2.2 SKU load: once; an edited file counts after a restart")
def loaded_once(table):
    client, path = table.client("sival_no_low"), table.folder / "skus/sku_sival_no_low.yml"
    text = path.read_text()
    path.write_text("sku: [")
    try:
        with closing(table.visitor("loads again", "sival_no_low")) as again:
            assert again.call("GetOwnerFwBootMessage", boot(None, "sival_no_low")).boot_message
        assert client.call("GetOwnerFwBootMessage", boot(None, "sival_no_low")).boot_message
    finally:
        path.write_text(text)


@row("2.3 authorization: the bare token, no prefix")
def bare(table):
    with closing(table.visitor("bare", "sival")) as client:
        for prefix in ("Bearer ", " ", "bearer"):
            refused(client, "NOT_FOUND", "incorrect access token", token=f"{prefix}{client.token}x")
        refused(client, "NOT_FOUND", "incorrect access token", token=f"Bearer {client.token}")


@row("2.3 x-opentitan-auth-token: ignored")
def other_header(table):
    with closing(table.visitor("header", "sival")) as client:
        metadata = [("x-opentitan-auth-token", "TokenSkuA"), ("x-opentitan-auth-token", "TokenSkuB")]
        boots(client, metadata=metadata)
        refused(client, "UNAUTHENTICATED", "", token=None, metadata=[("x-opentitan-auth-token", client.token)])


@row("2.4 step 1: InitSession and CloseSession need neither user nor token")
def free(table):
    with closing(table.visitor("free")) as client:
        client.token = "A" * 16
        request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=table.password("sival"))
        assert client.call("InitSession", request).sku_session_token
        client.call("CloseSession", LOGIN_FREE)


@row("2.4 step 4: no such user")
def unknown_user(table):
    with closing(table.visitor("unknown")) as client:
        for token in (None, "A" * 16, table.client("sival").token):
            refused(client, "INTERNAL", "user not found", token=token)


@row("2.4 step 5: no authorization")
def no_token(table):
    refused(table.client("sival"), "UNAUTHENTICATED", "", token=None)


@row("2.4 step 5: another authorization than the stored one")
def wrong_token(table):
    refused(table.client("sival"), "NOT_FOUND", "incorrect access token", token="A" * 16)


@row("2.4 step 6: method not in the user's list")
def not_listed(table):
    client = table.client("sival")
    refused(client, "PERMISSION_DENIED", "", "GetStoredTokens", stored(None, "sival"))


@row("2.4 order: user before token before list")
def order(table):
    with closing(table.visitor("orders")) as client:
        refused(client, "INTERNAL", "", "GetStoredTokens", stored(None, "sival"), token=None)
        client.log_in("sival", table.password("sival"))
        refused(client, "UNAUTHENTICATED", "", "GetStoredTokens", stored(None, "sival"), token=None)
        refused(client, "NOT_FOUND", "", "GetStoredTokens", stored(None, "sival"), token="A" * 16)
        refused(client, "PERMISSION_DENIED", "", "GetStoredTokens", stored(None, "sival"))


@row("2.4 step 7 and 2.5: an address that is not in the certificate, at every call without a session too")
def elsewhere(table):
    hosts = ["elsewhere.example", "192.0.2.1"]
    issued = new_endpoint(realm_name("elsewhere", Realm.DEV), hosts, tls_authority(table.folder), server=False)
    with closing(Holder(table.folder, table.target, issued)) as client:
        request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=table.password("sival"))
        refused(client, "UNKNOWN", "", "InitSession", request)
        refused(client, "UNKNOWN", "", "CloseSession", LOGIN_FREE)
        refused(client, "INTERNAL", "user not found")


@row("2.5 endpoint check: an IP address in the certificate is enough")
def by_address(table):
    hosts = ["127.0.0.1", "elsewhere.example"]
    issued = new_endpoint(realm_name("address", Realm.DEV), hosts, tls_authority(table.folder), server=False)
    with closing(Holder(table.folder, table.target, issued)) as client:
        client.log_in("sival", table.password("sival"))
        boots(client)


@row("2.5 server: requires a client certificate of its CA")
def strangers(table):
    ca = (table.folder / "tls/ca-cert.pem").read_bytes()
    with (
        closing(RawClient(table.target, Identity(ca, None, None), "nobody")) as client,
        pytest.raises(CallRefused) as no,
    ):
        client.call("CloseSession", LOGIN_FREE)
    assert no.value.code == "UNAVAILABLE"
    with closing(Holder(table.folder, table.target, issue(table.folder, "late", days=-0.5))) as client:
        refused(client, "UNAVAILABLE", "", "CloseSession", LOGIN_FREE)


@row("2.5 modes: without TLS nothing is answered")
def plain(table):
    path = "/pa.ProvisioningApplianceService/CloseSession"
    with grpc.insecure_channel(table.target) as channel, pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary(path)(b"", timeout=10)
    assert failed.value.code().name == "UNAVAILABLE"


@row("3.5 bundle order: the proof covers the TBS in the order of the bundles")
def bundle_order(table):
    request = endorse(lambda s: (ecdsa("UDS"), s.tbs()), lambda s: (ecdsa("UDS"), s.tbs()))(table.setting, "sival")
    client = table.client("sival")
    assert len(client.call("EndorseCerts", request).certs) == 2
    request.bundles.reverse()
    refused(client, "INVALID_ARGUMENT", "could not verify WAS signature", "EndorseCerts", request)


@pytest.mark.parametrize("sheet", SESSION_ROWS)
def test_session_row(table, sheet):
    SESSION_ROWS[sheet](table)


def test_a_wrong_password_does_not_come_back(table):
    with closing(table.visitor("wrong")) as client:
        request = pa_pb2.InitSessionRequest(sku="sival", sku_auth="my-own-password")
        assert "my-own-password" not in client.refused("InitSession", request)[1]
    assert password_of(table.folder) not in (table.folder / "serve.log").read_text()
