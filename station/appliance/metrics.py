"""Figures of the running appliance for Prometheus, in a registry of their own.

Labels are taken from short lists only (calls of the contract, status codes, work orders of ``stations.toml``, files of
the settings): whatever a client sends, it makes no new time series. No figure comes from a secret.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from station.errors import StationError

log = logging.getLogger(__name__)

PREFIX = "appliance_"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper ends of the classes of ``appliance_call_seconds``; 0.02 is what EndorseCerts should stay below."""

Read = Callable[[], float | Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A figure that is asked for when somebody looks: one number, or a number per value of ``label``.

    ``read`` is called from the listener's threads. A ``StationError`` of it leaves the figure out of that answer.
    """

    name: str
    meaning: str
    read: Read
    label: str = ""


class Metrics:
    """Counts calls, and asks gauges when somebody looks; safe to call from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            f"{PREFIX}calls", "Calls by method and status code.", ("method", "result"), registry=self.registry
        )
        self._seconds = Histogram(
            f"{PREFIX}call_seconds", "Time that calls took here.", ("method",), registry=self.registry, buckets=SECONDS
        )
        ProcessCollector(registry=self.registry)

    def call(self, method: str, result: str, seconds: float) -> None:
        """Count one call; ``method`` is one of the contract, ``result`` the name of a status code."""
        self._calls.labels(method, result).inc()
        self._seconds.labels(method).observe(seconds)

    def watch(self, *gauges: Gauge) -> None:
        """Offer more figures; a name may be offered once."""
        for gauge in gauges:
            self.registry.register(_Watched(gauge))


class _Watched(Collector):
    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name and meaning, without asking for the figure."""
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The figure as it is now."""
        try:
            found = self._gauge.read()
        except StationError as error:
            log.error("the figure %s is not to be had: %s", self._gauge.name, error)
            return
        family = self._family()
        for value, number in found.items() if isinstance(found, Mapping) else [("", found)]:
            family.add_metric([value] if self._gauge.label else [], number)
        yield family

    def _family(self) -> GaugeMetricFamily:
        labels = [self._gauge.label] if self._gauge.label else []
        return GaugeMetricFamily(PREFIX + self._gauge.name, self._gauge.meaning, labels=labels)
