"""A private SoftHSM in a folder of its own: its module on this computer, its configuration, its environment.

For development, tests and the self-test only: realm production refuses SoftHSM.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from station.appliance.files import replace, write_private
from station.errors import ConfigError
from station.extras import install_appliance_extra

CONFIG = "softhsm2.conf"
VARIABLE = "SOFTHSM2_CONF"
"""SoftHSM reads the path in this variable each time the module is started."""
PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
"""Where distributions install the module."""


def find_module() -> str:
    """Path of the SoftHSM module; ``ConfigError`` when SoftHSM or the package that drives it is not installed."""
    require_package()
    module = next((place for place in PLACES if Path(place).exists()), None)
    if module is None:
        raise ConfigError("expected SoftHSM 2 on this computer, saw no libsofthsm2.so: install the package softhsm2")
    return module


def require_package() -> None:
    """``ConfigError`` when python-pkcs11 is not installed: only those who have an HSM install it."""
    try:
        import pkcs11  # noqa: F401
    except ImportError:
        raise ConfigError(
            f"expected the package python-pkcs11 for keys in an HSM: {install_appliance_extra('hsm')}"
        ) from None


def write_softhsm_config(folder: Path) -> Path:
    """Make the folder of a private SoftHSM: its token folder and the file that ``SOFTHSM2_CONF`` must name."""
    (folder / "tokens").mkdir(mode=0o700, parents=True)
    path = folder / CONFIG
    write_private(path, _config(folder))
    return path


def current_config(folder: Path) -> Path:
    """The configuration file of a private SoftHSM, written again when the folder was moved or copied."""
    path, wanted = folder / CONFIG, _config(folder)
    if not (folder / "tokens").is_dir():
        raise ConfigError(f"expected the tokens of a private SoftHSM in {folder}, saw none: run appliance init first")
    try:
        if not path.exists() or path.read_bytes() != wanted:
            replace(path, wanted)
    except OSError as error:
        raise ConfigError(f"expected to write {path} for this place of the folder: {error.strerror}") from None
    return path


@contextmanager
def softhsm(config: Path) -> Iterator[None]:
    """SoftHSM with this configuration while it is started here; the variable is put back afterwards."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(config)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def _config(folder: Path) -> bytes:
    tokens = folder.resolve() / "tokens"
    lines = (f"directories.tokendir = {tokens}", "objectstore.backend = file", "log.level = ERROR")
    return "".join(f"{line}\n" for line in lines).encode()
