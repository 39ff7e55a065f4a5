"""Every way in which a Nordic part, its firmware or its bench goes wrong: bin, and the sentence that says what it is.

Lines of the transcript tables are played by the virtual parts (nordic-tfm sheet 1.3, 1.4, 1.5, 1.7, 2.8).
"""

from __future__ import annotations

import functools

import pytest

from station.bins import load_bins
from station.flows import tfm_provisioning
from station.formats import provisioning_console, tfm_console
from station.formats.nordic_family import CtrlAp
from station.model import BinKind, Retest
from station.resources import resources_folder

RECOVER = "only a recovery helps, which destroys the identity"
NOTHING = "nothing was burnt"
HALF, CLOSED = "half_provisioned", "the debug port of the application core is closed"
ASKED = "was begun and may be half done"
NO = 1


def check(bench, result, bin, words, lcs, burnt, second_runs=0):
    """Bin, sentence, and that the part's own record shows neither a second burn nor a blind second run.

    ``second_runs``: how often the image met a part past ASSEMBLY that was none when this station looked at it.
    """
    assert (result.kind, result.bin) == ("fail", bin), result
    for word in words if isinstance(words, tuple) else (words,):
        assert word in result.reason, result
    chip = bench.chip
    assert chip["lc_state"] == lcs and chip["double_burns"] == [] and len(chip["second_runs"]) == second_runs
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


UNFINISHED = ("the part is neither what it was nor blank", "keys may be gone", "take the supply away", "0.2 s")


@pytest.mark.parametrize("suffix", ["", "-recover"])
def test_an_erasure_that_somebody_began_and_that_does_not_end(nordic, monkeypatch, suffix):
    """Found at contact: nothing is asked, erased or written, whatever the recipe."""
    monkeypatch.setattr(CtrlAp, "ERASE_SECONDS", 0.2)
    bench = nordic("nrf9160")
    bench.fault("erase_stuck")
    result = bench.run(suffix=suffix)
    check(bench, result, "locked", ("the erasure of the app core was begun before", *UNFINISHED), "ASSEMBLY", None)
    assert result.witness.questions == [] and bench.rows("waiver") == bench.chip["erase_alls"] == []


@pytest.mark.parametrize(("chip", "suffix", "core"), [("nrf9160", "-recover", "app"), ("nrf5340", "", "net")])
def test_an_erasure_of_this_run_that_does_not_end(nordic, monkeypatch, chip, suffix, core):
    """The record says that it was begun, and only the recovery goes on with the part."""
    bench = nordic(chip)

    def stuck(part, run):
        erase = part.erase_all

        def begun(waiver):
            bench.fault("erase_stuck")
            erase(waiver)

        part.erase_all = begun

    with monkeypatch.context() as patch:
        patch.setattr(CtrlAp, "ERASE_SECONDS", 0.2)
        result = bench.run(suffix=suffix, before=stuck)
    words = (f"the erasure of the {core} core was begun, but did not end", *UNFINISHED)
    check(bench, result, "locked", words, "ASSEMBLY", None)
    assert len(bench.rows("waiver")) == 1 and bench.rows("erased") == []
    bench.fault("clear")
    assert bench.run(suffix="-recover").bin == "recovered" and bench.chip["erase_alls"] != []
    assert len(bench.rows("erased")) == 1


@pytest.mark.parametrize(
    ("fault", "chip", "bin"), [("verify_mismatch", "nrf9160", "firmware"), ("torn_word", "nrf91x1", "otp")]
)
def test_a_flash_that_does_not_take_its_word(nordic, fault, chip, bin):
    """The word that keeps the port open is the nRF91x1's first UICR write, the image's first word the nRF9160's."""
    bench = nordic(chip)
    bench.fault(fault)
    check(bench, bench.run(), bin, "expected", "ASSEMBLY", burnt=False)


# ---- the provisioning image --------------------------------------------------------------------------------

ASSEMBLED = "Successfully verified PSA lifecycle state ASSEMBLY!"
ENTERED = "Successfully switched to PSA lifecycle state PROVISIONING!"
UNREADABLE = "Failure: Cannot read PSA lifecycle state. Exiting!"
NOT_ASSEMBLY = "Failure: Lifecycle state is not ASSEMBLY as expected. Exiting!"
NOT_SET = "Failure: Cannot set PSA lifecycle state PROVISIONING. Exiting!"
NOT_ENTERED = "Failure: Lifecycle state is not PROVISION as expected. Exiting!"
NO_HUK = "Failure: Writing random HUK keys failed. Exiting!"
NO_KEY = "Failure: Identity key write failed! Exiting!"
PANIC = ">>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0"
CRASHED = ">>> ZEPHYR FATAL ERROR 0: CPU exception on CPU 0"
IMAGE = [  # fault, bin, words, life cycle, burnt, what the console said (sheet 1.3, 1.4, 1.5)
    ("transition_failure", "firmware", "could not write the life cycle state", "ASSEMBLY", False,
     [NOT_SET]),
    ("transition_failure:burnt", HALF, "could not write the life cycle state", "PROVISIONING", True,
     [NOT_SET]),
    ("lcs_readback", HALF, "could not read the life cycle state", "PROVISIONING", True,
     [UNREADABLE]),
    ("lcs_readback:3", HALF, "read back another life cycle state", "PROVISIONING", True,
     ["Lifecycle state was 3", NOT_ENTERED]),
    ("torn_word:lcs.provisioning", HALF, "illegal", "INVALID", True,
     [UNREADABLE]),
    ("huk:already_set", HALF, "in the KMU before", "PROVISIONING", True,
     ["One or more keys already set. Cannot overwrite", NO_HUK]),
    ("huk:rng_setup", HALF, "error -28675: random generator failed its self-test", "PROVISIONING", True,
     ["The RNG setup failed with error code: -28675", NO_HUK]),
    ("huk:rng_call", HALF, "error -28697: random generator took too long", "PROVISIONING", True,
     ["The RNG call failed with error code: -28697 or wrong size 0", NO_HUK]),
    ("huk:drbg", HALF, "error -28674", "PROVISIONING", True,
     ["Could not free nrf_cc3xx_platform_ctr_drbg context: -28674", NO_HUK]),
    ("huk:ram", HALF, "left in RAM", "PROVISIONING", True,
     ["The key bytes weren't correctly deleted from RAM.", NO_HUK]),
    ("huk:not_set", HALF, "missing after they were written", "PROVISIONING", True,
     ["One or more keys not set correctly", NO_HUK]),
    ("huk:write", HALF, "error -28701: KMU key cannot be written", "PROVISIONING", True,
     ["The HUK writing to: 4 failed with error code: -28701", NO_HUK]),
    ("identity:psa_crypto_init", HALF, "crypto library did not start, error -132", "PROVISIONING", True,
     ["psa_crypto_init failed! Error: -132", NO_KEY]),
    ("identity:psa_generate_key", HALF, "could not be made, error -148", "PROVISIONING", True,
     ["psa_generate_key failed! Error: -148", NO_KEY]),
    ("identity:psa_export_key", HALF, "could not be taken over, error -151", "PROVISIONING", True,
     ["psa_export_key failed! Error: -151", NO_KEY]),
    ("identity:size", HALF, "another size", "PROVISIONING", True,
     ["Exported size mismatch! Key size: 31", NO_KEY]),
    ("identity:psa_destroy_key", HALF, "removed from RAM", "PROVISIONING", True,
     ["psa_destroy_key failed! Error: -151", NO_KEY]),
    ("identity:no_mkek", HALF, "encrypts the identity key is missing", "PROVISIONING", True,
     ["Could not find the MKEK!", NO_KEY]),
    ("identity:write", HALF, "error -28710: identity key cannot be written", "PROVISIONING", True,
     ["Identity key write failed! Error: -28710", NO_KEY]),
    ("identity:read", HALF, "error -28711: identity key cannot be read", "PROVISIONING", True,
     ["The identity key read from: 6 failed with error code: -28711", NO_KEY]),
    ("identity:not_written", HALF, "not in its slot after it was written", "PROVISIONING", True,
     ["Failure: Identity key is not written! Exiting!"]),
    ("identity:dummy", "dummy_key", "published dummy identity key", "PROVISIONING", True,
     ["WARNING: Using a dummy identity key not meant for production!", "Success!"]),
    ("implementation_id:write", HALF, "implementation id could not be written", "PROVISIONING", True,
     ["Failure: Writing implementation ID failed. Exiting!"]),
    ("panic:start", "firmware_fault", ("Kernel panic", NOTHING), "ASSEMBLY", False,
     [PANIC]),
    ("panic:lcs", "firmware_fault", ("Kernel panic", NOTHING), "ASSEMBLY", False,
     [PANIC]),
    ("panic:huk", HALF, "Kernel panic", "PROVISIONING", True,
     [PANIC]),
    ("panic:identity", HALF, "Kernel panic", "PROVISIONING", True,
     [PANIC]),
    ("panic:implementation_id", HALF, "Kernel panic", "PROVISIONING", True,
     [PANIC]),
    ("cpu_fault:start", "firmware_fault", ("CPU exception", "bus fault", NOTHING), "ASSEMBLY", False,
     ["***** BUS FAULT *****", CRASHED]),
    ("cpu_fault:huk", HALF, ("CPU exception", "bus fault"), "PROVISIONING", True,
     ["***** BUS FAULT *****", CRASHED]),
    ("cpu_fault:identity", HALF, "CPU exception", "PROVISIONING", True,
     ["***** BUS FAULT *****", CRASHED]),
    ("hang:start", "console", ("0 of 5 expected lines", NOTHING), "ASSEMBLY", False,
     ["*** Booting nRF Connect SDK"]),
    ("hang:huk", HALF, "no key is in the KMU", "PROVISIONING", True,
     [ENTERED]),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "bin", "words", "lcs", "burnt", "said"), IMAGE)
def test_every_failure_of_the_image(nordic, fault, bin, words, lcs, burnt, said):
    bench = nordic("nrf9160", provisioning_seconds=0.7)
    bench.fault(fault)
    check(bench, bench.run(), bin, words, lcs, burnt)
    has_said(bench, "console_app", said)
    if not burnt:
        assert bench.chip["cores"]["app"]["image"] == "", "an image that burnt nothing is taken away again"
        bench.fault("clear")
        assert bench.run().kind == "pass"


STRUCK = [  # what happens to the memory after the station has looked, words, life cycle, what the image says of it
    ("wrong_state:INVALID", ("could not read the life cycle state", "illegal"), "INVALID", [UNREADABLE]),
    ("wrong_state:PROVISIONING", "another life cycle state than ASSEMBLY", "PROVISIONING", [NOT_ASSEMBLY]),
    ("wrong_state:SECURED", "another life cycle state than ASSEMBLY", "SECURED", [NOT_ASSEMBLY]),
    ("half_provisioned:identity", "another life cycle state than ASSEMBLY", "PROVISIONING", [NOT_ASSEMBLY]),
    ("revoked:2", "in the KMU before", "PROVISIONING",
     [ENTERED, "One or more keys already set. Cannot overwrite", NO_HUK]),
    ("identity:already_written", "the slot of the identity key was not empty", "PROVISIONING",
     [ENTERED, "Failure: Identity key slot already written. Exiting!"]),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "words", "lcs", "said"), STRUCK)
def test_the_image_judges_by_the_memory_that_it_meets(nordic, fault, words, lcs, said):
    bench = nordic("nrf9160")

    def strike(part, run):
        part.provision = lambda settle, provision=part.provision: (bench.fault(fault), provision(settle))[1]

    met = int(said == [UNREADABLE] or said == [NOT_ASSEMBLY])
    check(bench, bench.run(before=strike), HALF, words, lcs, True, second_runs=met)
    has_said(bench, "console_app", said)


def has_said(bench, console, lines):
    """The lines are in what the journal keeps of a console, in this order."""
    heard, at = bench.kept()[console].decode(), 0
    for line in lines:
        assert line in heard[at:], f"expected {line!r} after {heard[:at]!r} in {heard!r}"
        at = heard.index(line, at) + len(line)


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
    """A console on which lines with these words are lost."""

    def __init__(self, port, words=b"dummy"):
        self._port, self._words, self._rest = port, words, b""

    def clear(self):
        self._port.clear()
        self._rest = b""

    def read(self, deadline):
        *whole, self._rest = (self._rest + self._port.read(deadline)).split(b"\n")
        return b"".join(line + b"\n" for line in whole if self._words not in line)


@pytest.mark.parametrize(("fault", "words"), [
    ("huk:write", "4 of 4|2 of"), ("identity:write", "1 of 2 of the identity key"), ("identity:not_written", "0 of 2"),
])  # fmt: skip
def test_older_images_that_ignore_their_libraries_are_caught_all_the_same(nordic, fault, words):
    bench = nordic("nrf5340")
    bench.build(provisioning_app={"generation": "older"})
    bench.fault(fault)
    result = bench.run()
    assert result.kind == "fail" and result.bin == HALF and RECOVER in result.reason, result


# ---- the production firmware -------------------------------------------------------------------------------

NO_LCS = "Invalid LCS: {}"
NO_UNIQUE_KEYS = "This device has not been provisioned with Hardware Unique Keys."
NO_IDENTITY = "This device has not been provisioned with an Initial Attestation Key."
NET_OPEN = "Failed to lock debug in network core."
OWN_KEYS = {"tfm_app": {"nrf_provisioning": False}}
DEAF_NET = {"tfm_net": {"pcd": False}}
BOOTS = [  # chip, what is wrong from the first boot on, images, bin, words, life cycle, burnt, what the console said
    ("nrf9160", "wrong_state:INVALID", {}, "boot_refused", "illegal life cycle state (0)", "INVALID", True,
     [NO_LCS.format(0)]),
    ("nrf9160", "wrong_state:ASSEMBLY", {}, "boot_refused", "illegal life cycle state (1)", "ASSEMBLY", True,
     [NO_LCS.format(1)]),
    ("nrf5340", "wrong_state:DECOMMISSIONED", {}, "boot_refused", ("illegal life cycle state (4)", CLOSED),
     "DECOMMISSIONED", True, [NO_LCS.format(4)]),
    ("nrf9160", "revoked:4", {}, "boot_refused", "no hardware unique keys", "PROVISIONING", True, [NO_UNIQUE_KEYS]),
    ("nrf5340", "revoked:3", {}, "boot_refused", ("no hardware unique keys", CLOSED), "PROVISIONING", True,
     [NO_UNIQUE_KEYS]),
    ("nrf9160", "revoked:7", {}, "boot_refused", "no identity key", "PROVISIONING", True, [NO_IDENTITY]),
    ("nrf5340", "revoked:6", {}, "boot_refused", ("no identity key", CLOSED), "PROVISIONING", True, [NO_IDENTITY]),
    ("nrf5340", "pcd_failure", {}, "network_core", "could not close the debug port of the network core",
     "PROVISIONING", True, [NET_OPEN]),
    ("nrf5340", "clear", DEAF_NET, "network_core", "could not close the debug port of the network core",
     "PROVISIONING", True, [NET_OPEN]),
    ("nrf9160", "uicr_erased", OWN_KEYS, "boot_refused", "makes its own hardware unique keys", "ASSEMBLY", True,
     ["Writing random Hardware Unique Keys to the KMU.", "Success"]),
    ("nrf9160", "panic:tfm", {}, "firmware_fault", "the production firmware stopped: Kernel panic", "PROVISIONING",
     None, [PANIC]),
    ("nrf9160", "cpu_fault:tfm", {}, "firmware_fault", ("stopped: CPU exception", "bus fault"), "PROVISIONING", None,
     ["***** BUS FAULT *****", CRASHED]),
    ("nrf9160", "token_error", {}, "attestation", "gave no attestation token (-132)", "SECURED", None,
     ["psa_initial_attest_get_token (err -132)"]),
    ("nrf9160", "corrupt_token", {}, "attestation", "no key fits", "SECURED", None, []),
    ("nrf9160", "corrupt_token:payload", {}, "attestation", "no key fits", "SECURED", None, []),
    ("nrf9160", "corrupt_token:nonce", {}, "attestation", "expected the challenge", "SECURED", None, []),
]  # fmt: skip


@pytest.mark.parametrize(("chip", "fault", "images", "bin", "words", "lcs", "burnt", "said"), BOOTS)
def test_every_refusal_of_the_production_firmware(nordic, chip, fault, images, bin, words, lcs, burnt, said):
    bench = nordic(chip, boot_seconds=1.2)
    if images:
        bench.build(**images)
    check(bench, bench.run(before=at_each_boot(bench, fault)), bin, words, lcs, burnt)
    has_said(bench, "console_boot", said)


def test_a_production_firmware_that_stops_without_a_word_is_not_judged(nordic):
    """TF-M's own write of SECURED fails without any text, and the port closed at that very boot."""
    bench = nordic("nrf9160", boot_seconds=0.9)
    result = bench.run(before=at_each_boot(bench, "transition_failure"))
    plan = tfm_provisioning.PLAN
    assert result.kind == "quarantine" and CLOSED in result.reason and bench.chip["lc_state"] == "PROVISIONING", result
    assert result.part_state == f"by its record '{plan.install.text}' is done, '{plan.boot.text}' {ASKED}"


def at_each_boot(bench, fault):
    """Give the part a fault before each boot of the production firmware, from the first one on."""

    def before(part, run):
        def struck(*how, listen, **more):
            bench.fault(fault)
            return listen(*how, **more)

        def boots(first_boot=part.first_boot):
            part.boot.listen = functools.partial(struck, listen=part.boot.listen)
            first_boot()

        part.first_boot = boots

    return before


def test_dummy_keys_that_only_the_production_firmware_was_heard_to_tell_of(nordic):
    bench = nordic("nrf9160")
    bench.fault("identity:dummy")

    def deaf(part, run):
        part._consoles._ports["app"] = Deaf(part._consoles._ports["app"], b"Using a dummy identity key")

    check(bench, bench.run(before=deaf), "dummy_key", "TF-M found dummy keys", "SECURED", True)
    has_said(bench, "console_boot", ["This device was provisioned with dummy keys and is NOT secure."])


def test_a_certificate_reference_that_speaks_of_a_dummy_is_no_dummy_key(nordic):
    bench = nordic("nrf9160")
    bench.build(tfm_app={"certificate_reference": "dummy-certificate"})
    check(bench, bench.run(), "attestation", "'dummy-certificate'", "SECURED", None)
    assert "dummy" in str(bench.kept_json("attestation_claims")["problems"])


def test_every_line_of_the_sheet_runs_through_the_flow():
    """Each failure that the parsers know is said by a virtual part in one of the tables above."""
    said = {line for table in (IMAGE, STRUCK, BOOTS) for row in table for line in row[-1]}
    said |= {tfm_console.DUMMY_KEYS, provisioning_console.NET_REFUSED}  # tests of their own
    known = (*provisioning_console.APP_FAILURES, *provisioning_console.NET_FAILURES, *tfm_console.REFUSALS)
    assert [one.pattern.pattern for one in known if not any(one.pattern.search(line) for line in said)] == []


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
