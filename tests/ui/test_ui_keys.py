"""Keys, scans and typed entries: what they send, and what they never do."""

from dataclasses import replace

import ui_samples as s
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QDialog
from ui_desk import shown_dialog

from station.protocol import (
    Acknowledge,
    Answer,
    Handle,
    PromptView,
    Scan,
    ScanTaken,
    SelectRecipe,
    SignedIn,
    SignIn,
    SignOut,
    Start,
)
from ui.entry_dialogs import LabelDialog, RecipeDialog


def test_space_starts_the_socket_on_the_screen_after_400_ms(desk):
    desk.feed(*s.bench(states=[s.READY]))
    desk.clock.pass_(0.39)
    desk.key()
    assert desk.link.sent == []
    desk.clock.pass_(0.02)
    desk.key(repeat=True)
    assert desk.link.sent == []
    desk.key()
    assert desk.link.sent == [Start(3, 12)]


def test_a_press_meant_for_one_socket_never_starts_another(desk):
    desk.feed(*s.bench(states=[s.READY]))
    desk.clock.pass_(1)
    other = replace(s.READY, socket=1, epoch=77, since=1.0)
    desk.feed(other)
    desk.key()
    assert desk.link.sent == []
    desk.clock.pass_(0.5)
    desk.key(Qt.Key.Key_Return, "\r")
    assert desk.link.sent == [Start(1, 77)]


def test_a_state_that_is_not_on_the_screen_yet_is_not_what_a_press_means(desk):
    desk.feed(*s.bench(states=[s.READY]))
    desk.clock.pass_(1)
    desk.window.take([replace(s.READY, epoch=13)])
    desk.key()
    assert desk.link.sent == [Start(3, 12)]  # the engine refuses the old epoch


def test_a_question_is_answered_by_its_own_keys_and_no_twice(desk):
    desk.feed(*s.bench(states=[s.READY, s.INTERRUPTED]))
    desk.clock.pass_(1)
    desk.key()
    desk.key(Qt.Key.Key_Return, "\r")
    assert desk.link.sent == [], "Space starts no other socket while a question is open"
    assert [button.text() for button in desk.banner.choices] == ["Yes: check it   [F1]", "No: quarantine   [F2]"]
    assert desk.tile(2).buttons[1].text() == "No: quarantine   [F2]"
    desk.key(Qt.Key.Key_F2, "")
    desk.key(Qt.Key.Key_F2, "")
    assert desk.link.sent == [], "a bounce is no second press"
    assert desk.banner.choices[1].text() == desk.tile(2).buttons[1].text() == "Press again: quarantine 040   [F2]"
    desk.clock.pass_(1)
    desk.key(Qt.Key.Key_F2, "")
    assert desk.link.sent == [Answer(2, 7, "No: quarantine")]


def test_yes_needs_one_press_by_key_banner_or_tile(desk, qtbot):
    desk.feed(*s.bench(states=[s.READY, s.INTERRUPTED]))
    desk.clock.pass_(1)
    desk.key(Qt.Key.Key_F1, "", repeat=True)
    assert desk.link.sent == []
    for press in (
        lambda: desk.key(Qt.Key.Key_F1, ""),
        lambda: qtbot.mouseClick(desk.banner.choices[0], Qt.MouseButton.LeftButton),
        lambda: qtbot.mouseClick(desk.tile(2).buttons[0], Qt.MouseButton.LeftButton),
    ):
        press()
        desk.clock.pass_(1)
        assert desk.link.sent.pop() == Answer(2, 7, "Check it") and desk.link.sent == []


def test_a_no_pressed_once_does_not_outlast_who_pressed_it(desk):
    desk.feed(*s.bench(states=[s.INTERRUPTED]))
    desk.clock.pass_(1)
    desk.key(Qt.Key.Key_F2, "")
    desk.feed(SignedIn(""))
    assert desk.banner.choices == [] and desk.tile(2).buttons[1].text() == "No: quarantine"
    desk.feed(s.OPERATOR)
    assert desk.banner.choices[1].text() == "No: quarantine   [F2]"


def test_the_button_is_the_key(desk, qtbot):
    desk.feed(*s.bench(states=[s.FAIL]))
    qtbot.mouseClick(desk.banner.button, Qt.MouseButton.LeftButton)
    assert desk.link.sent == []
    desk.clock.pass_(1)
    qtbot.mouseClick(desk.banner.button, Qt.MouseButton.LeftButton)
    assert desk.link.sent == [Acknowledge(4, 40)]


def test_virtual_round_by_space_alone(desk):
    read = replace(s.FAIL, needs_acknowledge=False, epoch=44)
    for states, command in (
        ([replace(s.INSERT, epoch=1)], Handle(3, "insert")),
        ([replace(s.READY, epoch=2)], Start(3, 2)),
        ([replace(s.FAIL, socket=3, epoch=3)], Acknowledge(3, 3)),
        ([replace(read, socket=3)], Handle(3, "remove")),
    ):
        desk.feed(*s.bench(mode="virtual", states=states))
        desk.clock.pass_(1)
        desk.key()
        assert desk.link.sent.pop() == command
        assert desk.link.sent == []


def test_scans_go_to_the_engine_and_never_act(desk):
    desk.feed(*s.bench(states=[s.READY]))
    desk.clock.pass_(1)
    desk.scan("LOT24-0117")
    assert desk.link.sent == [Scan("LOT24-0117")]
    desk.feed(ScanTaken("LOT24-0117", "lot", 0, "That is the lot label; scan the part"))
    assert "That is the lot label" in desk.banner.hint.text()


def test_sign_in_by_key_and_badge_leaves_nothing_behind(desk, qtbot):
    desk.feed(s.hello(), SignedIn(""))
    desk.clock.pass_(1)
    desk.key()
    dialog = desk.window.sign_in
    assert dialog.isVisible()
    dialog.take_scan("op-117")
    dialog.pin.setText("4711")
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    command = desk.link.sent.pop()
    assert isinstance(command, SignIn) and command.operator == "op-117" and "4711" not in repr(command)
    assert dialog.pin.text() == "" and not dialog.button.isEnabled()
    desk.feed(SignedIn("", failed="wrong PIN"))
    assert dialog.isVisible() and dialog.message.text() == "wrong PIN"
    desk.feed(SignedIn("op-117", "operator"))
    assert not dialog.isVisible() and dialog.name.text() == ""
    desk.window.operate.log.search.setText("op-117")
    qtbot.mouseClick(desk.window.operate.header.lock_button, Qt.MouseButton.LeftButton)
    assert desk.link.sent == [SignOut()] and dialog.isVisible()  # whoever comes next types a PIN into nothing else
    assert desk.window.operate.log.search.text() == ""
    dialog.reject()


def test_the_name_is_asked_first_however_often_the_dialog_opens(desk, qtbot):
    """A PIN typed from habit must never land in the field that can be read."""
    dialog = desk.window.sign_in
    for _ in range(2):
        dialog.open()
        qtbot.waitUntil(lambda: dialog.focusWidget() is dialog.name, timeout=5000)
        dialog.pin.setFocus()
        dialog.reject()
    dialog.take_scan("OP:op-117")
    dialog.open()
    assert dialog.focusWidget() is dialog.pin
    dialog.reject()


def test_the_engineer_menu_and_the_lock_have_keys(desk):
    """Offscreen no shortcut reaches a button; that these do is seen in the real window."""
    header, asked = desk.window.operate.header, []
    header.engineer.disconnect(desk.window._engineer)
    header.engineer.connect(lambda: asked.append("engineer"))
    header.engineer_button.click()
    assert asked == ["engineer"]
    keys = [button.shortcut().toString() for button in (header.engineer_button, header.lock_button)]
    assert keys == ["F10", "Ctrl+L"] == [button.toolTip().removeprefix("Key: ") for button in
                                         (header.engineer_button, header.lock_button)]  # fmt: skip


def test_a_scanned_badge_opens_the_sign_in_and_proves_nothing(desk):
    desk.feed(s.hello(), SignedIn(""))
    desk.window._scanned("OP:op-117")
    assert desk.window.sign_in.isVisible() and desk.window.sign_in.name.text() == "op-117" and desk.link.sent == []
    desk.window.sign_in.reject()


def test_sign_in_asks_for_what_is_missing(desk, qtbot):
    dialog = desk.window.sign_in
    dialog.open()
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    dialog.name.setText("anna")
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    assert desk.link.sent == [] and dialog.isVisible()
    dialog.reject()
    assert dialog.name.text() == ""


def test_recipe_and_lot_by_hand(desk):
    desk.feed(s.hello(recipe=""), s.OPERATOR)
    desk.clock.pass_(1)
    desk.key()
    dialog = shown_dialog(desk.window, RecipeDialog)
    dialog.recipe.setCurrentText("sival-cp")
    dialog.take_scan("L25")
    dialog.wafer.setText("W01")
    dialog._submit()
    assert desk.link.sent == [SelectRecipe("sival-cp", "L25", "W01")]


def test_the_recipe_says_what_its_parts_come_on(desk):
    desk.feed(s.hello(recipe="", on_trays=("sival-ft",)), s.OPERATOR)
    desk.clock.pass_(1)
    desk.key()
    dialog = shown_dialog(desk.window, RecipeDialog)
    found = {}
    for name in ("sival-cp", "sival-ft"):
        dialog.recipe.setCurrentText(name)
        found[name] = dialog.place.text()
    assert found == {"sival-cp": "Wafer", "sival-ft": "Tray"}
    dialog.reject()


def test_label_by_hand_names_its_socket(desk, qtbot):
    desk.feed(*s.bench(states=[s.SCAN]))
    qtbot.mouseClick(desk.tile(3).buttons[0], Qt.MouseButton.LeftButton)
    dialog = shown_dialog(desk.window, LabelDialog)
    dialog.label.setText(" 042 ")
    dialog._submit()
    assert desk.link.sent == [Scan("042", 3)] and isinstance(dialog, QDialog)


CONFIRM = (
    PromptView(3, "P000004 (0a0478d5ee37e9fd): every key and the identity of this part will be destroyed for good, and "
               "nothing brings them back.", ("Destroy its identity", "No")),
    PromptView(4, "P000004 (0a0478d5ee37e9fd): once more. Is the right part in socket 1?", ("Yes, erase it", "No")),
)  # fmt: skip


def test_a_second_question_is_not_answered_by_the_press_that_was_meant_for_the_first(desk):
    asking = replace(s.PROMPT, socket=1, prompt=CONFIRM[0])
    desk.feed(*s.bench(1, states=[asking]))
    desk.clock.pass_(1)
    desk.key(Qt.Key.Key_F1, "")
    assert desk.link.sent == [Answer(1, 3, "Destroy its identity")]
    desk.clock.pass_(0.39)
    desk.feed(replace(asking, prompt=None), replace(asking, prompt=CONFIRM[1]))  # one picture for both
    desk.clock.pass_(0.1)
    desk.key(Qt.Key.Key_F1, "")
    assert len(desk.link.sent) == 1, "the question has not been on the screen for 0.4 s"
    desk.clock.pass_(0.4)
    desk.key(Qt.Key.Key_F1, "")
    assert desk.link.sent[1:] == [Answer(1, 4, "Yes, erase it")]


def test_a_question_is_read_whole_in_the_banner(desk):
    desk.feed(*s.bench(1, states=[replace(s.PROMPT, socket=1, prompt=CONFIRM[0])]))
    QApplication.processEvents()
    hint = desk.banner.hint
    lines = hint._lines(hint.width(), hint.most_lines)
    assert len(lines) == 2 and " ".join(lines) == CONFIRM[0].text
    assert hint.geometry().bottom() < desk.banner.height()
    desk.feed(replace(s.READY, socket=1))
    assert desk.banner.hint.height() == desk.banner.hint.line_height(), "an ordinary hint is one line"
