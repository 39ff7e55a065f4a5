"""Keystore files that are sealed at little cost: argon2id with 64 KiB and one pass.

A file names its own cost, so that every process opens it at that cost. Whoever seals in a process of its own, as every
command does, pays the whole cost; so does test_appliance_keystore.py.
"""

from __future__ import annotations

import threading

import pytest

from station.appliance import keystore
from station.appliance.ceremony import vault_software

QUICK = {"memory_kib": 64, "iterations": 1}


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """Seal quickly in this process until the patch is taken back."""
    seal, sealing_key = keystore.seal, keystore._sealing_key
    thread = threading.local()

    def quick_seal(*arguments):
        thread.seals = True
        try:
            return seal(*arguments)
        finally:
            thread.seals = False

    def quick_key(header, passphrase):
        if getattr(thread, "seals", False):
            header["kdf"].update(QUICK)
        return sealing_key(header, passphrase)

    patch.setattr(keystore, "_sealing_key", quick_key)
    for module in (keystore, vault_software):
        patch.setattr(module, "seal", quick_seal)
