"""What a socket without sensors can say of the part in it: whether it answers on SWD."""

from __future__ import annotations

from drivers.pyocd_probe.link import Link
from station.model import Contact

ANSWERS = Contact(present=True, lid_closed=True, power_good=True, has_lid=False)
SILENT = Contact(present=False, lid_closed=True, power_good=False, has_lid=False)


class SwdPresence:
    """Presence from the debug port alone.

    It knows that a powered part answers. It cannot know why one does not: taken out, without power, held in reset or
    badly contacted all look alike, and it says "not present, no power" then. There is no lid to see, so that it counts
    as closed. A part that falls silent for less than 0.3 s, as one that resets itself does, counts as there.
    While the probe is at work it is not disturbed and the last answer is given; what the work itself meets (a part
    that answers no more) ends the work. The look is one read of a debug port register: it resets, halts and changes
    nothing in the part.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def contact(self) -> Contact:
        """Look now; raises ``AdapterLost`` when the probe itself is gone."""
        return ANSWERS if self._link.answers() else SILENT
