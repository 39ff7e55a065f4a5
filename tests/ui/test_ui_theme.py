"""Contrast, fonts, and pass against fail for eyes that see red and green alike, measured on rendered pixels."""

from collections import Counter
from dataclasses import replace

import eyes
import pytest
import ui_samples as s
from PySide6.QtGui import QFontInfo

from ui.theme import LIGHT, READABLE, SMALLEST_TEXT, contrast, dark, load_fonts, mix, style_sheet
from ui.tile import SocketTile
from ui.words import TileContext

THEMES = (LIGHT, dark())


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_role_can_be_read(theme):
    for name, pair in theme.roles.items():
        assert contrast(pair.ink, pair.surface) >= READABLE, name
        if name != "neutral" or theme.name == "light":
            assert contrast(pair.edge, theme.card) >= READABLE, name
    for surface in (theme.card, theme.background):
        assert contrast(theme.ink, surface) >= READABLE and contrast(theme.muted, surface) >= READABLE


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_small_print_in_tile_heads_can_be_read(theme):
    for name, pair in theme.roles.items():
        if name != "neutral":
            assert contrast(theme.muted, pair.surface) >= 4.0, name  # 15 px bold; WCAG large text asks for 3


def test_contrast_and_mix_have_their_known_values():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)
    assert mix("#000000", "#FFFFFF", 0.5) in ("#7F7F7F", "#808080")


def test_text_sizes_scale_and_have_a_floor():
    assert replace(LIGHT, scale=1.5).px(14) == 21
    assert replace(LIGHT, scale=0.8).px(11) == SMALLEST_TEXT
    assert "font-size: 21px" in style_sheet(replace(LIGHT, scale=1.5))


def test_there_is_a_font(styled, tmp_path):
    assert QFontInfo(styled.font()).family()
    assert QFontInfo(LIGHT.font(14)).family() and QFontInfo(LIGHT.font(14, mono=True)).family()
    assert load_fonts(tmp_path) == []


def head_colours(qtbot, theme, state):
    """The two most frequent colours of a tile's head as it is drawn: surface and ink."""
    tile = SocketTile(theme, state.socket)
    qtbot.addWidget(tile)
    tile.resize(440, 400)
    tile.show_state(state, TileContext(), virtual=False)
    picture = tile.grab().toImage()
    counts = Counter(picture.pixelColor(x, y).name() for x in range(16, 420, 2) for y in range(34, 84, 2))
    return [name for name, _ in counts.most_common(2)]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("kind", eyes.DICHROMATS)
def test_pass_and_fail_stay_apart_for_colour_blind_eyes(qtbot, styled, theme, kind):
    passed, failed = head_colours(qtbot, theme, s.PASS), head_colours(qtbot, theme, s.FAIL)
    surface, ink = (eyes.distance(a, b, kind) for a, b in zip(passed, failed, strict=True))
    assert surface >= eyes.SURFACES_APART and ink >= eyes.INKS_APART[theme.name], (surface, ink)


def test_the_simulation_sees_what_dichromats_do_not():
    green, red = "#306C30", "#8C3630"  # told apart at once by other eyes
    assert eyes.distance(green, red) > 60 and eyes.distance(green, red, "deuteranopia") < eyes.SURFACES_APART
    assert eyes.contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert eyes.distance("#FF0000", "#00FF00") == pytest.approx(170.6, abs=1)
