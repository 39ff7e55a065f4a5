"""Makes initial attestation tokens, with a key of its own, for tests: independent of the reader."""

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = ec.derive_private_key(0x1F5A9E2C77, ec.SECP256R1())
DUMMY_KEY = ec.derive_private_key(0xA9B454B26D6F90A4EA31193564CBA91FEC6F9A002A7DC0504B92A1937134585F, ec.SECP256R1())
"""The published dummy identity key (nordic-tfm sheet 1.4)."""
LABELS = {
    "PSA_IOT_PROFILE_1": (-75000, -75008, -75009, -75003, -75001, -75002, -75004, -75005, -75006, -75007),
    "http://arm.com/psa/2.0.0": (265, 10, 256, 2396, 2394, 2395, 2397, 2398, 2399, None),
    "tag:psacertified.org,2023:psa#tfm": (265, 10, 256, 2396, 2394, 2395, 268, 2398, 2399, None),
}
NAMES = ("profile", "nonce", "instance", "implementation", "client", "life_cycle", "boot_seed", "certificate",
         "software", "no_software")  # fmt: skip
COMPONENTS = [{1: "NSPE", 2: b"\x33" * 32}]
BOOT_SEED = bytes(range(0x40, 0x60))


def point(key=KEY):
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def instance_id(key=KEY):
    digest = hashes.Hash(hashes.SHA256())
    digest.update(point(key))
    return b"\x01" + digest.finalize()


def claims(profile="PSA_IOT_PROFILE_1", key=KEY, **changes):
    """Those of a good token; a change to None leaves one out."""
    measured = {"no_software": 1} if profile == "PSA_IOT_PROFILE_1" else {"software": COMPONENTS}
    values = {
        "profile": profile, "nonce": bytes(range(64)), "instance": instance_id(key), "implementation": b"\x11" * 32,
        "client": -1006632960, "life_cycle": 0x3000, "boot_seed": BOOT_SEED, "certificate": "0632793519539-10100",
        **measured, **changes,
    }  # fmt: skip
    labels = dict(zip(NAMES, LABELS[profile], strict=True))
    return {labels[name]: value for name, value in values.items() if value is not None}


def sign(payload, key=KEY, protected=b"\xa1\x01\x26"):
    """The token around a payload (bytes, or claims)."""
    body = payload if isinstance(payload, bytes) else cbor2.dumps(payload)
    to_be_signed = cbor2.dumps(["Signature1", protected, b"", body])
    r, s = decode_dss_signature(key.sign(to_be_signed, ec.ECDSA(hashes.SHA256())))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, body, r.to_bytes(32, "big") + s.to_bytes(32, "big")]))


def dump(token):
    """The lines that the production firmware prints."""
    lines = [f"Received initial attestation token of {len(token)} bytes.", "",
             "0  1  2  3  4  5  6  7   8  9  A  B  C  D  E  F"]  # fmt: skip
    for at in range(0, len(token), 16):
        row = token[at : at + 16]
        halves = [" ".join(f"{byte:02X}" for byte in half) for half in (row[:8], row[8:])]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{halves[0]:<23}  {halves[1]:<23}  |  {text}")
    return [*lines, ""]
