"""What a pack and its own images show to be wrong before any part is touched: findings, and doubts that only warn."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
from merged_images import merge

from drivers.virtual.nrf import images
from drivers.virtual.nrf.images import provision_data
from drivers.virtual.nrf.intel_hex import to_hex
from station.config import SocketEntry
from station.errors import ConfigError
from station.parts.nordic.images import CORES, Images, read
from station.parts.nordic.settings import NordicSettings
from station.recipe import load_recipe
from station.resources import resources_folder
from station.sockets import misplaced

KITS = {"nrf5340": ("nrf5340-dk", "nrf5340_tfm"), "nrf9160": ("nrf9160-dk", "nrf9160_tfm")}
OTHER_ID = "5a" * 32
REFERENCE = "0632793519539-10100"


class Own:
    """A recipe and pack of one's own, made from a kit's."""

    def __init__(self, folder: Path, chip: str) -> None:
        self.folder, (self.recipe, self.sku) = folder, KITS[chip]
        self.source = resources_folder() / "skus" / self.sku
        self.pack = folder / "skus" / self.sku / "pack.toml"
        (self.pack.parent / "images").mkdir(parents=True)
        self.pack.write_text((self.source / "pack.toml").read_text())
        self.file = folder / "recipes" / f"{self.recipe}.toml"
        self.file.parent.mkdir()
        self.file.write_text((resources_folder() / "recipes" / f"{self.recipe}.toml").read_text())
        for name, text in images.build(tomllib.loads((self.source / "images.toml").read_text())).items():
            (self.pack.parent / "images" / name).write_text(text)

    def build(self, **tables):
        """Some images built otherwise, with their digests in the pack."""
        config = tomllib.loads((self.source / "images.toml").read_text())
        for name, table in tables.items():
            config[name] = {**config.get(name, {}), **table}
        for name, text in images.build(config).items():
            self.put(name, text)

    def put(self, name, text):
        file = self.pack.parent / "images" / name
        old = hashlib.sha256(file.read_bytes()).hexdigest()
        file.write_text(text)
        self.change(self.pack, old, hashlib.sha256(text.encode()).hexdigest())

    def change(self, file, old, new):
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def load(self):
        return load_recipe(self.recipe, (self.folder,))

    def read(self) -> Images:
        """The images as a part gets them."""
        recipe = self.load()
        settings = NordicSettings.of({**recipe.pack.settings, **recipe.settings})
        return read(settings, {name: recipe.pack.image(name) for name in recipe.pack.images})

    def findings(self):
        with pytest.raises(ConfigError) as caught:
            self.load()
        return [(one.file, one.line, one.sentence) for one in caught.value.findings]


@pytest.fixture
def own(tmp_path):
    return lambda chip="nrf9160": Own(tmp_path / "own", chip)


def line_of(file, start):
    return next(number for number, text in enumerate(file.read_text().splitlines(), 1) if text.startswith(start))


@pytest.mark.parametrize("chip", KITS)
def test_a_good_pack_has_neither_findings_nor_doubts(own, chip):
    assert own(chip).load().doubts == ()


def test_a_certificate_reference_other_than_the_images_is_found_at_its_line(own):
    place = own()
    place.change(place.pack, REFERENCE, "4012345678901-54321")
    ((file, line, said),) = place.findings()
    assert (file, line) == (place.pack, line_of(place.pack, "certificate_reference"))
    assert f"expected {REFERENCE}, which the image 'tfm_app' carries, saw 4012345678901-54321" in said


def test_a_certificate_reference_of_a_wrong_form_is_found(own):
    place = own()
    place.change(place.pack, REFERENCE, "0632793519539_10100")
    ((_, _, said),) = place.findings()
    assert "expected 13 digits, a hyphen and 5 digits" in said and "'0632793519539_10100'" in said


def test_an_image_whose_data_hold_no_reference_leaves_a_doubt(own):
    place = own()
    place.build(tfm_app={"certificate_reference": ""})
    (doubt,) = place.load().doubts
    assert "the bootloader data in the image 'tfm_app' hold none" in doubt


def test_an_implementation_id_that_the_provisioning_image_has_not_is_a_doubt(own):
    place = own()
    place.build(provisioning_app={"implementation_id": OTHER_ID})
    (doubt,) = place.load().doubts
    assert doubt.startswith(f"{place.pack}:{line_of(place.pack, 'implementation_id')}: ")
    assert "in the image 'provisioning_app', which holds them nowhere" in doubt and "swapped" not in doubt


@pytest.mark.parametrize("swapped", [False, True])
def test_an_implementation_id_is_found_as_bytes_and_a_swapped_one_is_told(own, swapped):
    place = own()
    wanted = bytes.fromhex(place.load().pack.settings["implementation_id"])
    held = b"".join(wanted[at : at + 4][::-1] for at in range(0, 32, 4)) if swapped else wanted
    place.put("provisioning_app.hex", to_hex({0: b"\x11" * 0x400 + held + b"\x11" * 0x40}))
    doubts = place.load().doubts
    assert len(doubts) == swapped and all("with the bytes of every word swapped" in doubt for doubt in doubts)


def test_an_implementation_id_that_the_production_image_writes_otherwise_is_found(own):
    place = own()
    data = {0: b"\x11" * 0x400, 0x00FF_8108 + 8: bytes.fromhex(OTHER_ID) + provision_data(REFERENCE)}
    place.put("tfm_app.hex", to_hex(data))
    said = " ".join(sentence for _, _, sentence in place.findings())
    assert 'the pack lets a production image do it by uicr_allowed = ["implementation_id"]' in said
    place.change(place.pack, "[part]\n", '[part]\nuicr_allowed = ["implementation_id"]\n')
    ((_, line, said),) = place.findings()
    assert f"implementation_id: expected {OTHER_ID}, which the image 'tfm_app' writes" in said
    assert line == line_of(place.pack, "implementation_id")


def test_bootloader_data_that_cannot_be_read_are_a_doubt(own):
    place = own()
    place.put("tfm_app.hex", to_hex({0: b"\x11" * 0x400, 0x00FF_8130: b"\x00\x80\x00\x00" * 2 + b"\x99\x00\x00\x00"}))
    (doubt,) = place.load().doubts
    assert "expected at most 16 public key hashes in the bootloader storage, saw 0x99" in doubt


def test_a_family_other_than_the_packs_chip_is_a_doubt_and_what_counts(own):
    place = own()
    place.change(place.pack, 'chip = "nrf9160"', 'chip = "nRF9160 SiP"')
    recipe = place.load()
    (doubt,) = recipe.doubts
    assert doubt.startswith(f"{place.pack}:{line_of(place.pack, 'family')}: ")
    assert "the pack's chip 'nRF9160 SiP', saw 'nrf9160', which is what counts" in doubt
    for board, wrong in (("nrf9160dk", False), ("nrf9161dk", True)):
        entry = SocketEntry(driver="pyocd", settings={"board": board, "serial": "1"})
        assert bool(misplaced(entry, {recipe.family})) is wrong


def test_the_family_that_the_recipe_sets_is_the_one_that_counts(own):
    place = own()
    place.change(place.pack, 'family = "nrf9160"', 'family = "nrf5340"')
    place.change(place.pack, 'chip = "nrf9160"', 'chip = "nrf5340"')
    more = "" if "[settings]" in place.file.read_text() else "\n[settings]\n"
    place.file.write_text(place.file.read_text() + more + 'family = "nrf9160"\n')
    recipe = place.load()
    (doubt,) = recipe.doubts
    assert doubt.startswith(f"{place.file}:{line_of(place.file, 'family')}: ") and "saw 'nrf9160'" in doubt
    assert recipe.family == "nrf9160"


def test_a_part_that_the_flow_does_not_take_is_found(own):
    place = own()
    place.change(place.file, 'part = "nordic"', 'part = "earlgrey"')
    found = [said for file, line, said in place.findings() if (file, line) == (place.file, line_of(place.file, "part"))]
    assert found == ["the flow 'tfm_provisioning' takes the part 'nordic', saw 'earlgrey'; name the one that fits"]
    place.change(place.file, 'part = "earlgrey"', 'part = "nordic"')
    place.change(place.file, 'flow = "tfm_provisioning"', 'flow = "final_test"')
    assert any("takes the part 'earlgrey', saw 'nordic'" in said for _, _, said in place.findings())


def test_a_flow_with_a_type_of_its_own_takes_any_part(own, monkeypatch):
    def tfm_provisioning(run, part: "SomethingThatBoots", appliance):  # noqa: F821, UP037
        """Nothing is done with it."""

    monkeypatch.setattr("station.flows.tfm_provisioning.tfm_provisioning", tfm_provisioning)
    assert own().load().flow is tfm_provisioning


def test_no_product_is_made_with_a_synthetic_image(own):
    place = own()
    for file in (place.pack, place.file):
        place.change(file, 'realm = "dev"', 'realm = "production"')
    said = [sentence for _, _, sentence in place.findings()]
    assert [one for one in said if "is a synthetic one of the virtual bench" in one] == said and len(said) == 2
    place.put("provisioning_app.hex", to_hex({0: b"\x11" * 0x400}))
    place.put("tfm_app.hex", to_hex({0: b"\x11" * 0x400}))
    assert place.load().realm == "production"


@pytest.mark.parametrize(
    ("chip", "content", "words"),
    [
        ("nrf9160", {0: b"\x11" * 64, 0x0100_0000: b"\x11" * 64}, "looks like one for nRF5340, while"),
        ("nrf9160", {0: b"\x11" * 64, 0x00FF_8128: provision_data(REFERENCE)}, "looks like one for nRF5340, while"),
        ("nrf5340", {0: b"\x11" * 64, 0x00FF_8130: provision_data(REFERENCE)}, "looks like one for nRF9160 or nRF9161"),
    ],
)
def test_an_image_of_another_family_is_named(own, chip, content, words):
    place = own(chip)
    place.put("tfm_app.hex", to_hex(content))
    assert any(words in said for file, _, said in place.findings() if file.name == "tfm_app.hex")


def test_what_does_not_go_together_hides_nothing_else(own):
    place = own("nrf5340")
    app, net = ((place.pack.parent / "images" / f"tfm_{core}.hex").read_text().splitlines() for core in ("app", "net"))
    place.put("tfm_app.hex", "\n".join([*app[:-1], *net, ""]))
    place.change(place.pack, f'certificate_reference = "{REFERENCE}"', 'certificate_reference = "1234567890123-12345"')
    said = " ".join(sentence for _, _, sentence in place.findings())
    assert "both hold 0x01000000: expected each address once; 'tfm_app' is a merged file: leave 'tfm_net' out" in said
    assert "certificate_reference: expected" in said


def test_nothing_is_put_together_of_a_merged_file_and_another_one(own):
    """Not even where each address is in one of them only."""
    place = own("nrf5340")
    app, net = ((place.pack.parent / "images" / f"tfm_{core}.hex").read_text().splitlines() for core in ("app", "net"))
    place.put("tfm_app.hex", "\n".join([*app[:-1], *net, ""]))
    place.put("tfm_net.hex", to_hex({0x0103_0000: b"\x11" * 64}))
    ((file, _, said),) = place.findings()
    assert file.name == "tfm_net.hex" and said.endswith("'tfm_app' is a merged file: leave 'tfm_net' out")


LOCKS = ("production", "child_image", "host")


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("lock", LOCKS)
def test_merged_files_are_the_images_of_both_cores(own, lock, twice):
    place = own("nrf5340")
    place.change(place.pack, 'net_lock = "production"', f'net_lock = "{lock}"')
    apart = place.read()
    merge(place.pack.parent, "provisioning", "tfm", twice=twice)
    together = place.read()
    for stage in ("provisioning", "production"):
        assert [together.of(stage, core) for core in CORES] == [apart.of(stage, core) for core in CORES]
    assert bool(together.of("provisioning", "net").blocks) == (lock == "child_image")
    assert together.digests.keys() == apart.digests.keys()
    files = {name: place.pack.parent / "images" / f"{name.split('_')[0]}_merged_domains.hex" for name in apart.digests}
    assert together.digests == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


@pytest.mark.parametrize("lock", LOCKS)
def test_half_a_merged_file_that_is_not_programmed_is_a_doubt(own, lock):
    place = own("nrf5340")
    place.change(place.pack, 'net_lock = "production"', f'net_lock = "{lock}"')
    merge(place.pack.parent, "provisioning", "tfm")
    doubts = place.load().doubts
    assert len(doubts) == (lock != "child_image")
    assert all(f"network core is not programmed with net_lock = '{lock}'" in doubt for doubt in doubts)
    assert all("provisioning_merged_domains.hex" in doubt for doubt in doubts)


@pytest.mark.parametrize(("lock", "stage"), [("production", "tfm"), ("child_image", "provisioning")])
def test_a_network_core_without_its_image_is_told_both_ways_to_give_one(own, lock, stage):
    place = own("nrf5340")
    place.change(place.pack, 'net_lock = "production"', f'net_lock = "{lock}"')
    alone = (place.pack.parent / "images" / f"{stage}_app.hex").read_text()
    merge(place.pack.parent, stage)
    place.put(f"{stage}_merged_domains.hex", alone)
    ((_, _, said),) = place.findings()
    assert f"expected the image '{stage}_net' in the pack, but it names none, and '{stage}_app' holds nothing" in said
    place.put(f"{stage}_merged_domains.hex", alone[:-20])
    ((_, _, said),) = place.findings()
    assert "expected" in said and f"'{stage}_net'" not in said, "what cannot be read may be merged"


@pytest.mark.parametrize(("word", "refused"), [(0x50FA_5AA5, True), (0x50FA_50FA, False), (0xFFFF_FFFF, False)])
def test_only_a_word_that_closes_the_port_is_said_to_close_it(own, word, refused):
    place = own("nrf5340")
    place.put("tfm_app.hex", to_hex({0: b"\x11" * 64, 0x00FF_8000: word.to_bytes(4, "little")}))
    if not refused:
        assert place.load()
        return
    ((_, _, said),) = place.findings()
    assert "closes the debug port, as every value does but the open one; the pack says who" in said
    assert 'uicr_allowed = ["approtect"] (open is 0x50fa50fa)' in said


def test_an_image_of_a_mistyped_name_is_told_with_the_right_one(own):
    place = own()
    place.change(place.pack, "[image.tfm_app]", "[image.tfm_ap]")
    said = [sentence for _, _, sentence in place.findings()]
    assert "expected the image 'tfm_app' in the pack, but it names none" in said
    assert any("no use for an image 'tfm_ap' (did you mean 'tfm_app'?)" in one for one in said)


def test_an_image_that_nothing_uses_is_a_doubt(own):
    place = own()
    notes = place.pack.parent / "images" / "notes.txt"
    notes.write_text("built by hand")
    digest = hashlib.sha256(notes.read_bytes()).hexdigest()
    text = f'\n[image.notes]\nfile = "images/notes.txt"\nsha256 = "{digest}"\n'
    place.pack.write_text(place.pack.read_text() + text)
    (doubt,) = place.load().doubts
    assert "there is no use for an image 'notes'; known are provisioning_app, " in doubt


def test_a_changed_image_shows_both_digests_whole_and_both_ways_out(own):
    place = own()
    file = place.pack.parent / "images" / "tfm_app.hex"
    old = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(file.read_text() + "\n")
    new = hashlib.sha256(file.read_bytes()).hexdigest()
    ((_, _, said),) = place.findings()
    assert f"with SHA-256 {old}, found {new}; restore the file, or write the new digest" in said


@pytest.mark.parametrize(("change", "seen"), [(str.upper, "upper-case ones"), (lambda text: text[:-1], "saw '")])
def test_a_digest_of_another_form_is_told_in_our_own_words(own, change, seen):
    place = own()
    digest = hashlib.sha256((place.pack.parent / "images" / "tfm_app.hex").read_bytes()).hexdigest()
    place.change(place.pack, digest, change(digest))
    ((_, _, said),) = place.findings()
    assert "image.tfm_app.sha256: expected 64 lower-case hex digits, as sha256sum prints them" in said and seen in said
