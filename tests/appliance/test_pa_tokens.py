"""``station pa tokens``: check values, fresh tokens with their wrapped seeds, and what is never asked for."""

from __future__ import annotations

import pytest
from appliance_bench import Served as ServedAppliance
from appliance_bench import copy_folder
from pa_bench import direct, rows_of
from token_bench import raw

from station.appliance.check_value import check_value
from station.errors import ConfigError
from station.formats.lc_token import lc_hash
from station.secret import Secret


def test_check_values_tell_appliances_apart(call, served, here, made, tmp_path):
    code, out, _ = call("tokens", "--sku", "sival", *here, "--json")
    assert code == 0
    rows = rows_of(out)
    assert [row["diversifier"] for row in rows] == ["test_unlock", "test_exit"]
    from sku_bench import open_spm

    spm = open_spm(served.folder)
    for row in rows:
        with spm._keystore.hmac_sha256("eg-kdf-losec-v0", row["diversifier"].encode().ljust(48, b"\0")).reveal() as mac:
            token = Secret(lc_hash(mac[:16]), "token")
        assert row["check_value"] == check_value(token)
        assert raw(token).hex() not in out
        assert row["hash"] == ""
    assert call("tokens", "--sku", "sival", *here, "--json")[1] == out
    other = ServedAppliance(copy_folder(made, tmp_path / "other"))
    try:
        elsewhere = rows_of(call("tokens", "--sku", "sival", *direct(other.folder), "--json")[1])
    finally:
        assert other.stop() == 0
    assert {row["check_value"] for row in elsewhere}.isdisjoint({row["check_value"] for row in rows})


def test_fresh_tokens_and_their_wrapped_seeds(call, served, here, tmp_path):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from station.appliance.seed_recovery import rma_token, unwrap_seed

    options = ["--sku", "sival", *here, "--seed", "fresh", "--diversifier", "rma"]
    code, out, _ = call("tokens", *options, "--out", tmp_path / "seeds", "--json")
    (row,) = rows_of(out)
    assert code == 0
    wrapped = (tmp_path / "seeds/rma.wrapped").read_bytes()
    seed = unwrap_seed(wrapped, load_pem_private_key((served.folder / "offline/rma-key.pem").read_bytes(), None))
    assert row["hash"] == lc_hash(rma_token(seed, b"rma".ljust(48, b"\0"))).hex()
    assert row["check_value"] == ""
    code, _, err = call("tokens", *options, "--out", tmp_path / "seeds")
    assert (code, "nothing is overwritten" in err) == (2, True)
    assert "384 bytes" in call("tokens", *options)[1]


def test_tokens_that_are_never_asked_for(call, here, monkeypatch):
    monkeypatch.setattr("station.pa_commands.opened", lambda *_: pytest.fail("nothing may be asked"))
    for more, words in (
        (["--out", "x"], "expected --seed fresh beside --out"),
        (["--seed", "fresh", "--out", "x", "--diversifier", "a/b", "--diversifier", "a_b"], "a_b.wrapped twice"),
    ):
        code, _, err = call("tokens", "--sku", "sival", *here, *more)
        assert (code, words in err) == (2, True), err


def test_a_short_secret_has_no_check_value():
    with pytest.raises(ConfigError, match="no check value"):
        check_value(Secret(b"123456", "PIN"))
