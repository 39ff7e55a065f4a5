"""A real SoftHSM of the tests' own: token folder, PIN file, keys that a software keystore holds too."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from station.appliance.files import write_private
from station.appliance.keystore import KeyMaterial
from station.appliance.keystore_pkcs11 import TokenKeystore, TokenSettings, open_token
from station.appliance.passphrase import SecretSource
from station.appliance.pkcs11_module import TokenChoice
from station.appliance.pkcs11_provision import TOKEN, import_keys, init_token
from station.appliance.softhsm import PLACES, softhsm, write_softhsm_config
from station.model import Realm
from station.secret import Secret

MODULE = next((place for place in PLACES if Path(place).exists()), PLACES[0])


@dataclass(frozen=True)
class TestToken:
    """One token in a SoftHSM of its own; ``SOFTHSM2_CONF`` must name ``config`` while the module is started."""

    __test__ = False

    folder: Path
    config: Path
    pin: Path

    @property
    def settings(self) -> TokenSettings:
        pin, refused = SecretSource("file", str(self.pin)), self.folder / "pin.refused"
        return TokenSettings(MODULE, TokenChoice(TOKEN), pin, refused, 4)

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @contextmanager
    def used(self):
        with softhsm(self.config):
            yield self

    @contextmanager
    def opened(self, settings: TokenSettings | None = None, realm: Realm = Realm.DEV):
        keystore: TokenKeystore = open_token(realm, settings or self.settings)
        try:
            yield keystore
        finally:
            keystore.close()


def make_token(folder: Path, material: KeyMaterial | None = None) -> TestToken:
    """A token with random PINs and the keys of ``material``."""
    config = write_softhsm_config(folder)
    pin = secrets.token_hex(8).encode()
    token = TestToken(folder, config, folder / "token.pin")
    write_private(token.pin, pin + b"\n")
    with token.used():
        init_token(MODULE, TOKEN, Secret(secrets.token_hex(8).encode(), "SO PIN"), Secret(pin, "PIN"))
        if material is not None:
            import_keys(token.settings, material)
    return token


def raw(secret: Secret) -> bytes:
    """The bytes of a secret, to compare them."""
    with secret.reveal() as value:
        return value
