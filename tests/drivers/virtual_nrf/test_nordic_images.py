"""The builder of firmware images: what is in the HEX files, read by a library that others wrote."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest
from intelhex import IntelHex
from nordic_rig import CERTIFICATE, IMPLEMENTATION_ID

from drivers.virtual.nrf import image_format, images
from drivers.virtual.nrf.silicon import SILICON

ROOT = Path(__file__).parents[3]
CONFIG = {
    "family": "nrf5340",
    "provisioning_app": {"implementation_id": IMPLEMENTATION_ID.hex()},
    "provisioning_net": {},
    "tfm_app": {"certificate_reference": CERTIFICATE, "provision_data": True},
    "tfm_net": {},
    "dummy": {
        "program": "provisioning_app", "dummy_identity": True, "implementation_id": IMPLEMENTATION_ID.hex(),
    },
}  # fmt: skip


def hexes(config):
    return {name: IntelHex(io.StringIO(text)) for name, text in images.build(config).items()}


def test_files_and_where_they_lie():
    found = {name: content.segments() for name, content in hexes(CONFIG).items()}
    assert found == {
        "dummy.hex": [(0, 0x6000)],
        "provisioning_app.hex": [(0, 0x6000)],
        "provisioning_net.hex": [(0x0100_0000, 0x0100_2000)],
        "tfm_app.hex": [(0, 0xC000), (0x00FF_8128, 0x00FF_8180)],
        "tfm_net.hex": [(0x0100_0000, 0x0100_3000)],
    }


def test_families_without_a_network_core_have_no_image_for_it():
    found = hexes({"family": "nrf91x1", "provisioning_app": CONFIG["provisioning_app"], "tfm_app": CONFIG["tfm_app"]})
    assert sorted(found) == ["provisioning_app.hex", "tfm_app.hex"]
    assert found["tfm_app.hex"].segments()[1][0] == 0x00FF_8108 + 0x28


def test_an_image_is_recognised_with_its_options():
    content = hexes(CONFIG)["dummy.hex"].tobinstr()
    found = image_format.recognise(lambda at, length: content[at : at + length])
    assert found is not None
    assert (found.program, found.length, found.option("dummy_identity")) == ("provisioning_app", 0x6000, True)
    assert found.option("implementation_id") == IMPLEMENTATION_ID.hex()
    assert content[0x210:0x230] == hashlib.sha256(content[:0x210] + bytes(32) + content[0x230:]).digest()


def test_no_page_of_an_image_is_blank():
    for name, content in hexes(CONFIG).items():
        start, end = content.segments()[0]
        raw = content.tobinstr(start=start, end=end - 1)
        assert all(set(raw[at : at + 0x100]) != {0xFF} for at in range(0, len(raw), 0x100)), name


def test_vectors_look_like_a_program():
    for name, content in hexes(CONFIG).items():
        start = content.segments()[0][0]
        stack, entry = (int.from_bytes(content.tobinstr(start=start + n, size=4), "little") for n in (0, 4))
        ram = 0x2100_0000 if name.endswith("_net.hex") else 0x2000_0000
        assert ram < stack < ram + 0x1_0000
        assert start < entry < start + 0x400
        assert entry & 1


def test_storage_in_the_hex_file_leaves_life_cycle_and_implementation_id_alone():
    content = hexes(CONFIG)["tfm_app.hex"]
    base = SILICON["nrf5340"].storage
    first, end = content.segments()[1]
    assert first == base + 0x28
    raw = content.tobinstr(start=first, end=end - 1)
    assert CERTIFICATE.encode() in raw
    assert len(raw) % 4 == 0


def test_command_line_is_reproducible(tmp_path):
    (tmp_path / "images.toml").write_text(
        f'family = "nrf9160"\n[provisioning_app]\nimplementation_id = "{IMPLEMENTATION_ID.hex()}"\n'
    )
    outputs = []
    for _ in range(2):
        command = [sys.executable, "-m", "drivers.virtual.nrf.images", str(tmp_path / "images")]
        outputs.append(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert outputs[0] == outputs[1]
    file = tmp_path / "images" / "provisioning_app.hex"
    assert hashlib.sha256(file.read_bytes()).hexdigest() in outputs[0]
    assert IntelHex(str(file)).segments() == [(0, 0x6000)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"family": "nrf52840"}, "expected family as one of nrf5340, nrf9160, nrf91x1, got 'nrf52840'"),
        ({"bootloader": {}}, r"\[bootloader\]: no program is called 'bootloader'"),
        ({"tfm_net": {"colour": True}}, r"\[tfm_net\]: tfm_net has the options .*, not colour"),
        ({"provisioning_app": {}}, r"\[provisioning_app\]: implementation_id needs 32 bytes in hex"),
        ({"tfm_app": {"challenge": "00"}}, r"\[tfm_app\]: a challenge has 32, 48 or 64 bytes"),
        ({"tfm_app": {"profile": "PSA"}}, r"\[tfm_app\]: profile is one of .*, not 'PSA'"),
        ({"tfm_net": {"size": 0x210}}, "the image needs at least [0-9]+ bytes and a multiple of 4, not 528"),
        ({"family": "nrf9160"}, r"\[provisioning_net\]: nRF9160 has no network core"),
    ],
)
def test_a_wrong_configuration_is_a_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        images.build({**CONFIG, **change})


def built(*arguments):
    command = [sys.executable, "-m", "drivers.virtual.nrf.images", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_lists_every_program_with_its_options():
    done = built("--help")
    assert done.returncode == 0 and done.stderr == ""
    for program, options in images.PROGRAMS.items():
        assert f"[{program}]" in done.stdout and all(f"  {name} = " in done.stdout for name in options)


@pytest.mark.parametrize("text", [None, "family = ", 'family = "nrf52840"\n', 'family = "nrf9160"\n[tfm_ap]\n'])
def test_what_cannot_be_built_is_a_sentence_at_the_command_line(tmp_path, text):
    if text is not None:
        (tmp_path / "images.toml").write_text(text)
    done = built(tmp_path / "images")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert str(tmp_path / "images.toml") in done.stderr and not (tmp_path / "images").exists()
    assert "the following arguments are required: OUTDIR" in built().stderr
