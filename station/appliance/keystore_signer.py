"""A keystore's key as a private key of the library, so that certificates and requests are signed where the key is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from station.appliance.keystore import HASHES, KeyMissing, PrivateKey, Signing, algorithm_of


class _Stays:
    """Everything but signing, which a key that stays where it is cannot do."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a key of a keystore signs and cannot be taken out")

    exchange = private_numbers = private_bytes = private_bytes_raw = sign_mu = __copy__ = __deepcopy__ = _refuse


class _EllipticKey(_Stays, ec.EllipticCurvePrivateKey):
    def __init__(self, keystore: Signing, label: str, public: ec.EllipticCurvePublicKey) -> None:
        self._keystore, self._label, self._public = keystore, label, public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        wanted = signature_algorithm.algorithm
        name = next(name for name, known in HASHES.items() if known.name == wanted.name)
        return self._keystore.sign(self._label, bytes(data), name)


class _MldsaKey(_Stays):
    def __init__(self, keystore: Signing, label: str, public: Any) -> None:
        self._keystore, self._label, self._public = keystore, label, public

    def public_key(self) -> Any:
        return self._public

    def sign(self, data: Any, context: Any = None) -> bytes:
        if context:
            raise TypeError("a key of a keystore signs with an empty context only")
        return self._keystore.sign_mldsa(self._label, bytes(data))


class _Mldsa44(_MldsaKey, mldsa.MLDSA44PrivateKey):
    pass


class _Mldsa65(_MldsaKey, mldsa.MLDSA65PrivateKey):
    pass


class _Mldsa87(_MldsaKey, mldsa.MLDSA87PrivateKey):
    pass


_MLDSA: Mapping[str, Callable[[Signing, str, Any], PrivateKey]] = {
    "ML-DSA-44": _Mldsa44,
    "ML-DSA-65": _Mldsa65,
    "ML-DSA-87": _Mldsa87,
}


def signer(keystore: Signing, label: str) -> PrivateKey:
    """The key under ``label``; it signs through the keystore and knows its public half, no more."""
    spki = keystore.public_key(label)
    public = load_der_public_key(spki)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return _EllipticKey(keystore, label, public)
    algorithm = algorithm_of(spki)
    if algorithm not in _MLDSA:
        raise KeyMissing(f"expected a signing key {label!r} in the keystore, saw {algorithm}: name the right one")
    return _MLDSA[algorithm](keystore, label, public)
