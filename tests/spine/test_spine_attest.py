"""``station attest``: tokens for engineers, in every form in which they are handed around."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from token_help import DUMMY_KEY, claims, dump, instance_id, point, sign

from station.cli import cli
from station.errors import ConfigError, FormatError

TRANSCRIPT = Path(__file__).resolve().parents[1] / "vectors/nordic/psa_template_console.txt"
KEY = (
    "02d6236949c3082f2e9b8951c04ae3d8961ec0f5e1d699be5a036c7dad97d1ba"
    "5db8d5f5b9844aeb1d70cfdbdd432c960697bbccb26311a06e4ad6a4eef7e6c3"
)
SAMPLE_CHALLENGE = "00112233445566778899aabbccddeeff" * 4


def attest(*words, stdin=None):
    """Exit code and output; errors of the station come out as exceptions, as its command line catches them."""
    done = CliRunner().invoke(cli, ["attest", *map(str, words)], input=stdin, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value, done.output


def test_the_golden_transcript_is_verified():
    code, output = attest(
        "verify", TRANSCRIPT, "--json", "--public-key", KEY, "--challenge", SAMPLE_CHALLENGE, "--instance-id",
        "0169481a3c87e26e48d3158a45f1d8e46a00a0140c87e55e3fb3b698458f365ebb", "--certificate-reference",
        "0632793519539-10100", "--profile", "PSA_IOT_PROFILE_1", "--implementation-id",
        "aa" * 8 + "bb" * 8 + "cc" * 8 + "dd" * 8,
    )  # fmt: skip
    body = json.loads(output)
    assert code == 0 and body["ok"] and body["problems"] == [] and body["public_key"] == f"04{KEY}"
    assert body["life_cycle"] == "secured (0x3000)" and body["freshness"].startswith("none")


@pytest.mark.parametrize("command", ["verify", "show"])
def test_the_implementation_id_of_the_sample_is_remarked(tmp_path, command):
    code, output = attest(command, TRANSCRIPT)
    (line,) = [line for line in output.splitlines() if line.startswith("⚠ ")]
    assert code == 0 and "default of the upstream provisioning sample" in line and "✔" in output
    assert json.loads(attest(command, TRANSCRIPT, "--json")[1])["remarks"] == [line.removeprefix("⚠ ")]
    file = tmp_path / "token"
    file.write_bytes(sign(claims()))
    assert "⚠" not in attest(command, file)[1] and json.loads(attest(command, file, "--json")[1])["remarks"] == []


@pytest.mark.parametrize("form", ["binary", "hex", "spaced", "prefixed", "dump", "coloured", "stdin"])
def test_a_token_in_every_form(tmp_path, form):
    token, file = sign(claims()), tmp_path / "token"
    texts = {
        "hex": token.hex(), "spaced": token.hex(" ").upper() + "\n", "stdin": token.hex(),
        "prefixed": ", ".join(f"0x{byte:02x}" for byte in token), "dump": "\r\n".join(dump(token)),
        "coloured": "\n".join(f"\x1b[0m{line}\x1b[0m" for line in dump(token)),
    }  # fmt: skip
    file.write_bytes(token if form == "binary" else texts[form].encode())
    code, output = attest("verify", "-" if form == "stdin" else file, "--json", stdin=file.read_bytes())
    assert code == 0 and json.loads(output)["instance_id"] == instance_id().hex()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--challenge", "00" * 32), "expected the challenge"),
        (("--public-key", point(DUMMY_KEY).hex()), "of the key"),
        (("--instance-id", "01" + "00" * 32), "expected the instance id"),
        (("--implementation-id", "00" * 32), "expected the implementation id"),
        (("--life-cycle", "decommissioned"), "expected the life cycle decommissioned, saw secured"),
        (("--profile", "http://arm.com/psa/2.0.0"), "expected the profile"),
        (("--certificate-reference", "1"), "expected the certificate reference"),
    ],
)
def test_every_difference_ends_with_1(tmp_path, options, words):
    file = tmp_path / "token"
    file.write_bytes(sign(claims()))
    code, output = attest("verify", file, *options)
    assert code == 1 and "✖ expected " in output and words in output and "✔" not in output


def test_the_dummy_key_and_a_stolen_instance_id_are_refused(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(sign(claims(key=DUMMY_KEY), DUMMY_KEY))
    code, output = attest("verify", file)
    assert code == 1 and "dummy identity key" in output
    file.write_bytes(sign(claims(), DUMMY_KEY))
    code, output = attest("verify", file, "--life-cycle", "any")
    assert code == 1 and "no key fits" in output


def test_show_judges_no_life_cycle(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(sign(claims(life_cycle=0x2000)))
    code, output = attest("show", file)
    assert code == 0 and "PSA RoT provisioning (0x2000)" in output and "✔" in output


def test_show_judges_no_caller_and_verify_does(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(sign(claims(client=7)))
    assert attest("show", file)[0] == 0 and attest("verify", file)[0] == 1


def test_what_a_token_says_cannot_drive_the_terminal(tmp_path):
    """Every text of a token: a claim, a software component, a label, and a sentence about them."""
    nasty, file = "\x1b[2J\r\n\x9b1m\u202e\x7f", tmp_path / "token"
    software = [{1: nasty, nasty: {nasty: nasty}}]
    told = claims("http://arm.com/psa/2.0.0", certificate=nasty, software=software) | {2400: nasty, nasty: nasty}
    file.write_bytes(sign(told))
    for words in (("show", file), ("verify", file, "--certificate-reference", "1")):
        _, output = attest(*words)
        assert output.count(r"\x1b[2J\r\n\x9b1m\u202e\x7f") >= 6
        assert all(line.isprintable() for line in output.split("\n"))
    assert all(line.isprintable() for line in attest("show", file, "--json")[1].split("\n"))


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("show", "nowhere"), ConfigError, "expected to read nowhere"),
        (("verify", TRANSCRIPT, "--challenge", "xyz"), ConfigError, "hex digits after --challenge"),
        (
            ("verify", TRANSCRIPT, "--challenge", "00112233"),
            ConfigError,
            "32 or 48 or 64 bytes after --challenge, got 4",
        ),
        (("verify", TRANSCRIPT, "--instance-id", "01" * 32), ConfigError, "33 bytes after --instance-id, got 32"),
        (("verify", TRANSCRIPT, "--implementation-id", "01"), ConfigError, "32 bytes after --implementation-id, got 1"),
        (("verify", TRANSCRIPT, "--public-key", "04"), ConfigError, "65 bytes"),
        (("show", __file__), FormatError, "saw neither of them"),
        (("verify", "/dev/null"), FormatError, "saw an empty file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(words, error, said):
    with pytest.raises(error, match=said) as caught:
        attest(*words)
    assert "\n" not in str(caught.value)


def test_a_key_may_be_given_as_the_file_that_an_export_writes(tmp_path):
    file = tmp_path / "iak_public_key.bin"
    file.write_bytes(bytes.fromhex("04" + KEY))
    code, output = attest("verify", TRANSCRIPT, "--json", "--public-key", file)
    assert code == 0 and json.loads(output)["public_key"] == f"04{KEY}"
    file.write_bytes(point(DUMMY_KEY))
    code, output = attest("verify", TRANSCRIPT, "--json", "--public-key", file)
    assert code == 1 and "of the key" in " ".join(json.loads(output)["problems"])
    file.write_bytes(b"\x04" * 2000)
    with pytest.raises(ConfigError, match="--public-key: "):
        attest("verify", TRANSCRIPT, "--public-key", file)
    with pytest.raises(ConfigError, match="expected hex digits after --public-key"):
        attest("verify", TRANSCRIPT, "--public-key", tmp_path / "none.bin")
