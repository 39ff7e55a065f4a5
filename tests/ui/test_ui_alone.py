"""A bench without appliance whose parts come in trays: nothing on its screen is of another bench."""

from __future__ import annotations

from dataclasses import replace

import pytest
import ui_samples as s
from PySide6.QtWidgets import QApplication

from station.protocol import ApplianceState, Lot, Rows
from ui.engineer_menu import EngineerMenu
from ui.run_dialog import RunDialog

RUN = (("run", "run", 17, ""), ("run", "kind", "pass", ""), ("step", "look", 0.4, "done"), ("kept", "token", 16, "b"))
CALL = ("appliance", "InitSession", 6.1, "sku → ")


def events(map_kind="tray"):
    return [
        replace(event, map_kind=map_kind, wafer="T12") if isinstance(event, Lot) else event
        for event in s.bench()
        if not isinstance(event, ApplianceState)
    ]


def opened(desk, *rows):
    desk.window._show_run("17")
    desk.feed(Rows("run", desk.link.sent[-1].request, ("what", "name", "value", "detail"), rows))
    QApplication.processEvents()
    return next(w for w in QApplication.topLevelWidgets() if isinstance(w, RunDialog) and w.isVisible())


def test_there_is_no_light(desk):
    desk.feed(*events())
    header = desk.window.operate.header
    assert not header.pill.isVisible()
    desk.feed(s.APPLIANCE)
    assert header.pill.isVisible()


def test_a_light_goes_with_the_engine_that_had_one(desk):
    desk.feed(*s.bench())
    desk.window.view.engine_gone("it ended")
    desk.feed(*events())
    assert not desk.window.operate.header.pill.isVisible()


@pytest.mark.parametrize(("kind", "title"), [("tray", "Tray"), ("wafer", "Wafer / tray")])
def test_the_header_names_what_the_recipe_works_on(desk, kind, title):
    desk.feed(*events(kind))
    field = desk.window.operate.header.wafer
    assert (field._title.text(), field.value.text()) == (title, "T12")


def test_the_menu_has_no_registrations(desk):
    def titles():
        menu = EngineerMenu(desk.window.view, desk.window.settings, desk.window)
        return [action.text() for action in menu.actions()]

    desk.feed(*events())
    assert "Registrations" not in titles() and "History" in titles()
    desk.feed(s.APPLIANCE)
    assert "Registrations" in titles()


def test_a_run_shows_calls_only_where_there_can_be_any(desk):
    desk.feed(*events())
    dialog = opened(desk, *RUN)
    assert not dialog.appliance.isVisible()
    lonely = dialog.kept.geometry()
    dialog.close()
    dialog = opened(desk, *RUN, CALL)  # a record from the time when the station had one
    assert dialog.appliance.isVisible() and dialog.appliance.model.rowCount() == 1
    assert dialog.kept.geometry().top() > dialog.appliance.geometry().bottom() > lonely.top()
    dialog.close()
    desk.feed(s.APPLIANCE)
    dialog = opened(desk, *RUN)
    assert dialog.appliance.isVisible()
    dialog.close()
