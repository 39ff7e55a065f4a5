"""Open the keystore that the settings name, for as long as the appliance serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from station.appliance.files import require_private
from station.appliance.keystore import Keystore, open_keystore
from station.appliance.keystore_settings import PKCS11, KeystoreSettings
from station.appliance.passphrase import read_secret
from station.appliance.softhsm import current_config, require_package, softhsm
from station.model import Realm

if TYPE_CHECKING:
    from station.appliance.keystore_pkcs11 import TokenSettings


@contextmanager
def configured_keystore(settings: KeystoreSettings, realm: Realm) -> Iterator[Keystore]:
    """The open keystore; everything wrong with it raises ``ConfigError`` before the first part."""
    if settings.kind != PKCS11:
        require_private(settings.file)
        yield open_keystore(settings.file, read_secret(settings.passphrase, "keystore passphrase"), realm)
        return
    with token_settings(settings) as token:
        from station.appliance.keystore_pkcs11 import open_token

        keystore = open_token(realm, token)
        try:
            yield keystore
        finally:
            keystore.close()


@contextmanager
def token_settings(settings: KeystoreSettings) -> Iterator[TokenSettings]:
    """Where the token is, and its SoftHSM's configuration for as long as the module may be started."""
    require_package()
    from station.appliance.keystore_pkcs11 import TokenSettings
    from station.appliance.pkcs11_module import TokenChoice

    with ExitStack() as stack:
        if settings.softhsm is not None:
            stack.enter_context(softhsm(current_config(settings.softhsm)))
        choice = TokenChoice(settings.token, settings.slot)
        yield TokenSettings(settings.module, choice, settings.pin, settings.refused_pin, settings.sessions)
