"""The pages behind Engineer…: history, one run, one part, the bench."""

from dataclasses import replace

import ui_samples as s
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPushButton
from ui_desk import shown_dialog

from station.protocol import (
    CommandRefused,
    Handle,
    Log,
    Query,
    Release,
    Rows,
    Stop,
)
from ui.bench_dialog import BenchDialog
from ui.engineer_menu import EngineerMenu
from ui.part_dialogs import PartDialog, ReleaseDialog
from ui.query_dialogs import HistoryDialog
from ui.run_dialog import RunDialog

COLUMNS = ("run", "time", "label", "seconds")


RUN = (
    *(("run", name, value, "") for name, value in (
        ("run", 17), ("time", 1_700_000_000.0), ("socket", 2), ("label", "P1"), ("device_id", "0a0b"),
        ("kind", "quarantine"), ("bin", 99), ("tray", "Q"), ("reason", "the power failed"), ("seconds", 2.5))),
    ("step", "unlock", 0.4, "done"),
    ("step", "personalize", 0.2, "failed"),
    ("measurement", "transitions left", 22.0, "[2 … ] inside"),
    ("burn", "unlock", 0.4, "intent recorded: Test unlock"),
    ("burn", "unlock", 0.5, "read back: done"),
    ("failure", "personalize", 1.0, "the power failed"),
    ("appliance", "EndorseCerts", 6.1, "UDS [675 bytes] → UDS [765 bytes]"),
    ("kept", "rma_token_hash", 16, "bytes, bytes"),
    ("verdict", "quarantine", 2.5, "bin 99 quarantine → Q"),
)  # fmt: skip


def test_history_finds_and_opens_a_run(desk, qtbot):
    desk.feed(*s.bench())
    desk.window._show_query("history", "History")
    history = shown_dialog(desk.window, HistoryDialog)
    query = desk.link.sent[-1]
    assert query == Query("history", query.request, {"limit": "1500"})
    rows = ((1, 1_700_000_000.0, "041", 12.5), (2, 0.0, None, 3.0), (3, 0.0, "P041", 3.0))
    desk.feed(Rows("history", query.request - 1, COLUMNS, rows))
    assert history.model.rowCount() == 0
    desk.feed(Rows("history", query.request, COLUMNS, rows))
    assert history.model.rowCount() == 3 and history.model.data(history.model.index(0, 3)) == "12.5"
    assert history.model.data(history.model.index(0, 1)).startswith("2023-11-1")
    header = history.table.horizontalHeader()
    assert [history.model.headerData(header.logicalIndex(i), Qt.Orientation.Horizontal, 0) for i in range(4)] == [
        "run", "time", "label", "seconds"]  # fmt: skip
    history.take_scan("p041")
    assert history.model.rowCount() == 1 and history.note.text() == "1 rows"
    history.table.doubleClicked.emit(history.model.index(0, 0))
    assert desk.link.sent[-1].query == "run" and desk.link.sent[-1].arguments == {"run": "3"}
    shown_dialog(desk.window, RunDialog).close()
    history.close()
    assert desk.window._dialogs == []


def test_enter_asks_the_whole_history_by_every_kind_of_name(desk):
    desk.feed(*s.bench())
    desk.window._show_query("history", "History")
    history = shown_dialog(desk.window, HistoryDialog)
    history.search.setText("L24")
    history._ask_by_name()
    asked = []
    for _ in range(3):
        query = desk.link.sent[-1]
        asked.append(next(iter(query.arguments)))
        desk.feed(Rows("history", query.request, COLUMNS, ()))
    assert asked == ["label", "device_id", "lot"]
    desk.feed(Rows("history", desk.link.sent[-1].request, COLUMNS, ((1, 0.0, "L24", 1.0),)))
    assert history.model.rowCount() == 1
    history.close()


def test_history_opens_the_chosen_run_or_its_part(desk):
    desk.feed(*s.bench())
    desk.window._show_query("history", "History")
    history = shown_dialog(desk.window, HistoryDialog)
    buttons = {button.text(): button for button in history.findChildren(QPushButton)}
    rows = ((1, 0.0, "041", 12.5), (2, 0.0, None, 3.0))
    desk.feed(Rows("history", desk.link.sent[-1].request, COLUMNS, rows))
    sent = len(desk.link.sent)
    buttons["Open the run"].click()
    assert len(desk.link.sent) == sent and "row" in history.note.text()
    history.table.selectRow(0)
    buttons["Open the run"].click()
    assert desk.link.sent[-1].arguments == {"run": "1"}
    buttons["Part…"].click()
    assert desk.link.sent[-1].arguments == {"part": "041"}
    history.table.selectRow(1)
    sent = len(desk.link.sent)
    buttons["Part…"].click()
    assert len(desk.link.sent) == sent
    for dialog in list(desk.window._dialogs):
        dialog.close()


def test_a_refused_query_says_why(desk):
    desk.feed(*s.bench())
    desk.window._show_query("operators", "Operators")
    (dialog,) = desk.window._dialogs
    desk.feed(CommandRefused("Query", 0, "there is no query 'operators'"))
    assert "no query" in dialog.note.text()
    dialog.close()


def test_figures_are_asked_for_one_mode(desk):
    desk.feed(*s.bench(mode="virtual"))
    desk.window._show_query("yield", "Yield")
    assert desk.link.sent[-1].arguments == {"mode": "virtual"}
    desk.window._show_query("step_times", "Step times")
    assert desk.link.sent[-1].arguments == {"mode": "virtual", "recipe": "sival-ft"}
    for dialog in list(desk.window._dialogs):
        dialog.close()


def test_run_of_a_socket_is_its_last_one(desk):
    desk.feed(*s.bench())
    desk.window._show_run_of(2)
    query = desk.link.sent[-1]
    assert query.query == "history" and query.arguments == {"socket": "2", "limit": "1"}
    desk.feed(Rows("history", query.request, COLUMNS, ((17, 0.0, "P1", 1.0),)))
    query = desk.link.sent[-1]
    assert query.query == "run" and query.arguments == {"run": "17"}
    log = Log(1_700_000_001.0, 2, "dut", "debug", "[67 characters]")
    late, other = replace(log, time=1_700_009_000.0), replace(log, socket=1)
    desk.feed(log, late, other, Log(1_700_000_000.5, 2, "dut", "info", "Waiting ..."))
    desk.window.operate.log.flush()
    desk.feed(Rows("run", query.request, ("what", "name", "value", "detail"), RUN))
    dialog = shown_dialog(desk.window, RunDialog)

    def cells(section):
        model = section.model
        return [
            tuple(model.data(model.index(r, c)) for c in range(model.columnCount())) for r in range(model.rowCount())
        ]

    assert cells(dialog.steps) == [("Test unlock", "0.400", "done"), ("Personalize", "0.200", "failed")]
    assert cells(dialog.burns) == [
        ("◆ Test unlock", "0.400", "intent recorded"),
        ("◆ Test unlock", "0.500", "read back: done"),
    ]
    assert cells(dialog.measurements) == [("transitions left", "22", "[2 … ] inside")]
    assert cells(dialog.appliance) == [("EndorseCerts", "6.1", "UDS [675 bytes] → UDS [765 bytes]")]
    assert cells(dialog.kept) == [("rma_token_hash", "16", "bytes, bytes")]
    assert [line for line in cells(dialog.console) if line[1] == "dut"] == [
        ("1.000", "dut", "[67 characters]"),
        ("0.500", "dut", "Waiting ..."),
    ]
    assert "QUARANTINE" in dialog.verdict.text() and "bin 99 → Q" in dialog.verdict.text()
    assert "device id: 0a0b" in dialog.facts.text()
    dialog.search.setText("endorse")
    assert [section.model.rowCount() for section in dialog.sections] == [0, 0, 0, 1, 0, 0, 0]
    dialog.part_button.click()
    assert desk.link.sent[-1] == Query("part", desk.link.sent[-1].request, {"part": "P1"})
    dialog.close()


def test_an_interrupted_run_has_no_bin(desk):
    desk.feed(*s.bench())
    desk.window._show_run("17")
    dialog = shown_dialog(desk.window, RunDialog)
    rows = (("run", "kind", "interrupted", ""), ("run", "reason", "the station ended", ""), ("run", "bin", None, ""))
    desk.feed(Rows("run", desk.link.sent[-1].request, ("what", "name", "value", "detail"), rows))
    assert "INTERRUPTED   The station ended" in dialog.verdict.text() and "None" not in dialog.verdict.text()
    dialog.close()


def test_a_long_reason_does_not_widen_the_run_page(desk):
    desk.feed(*s.bench())
    desk.window._show_run("17")
    dialog = shown_dialog(desk.window, RunDialog)
    rows = [("run", "reason", "the appliance refused " * 30, ""), *(row for row in RUN if row[1] != "reason")]
    desk.feed(Rows("run", desk.link.sent[-1].request, ("what", "name", "value", "detail"), tuple(rows)))
    QApplication.processEvents()
    assert dialog.width() <= 1400 and dialog.minimumSizeHint().width() <= 1400
    dialog.close()


def test_a_socket_without_a_run_says_so(desk):
    desk.feed(*s.bench())
    desk.window._show_run_of(2)
    desk.feed(Rows("history", desk.link.sent[-1].request, COLUMNS, ()))
    dialog = shown_dialog(desk.window, RunDialog)
    assert "No run" in dialog.note.text()
    dialog.close()


def test_a_part_is_released_with_a_reason_only_when_the_engine_agrees(desk):
    desk.feed(*s.bench())
    desk.window._show_part("P1")
    part = shown_dialog(desk.window, PartDialog)
    quarantined = (("label", "part: P1"), ("quarantine", "lid opened during a burn"))
    assert not part.release.isEnabled()
    desk.feed(Rows("part", desk.link.sent[-1].request, ("name", "value"), quarantined))
    part.release.click()
    dialog = shown_dialog(desk.window, ReleaseDialog)
    assert not dialog.button.isEnabled()
    dialog.reason.setText("  x ")
    assert not dialog.button.isEnabled()
    dialog.reason.setText(" read back by hand ")
    dialog.button.click()
    command, query = desk.link.sent[-2:]
    assert command == Release("P1", "read back by hand") and query.query == "part"
    desk.feed(CommandRefused("Release", 0, "this needs the role supervisor; anna is operator"))
    desk.feed(Rows("part", query.request, ("name", "value"), quarantined))
    assert dialog.isVisible() and "supervisor" in dialog.message.text() and dialog.button.isEnabled()
    dialog.button.click()
    desk.feed(Rows("part", desk.link.sent[-1].request, ("name", "value"), (("label", "part: P1"), ("quarantine", ""))))
    assert not dialog.isVisible()
    desk.feed(Rows("part", desk.link.sent[-1].request, ("name", "value"), (("label", "part: P1"), ("quarantine", ""))))
    assert not part.release.isEnabled() and part.quarantine == ""
    part.close()
    assert desk.window._dialogs == []


ARMED = ("socket", "state", "armed")
FAULTS = (
    ("power_cut:inside", "Power fails inside the write."),
    ("unplug", "The cable is pulled."),
    ("clear", "Nothing."),
)


def open_bench(desk):
    desk.feed(*s.bench(mode="virtual"))
    desk.window._show_query("bench", "Bench")
    dialog = shown_dialog(desk.window, BenchDialog)
    answer_bench(desk, "")
    query = desk.link.sent[-1]
    assert query.query == "faults"
    desk.feed(Rows("faults", query.request, ("name", "meaning"), FAULTS))
    return dialog


def answer_bench(desk, armed):
    query = next(command for command in reversed(desk.link.sent) if isinstance(command, Query))
    assert query.query == "bench"
    desk.feed(Rows("bench", query.request, ARMED, ((1, "insert_part", ""), (2, "scan", armed))))


def press(dialog, text):
    next(button for button in dialog.findChildren(QPushButton) if button.text() == text).click()


def test_the_bench_page_has_the_benchs_own_list_of_faults(desk):
    bench = open_bench(desk)
    assert [bench.fault.itemText(n) for n in range(bench.fault.count())] == ["power_cut:inside", "unplug"]
    assert bench.meaning.text() == "Power fails inside the write."
    bench.fault.setEditText("unplug:20")
    assert bench.meaning.text() == "The cable is pulled."
    bench.ask()
    answer_bench(desk, "")
    assert [c.query for c in desk.link.sent if isinstance(c, Query)].count("faults") == 1
    bench.close()


def test_the_bench_page_says_how_an_argument_is_given(desk):
    bench = open_bench(desk)
    bench._meanings["panic"] = "The image panics at a step (argument huk or identity)."
    bench.fault.setEditText("panic")
    assert bench.meaning.text().endswith("An argument is typed behind a colon: panic:ARGUMENT")
    bench.close()


def test_the_bench_page_follows_its_sockets(desk, qtbot):
    bench = open_bench(desk)
    asked = lambda: [c.query for c in desk.link.sent if isinstance(c, Query)].count("bench")  # noqa: E731
    before = asked()
    desk.feed(replace(s.RUNNING, socket=1, state="scan"))
    desk.feed(replace(s.RUNNING, socket=1, state="scan", elapsed=9.9))
    qtbot.waitUntil(lambda: asked() == before + 1)
    answer_bench(desk, "")
    desk.feed(replace(s.RUNNING, socket=1, state="scan", elapsed=10.9))
    assert not bench._soon.isActive(), "nothing on the page has changed"
    bench.close()


def test_the_bench_page_of_kits_has_no_lids(desk):
    desk.feed(*s.bench(mode="virtual", states=[replace(s.INSERT, socket=n, has_lid=False) for n in range(1, 5)]))
    desk.window._show_query("bench", "Bench")
    bench = shown_dialog(desk.window, BenchDialog)
    assert [bench.action.itemText(n) for n in range(3)] == ["Insert part", "Remove part", "Power off"]
    bench.close()


def test_a_fault_is_armed_shown_and_cleared(desk):
    bench = open_bench(desk)
    assert bench.note.text() == "No fault is armed."
    bench.socket.setCurrentIndex(1)
    bench.fault.setEditText("power_cut:inside:1")
    press(bench, "Arm fault")
    assert desk.link.sent[-2] == Handle(2, "fault", "power_cut:inside:1")
    answer_bench(desk, "power_cut:inside:1")
    assert bench.note.text() == "Armed in socket 2: power_cut:inside:1"
    press(bench, "Clear faults")
    assert desk.link.sent[-4:-1] == [Handle(2, "replug"), Handle(2, "power", "on"), Handle(2, "fault", "clear")]
    answer_bench(desk, "")
    assert bench.note.text() == "No fault is armed."
    press(bench, "Arm fault")
    desk.feed(CommandRefused("Handle", 2, "this needs the role engineer; op is operator"))
    answer_bench(desk, "")
    assert "needs the role engineer" in bench.note.text()
    bench.close()


def test_bench_page_has_hands_on_a_virtual_bench_only(desk):
    bench = open_bench(desk)
    bench.action.setCurrentText("Open lid")
    press(bench, "Do it")
    assert desk.link.sent[-2] == Handle(1, "lid", "open")
    bench.close()
    desk.feed(*s.bench())
    desk.window._show_query("bench", "Bench")
    bench = shown_dialog(desk.window, BenchDialog)
    assert bench.socket.count() == 0 and not bench.hands.isVisible()
    answer_bench(desk, "")
    assert [c.query for c in desk.link.sent if isinstance(c, Query)][-1] == "bench", "a real bench has no faults"
    bench.close()


def test_engineer_menu(desk):
    desk.feed(*s.bench())
    menu = EngineerMenu(desk.window.view, desk.window.settings, desk.window, desk.window.size())
    asked = []
    menu.query_chosen.connect(lambda query, title: asked.append(query))
    menu.run_chosen.connect(asked.append)
    menu.stop_chosen.connect(desk.window._stop_all)
    menu.settings_chosen.connect(desk.window.apply_settings)
    actions = {action.text(): action for action in menu.actions()}
    for text in (
        "History",
        "Yield",
        "Pareto of bins",
        "Bench",
        "Operators",
        "Show the last run of socket 2",
        "Stop all sockets",
    ):
        actions[text].trigger()
    assert asked == ["history", "yield", "pareto", "bench", "operators", 2] and desk.link.sent == [Stop(0)]
    sizes = {action.text(): action for action in actions["Text size"].menu().actions()}
    sizes["150 %"].trigger()
    assert desk.window.theme.scale == 1.5 and desk.banner.sentence.pixel_size() > 36
    themes = {action.text(): action for action in actions["Theme"].menu().actions()}
    themes["Dark"].trigger()
    assert desk.window.theme.name == "dark" and desk.tile(1).word.text() == "DO NOT REMOVE"


def test_engineer_button_opens_the_menu(desk, qtbot):
    desk.feed(*s.bench())
    qtbot.mouseClick(desk.window.operate.header.engineer_button, Qt.MouseButton.LeftButton)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, EngineerMenu)
    menu.close()
