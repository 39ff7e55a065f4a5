"""Appliance driver: gRPC with mutual TLS to any Provisioning Appliance of the wire contract."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.appliance_grpc.client import GrpcAppliance
from drivers.appliance_grpc.doctor import Diagnosis
from drivers.appliance_grpc.settings import read_settings

__all__ = ["Diagnosis", "GrpcAppliance", "open_appliance"]


def open_appliance(settings: Mapping[str, object]) -> GrpcAppliance:
    """The appliance of the settings (see ``settings.ClientSettings``); connects at the first call.

    Raises ``ConfigError`` with all findings. Missing or expired files are found by ``diagnose`` and at the first call.
    """
    return GrpcAppliance(read_settings(settings))
