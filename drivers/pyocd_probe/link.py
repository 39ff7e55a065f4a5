"""One debug probe through pyOCD: opened without touching the part, locked against the presence poll, honest in errors.

Facts of pyOCD 0.46 that this module works around: a session runs a ``pyocd_user.py`` and obeys a ``pyocd.yaml`` that it
finds in the working folder; opening it in the usual way halts the cores, and mass-erases a locked nRF91; a J-Link takes
the target's supply away when it is let go of. Nothing of that happens here. Its log is silent, and the words of its
errors go to this module's log at debug level: people read which access was refused, and what to try.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyocd.core import exceptions
from pyocd.core.session import Session
from pyocd.coresight.ap import AccessPort, APv1Address
from pyocd.coresight.dap import DP_CTRL_STAT, DP_IDR, DP_TARGETID, ProbeConnector
from pyocd.probe.aggregator import DebugProbeAggregator
from pyocd.probe.debug_probe import DebugProbe
from pyocd.probe.swj import SWJSequenceSender

from drivers.pyocd_probe.remote import Gone, RemoteProbe
from station.errors import AdapterLost, BenchError, PartError, StationError

log = logging.getLogger(__name__)
REMOTE = "remote:"
OPTIONS = {
    "target_override": "cortex_m",  # no vendor pack: cores, flash and CTRL-AP are ours
    "auto_unlock": False,
    "connect_mode": "attach",
    "no_config": True,
    "dap_protocol": "swd",
    "jlink.power": False,
}
POWERED_UP = 0xA000_0000
"""CTRL/STAT: CSYSPWRUPACK and CDBGPWRUPACK."""
AP_CSW, AP_IDR, AP_SELECT = 0x00, 0xFC, 24
DEVICE_ENABLED = 1 << 6
"""CSW of an AHB access port."""
ACCESS_PORTS = 8
"""Index 0 to 7; the families' highest is 4."""
SILENT_SECONDS = 0.3
"""A part that resets itself is silent for a moment; one that is gone stays so."""

BEING_OPENED = "being opened"


class Access(NamedTuple):
    """What is being done to the part, for a sentence: words through an access port's bus, or a register of it."""

    verb: str
    port: int | None = None
    place: int = 0
    words: int = 0

    def told(self, ports: Mapping[int, str]) -> str:
        """In words; ``ports`` says what is behind each access port."""
        if self.port is None:
            return self.verb
        behind = ports.get(self.port, f"access port {self.port}")
        if not self.words:
            return f"{self.verb} register {self.place:#05x} of {behind}"
        return f"{self.verb} {self.words} word{'s' * (self.words > 1)} at {self.place:#010x} through {behind}"


class Link:
    """The probe and the part's debug port; every method may be called from any thread."""

    def __init__(self, name: str, address: str, swd_hz: int, ports: Mapping[int, str] | None = None) -> None:
        """``name`` is the probe's serial number for people, ``address`` pyOCD's unique id.

        ``ports`` says in words what is behind each access port.
        """
        self.name = name
        self._ports = ports or {}
        self._doing = Access(BEING_OPENED)
        self._hz = swd_hz
        self._guard = threading.RLock()
        self._depth = 0
        self._wired = False
        self._attached = False
        self._answers = False
        self._looked = False
        self._silent_since = 0.0
        self._buses: dict[int, Any] = {}
        logging.getLogger("pyocd").setLevel(logging.CRITICAL + 1)
        with self._errors():
            self._probe = _probe_at(address)
            self._session = _QuietSession(self._probe, options={**OPTIONS, "frequency": swd_hz,
                                                                "project_dir": os.getcwd()})  # fmt: skip
            try:
                self._session.open(init_board=False)
            except BaseException:  # an interrupt must not leave the probe claimed
                self._let_go()
                raise

    @property
    def _dp(self) -> Any:
        return self._session.target.dp

    # ---- the debug port -------------------------------------------------------------------------------------------

    def attach(self) -> tuple[int, int, dict[int, int]]:
        """Line reset, debug power on; returns DPIDR, TARGETID and the IDR of every access port that has one."""
        with self._held(attached=False):
            self._doing = Access("switching its debug port on")
            self._forget()
            self._wire()
            # the probe is held already; pyOCD's own lock here is never given back when the part does not answer
            self._dp.create_connect_sequence().remove_task("lock_probe").remove_task("unlock_probe").invoke()
            if self._dp.read_dp(DP_CTRL_STAT) & POWERED_UP != POWERED_UP:
                raise BenchError(
                    f"expected the part at debug probe {self.name} to switch its debug port on within 5 s, but it did "
                    "not; check its supply"
                )
            targetid = self._dp.read_dp(DP_TARGETID)
            found = {port: self._dp.read_ap(port << AP_SELECT | AP_IDR) for port in range(ACCESS_PORTS)}
            self._attached = self._answers = self._looked = True
            return self._dp.dpidr.idr, targetid, {port: idr for port, idr in found.items() if idr}

    def read_ap(self, port: int, register: int) -> int:
        """One register of an access port."""
        with self._held():
            self._doing = Access("reading", port, register)
            return int(self._dp.read_ap(port << AP_SELECT | register))

    def write_ap(self, port: int, register: int, value: int) -> None:
        """Write one register of an access port; it has reached the part on return."""
        with self._held():
            self._doing = Access("writing", port, register)
            self._forget()
            self._dp.write_ap(port << AP_SELECT | register, value)
            self._dp.flush()

    # ---- memory behind an AHB access port -------------------------------------------------------------------------

    def read(self, port: int, address: int, count: int) -> list[int]:
        """32-bit words."""
        with self._held():
            self._doing = Access("reading", port, address, count)
            return list(self._bus(port).read_memory_block32(address, count))

    def write(self, port: int, address: int, words: list[int]) -> None:
        """32-bit words in one block; a refusal may show at the next read or ``flush`` only."""
        with self._held():
            self._doing = Access("writing", port, address, len(words))
            if len(words) == 1:
                self._bus(port).write_memory(address, words[0])
            else:
                self._bus(port).write_memory_block32(address, words)

    def flush(self) -> None:
        """What was written has reached the part on return; what is refused now is named after the last access."""
        with self._held():
            self._dp.flush()

    def _bus(self, port: int) -> Any:
        """The access port's memory, made once while it is open; a reset or the CTRL-AP may change what it allows.

        What pyOCD notes down about it is taken back by ``_forget``, or every reset would add to it.
        """
        if port not in self._buses:
            if not self._dp.read_ap(port << AP_SELECT | AP_CSW) & DEVICE_ENABLED:
                raise PartError(
                    f"expected {self._ports.get(port, f'access port {port}')} to be open at debug probe {self.name}, "
                    "but it is closed: the core is protected, or switched off"
                )
            self._buses[port] = AccessPort.create(self._dp, APv1Address(port))
        return self._buses[port]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Several accesses in a row, with one lock of the probe around them."""
        with self._held():
            yield

    # ---- reset, presence, end ---------------------------------------------------------------------------------------

    def pulse_reset(self, seconds: float) -> None:
        """Pull the reset pin low for a time; ``attach`` afterwards."""
        with self._held(attached=False):
            self._doing = Access("pulling its reset pin")
            self._lost()
            self._probe.assert_reset(True)
            try:
                time.sleep(seconds)
            finally:
                self._probe.assert_reset(False)

    def was_reset(self) -> None:
        """The part has been told to reset: ``attach`` is needed before anything else."""
        with self._guard:
            self._lost()

    def answers(self) -> bool:
        """Whether the part answers on SWD; while the probe is at work, what was seen last.

        A first look that another thread has begun is awaited: nothing was seen yet that could be told.
        """
        if not self._guard.acquire(blocking=not self._looked):
            return self._answers
        try:
            with self._held(attached=False):
                self._doing = Access("looking for it")
                heard = self._hear()
        finally:
            self._guard.release()
        now = time.monotonic()
        if heard:
            self._silent_since = 0.0
        elif not self._silent_since:
            self._silent_since = now
        self._answers = heard or (self._answers and now - self._silent_since < SILENT_SECONDS)
        self._looked = True
        return self._answers

    def close(self) -> None:
        """Let go of the probe; the part runs on. May be called twice."""
        with self._guard:
            self._lost()
            self._let_go()

    def _hear(self) -> bool:
        """One look at the debug port. A part that needs a line reset first has lost its power, or been changed."""
        try:
            if self._attached and self._dp.read_dp(DP_CTRL_STAT) & POWERED_UP == POWERED_UP:
                return True
            if self._answers and not self._attached:
                return bool(self._probe.read_dp(DP_IDR))
        except exceptions.TransferError:
            pass
        self._lost()
        try:
            self._wire()
            SWJSequenceSender(self._probe, use_dormant=False).select_protocol(DebugProbe.Protocol.SWD)
            self._probe.read_dp(DP_IDR)
        except exceptions.ProbeDisconnected:
            raise
        except exceptions.Error:  # a J-Link cannot even be set up without a part
            return False
        return True

    def _wire(self) -> None:
        """Set the probe's pins up for SWD, once."""
        if not self._wired:
            ProbeConnector(self._probe).connect()
            self._wired = True

    def _lost(self) -> None:
        """What was known of the part's debug port holds no more."""
        self._attached = False
        self._dp._invalidate_cache()
        self._forget()

    def _forget(self) -> None:
        while self._buses:
            _, bus = self._buses.popitem()
            self._session.unsubscribe(bus._reset_did_occur)

    def _let_go(self) -> None:
        try:
            self._session.close()
        except (exceptions.Error, OSError, ValueError):
            pass  # the probe is gone; there is nothing left to let go of

    # ---- locks and errors -------------------------------------------------------------------------------------------

    @contextmanager
    def _held(self, attached: bool = True) -> Iterator[None]:
        """The probe for this thread alone; ``attached``: refuse when nobody has attached since the last reset."""
        with self._guard, self._errors():
            if attached and not self._attached:
                raise BenchError(
                    f"the part at debug probe {self.name} was reset, lost its power or was changed since the station "
                    "attached to it; check supply and cable, and start again"
                )
            if not self._depth:
                self._probe.lock()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    self._unlock()

    def _unlock(self) -> None:
        try:
            self._probe.unlock()
        except (exceptions.Error, OSError):
            pass  # a lost probe holds no lock, and what lost it is on its way up

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate pyOCD's errors into sentences."""
        try:
            yield
        except StationError:
            raise
        except (exceptions.Error, OSError, ValueError, KeyError) as error:
            # ValueError and KeyError: an answer of a remote server that is no answer
            doing = self._doing.told(self._ports)
            log.debug("debug probe %s, %s: %s: %s", self.name, doing, type(error).__name__, error)
            raise _translated(self.name, doing, self._hz, error) from None


class _QuietSession(Session):  # type: ignore[misc]  # pyOCD has no types
    """A session that neither reads nor runs files of the working folder, and leaves the program's log alone."""

    def _load_user_script(self) -> None:
        pass

    def _configure_logging(self) -> None:
        pass


def _probe_at(address: str) -> Any:
    if address.startswith(REMOTE):
        return RemoteProbe(address.removeprefix(REMOTE))
    probe = DebugProbeAggregator.get_probe_with_id(address)
    if probe is None:
        raise Gone("it is not plugged in")
    return probe


def _translated(name: str, doing: str, hz: int, error: BaseException) -> StationError:
    """Our sentence for an error of pyOCD, whose own words name nothing that an operator could look at."""
    if type(error) is exceptions.Error and error.__cause__ is not None:  # pyOCD's "target not detected"
        error = error.__cause__
    if isinstance(error, exceptions.TransferFaultError):
        return PartError(
            f"the part at debug probe {name} refused {doing}; run the recipe again, and if it is refused again, check "
            "supply and SWD cable"
        )
    if isinstance(error, exceptions.TransferError):
        return BenchError(
            f"the part at debug probe {name} does not answer on SWD ({doing}, at {hz // 1000} kHz); check that there "
            "is one, its supply and the SWD cable, or try a lower swd_hz in the board file"
        )
    if isinstance(error, (exceptions.ProbeDisconnected, OSError)):
        return AdapterLost(f"the debug probe {name} is gone ({_why(error)}); check its cable")
    if doing == BEING_OPENED and isinstance(error, exceptions.ProbeError):  # only pyOCD knows what keeps it
        return BenchError(f"the debug probe {name} cannot be opened ({error}); free it, or plug it in again")
    return BenchError(f"the debug probe {name} failed ({doing}); plug it in again and try once more")


def _why(error: BaseException) -> str:
    """Why a probe is gone, in our words or the operating system's."""
    if isinstance(error, Gone):
        return str(error)
    if isinstance(error, TimeoutError):
        return "it gives no answer"
    return (error.strerror if isinstance(error, OSError) else None) or "it is not plugged in"
