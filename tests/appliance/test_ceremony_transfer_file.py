"""The file of a transfer: one form for one content, every other form refused; digests as they are read aloud."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from station.appliance.ceremony.task import Step
from station.appliance.ceremony.transfer import Transfer, digest_of, grouped, parse_digest, read_file, read_transfer
from station.errors import ConfigError
from station.model import Realm

ID, OTHER_ID = "0123456789abcdef", "fedcba9876543210"

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
TRANSFERS = st.builds(
    Transfer,
    step=st.sampled_from([Step.SPM_INIT, Step.OFFLINE_COMMON_EXPORT, Step.TLS_CSR]),
    realm=st.sampled_from(Realm),
    sender=st.just(ID),
    peer=st.sampled_from(["", OTHER_ID]),
    answers=st.sampled_from(["", "0f" * 32]),
    skus=st.sampled_from([(), ("sival",), ("sival", "sival_pqc")]),
    facts=st.dictionaries(TEXTS, TEXTS, max_size=3),
    items=st.dictionaries(TEXTS, st.binary(max_size=40), max_size=3),
)


@given(TRANSFERS)
@settings(max_examples=60)
def test_a_transfer_has_one_form(transfer):
    raw = transfer.encode()
    assert read_transfer(raw) == transfer
    assert read_transfer(raw).encode() == raw


@given(TRANSFERS, st.data())
@settings(max_examples=150)
def test_a_changed_byte_is_no_other_form_of_it(transfer, data):
    raw = bytearray(transfer.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        found = read_transfer(bytes(raw))
    except ConfigError:
        return
    assert found != transfer
    assert found.encode() == bytes(raw)


@given(st.binary(max_size=200))
def test_other_bytes(raw):
    with pytest.raises(ConfigError):
        read_transfer(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "../../etc"}, {"peer": "x"}, {"answers": "12"}, {"skus": ["sival_pqc", "sival"]},
        {"step": "tls-cert"}, {"format": "station-ceremony-2"}, {"items": {"a": "!"}}, {"items": []},
        {"facts": {"a": 1}}, {"more": 1},
        {"realm": "test"}, {"skus": "sival"},
    ],
    ids=str,
)  # fmt: skip
def test_forms_that_are_none(change):
    content = json.loads(Transfer(Step.SPM_INIT, Realm.DEV, ID, items={"a": b"1"}).encode())
    raw = (json.dumps({**content, **change}, indent=1, sort_keys=True) + "\n").encode()
    with pytest.raises(ConfigError):
        read_transfer(raw)


def test_items_are_base64():
    content = json.loads(Transfer(Step.SPM_INIT, Realm.DEV, ID, items={"a": b"\x00\xff"}).encode())
    assert base64.b64decode(content["items"]["a"]) == b"\x00\xff"


def test_digests_read_aloud():
    digest = digest_of(b"")
    said = grouped(digest)
    assert said == ("e3b0 c442 98fc 1c14 9afb f4c8 996f b924  27ae 41e4 649b 934c a495 991b 7852 b855")
    for text in (said, said.upper(), digest, said.replace(" ", "-"), said.replace(" ", ":"), f" {digest}\n"):
        assert parse_digest(text) == digest
    for text in ("", digest[:-1], digest + "0", "x" + digest[1:], "e3b0"):
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            parse_digest(text)


def test_an_unreadable_file(tmp_path):
    with pytest.raises(ConfigError, match="name the file on the medium"):
        read_file(tmp_path)
