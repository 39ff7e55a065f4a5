"""The CP and FT sequences at pad level, as a host in a test performs them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from zlib import crc32

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from earlgrey_pad_host import Console, Host, lc_hash

from drivers.virtual.earlgrey.image_format import read_elf
from station.formats import perso_blob as pb
from station.formats.dice import assemble_certificate

IMAGES = Path(__file__).parents[3] / "resources/skus/sival/images"
RAW_TOKEN = 0xEA2B3F32CBE77554E43C8EA7EBF197C2.to_bytes(16, "little")
WAS = bytes(range(1, 33))
UNLOCK, EXIT, RMA = b"\x11" * 16, b"\x22" * 16, b"\x33" * 16
SKU_WORDS = (0x5356FF00, 0, 0x53495641, 0x01000000)
RAW, UNLOCKED0, LOCKED0, UNLOCKED1, PROD = (n * 0x02108421 for n in (0, 1, 2, 3, 17))
CA_KEY_ID = bytes(range(100, 120))


def words(token: bytes) -> tuple[int, ...]:
    return struct.unpack("<4I", token)


def halves(token: bytes) -> list[str]:
    return [str(half) for half in struct.unpack("<2Q", lc_hash(token))]


def elf(name: str, generation: str = "rc4") -> tuple[int, bytes]:
    image = read_elf((IMAGES / generation / name).read_bytes())
    return image.address, image.data


def flash(name: str, generation: str = "rc4") -> bytes:
    return (IMAGES / generation / name).read_bytes()


def cp_message(unlock: bytes = UNLOCK) -> bytes:
    content = {
        "wafer_auth_secret": list(struct.unpack("<8I", WAS)),
        "test_unlock_token_hash": halves(unlock),
        "test_exit_token_hash": halves(EXIT),
    }
    return json.dumps(content, separators=(",", ":")).encode().ljust(256)


def raw_unlock(host: Host) -> int:
    host.look()
    return host.transition(UNLOCKED0, words(RAW_TOKEN), clock=1)


def start_cp(host: Host) -> None:
    host.load(elf("sram_cp_provision.elf"))
    host.console.until("Waiting for CP provisioning data ...")


def finish_cp(host: Host) -> list[int]:
    host.console.until("Exporting CP device ID ...\nRESP_OK:")
    text = host.console.until(" CRC:")
    assert int(host.console.line()) == crc32(text.encode())
    host.console.until("CP provisioning done.")
    return json.loads(text)["cp_device_id"]


def chip_probe(host: Host) -> list[int]:
    """RAW to TEST_LOCKED0; returns the CP device id words."""
    assert raw_unlock(host) == 0xD
    assert host.look() == (UNLOCKED0, 1)
    start_cp(host)
    host.console.send(cp_message())
    device_id = finish_cp(host)
    assert host.debugger.exit_word() == 0xCAFEBABE
    assert host.look() == (UNLOCKED0, 1)
    assert host.transition(LOCKED0) == 0x9
    return device_id


def individualize(host: Host, generation: str = "rc4") -> None:
    host.load(elf("sram_ft_individualize_sival.elf", generation))
    host.console.until("Waiting for FT SRAM provisioning data ...")
    host.console.send(json.dumps({"ft_device_id": SKU_WORDS}).encode())
    assert host.debugger.exit_word() == 0xCAFEBABE


def to_mission(host: Host, generation: str = "rc4") -> None:
    """TEST_LOCKED0 to PROD through individualize."""
    assert host.look() == (LOCKED0, 2)
    assert host.transition(UNLOCKED1, words(UNLOCK)) == 0x9
    individualize(host, generation)
    host.chip.set_inputs({"tap_strap0": True, "tap_strap1": False})  # no reset: DFT is enabled
    assert host.jtag.connect() == 0x10002CDF
    assert host.transition(PROD, words(EXIT)) == 0x9


def bootstrap_twice(host: Host, generation: str = "rc4") -> None:
    host.bootstrap(flash("ft_personalize_sival.bin", generation))
    host.console.until("Bootstrap requested.")
    host.bootstrap(flash("ft_fw_bundle_sival.img", generation))


def send_rma_hash(host: Host, wrong_crc: int = 0) -> None:
    host.console.until("Waiting For RMA Unlock Token Hash ...")
    text = json.dumps({"hash": halves(RMA)}, separators=(",", ":"))
    checked = f'{text}{{"crc": {crc32(text.encode()) ^ wrong_crc}}}'
    host.console.send(checked.encode().ljust(256))


def receive_blob(host: Host, blob_version: int | None = None) -> pb.PersoBlob:
    host.console.until("Waiting for certificate inputs ...")
    inputs: dict[str, object] = {"dice_auth_key_key_id": list(CA_KEY_ID), "ext_auth_key_key_id": [0] * 20}
    if blob_version is not None:
        inputs["blob_version"] = blob_version
    host.console.send(json.dumps(inputs).encode())
    before = host.console.until("Exporting TBS certificates ...")
    assert ("Blob version:" in before) == (blob_version is not None)
    host.console.until("RESP_OK:")
    text = host.console.until(" CRC:0\n")
    assert len(text) == 20535
    content = json.loads(text)
    return pb.parse(bytes(content["body"])[: content["next_free"]], content["num_objs"])


def endorse(blob: pb.PersoBlob, key: ec.EllipticCurvePrivateKey) -> bytes:
    tbs = blob.certs(pb.TYPES.X509_TBS)[0].body
    return assemble_certificate(tbs, key.sign(tbs, ec.ECDSA(hashes.SHA256())))


def return_certificates(host: Host, certificates: list[tuple[str, bytes]], version: int) -> None:
    host.console.until("Importing endorsed certificates ...")
    body = pb.build([pb.CertObject(pb.TYPES.X509_CERT, name, der) for name, der in certificates], version)
    content = {"num_objs": len(certificates) + version, "next_free": len(body), "body": list(body)}
    host.console.send(json.dumps(content).encode().ljust(20535))


def certificate_hash(host: Host) -> bytes:
    host.console.until("Finished importing certificates.")
    host.console.until("RESP_OK:")
    text = host.console.until(" CRC:0\n")
    assert len(text) == 98
    return struct.pack("<8I", *json.loads(text)["data"])[::-1]


def personalize(host: Host, generation: str = "rc4", blob_version: int | None = None) -> pb.PersoBlob:
    """PROD with an empty flash to a booting part; returns the blob."""
    bootstrap_twice(host, generation)
    send_rma_hash(host)
    host.console = Console(host.chip)  # the software reset starts frames at 0 again
    blob = receive_blob(host, blob_version)
    certificate = endorse(blob, ec.generate_private_key(ec.SECP256R1()))
    return_certificates(host, [("UDS", certificate)], blob.version)
    assert certificate_hash(host) == pb.certs_hash(pb.with_endorsed(blob.objects, {"UDS": certificate}))
    host.console.until("Personalization done.")
    return blob
