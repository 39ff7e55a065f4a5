"""What is asked of a CA follows the algorithm inside the TBS."""

from __future__ import annotations

import pytest
from appliance_bench import TestPart
from cryptography.hazmat.primitives import hashes

from drivers.appliance_grpc.messages import endorse_request, signing_params
from station.appliance.certificates import DICE_CA_NAME, new_ca
from station.appliance.emulated_device import leaf_tbs
from station.model import Realm


@pytest.fixture(scope="module")
def ca() -> bytes:
    return new_ca(DICE_CA_NAME, Realm.DEV).der


@pytest.mark.parametrize(
    ("hash_", "number"), [(hashes.SHA256(), 3), (hashes.SHA384(), 2), (hashes.SHA512(), 4)], ids=["256", "384", "512"]
)
def test_ecdsa(ca, hash_, number):
    params = signing_params("UDS", leaf_tbs("x", ca, hash_algorithm=hash_))
    assert (params.key_label, params.WhichOneof("key"), params.ecdsa_params.hash_type) == (
        "UDS",
        "ecdsa_params",
        number,
    )
    assert (params.ecdsa_params.curve, params.ecdsa_params.encoding) == (2, 2)


@pytest.mark.parametrize(("name", "number"), [("ML-DSA-44", 1), ("ML-DSA-65", 2), ("ML-DSA-87", 3)])
def test_mldsa(ca, name, number):
    params = signing_params("UDS_MLDSA", leaf_tbs("x", ca, name))
    assert (params.WhichOneof("key"), params.mldsa_params.param_sets) == ("mldsa_params", number)


@pytest.mark.parametrize("tbs", [b"", b"no TBS", bytes.fromhex("3003020101")])
def test_what_is_no_tbs_is_left_to_the_appliance(tbs):
    assert signing_params("UDS", tbs).ecdsa_params.hash_type == 3


def test_each_bundle_has_its_own(ca):
    bodies = [("UDS", TestPart(ca).uds_tbs), ("UDS_MLDSA", leaf_tbs("x", ca, "ML-DSA-87"))]
    request = endorse_request("sival", bodies, b"was", bytes(32))
    assert [bundle.key_params.WhichOneof("key") for bundle in request.bundles] == ["ecdsa_params", "mldsa_params"]
    assert [bundle.tbs for bundle in request.bundles] == [body for _, body in bodies]
