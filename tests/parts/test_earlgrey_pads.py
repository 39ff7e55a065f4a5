"""Reset is held and released as long as the board says: the fixture's reset line, not the part, sets the time."""

from station.parts.earlgrey.pads import Pads


class SlowFixture:
    """Pins whose reset line settles slowly; what is driven and how long nothing is done, in one list."""

    reset_seconds = 0.25

    def __init__(self):
        self.told = []

    def drive(self, levels):
        self.told += [f"reset {levels['reset']}"] if "reset" in levels else []

    def sample(self):
        return {}


def test_the_reset_line_gets_the_time_of_the_board():
    pins = SlowFixture()
    Pads(pins, pins.told.append).reset(None, bootstrap=True)
    assert pins.told == ["reset True", 0.25, "reset False", 0.25]


def test_the_driver_takes_it_from_the_board_file(seat):
    seat.open()
    board = seat.socket.board
    assert seat.socket.ports["pins"].reset_seconds == board.reset_seconds > 0
    assert "reset_seconds" not in seat.pack.settings
