"""The command line of the key ceremony: one command per step, on the folder of its machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from station.cli_options import FILE, FOLDER, F, json_option

REALMS = ["dev", "production"]

sku_option = click.option("--sku", "skus", multiple=True, required=True, help="SKU, or all; repeat for more.")
input_option = click.option("--input", "source", type=FILE, required=True, help="Transfer of the other machine.")
digest_option = click.option(
    "--digest", "digests", multiple=True, help="SHA-256 that the other machine shows (default: ask at the terminal)."
)
subject_option = click.option(
    "--subject", "subjects", multiple=True, metavar="LABEL=NAME",
    help="Subject of a CA other than the usual one, such as opentitan-ca-root-v0=CN=Root CA,O=Example,C=DE.",
)  # fmt: skip


def step_options(command: F) -> F:
    """The folder, the people, and how to answer."""
    folder = click.argument("folder", type=FOLDER)
    operator = click.option("--operator", required=True, help="Who does this step.")
    witness = click.option("--witness", required=True, help="Who watches it; another person.")
    return folder(operator(witness(json_option(command))))


def machine_options(command: F) -> F:
    """Realm and keystore of a new machine."""
    options = (
        click.option("--realm", type=click.Choice(REALMS), help="Realm of a new machine."),
        click.option("--keystore", type=click.Choice(["software", "pkcs11"]),
                     help="A sealed file (default), or a token of an HSM."),
        click.option("--passphrase", metavar="SOURCE",
                     help="Of the sealed file: prompt (default), a file (seen from FOLDER), fd:N, credential:NAME."),
        click.option("--module", help="The HSM's PKCS#11 library."),
        click.option("--token", help="Label of the token."),
        click.option("--slot", type=int, help="Place of the token, when not its label: from 0."),
        click.option("--pin", metavar="SOURCE", help="Of the token: as for --passphrase."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def ceremony() -> None:
    """A key ceremony on two machines, by two people, with files between them.

    The SPM machine (spm-…) becomes the appliance; the offline machine (offline-…) keeps roots, seeds and the RMA key.
    In order: spm-init, offline-common-init, offline-common-export, spm-sku-init, spm-sku-csr, offline-ca-root-certgen,
    offline-sku-certgen, spm-sku-certs; then tls-csr, offline-tls-certgen, tls-cert for the server and each station. A
    step may be repeated: what is done is not done again, and nothing is overwritten.
    """


@ceremony.command("spm-init")
@step_options
@machine_options
def spm_init(**options: Any) -> int:
    """SPM: make transport, identity and session keys; sends spm_hsm_init."""
    return _step("spm-init", **options)


@ceremony.command("offline-common-init")
@step_options
@machine_options
@sku_option
def offline_common_init(**options: Any) -> int:
    """Offline: make seeds, RMA, TLS CA and root keys."""
    return _step("offline-common-init", **options)


@ceremony.command("offline-common-export")
@step_options
@input_option
@digest_option
def offline_common_export(**options: Any) -> int:
    """Offline: wrap the seeds for one SPM machine (spm_hsm_init); sends hsm_offline_export."""
    return _step("offline-common-export", **options)


@ceremony.command("spm-sku-init")
@step_options
@click.option("--input", "sources", type=FILE, multiple=True, help="hsm_offline_export; not needed for later SKUs.")
@digest_option
@sku_option
def spm_sku_init(**options: Any) -> int:
    """SPM: bring in the seeds (hsm_offline_export), make the CA keys of the SKUs."""
    return _step("spm-sku-init", **options)


@ceremony.command("spm-sku-csr")
@step_options
@sku_option
@subject_option
def spm_sku_csr(**options: Any) -> int:
    """SPM: ask for certificates of the CA keys; sends hsm_ca_intermediate_csr."""
    return _step("spm-sku-csr", **options)


@ceremony.command("offline-ca-root-certgen")
@step_options
@sku_option
@subject_option
def offline_ca_root_certgen(**options: Any) -> int:
    """Offline: certify the roots of the SKUs; sends hsm_ca_root_certs."""
    return _step("offline-ca-root-certgen", **options)


@ceremony.command("offline-sku-certgen")
@step_options
@input_option
@digest_option
@subject_option
def offline_sku_certgen(**options: Any) -> int:
    """Offline: certify the CAs of hsm_ca_intermediate_csr; sends hsm_ca_intermediate_certs."""
    return _step("offline-sku-certgen", **options)


@ceremony.command("spm-sku-certs")
@step_options
@click.option("--input", "sources", type=FILE, multiple=True, required=True,
              help="hsm_ca_root_certs and hsm_ca_intermediate_certs, one each.")  # fmt: skip
@digest_option
def spm_sku_certs(**options: Any) -> int:
    """SPM: install roots and CA certificates, write SKU files, passwords and settings."""
    return _step("spm-sku-certs", **options)


@ceremony.command("tls-csr")
@step_options
@click.option("--name", required=True, help="Of the station, or of the server.")
@click.option("--host", "hosts", multiple=True, help="Host name or address, beside those of this computer; repeat.")
@click.option("--server", is_flag=True, help="For a server in a folder of its own; an SPM folder is one anyway.")
@click.option("--realm", type=click.Choice(REALMS), help="Realm of a new folder.")
def tls_csr(**options: Any) -> int:
    """SPM or station: make a TLS key, ask for its certificate; sends tls_csr."""
    return _step("tls-csr", **options)


@ceremony.command("offline-tls-certgen")
@step_options
@input_option
@digest_option
def offline_tls_certgen(**options: Any) -> int:
    """Offline: certify a TLS endpoint (tls_csr); sends tls_cert."""
    return _step("offline-tls-certgen", **options)


@ceremony.command("tls-cert")
@step_options
@input_option
@digest_option
def tls_cert(**options: Any) -> int:
    """SPM or station: install the certificate (tls_cert) and the CA of the peers."""
    return _step("tls-cert", **options)


@ceremony.command("transcript")
@click.argument("folder", type=FOLDER)
@click.option("--output", type=FILE, help="Write the text into a new file, too.")
@json_option
def transcript(folder: Path, output: Path | None, as_json: bool) -> int:
    """Check the transcript of a machine and show it for signing."""
    from station.appliance.ceremony import commands

    return commands.transcript_command(folder, output, as_json)


@click.command("rma-token")
@click.argument("folder", type=FOLDER)
@click.option("--wrapped-seed", type=FILE, required=True,
              help="The part's wrapped seed: bytes, hexadecimal, base64, or its registry record as JSON.")  # fmt: skip
@click.option("--output", type=FILE, required=True, help="New private file for the token; it is never shown.")
@click.option("--diversifier", metavar="HEX", help="Of the token's request (default: rma, padded to 48 bytes).")
@click.option("--mechanism", type=click.Choice(["RsaOaep", "RsaPkcs"]), default="RsaOaep", show_default=True,
              help="WrappingMechanism of the SKU.")  # fmt: skip
@click.option("--token-hash", metavar="HEX", help="The part's RMA token hash, to be sure of the token.")
@click.option("--operator", default="", help="Who does it; for the folder of a ceremony.")
@click.option("--witness", default="", help="Who watches it; for the folder of a ceremony.")
@json_option
def rma_token(**options: Any) -> int:
    """Recover the RMA unlock token of a part, on the offline machine of FOLDER."""
    from station.appliance.ceremony.commands import rma_token_command

    return rma_token_command(**options)


def _step(
    step: str, folder: Path, operator: str, witness: str, as_json: bool, source: Path | None = None, **options: Any
) -> int:
    from station.appliance.ceremony.commands import Options, step_command
    from station.appliance.ceremony.task import People, Step

    if source is not None:
        options["sources"] = (source,)
    if "keystore" in options:
        options = _with_keystore(folder, options)
    return step_command(Step(step), folder, People(operator, witness), Options(**options), as_json)


def _with_keystore(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The keystore's options as lines: of a machine that is there, only what was named."""
    from station.appliance.ceremony.machine import FILE as SETTINGS

    kind, *given = (options.pop(name) for name in ("keystore", "passphrase", "pin", "module", "token", "slot"))
    lines = dict(zip(("passphrase", "pin", "module", "token", "slot"), given, strict=True))
    lines = {name: value for name, value in lines.items() if value is not None}
    if kind is not None:
        lines["keystore_kind"] = kind
    if not (folder / SETTINGS).exists():
        lines = {"keystore_kind": "software", "pin" if kind == "pkcs11" else "passphrase": "prompt", **lines}
    return {**options, "keystore": lines}
