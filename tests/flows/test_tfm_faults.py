"""Every way in which a Nordic part, its firmware or its bench goes wrong: bin, and the sentence that says what it is.

Lines of the transcript tables are played by the virtual parts (nordic-tfm sheet 1.3, 1.4, 1.5, 1.7, 2.8).
"""

from __future__ import annotations

import pytest

from station.bins import load_bins
from station.errors import ConfigError
from station.flows import tfm_provisioning
from station.formats import provisioning_console, tfm_console
from station.model import BinKind, Retest
from station.recipe import load_recipe
from station.resources import resources_folder

RECOVER = "only a recovery helps, which destroys the identity"
NOTHING = "nothing was burnt"
HALF, CLOSED = "half_provisioned", "the debug port of the application core is closed"
NO = 1


def check(bench, result, bin, words, lcs, burnt):
    """Bin, sentence, and that the part's own record shows neither a second burn nor a blind second run."""
    assert (result.kind, result.bin) == ("fail", bin), result
    for word in words if isinstance(words, tuple) else (words,):
        assert word in result.reason, result
    chip = bench.chip
    assert chip["lc_state"] == lcs and chip["double_burns"] == [] and chip["second_runs"] == []
    if burnt:
        assert RECOVER in result.reason and "half done" in result.part_state
    elif burnt is not None:
        assert result.part_state == NOTHING
    verdict = bench.rows("verdict")[-1]
    assert (verdict["bin_id"], verdict["reason"]) == (bin, result.reason)


# ---- found at contact --------------------------------------------------------------------------------------

FOUND = [
    ("wrong_family", "wrong_part", ("nRF54L", "does not provision"), "ASSEMBLY"),
    ("wrong_family:nrf5340", "wrong_part", ("nRF9160", "TARGETID 0x10070289 (nRF5340)"), "ASSEMBLY"),
    ("wrong_family:nrf91x1", "wrong_part", "revision 3 of the nRF91", "ASSEMBLY"),
    (
        "wrong_state",
        HALF,
        ("half provisioned", "PROVISIONING", "no key", RECOVER, "nrf9160-dk-recover"),
        "PROVISIONING",
    ),
    ("half_provisioned:huk", HALF, ("half provisioned", RECOVER), "PROVISIONING"),
    ("half_provisioned:identity", HALF, ("half provisioned", RECOVER), "PROVISIONING"),
    ("wrong_state:SECURED", "already_provisioned", ("secured already", RECOVER), "SECURED"),
    ("wrong_state:DECOMMISSIONED", "wrong_state", "decommissioned", "DECOMMISSIONED"),
    ("wrong_state:INVALID", HALF, ("illegal", RECOVER), "INVALID"),
    ("identity:already_written", HALF, ("ASSEMBLY", "2 of 2 of the identity key"), "ASSEMBLY"),
    ("already_secured", "locked", "somebody closed it", "SECURED"),
    ("locked", "locked", "somebody closed it, since a new nRF9160 is open", "ASSEMBLY"),
    ("erase_protected", "erase_protected", ("protected from erasure", "open"), "ASSEMBLY"),
]


@pytest.mark.parametrize(("fault", "bin", "words", "lcs"), FOUND)
def test_what_is_found_before_anything_is_burnt(nordic, fault, bin, words, lcs):
    bench = nordic("nrf9160")
    bench.fault(fault)
    check(bench, bench.run(), bin, words, lcs, burnt=False)
    assert bench.chip["erase_alls"] == [] and bench.rows("intent") == []


def test_an_nrf9160_is_no_nrf91x1(nordic):
    bench = nordic("nrf91x1")
    bench.fault("wrong_family:nrf9160")
    check(bench, bench.run(), "wrong_part", "revision 2 of the nRF91", "ASSEMBLY", burnt=False)


@pytest.mark.parametrize("fault", ["locked", "secure_locked", "already_secured"])
def test_a_closed_part_is_not_erased_unless_its_lot_is_new(nordic, fault):
    """Debugging of the non-secure side alone does not show who the part is: it counts as closed."""
    bench = nordic("nrf5340")
    bench.fault(fault)
    result = bench.run(answers=[NO])
    assert (result.kind, result.bin) == ("fail", "locked") and "nrf5340-dk-recover" in result.reason
    assert bench.chip["erase_alls"] == [] and len(result.witness.questions) == 1


def test_closed_and_erase_protected_is_for_good(nordic):
    bench = nordic("nrf5340")
    bench.fault("erase_protected")
    check(bench, bench.run(), "erase_protected", ("protected from erasure", "closed"), "ASSEMBLY", burnt=False)
    assert bench.bins["erase_protected"].retest is Retest.NEVER


def test_no_contact_is_the_benchs_trouble(nordic):
    bench = nordic("nrf9160")
    bench.fault("no_contact")
    result = bench.run()
    assert (result.kind, result.bin) == ("bench", "bench") and "does not answer on SWD" in result.reason


@pytest.mark.parametrize(
    ("fault", "chip", "bin"), [("verify_mismatch", "nrf9160", "firmware"), ("torn_word", "nrf91x1", "otp")]
)
def test_a_flash_that_does_not_take_its_word(nordic, fault, chip, bin):
    """The word that keeps the port open is the nRF91x1's first UICR write, the image's first word the nRF9160's."""
    bench = nordic(chip)
    bench.fault(fault)
    check(bench, bench.run(), bin, "expected", "ASSEMBLY", burnt=False)


# ---- the provisioning image --------------------------------------------------------------------------------

IMAGE = [
    ("transition_failure", "firmware", "could not write the life cycle state", "ASSEMBLY", False),
    ("transition_failure:burnt", HALF, "could not write the life cycle state", "PROVISIONING", True),
    ("lcs_readback", HALF, "could not read the life cycle state", "PROVISIONING", True),
    ("lcs_readback:3", HALF, "read back another life cycle state", "PROVISIONING", True),
    ("torn_word:lcs.provisioning", HALF, "illegal", "INVALID", True),
    ("huk:already_set", HALF, "in the KMU before", "PROVISIONING", True),
    ("huk:rng_setup", HALF, "error -28675: random generator failed its self-test", "PROVISIONING", True),
    ("huk:rng_call", HALF, "error -28697: random generator took too long", "PROVISIONING", True),
    ("huk:drbg", HALF, "error -28674", "PROVISIONING", True),
    ("huk:ram", HALF, "left in RAM", "PROVISIONING", True),
    ("huk:not_set", HALF, "missing after they were written", "PROVISIONING", True),
    ("huk:write", HALF, "error -28701: KMU key cannot be written", "PROVISIONING", True),
    ("identity:psa_crypto_init", HALF, "crypto library did not start, error -132", "PROVISIONING", True),
    ("identity:psa_generate_key", HALF, "could not be made, error -148", "PROVISIONING", True),
    ("identity:psa_export_key", HALF, "could not be taken over, error -151", "PROVISIONING", True),
    ("identity:size", HALF, "another size", "PROVISIONING", True),
    ("identity:psa_destroy_key", HALF, "removed from RAM", "PROVISIONING", True),
    ("identity:no_mkek", HALF, "encrypts the identity key is missing", "PROVISIONING", True),
    ("identity:write", HALF, "error -28710: identity key cannot be written", "PROVISIONING", True),
    ("identity:read", HALF, "error -28711: identity key cannot be read", "PROVISIONING", True),
    ("identity:not_written", HALF, "not in its slot after it was written", "PROVISIONING", True),
    ("identity:dummy", "dummy_key", "published dummy identity key", "PROVISIONING", True),
    ("implementation_id:write", HALF, "implementation id could not be written", "PROVISIONING", True),
    ("panic:start", "firmware_fault", ("Kernel panic", NOTHING), "ASSEMBLY", False),
    ("panic:lcs", "firmware_fault", ("Kernel panic", NOTHING), "ASSEMBLY", False),
    ("panic:huk", HALF, "Kernel panic", "PROVISIONING", True),
    ("panic:identity", HALF, "Kernel panic", "PROVISIONING", True),
    ("panic:implementation_id", HALF, "Kernel panic", "PROVISIONING", True),
    ("hang:start", "console", ("0 of 5 expected lines", NOTHING), "ASSEMBLY", False),
    ("hang:huk", HALF, "no key is in the KMU", "PROVISIONING", True),
]


@pytest.mark.parametrize(("fault", "bin", "words", "lcs", "burnt"), IMAGE)
def test_every_failure_of_the_image(nordic, fault, bin, words, lcs, burnt):
    bench = nordic("nrf9160", provisioning_seconds=0.7)
    bench.fault(fault)
    check(bench, bench.run(), bin, words, lcs, burnt)
    if not burnt:
        assert bench.chip["cores"]["app"]["image"] == "", "an image that burnt nothing is taken away again"
        bench.fault("clear")
        assert bench.run().kind == "pass"


def test_a_burnt_part_is_seen_again_and_only_a_recovery_helps(nordic):
    bench = nordic("nrf9160")
    bench.fault("huk:write")
    assert bench.run().bin == HALF
    again = bench.run()
    assert (again.kind, again.bin) == ("fail", HALF), again
    assert bench.chip["second_runs"] == [] and len(bench.rows("intent")) == 1
    assert bench.run(suffix="-recover").bin == "recovered" and bench.run().kind == "pass"


def test_a_dummy_key_that_no_console_was_heard_to_tell_of_is_found_by_its_token(nordic):
    """The words of the part are those of a good one: what the image said is the first sign, the token the last."""
    bench = nordic("nrf9160")
    bench.fault("identity:dummy")

    def deaf(part, run):
        part._consoles._ports["app"] = Deaf(part._consoles._ports["app"])

    result = bench.run(before=deaf)
    assert (result.kind, result.bin) == ("fail", "dummy_key") and bench.chip["lc_state"] == "SECURED", result
    assert "dummy" in result.reason


class Deaf:
    """A console on which one line is lost."""

    def __init__(self, port):
        self._port, self._rest = port, b""

    def clear(self):
        self._port.clear()
        self._rest = b""

    def read(self, deadline):
        *whole, self._rest = (self._rest + self._port.read(deadline)).split(b"\n")
        return b"".join(line + b"\n" for line in whole if b"dummy" not in line)


@pytest.mark.parametrize(("fault", "words"), [
    ("huk:write", "4 of 4|2 of"), ("identity:write", "1 of 2 of the identity key"), ("identity:not_written", "0 of 2"),
])  # fmt: skip
def test_older_images_that_ignore_their_libraries_are_caught_all_the_same(nordic, fault, words):
    bench = nordic("nrf5340")
    bench.build(provisioning_app={"generation": "older"})
    bench.fault(fault)
    result = bench.run()
    assert result.kind == "fail" and result.bin == HALF and RECOVER in result.reason, result


# ---- consoles ----------------------------------------------------------------------------------------------

CONSOLES = [
    ("console_silence", {}, "stayed silent"),
    ("console_garbage", {}, "garbage, as at a wrong baud rate"),
    ("wrong_baud", {}, "garbage, as at a wrong baud rate"),
    ("ports_swapped", {}, "are swapped"),
    ("console_silence:net", {"net_lock": "child_image"}, "console of the network core said nothing"),
    ("console_garbage:net", {"net_lock": "child_image"}, "console of the network core said garbage"),
    ("ports_swapped", {"net_lock": "child_image"}, "are swapped"),
]


@pytest.mark.parametrize(("fault", "settings", "words"), CONSOLES)
def test_a_console_that_is_not_heard_stops_the_part_before_it_closes(nordic, fault, settings, words):
    """The keys are in; the port is still open, and once the console is right the part goes on where it was."""
    bench = nordic("nrf5340", provisioning_seconds=0.7, **settings)
    bench.fault(fault)
    result = bench.run()
    check(bench, result, "console", ("the part is provisioned, but", words), "PROVISIONING", burnt=None)
    assert "burnt up to 'Provision" in result.part_state and bench.chip["cores"]["app"]["debug_open"]
    bench.fault("clear")
    again = bench.run()
    assert again.kind == "pass" and "provision" not in again.witness.burns, again
    assert bench.chip["second_runs"] == [] and bench.chip["double_burns"] == []


def test_success_on_the_wrong_port_is_no_success(nordic):
    bench = nordic("nrf5340", net_lock="child_image")
    bench.fault("success_wrong_port")
    bench.fault("net_protect_failure")
    check(bench, bench.run(), "network_core", "could not close its debug port", "PROVISIONING", burnt=True)


# ---- the production firmware -------------------------------------------------------------------------------

BOOTS = [
    ("nrf5340", "pcd_failure", "network_core", "could not close the debug port of the network core", "PROVISIONING"),
    ("nrf9160", "corrupt_token", "attestation", "no key fits", "SECURED"),
    ("nrf9160", "corrupt_token:payload", "attestation", "no key fits", "SECURED"),
    ("nrf9160", "corrupt_token:nonce", "attestation", "expected the challenge", "SECURED"),
]


@pytest.mark.parametrize(("chip", "fault", "bin", "words", "lcs"), BOOTS)
def test_every_refusal_of_the_production_firmware(nordic, chip, fault, bin, words, lcs):
    bench = nordic(chip)
    bench.fault(fault)
    check(bench, bench.run(), bin, words, lcs, burnt=True if lcs == "PROVISIONING" else None)


@pytest.mark.parametrize("fault", ["hang:tfm", "panic:tfm", "token_error", "truncated_token"])
def test_trouble_of_one_boot_is_tried_once_more(nordic, fault):
    bench = nordic("nrf5340", boot_seconds=0.9)
    bench.fault(fault)
    result = bench.run()
    assert result.kind == "pass", result
    assert any("attested" in text for _, text in result.witness.lines)


def test_each_run_keeps_what_it_heard_although_it_heard_the_same(nordic):
    bench = nordic("nrf9160", boot_seconds=0.9)

    def without_token(part, run):
        part.boot.listen = lambda *how, listen=part.boot.listen, **more: (bench.fault("token_error"),
                                                                          listen(*how, **more))[1]  # fmt: skip

    runs = [bench.run(before=without_token) for _ in range(2)]
    assert [(run.kind, run.bin) for run in runs] == [("fail", "attestation")] * 2
    rows = bench.journal.rows("WHERE kind = 'keep' ORDER BY seq")
    heard = [(row.context.run, row.detail["value"]) for row in rows if row.detail["name"] == "console_boot"]
    first, second = sorted({run for run, _ in heard})
    assert [value for run, value in heard if run == second][-1] in [value for run, value in heard if run == first]


def test_a_silent_production_firmware_leaves_the_part_in_quarantine_not_lost(nordic):
    """It is closed and says nothing: nobody can know. With its console back it is asked, and nothing is done twice."""
    bench = nordic("nrf5340", boot_seconds=0.7)
    bench.fault("clear")

    def deafen(part, run):
        part.install = lambda install=part.install: (install(), bench.fault("console_silence"))[0]

    result = bench.run(before=deafen)
    assert result.kind == "quarantine" and CLOSED in result.reason and "stayed silent" in result.reason
    bench.fault("clear")
    bench.release()
    again = bench.run()
    assert again.kind == "pass" and again.witness.burns in ([], ["boot"]), again
    assert bench.chip["double_burns"] == []


# ---- power and cables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
@pytest.mark.parametrize("word", ["lcs.provisioning", "kmu2.perm", "kmu6.value0", "implementation_id.7"])
def test_power_lost_at_a_word_then_the_part_says_what_it_is(nordic, moment, word):
    bench = nordic("nrf9160")
    bench.fault(f"power_cut:{moment}:{word}")
    first = bench.run()
    assert first.kind == "quarantine" and "the part does not acknowledge" in first.reason, first
    assert first.part_state == f"'{tfm_provisioning.PLAN.provision.text}' {ASKED}"
    bench.fault("clear")
    bench.power(True)
    bench.wait_idle()
    bench.release()
    again = bench.run()
    complete = (moment, word) in (("before", "lcs.provisioning"), ("after", "implementation_id.7"))
    assert (again.kind, again.bin) == (("pass", "pass") if complete else ("fail", HALF)), again
    assert complete or RECOVER in again.reason
    assert all(run["cause"] == "power" for run in bench.chip["second_runs"]) and bench.chip["double_burns"] == []


FLASH, UICR_PAGE = range(0x10_0000), range(0xFF_8000, 0xFF_9000)
NET_UICR = range(0x1FF_8000, 0x1FF_9000)
OPEN_TFM = {"tfm_app": {"approtect_lock": False, "secure_approtect_lock": False}}
HOST_LOCK = {"app_lock": "host"}
NET_HOST_LOCK = {"net_lock": "host"}
ASKED = "was begun and may be half done; a supervisor releases it, then it is asked how far it came"

UNPLUGGED = [  # chip, settings, images, verb, burn, done before, where and which write there, arrives, life cycle
    ("nrf9160", {}, {}, "provision", "provision", "", FLASH, 10, False, "ASSEMBLY"),
    ("nrf9160", {}, {}, "store", "data", "provision", UICR_PAGE, 3, False, "PROVISIONING"),
    ("nrf9160", {}, {}, "store", "data", "provision", UICR_PAGE, 3, True, "PROVISIONING"),
    ("nrf9160", {}, {}, "install", "install", "data", FLASH, 3, True, "PROVISIONING"),
    ("nrf9160", {}, {}, "install", "install", "data", FLASH, 25, False, "PROVISIONING"),
    ("nrf9160", HOST_LOCK, OPEN_TFM, "lock", "lock", "install", UICR_PAGE, 1, False, "PROVISIONING"),
    ("nrf9160", HOST_LOCK, OPEN_TFM, "lock", "lock", "install", UICR_PAGE, 1, True, "PROVISIONING"),
    ("nrf5340", NET_HOST_LOCK, {}, "network.close", "net_lock", "provision", NET_UICR, 1, False, "PROVISIONING"),
    ("nrf5340", NET_HOST_LOCK, {}, "network.close", "net_lock", "provision", NET_UICR, 1, True, "PROVISIONING"),
]


@pytest.mark.parametrize("row", UNPLUGGED, ids=lambda row: f"{row[0]}-{row[4]}-{row[7]}-{'after' * row[8] or 'before'}")
def test_the_probe_is_unplugged_in_the_middle_of_a_burn(nordic, row):
    """The sentence says what is done and what was begun; released, the part is asked and nothing is done twice."""
    chip, settings, images, verb, burn, before, place, count, arrives, lcs = row
    bench = nordic(chip, **settings)
    if images:
        bench.build(**images)
    first = bench.run(before=unplugging(bench, verb, place, count, arrives))
    texts = {title.id: title.text for title in tfm_provisioning.PLAN}
    assert first.kind == "quarantine", first
    assert first.reason.startswith(f"contact with the part was lost during '{texts[burn]}': "), first
    assert "the debug probe VP0001 is gone" in first.reason and bench.chip["lc_state"] == lcs
    done = f"'{texts[before]}' is done, " if before else ""
    assert first.part_state == f"{done}'{texts[burn]}' {ASKED}"
    assert (bench.rows("verdict")[-1]["part_state"], bench.rows("outcome")[-1]["power_lost"]) == (first.part_state, True)
    bench.close_socket()  # as the station does, whose next look at the sensors fails
    bench.hands.command("replug", 1)
    bench.release()
    again = bench.run()
    assert again.kind == "pass", again
    assert bench.chip["second_runs"] == [] and bench.chip["double_burns"] == [] and bench.chip["lc_state"] == "SECURED"


def unplugging(bench, verb, place, count, arrives):
    """Pull the probe's cable at the n-th write to a place during a verb of the part; ``arrives``: just after it."""

    def pull(part, run):
        owner = part.network if verb.startswith("network.") else part
        name = verb.rpartition(".")[2]
        act, link = getattr(owner, name), part._probe._link
        write, left = link.write, [count]

        def counted(port, address, words):
            left[0] -= address in place
            struck = address in place and not left[0]
            if struck and arrives:
                write(port, address, words)
                link.flush()
            if struck:
                bench.hands.command("unplug", 1)
            write(port, address, words)

        def pulled(*arguments):
            link.write = counted
            act(*arguments)

        setattr(owner, name, pulled)

    return pull


# ---- packs -------------------------------------------------------------------------------------------------


def own_pack(bench, change, name="provisioning_app"):
    """The kit's pack with one image changed (text of the HEX file in, text out) and the digest made right again."""
    import hashlib

    folder = bench.build()
    file, pack = folder / "images" / f"{name}.hex", folder / "pack.toml"
    old = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(change(file.read_text()))
    pack.write_text(pack.read_text().replace(old, hashlib.sha256(file.read_bytes()).hexdigest()))
    return file


def added(*records):
    """The file with records before its end record."""
    return lambda text: text.replace(":00000001FF", "\n".join([*records, ":00000001FF"]))


UICR = ":0200000400FFFB"
HEX = [
    (added(UICR, ":04803000000000004C"), "sets ERASEPROTECT"),
    (added(UICR, ":0481080000FFFF00" "75"), "writes the life cycle"),
    (added(UICR, ":04800000FFFFFF00" "7F"), "closes the debug port"),
    (added(UICR, ":048410000054845040"), "writes a KMU slot"),
    (added(":020000042000DA", ":0400000000000000FC"), "expected addresses of the flash or UICR"),
    (added(":020000040000FA", ":0400000000000000FC"), "expected each address once"),
    (lambda text: text.replace(":00000001FF", ""), "the file ends without one"),
    (lambda text: text[:60] + ("0" if text[60] != "0" else "1") + text[61:], "add up to 0"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), HEX)
def test_a_bad_hex_file_is_refused_with_its_line_before_any_part_is_touched(nordic, change, words):
    bench = nordic("nrf9160")
    file = own_pack(bench, change)
    with pytest.raises(ConfigError, match=words) as caught:
        bench.recipe()
    [finding] = caught.value.findings
    assert finding.file == file and finding.line > 0 and str(finding).startswith(f"{file}:{finding.line}: ")


def test_an_image_whose_digest_differs_is_refused(nordic):
    bench = nordic("nrf9160")
    folder = bench.build()
    file = folder / "images" / "tfm_app.hex"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(ConfigError, match=r"expected images/tfm_app\.hex with SHA-256"):
        bench.recipe()


SETTINGS = [
    ('family = "nrf9160"', 'family = "nrf9161"', "expected one of the families"),
    ('implementation_id = "', 'implementation_id = "00', "expected 32 bytes in hex, saw 33"),
    ('app_lock = "production"', 'app_lock = "hots"', "expected one of production, host"),
    ('profile = "PSA_IOT_PROFILE_1"', 'profile = "PSA"', "expected one of PSA_IOT_PROFILE_1"),
    ('app_lock = "production"', 'ap_lock = "production"', "did you mean 'app_lock'"),
    ('app_lock = "production"', 'uicr_allowed = ["kmu"]', "no image may write anything else"),
]


@pytest.mark.parametrize(("old", "new", "words"), SETTINGS)
def test_a_bad_setting_is_refused_with_its_line(nordic, old, new, words):
    bench = nordic("nrf9160")
    pack = bench.build() / "pack.toml"
    lines = pack.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.startswith(old))
    pack.write_text(pack.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        bench.recipe()
    assert any(words in one.sentence and (one.file, one.line) == (pack, line) for one in caught.value.findings)


def test_a_missing_image_is_named(nordic):
    bench = nordic("nrf9160")
    pack = bench.build() / "pack.toml"
    pack.write_text(pack.read_text().partition("[image.tfm_app]")[0])
    with pytest.raises(ConfigError, match="expected the image 'tfm_app'"):
        bench.recipe()


def test_the_samples_implementation_id_is_refused_in_production(nordic):
    bench = nordic("nrf9160")
    folder = bench.build()
    pack = folder / "pack.toml"
    sample = "aa" * 8 + "bb" * 8 + "cc" * 8 + "dd" * 8
    own = bench.recipe().pack.settings["implementation_id"]
    pack.write_text(pack.read_text().replace(own, sample).replace('realm = "dev"', 'realm = "production"'))
    recipe = folder.parents[1] / "recipes"
    recipe.mkdir()
    text = (resources_folder() / "recipes" / "nrf9160-dk.toml").read_text()
    (recipe / "nrf9160-dk.toml").write_text(text.replace('realm = "dev"', 'realm = "production"'))
    with pytest.raises(ConfigError, match="that of the upstream sample"):
        load_recipe("nrf9160-dk", (folder.parents[1],))


# ---- bins --------------------------------------------------------------------------------------------------


def test_every_bin_of_the_console_tables_exists_and_burnt_ones_are_never_retested():
    bins = load_bins(resources_folder() / "bins.toml")
    tables = (*provisioning_console.APP_FAILURES, *provisioning_console.NET_FAILURES, *tfm_console.REFUSALS)
    assert len(tables) > 30
    for failure in tables:
        bin = bins[failure.bin]
        assert bin.kind is BinKind.FAIL, failure
        if failure.now.value != "clean" and failure.bin != "attestation":
            assert bin.retest is Retest.NEVER and bin.tray == "RECOVER", failure
