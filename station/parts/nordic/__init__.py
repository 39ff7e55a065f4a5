"""Nordic parts whose PSA root of trust is provisioned by firmware: nRF5340, nRF9160, nRF91x1."""

from station.parts.nordic.debug_port import Look
from station.parts.nordic.evidence import Evidence
from station.parts.nordic.part import Heard, Nordic
from station.parts.nordic.settings import AppLock, NetLock, NordicSettings

__all__ = ["AppLock", "Evidence", "Heard", "Look", "NetLock", "Nordic", "NordicSettings"]
