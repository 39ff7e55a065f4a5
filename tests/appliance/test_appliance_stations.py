"""Who may do what: ``stations.toml`` and its findings, roles, SKUs, and what a refused call leaves behind."""

from __future__ import annotations

import pytest
from access_bench import BOOT, Holder, audit_lines, fingerprint, inner, issue, second_sku
from appliance_bench import Station, TestPart, dice_ca_of, ecdsa, endorse_request, password_of

from station.appliance.client_certificate import ClientCertificate, read_client_certificate
from station.appliance.refusal import Refusal
from station.appliance.stations import Access, fingerprint_of, read_stations
from station.errors import ConfigError
from station.model import Realm
from station.wire import pa_pb2

DIGITS = "0123456789abcdef" * 4


def findings(path, text) -> list[tuple[int, str]]:
    path.write_text(text)
    with pytest.raises(ConfigError) as failed:
        read_stations(path)
    return [(finding.line, finding.sentence) for finding in failed.value.findings]


GOOD = f"""\
[[work_order]]
name = "WO-1"
quota = 3

[[station]]
name = "cp-1"
certificate = "SHA256:{DIGITS}"
skus = ["sival*"]
roles = ["CP"]

[[station]]
name = "ft-1"
certificate = "Station-2"
skus = ["sival", "cr01"]
roles = ["FT", "RMA"]
work_order = "WO-1"
"""


def test_a_good_file(tmp_path):
    path = tmp_path / "stations.toml"
    path.write_text(GOOD)
    stations = read_stations(path)
    assert [station.name for station in stations.by_fingerprint.values()] == ["cp-1"]
    ft = stations.by_name["station-2"]
    assert (ft.skus, list(ft.roles), ft.work_order.quota) == (("sival", "cr01"), ["FT", "RMA"], 3)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('roles = ["CP"]', 'roles = ["CPU"]', 9, "found 'CPU'"),
        ('roles = ["CP"]', "roles = []", 9, "roles"),
        ('skus = ["sival*"]', "skus = []", 8, "skus"),
        ('skus = ["sival*"]', 'sku = ["sival*"]', 8, "did you mean"),
        (f"SHA256:{DIGITS}", "SHA256:0123", 7, "64 hexadecimal digits"),
        (f"SHA256:{DIGITS}", "station-2", 13, "'station-2' is in station 1 too"),
        (f"SHA256:{DIGITS}", "localhost", 7, "only this station's certificate"),
        (f"SHA256:{DIGITS}", "127.0.0.1", 7, "only this station's certificate"),
        ('"ft-1"', '"cp-1"', 12, "'cp-1' is in station 1 too"),
        ('work_order = "WO-1"', 'work_order = "WO-2"', 16, "a [[work_order]] named 'WO-2'"),
        ("quota = 3", "quota = -1", 3, "quota"),
        ("quota = 3", 'quota = 3\nper = "week"', 4, "per"),
        ("quota = 3", "quota = 3\nunregistered = 0", 4, "unregistered"),
        ('name = "WO-1"', 'name = "WO 1"', 2, "name"),
        ("[[work_order]]", "[[work_order]", 1, "expected TOML"),
    ],
)
def test_findings_name_their_line(tmp_path, old, new, line, words):
    assert old in GOOD
    found = findings(tmp_path / "stations.toml", GOOD.replace(old, new))
    assert [number for number, sentence in found if words in sentence] == [line], found


def test_a_file_without_stations(tmp_path):
    assert "station" in findings(tmp_path / "stations.toml", "")[0][1]


COLONS = ":".join(DIGITS[at : at + 2] for at in range(0, 64, 2))


@pytest.mark.parametrize("text", [DIGITS, DIGITS.upper(), f"sha256:{DIGITS}", f"SHA-256={DIGITS}", COLONS])
def test_spellings_of_a_fingerprint(text):
    assert fingerprint_of(text) == DIGITS
    assert fingerprint_of(text[:-1]) == ""


def certificate(digits: str, *names: str) -> ClientCertificate:
    return ClientCertificate(digits, frozenset(names), "title", None)


def test_a_fingerprint_decides_and_names_must_mean_one_station(tmp_path):
    path = tmp_path / "stations.toml"
    path.write_text(GOOD + '[[station]]\nname = "other"\ncertificate = "other"\nskus = ["*"]\nroles = ["RMA"]\n')
    access = Access(path, Realm.PRODUCTION)
    assert access.station_of(certificate(DIGITS, "station-2")).name == "cp-1"
    assert access.station_of(certificate("", "station-2", "elsewhere")).name == "ft-1"
    for names in ((), ("elsewhere",), ("station-2", "other")):
        with pytest.raises(Refusal) as refused:
            access.station_of(certificate("", *names))
        assert refused.value.code == "PERMISSION_DENIED"


def test_production_takes_no_development_client(tmp_path, made):
    path = tmp_path / "stations.toml"
    path.write_text(GOOD)
    client = read_client_certificate((made / "clients/station-2/cert.pem").read_bytes())
    assert Access(path, Realm.DEV).station_of(client).name == "ft-1"
    with pytest.raises(Refusal, match="is of realm dev") as refused:
        Access(path, Realm.PRODUCTION).station_of(client)
    assert refused.value.code == "PERMISSION_DENIED"
    assert Access(path, Realm.PRODUCTION).station_of(certificate("", "station-2")).name == "ft-1"


def test_production_wants_the_file_and_development_does_not(tmp_path):
    with pytest.raises(ConfigError, match="expected this file in realm production"):
        Access(tmp_path / "stations.toml", Realm.PRODUCTION)
    everything = Access(tmp_path / "stations.toml", Realm.DEV).station_of(certificate(""))
    everything.require_sku("anything")
    everything.require_seeds([0, 1, 2, 3, 9])
    for method in ("DeriveTokens", "EndorseCerts", "RegisterDevice"):
        everything.require_method(method)


def test_a_change_counts_with_the_next_call_and_a_wrong_one_does_not(tmp_path, caplog):
    path = tmp_path / "stations.toml"
    path.write_text(GOOD)
    access = Access(path, Realm.PRODUCTION)
    path.write_text(GOOD.replace("ft-1", "ft-one"))
    assert access.station_of(certificate("", "station-2")).name == "ft-one"
    path.write_text("[[station")
    assert access.station_of(certificate("", "station-2")).name == "ft-one"
    assert "stays in force" in caplog.text
    path.unlink()
    assert access.station_of(certificate("", "station-2")).name == "ft-one"
    path.write_text(GOOD)
    assert access.station_of(certificate("", "station-2")).name == "ft-1"


def test_a_file_that_is_removed_lifts_all_restrictions_and_the_log_says_so(tmp_path, caplog):
    path = tmp_path / "stations.toml"
    path.write_text(GOOD)
    access = Access(path, Realm.DEV)
    assert not access.unlimited and caplog.text == ""
    path.unlink()
    assert access.unlimited
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.getMessage() == f"{path} is absent: every certificate of the CA may do everything"


# ---- over the wire ----------------------------------------------------------------------------------------------


def test_the_audit_log_says_why_and_keeps_unproven_names_apart(folder):
    """A stranger with the common name of a known station is no such station in the log."""
    (folder / "stations.toml").write_text(station_line("ft-1", fingerprint(folder, "station-1"), "FT"))
    with inner(folder) as appliance:
        stranger = Holder(folder, appliance.target, issue(folder, "ft-1"))
        stranger.refused("GetOwnerFwBootMessage", BOOT)
        known = Station(folder, appliance.target)
        known.refused("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth="not-the-password"))
        known.log_in()
        known.refused("DeriveTokens", tokens(pa_pb2.TOKEN_SEED_HIGH_SECURITY))
        known.refused("GetOwnerFwBootMessage", BOOT, token="B" * 16)
        own = pa_pb2.TokenParams(seed=1, type=1, size=2, diversifier=b"station/secret-diversifier")
        known.refused("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[own]))
        for client in (stranger, known):
            client.close()
    lines = audit_lines(folder)
    assert (lines[0]["station"], lines[0]["title"]) == ("", "ft-1")
    assert all(line["station"] == "ft-1" and "title" not in line for line in lines[1:])
    assert [line.get("reason") for line in lines] == [
        "the client certificate is of no known station: it is not allowed to call",
        "SPM.InitSession returned error: incorrect sku authentication for sku 'sival'",
        None,
        "station 'ft-1' of role FT may not use the high seed",
        "incorrect access token: it is wrong, closed or expired",
        "diversifiers that begin with 'station/' are the appliance's own",
    ]
    text = (folder / "audit.jsonl").read_text()
    for secret in (password_of(folder), known.token, "B" * 16, "not-the-password", "secret-diversifier"):
        assert secret not in text


def test_a_reason_is_bounded(folder):
    from station.appliance import audit
    from station.appliance.client_certificate import UNKNOWN

    file = audit.AuditFile(folder / "audit.jsonl")
    audit.write(UNKNOWN, "", "", "InitSession", None, "INTERNAL", 1.0, reason="x" * 5000)
    file.close()
    (line,) = audit_lines(folder)
    assert len(line["reason"]) == audit.LONGEST_REASON


def tokens(seed: int) -> pa_pb2.DeriveTokensRequest:
    params = [pa_pb2.TokenParams(seed=seed, type=1, size=2, diversifier=b"x")]
    return pa_pb2.DeriveTokensRequest(sku="sival", params=params)


def station_line(name: str, certificate: str, role: str, skus: str = '["sival"]', more: str = "") -> str:
    return f'[[station]]\nname = "{name}"\ncertificate = "{certificate}"\nskus = {skus}\nroles = ["{role}"]\n{more}\n'


MAY = {
    "CP": {"high", "low", "reading"},
    "FT": {"low", "fresh", "EndorseCerts", "RegisterDevice", "reading"},
    "RMA": {"reading"},
}


@pytest.mark.parametrize("role", MAY)
def test_what_a_role_may_do(folder, role):
    (folder / "stations.toml").write_text(station_line("tester", fingerprint(folder, "station-1"), role))
    part = TestPart(dice_ca_of(folder))
    calls = {
        "high": ("DeriveTokens", tokens(2)),
        "low": ("DeriveTokens", tokens(1)),
        "fresh": ("DeriveTokens", tokens(3)),
        "EndorseCerts": ("EndorseCerts", endorse_request(bytes(32), [(ecdsa("UDS"), part.uds_tbs)])),
        "RegisterDevice": ("RegisterDevice", part.registration(part.cdi_0_cert)),
        "reading": ("GetCaSubjectKeys", pa_pb2.GetCaSubjectKeysRequest(sku="sival", cert_labels=["UDS"])),
    }
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        codes = {}
        for what, (name, request) in calls.items():
            try:
                client.call(name, request)
                codes[what] = "OK"
            except Exception as error:  # every refusal is compared below
                codes[what] = error.code().name
        client.close()
        assert {what for what, code in codes.items() if code != "PERMISSION_DENIED"} == MAY[role], codes
        assert appliance.quota.account() == []
    lines = [line["station"] for line in audit_lines(folder) if line["result"] == "PERMISSION_DENIED"]
    assert lines == ["tester"] * (len(calls) - len(MAY[role]))


def test_sku_of_another_station_and_unknown_certificate(folder):
    second_sku(folder)
    (folder / "stations.toml").write_text(
        station_line("tester", "station-1", "FT", '["sival_b"]') + station_line("family", "station-2", "FT", '["si*"]')
    )
    stranger = issue(folder, "station-77")
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        password = password_of(folder)
        request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=password)
        assert client.refused("InitSession", request)[0] == "PERMISSION_DENIED"
        wrong = pa_pb2.InitSessionRequest(sku="sival", sku_auth="wrong")  # no word about the password
        assert client.refused("InitSession", wrong)[0] == "PERMISSION_DENIED"
        unknown = pa_pb2.InitSessionRequest(sku="unknown", sku_auth="x")
        assert client.refused("InitSession", unknown)[0] == "NOT_FOUND"
        client.log_in("sival_b")
        client.close()
        outside = Holder(folder, appliance.target, stranger)
        for name, message in (("InitSession", request), ("CloseSession", pa_pb2.CloseSessionRequest())):
            code, text = outside.refused(name, message)
            assert (code, "no known station" in text) == ("PERMISSION_DENIED", True)
        outside.close()


def test_a_station_that_lost_its_sku_loses_its_session(folder):
    path = folder / "stations.toml"
    path.write_text(station_line("tester", "station-1", "FT"))
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        assert client.call("GetOwnerFwBootMessage", BOOT).boot_message
        path.write_text(station_line("tester", "station-1", "FT", '["cr01"]'))
        assert client.refused("GetOwnerFwBootMessage", BOOT)[0] == "PERMISSION_DENIED"
        path.write_text(station_line("tester", "station-2", "FT"))
        assert client.refused("GetOwnerFwBootMessage", BOOT)[0] == "PERMISSION_DENIED"
        client.close()
