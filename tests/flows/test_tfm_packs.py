"""What a pack holds that no part may meet: refused with its line before any part is touched."""

from __future__ import annotations

import hashlib

import pytest

from station.errors import ConfigError
from station.recipe import load_recipe
from station.resources import resources_folder

# ---- packs -------------------------------------------------------------------------------------------------


def own_pack(bench, change, name="provisioning_app"):
    """The kit's pack with one image changed (text of the HEX file in, text out) and the digest made right again."""

    folder = bench.build()
    file, pack = folder / "images" / f"{name}.hex", folder / "pack.toml"
    old = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(change(file.read_text()))
    pack.write_text(pack.read_text().replace(old, hashlib.sha256(file.read_bytes()).hexdigest()))
    return file


def added(*records):
    """The file with records before its end record."""
    return lambda text: text.replace(":00000001FF", "\n".join([*records, ":00000001FF"]))


UICR = ":0200000400FFFB"
HEX = [
    (added(UICR, ":04803000000000004C"), "sets ERASEPROTECT"),
    (added(UICR, ":0481080000FFFF00" "75"), "writes the life cycle"),
    (added(UICR, ":04800000FFFFFF00" "7F"), "closes the debug port"),
    (added(UICR, ":048410000054845040"), "writes a KMU slot"),
    (added(":020000042000DA", ":0400000000000000FC"), "expected addresses of the flash or UICR"),
    (added(":020000040000FA", ":0400000000000000FC"), "expected each address once"),
    (lambda text: text.replace(":00000001FF", ""), "the file ends without one"),
    (lambda text: text[:60] + ("0" if text[60] != "0" else "1") + text[61:], "add up to 0"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), HEX)
def test_a_bad_hex_file_is_refused_with_its_line_before_any_part_is_touched(nordic, change, words):
    bench = nordic("nrf9160")
    file = own_pack(bench, change)
    with pytest.raises(ConfigError, match=words) as caught:
        bench.recipe()
    [finding] = caught.value.findings
    assert finding.file == file and finding.line > 0 and str(finding).startswith(f"{file}:{finding.line}: ")


def test_an_image_whose_digest_differs_is_refused(nordic):
    bench = nordic("nrf9160")
    folder = bench.build()
    file = folder / "images" / "tfm_app.hex"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(ConfigError, match=r"expected images/tfm_app\.hex with SHA-256"):
        bench.recipe()


SETTINGS = [
    ('family = "nrf9160"', 'family = "nrf9161"', "expected one of the families"),
    ('implementation_id = "', 'implementation_id = "00', "expected 32 bytes in hex, saw 33"),
    ('app_lock = "production"', 'app_lock = "hots"', "expected one of production, host"),
    ('profile = "PSA_IOT_PROFILE_1"', 'profile = "PSA"', "expected one of PSA_IOT_PROFILE_1"),
    ('app_lock = "production"', 'ap_lock = "production"', "did you mean 'app_lock'"),
    ('app_lock = "production"', 'uicr_allowed = ["kmu"]', "no image may write anything else"),
]


@pytest.mark.parametrize(("old", "new", "words"), SETTINGS)
def test_a_bad_setting_is_refused_with_its_line(nordic, old, new, words):
    bench = nordic("nrf9160")
    pack = bench.build() / "pack.toml"
    lines = pack.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.startswith(old))
    pack.write_text(pack.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        bench.recipe()
    assert any(words in one.sentence and (one.file, one.line) == (pack, line) for one in caught.value.findings)


def test_a_missing_image_is_named(nordic):
    bench = nordic("nrf9160")
    pack = bench.build() / "pack.toml"
    pack.write_text(pack.read_text().partition("[image.tfm_app]")[0])
    with pytest.raises(ConfigError, match="expected the image 'tfm_app'"):
        bench.recipe()


def test_the_samples_implementation_id_is_refused_in_production(nordic):
    bench = nordic("nrf9160")
    folder = bench.build()
    pack = folder / "pack.toml"
    sample = "aa" * 8 + "bb" * 8 + "cc" * 8 + "dd" * 8
    own = bench.recipe().pack.settings["implementation_id"]
    pack.write_text(pack.read_text().replace(own, sample).replace('realm = "dev"', 'realm = "production"'))
    recipe = folder.parents[1] / "recipes"
    recipe.mkdir()
    text = (resources_folder() / "recipes" / "nrf9160-dk.toml").read_text()
    (recipe / "nrf9160-dk.toml").write_text(text.replace('realm = "dev"', 'realm = "production"'))
    with pytest.raises(ConfigError, match="that of the upstream sample"):
        load_recipe("nrf9160-dk", (folder.parents[1],))
