"""Keys of a part: hardware unique keys and the identity key in KMU slots, made on chip, as the SDK's libraries do.

Sources: nordic-tfm sheet 2.5. The cipher that protects the identity key is the bench's own choice (the silicon's is not
published): AES-CTR with a key derived from the MKEK by SP 800-108 counter mode with CMAC.
"""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from drivers.virtual.nrf.firmware.machine import Machine
from drivers.virtual.nrf.silicon import WORD, Silicon
from drivers.virtual.nrf.words import KMU_CONFIG, KMU_KEY

PERM_HUK, PERM_IDENTITY = 0xFFFF_FFFC, 0xFFFF_FFFA
SLOT_SIZE, IDENTITY_SIZE = 16, 32
DUMMY_IDENTITY = 0xA9B454B26D6F90A4EA31193564CBA91FEC6F9A002A7DC0504B92A1937134585F
"""Publicly known; only the SDK's CONFIG_IDENTITY_KEY_DUMMY writes it (sheet 1.4)."""
_LABEL = b"identity key"


def mkek_slots(silicon: Silicon) -> list[int]:
    """The slots of the MKEK: the first half of all hardware unique key slots."""
    slots = sorted(silicon.huk_slots)
    return slots[: len(slots) // 2]


def huk_is_written(machine: Machine) -> bool:
    """Whether every slot of both hardware unique keys has its final permissions."""
    return all(machine.permission(slot) == PERM_HUK for slot in machine.silicon.huk_slots)


def any_huk_is_written(machine: Machine) -> bool:
    """Whether some slot of a hardware unique key is not blank any more."""
    return any(machine.permission(slot) != WORD for slot in machine.silicon.huk_slots)


def identity_is_written(machine: Machine) -> bool:
    """The SDK's own test: the permissions of the identity key's slots are the final ones."""
    return all(machine.permission(slot) == PERM_IDENTITY for slot in machine.silicon.identity_slots)


def write_slot(machine: Machine, slot: int, destination: int, value: bytes, permission: int) -> None:
    """SELECT, DEST, VALUE, PERM, SELECT none; a permission of all ones is left out."""
    base = machine.silicon.app.uicr
    machine.select_slot(slot)
    machine.write_uicr(base + KMU_CONFIG + 8 * slot, destination)
    for n in range(0, SLOT_SIZE, 4):
        word = int.from_bytes(value[n : n + 4], "little")
        machine.write_uicr(base + KMU_KEY + SLOT_SIZE * slot + n, word)
    if permission != WORD:
        machine.write_uicr(base + KMU_CONFIG + 8 * slot + 4, permission)
    machine.select_slot(None)


def write_huk_slot(machine: Machine, slot: int, permission: int = PERM_HUK) -> None:
    """One slot of a hardware unique key, from the random number generator."""
    write_slot(machine, slot, machine.silicon.huk_slots[slot], secrets.token_bytes(SLOT_SIZE), permission)


def new_identity() -> int:
    """A random P-256 private key."""
    return ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value


def write_identity(machine: Machine, private: int, slots: int = 2, permission: int = PERM_IDENTITY) -> None:
    """Encrypt the private key and write it; ``slots`` below 2 and another permission are what faults leave behind."""
    sealed = _crypt(machine, private.to_bytes(IDENTITY_SIZE, "big"))
    for n, slot in enumerate(machine.silicon.identity_slots[:slots]):
        write_slot(machine, slot, WORD, sealed[SLOT_SIZE * n : SLOT_SIZE * (n + 1)], permission)


def read_identity(machine: Machine) -> ec.EllipticCurvePrivateKey:
    """The identity key, decrypted; torn slots give a key that is nobody's."""
    sealed = b"".join(machine.key_slot(slot) for slot in machine.silicon.identity_slots)
    private = int.from_bytes(_crypt(machine, sealed), "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return ec.derive_private_key(private % (order - 1) + 1 if not 0 < private < order else private, ec.SECP256R1())


def _crypt(machine: Machine, data: bytes) -> bytes:
    mkek = b"".join(machine.key_slot(slot) for slot in mkek_slots(machine.silicon))
    derive = KBKDFCMAC(
        algorithms.AES, Mode.CounterMode, len(mkek), 4, 4, CounterLocation.BeforeFixed, _LABEL, b"", fixed=None
    )
    cipher = Cipher(algorithms.AES(derive.derive(mkek)), modes.CTR(bytes(16))).encryptor()
    return cipher.update(data) + cipher.finalize()
