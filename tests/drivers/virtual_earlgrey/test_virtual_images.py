from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from earlgrey_pad_flows import IMAGES

from drivers.virtual.earlgrey import image_format, images
from station.formats import sram_elf


@pytest.fixture(scope="module")
def config() -> images.Config:
    return tomllib.loads((IMAGES.parent / "otp.toml").read_text("utf-8"))


@pytest.mark.parametrize("generation", images.GENERATIONS)
def test_committed_images_are_what_the_builder_makes(config: images.Config, generation: str) -> None:
    for name, content in images.build(config, generation).items():
        assert (IMAGES / generation / name).read_bytes() == content, name


def test_programs_load_by_the_rules_of_the_station() -> None:
    for path in IMAGES.rglob("*.elf"):
        program = sram_elf.parse(path.read_bytes())
        mine = image_format.read_elf(path.read_bytes())
        assert (program.address, program.entry, bytes(program.data)) == (0x10001FE8, 0x10001FE8, mine.data)
        assert program.crc32 == mine.crc and len(mine.data) >= 32 * 1024


@pytest.mark.parametrize("generation", images.GENERATIONS)
def test_bundle_is_large_and_hardly_blank(generation: str) -> None:
    bundle = (IMAGES / generation / "ft_fw_bundle_sival.img").read_bytes()
    pages = [bundle[n : n + 256] for n in range(0, len(bundle), 256)]
    assert len(bundle) >= 512 * 1024
    assert pages.count(b"\xff" * 256) < len(pages) // 10


def test_configuration_items_do_not_overlap(config: images.Config) -> None:
    words = [a for step in config.values() for part in step.values() for a, _ in images.words_of(part)]
    assert len(words) == len(set(words))


def test_main_writes_and_lists_everything(tmp_path: Path, capsys) -> None:
    (tmp_path / "otp.toml").write_bytes((IMAGES.parent / "otp.toml").read_bytes())
    assert images.main([str(tmp_path / "images")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10
