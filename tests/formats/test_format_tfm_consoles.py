"""The tables of nordic-tfm sheet 1.3, 1.4, 1.5, 1.7 and 2.8, line by line, each in a transcript around it."""

import pytest
from formats_help import bounded
from hypothesis import given
from hypothesis import strategies as st
from token_help import claims, dump, sign

from station.formats import console_lines, provisioning_console, tfm_console, zephyr_fault
from station.formats.provisioning_console import PartNow

GOOD = (
    "Successfully verified PSA lifecycle state ASSEMBLY!",
    "Successfully switched to PSA lifecycle state PROVISIONING!",
    "Generating random HUK keys (including MKEK)",
    "Writing the identity key to KMU",
    "Success!",
)
NET = ("The UICR->APPROTECT register is now configured to deny debugging access for the network core!", "Success!")
BANNERS = ("*** Booting nRF Connect SDK v3.2.0 ***", "*** Using Zephyr OS v4.2.99 ***")


def logged(text, level="inf", colours=False, module="provisioning_image"):
    line = f"[00:00:00.251,312] <{level}> {module}: {text}"
    return f"\x1b[0m{line}\x1b[0m" if colours else line


def app(*texts, **how):
    return provisioning_console.read_app(
        [console_lines.line(t) for t in (*BANNERS, *(logged(t, **how) for t in texts))]
    )


def app_raw(*texts):
    return provisioning_console.read_app([console_lines.line(text) for text in texts])


def net(*texts):
    return provisioning_console.read_net([console_lines.line(text) for text in texts])


# ---- success -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colours", [False, True])
def test_the_good_run(colours):
    found = app(*GOOD, colours=colours)
    assert found.succeeded and found.finished and found.steps == 5 and not found.dropped


def test_the_good_run_with_old_banners_and_without_prefix():
    assert app_raw("*** Booting Zephyr OS build v3.2.99 ***", *GOOD).succeeded


@pytest.mark.parametrize("missing", range(5))
def test_every_line_of_the_good_run_is_needed(missing):
    found = app(*(text for number, text in enumerate(GOOD) if number != missing))
    assert not found.succeeded and found.outcome is None


def test_the_order_counts():
    assert not app(GOOD[0], GOOD[1], GOOD[4], GOOD[2], GOOD[3]).succeeded
    assert app(GOOD[4], *GOOD).succeeded  # an early word of somebody else does not count, nor does it harm


def test_dropped_messages_are_seen():
    assert app(GOOD[0], "--- 3 messages dropped ---", GOOD[4]).dropped


def test_the_network_core():
    assert net(*BANNERS, *NET).succeeded and not net("Success!").succeeded and not net(NET[0]).succeeded
    assert not net(NET[1], NET[0]).succeeded


def test_the_three_words_of_success_are_three_things():
    app_lines = [console_lines.line(logged(text)) for text in GOOD]
    net_lines = [console_lines.line(text) for text in NET]
    tfm_lines = [console_lines.line(text) for text in ("Writing random Hardware Unique Keys to the KMU.", "Success")]
    assert (
        not provisioning_console.read_app(net_lines).succeeded
        and not provisioning_console.read_net(app_lines).succeeded
    )
    assert not provisioning_console.read_app([*app_lines[:4], *tfm_lines]).succeeded
    assert not provisioning_console.read_net([net_lines[0], *tfm_lines]).succeeded
    assert boot_of(tfm_lines).outcome.bin == "boot_refused"
    assert boot_of(app_lines).outcome is None and boot_of(net_lines).outcome is None


def test_swapped_ports_are_told_apart():
    app_lines, net_lines = [console_lines.line(logged(GOOD[0]))], [console_lines.line(NET[0])]
    assert provisioning_console.is_app_talk(app_lines) and not provisioning_console.is_net_talk(app_lines)
    assert provisioning_console.is_net_talk(net_lines) and not provisioning_console.is_app_talk(net_lines)


# ---- failures of the image (sheet 1.3) ---------------------------------------------------------------------

CLEAN, BURNT, UNKNOWN = PartNow.CLEAN, PartNow.BURNT, PartNow.UNKNOWN
IMAGE_FAILURES = [  # lines of the good run before it, its line, what the part is, bin
    (0, "Failure: Cannot read PSA lifecycle state. Exiting!", CLEAN, "wrong_state"),
    (0, "Failure: Lifecycle state is not ASSEMBLY as expected. Exiting!", CLEAN, "already_provisioned"),
    (1, "Failure: Cannot set PSA lifecycle state PROVISIONING. Exiting!", UNKNOWN, "half_provisioned"),
    (1, "Failure: Cannot read PSA lifecycle state. Exiting!", UNKNOWN, "half_provisioned"),
    (1, "Failure: Lifecycle state is not PROVISION as expected. Exiting!", UNKNOWN, "half_provisioned"),
    (3, "Failure: Writing random HUK keys failed. Exiting!", BURNT, "half_provisioned"),
    (3, "Failure: Identity key slot already written. Exiting!", BURNT, "half_provisioned"),
    (4, "Failure: Identity key write failed! Exiting!", BURNT, "half_provisioned"),
    (4, "Failure: Identity key is not written! Exiting!", BURNT, "half_provisioned"),
    (4, "Failure: Writing implementation ID failed. Exiting!", BURNT, "half_provisioned"),
]


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize(("before", "text", "now", "bin"), IMAGE_FAILURES)
def test_every_failure_of_the_image(before, text, now, bin, colours):
    found = app(*GOOD[:before], text, colours=colours)
    assert (found.outcome.now, found.outcome.bin) == (now, bin) and found.finished and not found.succeeded
    assert found.steps == before and len(found.outcome.cause) > 20


def test_the_state_that_was_read_back_is_no_failure_of_its_own():
    found = app(GOOD[0], "Lifecycle state was 3", IMAGE_FAILURES[4][1])
    assert found.outcome.now is UNKNOWN and found.outcome.bin == "half_provisioned"


def test_every_failure_line_of_the_table_is_tried_here():
    tried = {text for _, text, _, _ in IMAGE_FAILURES}
    assert len(provisioning_console.SAMPLE_FAILURES) == len(tried)
    assert all(any(f.pattern.search(text) for text in tried) for f in provisioning_console.SAMPLE_FAILURES)


# ---- lines of its libraries (sheet 1.4) --------------------------------------------------------------------

SHEET_CODES = {  # code, words of the meaning that the sheet gives it
    0x15500: "hardware unique key missing", 0x15501: "MKEK missing", 0x15502: "identity key missing",
    0x15503: "identity key cannot be read", 0x15504: "identity key cannot be written",
    0x15505: "identity key cannot be made",
    0x7001: "null parameter", 0x7002: "internal", 0x7003: "failed its self-test", 0x7004: "wrong version",
    0x7005: "parameter cannot be written",
    0x7016: "mutex not initialised", 0x7017: "mutex failed", 0x7018: "entropy not initialised", 0x7019: "took too long",
    0x701A: "KMU slot invalid", 0x701B: "KMU slot already filled", 0x701C: "address wrong",
    0x701D: "key cannot be written", 0x701E: "permission invalid", 0x701F: "root key cannot be written",
    0x7020: "root key cannot be pushed", 0x7021: "key type invalid",
    0x7024: "identity key slot invalid", 0x7025: "identity key slot already filled",
    0x7026: "identity key cannot be written", 0x7027: "identity key cannot be read", 0x7028: "MKEK missing",
    0x7029: "invalid state",
}  # fmt: skip
SHEET_DECIMALS = {-28699: 0x701B, -28712: 0x7028, -87297: 0x15501}


@pytest.mark.parametrize("code", SHEET_CODES, ids=hex)
def test_every_error_code_of_the_sheet_is_told_in_words(code):
    told = provisioning_console.code_words(-code)
    assert told.startswith(f"error -{code}: ") and SHEET_CODES[code] in told


def test_no_other_error_code_has_words():
    assert set(provisioning_console.ERROR_CODES) == set(SHEET_CODES) and len(SHEET_CODES) == 29
    assert provisioning_console.code_words(-0x7022) == "error -28706"


@pytest.mark.parametrize("printed", SHEET_DECIMALS)
def test_the_sheets_decimals(printed):
    assert provisioning_console.code_words(printed).endswith(SHEET_CODES[SHEET_DECIMALS[printed]])


LIBRARY_LINES = [  # line, words that the cause must hold
    ("One or more keys already set. Cannot overwrite", "before"),
    ("The RNG setup failed with error code: -28675", "error -28675: random generator failed its self-test"),
    ("The RNG call failed with error code: -28697 or wrong size 16", "error -28697: random generator took too long"),
    ("Could not free nrf_cc3xx_platform_ctr_drbg context: -28674", "error -28674: internal error"),
    ("The key bytes weren't correctly deleted from RAM.", "left in RAM"),
    ("One or more keys not set correctly", "missing"),
    ("The HUK writing to: 2 failed with error code: -28699", "error -28699: KMU slot already filled"),
    ("psa_crypto_init failed! Error: -132", "error -132"),
    ("psa_generate_key failed! Error: -87296", "error -87296: hardware unique key missing"),
    ("psa_export_key failed! Error: -87301", "error -87301: identity key cannot be made"),
    ("Exported size mismatch! Key size: 31", "another size"),
    ("psa_destroy_key failed! Error: -136", "error -136"),
    ("Could not find the MKEK!", "missing"),
    ("Identity key write failed! Error: -28712", "error -28712: MKEK missing"),
    ("The identity key read from: 6 failed with error code: -28711", "error -28711: identity key cannot be read"),
]


@pytest.mark.parametrize(("text", "words"), LIBRARY_LINES)
def test_every_library_line_spoils_the_run_even_before_success(text, words):
    """Older images ignore what their libraries return and go on to the last line."""
    found = app_raw(*BANNERS, *GOOD[:3], logged(text, "err", module="hw_unique_key"), *GOOD[3:])
    assert found.outcome.now is BURNT and found.outcome.bin == "half_provisioned" and not found.succeeded
    assert words in found.outcome.cause


@pytest.mark.parametrize(("text", "words"), LIBRARY_LINES)
def test_a_library_line_explains_the_images_sentence(text, words):
    found = app_raw(*GOOD[:3], text, "Failure: Writing random HUK keys failed. Exiting!")
    assert (
        found.outcome.cause.startswith("the hardware unique keys could not be written (")
        and words in found.outcome.cause
    )


def test_every_library_line_of_the_table_is_tried_here():
    assert len(provisioning_console.LIBRARY_FAILURES) == len(LIBRARY_LINES)
    for failure in provisioning_console.LIBRARY_FAILURES:
        assert any(failure.pattern.search(text) for text, _ in LIBRARY_LINES)


CODES = {
    -0x15500: "hardware unique key missing", -0x15501: "MKEK missing", -0x15502: "identity key missing",
    -0x15503: "read", -0x15504: "written", -0x15505: "made", -0x7001: "null", -0x7004: "version", -0x7016: "mutex",
    -0x701A: "slot invalid", -0x7020: "pushed", -0x7025: "already filled", -0x7029: "invalid state",
}  # fmt: skip


@pytest.mark.parametrize(("code", "words"), CODES.items())
def test_codes_in_words(code, words):
    assert words in provisioning_console.code_words(code)


def test_the_decimal_examples_of_the_sheet():
    assert "slot already filled" in provisioning_console.code_words(-28699)
    assert "MKEK missing" in provisioning_console.code_words(-28712) and "MKEK" in provisioning_console.code_words(
        -87297
    )
    assert provisioning_console.code_words(-5) == "error -5"


def test_a_dummy_key_is_refused_whatever_follows():
    warning = logged("WARNING: Using a dummy identity key not meant for production!", "wrn", module="identity_key")
    found = app_raw(*GOOD[:4], warning, GOOD[4])
    assert found.outcome.bin == "dummy_key" and found.outcome.now is BURNT and not found.succeeded
    found = app_raw(*GOOD[:4], warning, "Failure: Identity key is not written! Exiting!")
    assert found.outcome.bin == "dummy_key"


# ---- panics (sheet 1.5) ------------------------------------------------------------------------------------

PANIC = (
    "ASSERTION FAIL [err == 0] @ WEST_TOPDIR/nrf/lib/identity_key/identity_key.c:112",
    "[00:00:01.002,000] <err> os: ***** USAGE FAULT *****",
    "[00:00:01.002,000] <err> os: r0/a1:  0x00000004  r1/a2:  0x00000070  r2/a3:  0x00000001",
    "[00:00:01.002,000] <err> os: r3/a4:  0x00000004 r12/ip:  0x00000000 r14/lr:  0x00001e23",
    "[00:00:01.002,000] <err> os:  xpsr:  0x61000000",
    "[00:00:01.002,000] <err> os: Faulting instruction address (r15/pc): 0x00003a70",
    "[00:00:01.002,000] <err> os: >>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0",
    "[00:00:01.002,000] <err> os: Fault during interrupt handling",
    "[00:00:01.002,000] <err> os: Current thread: 0x20001a40 (main)",
    "[00:00:01.002,000] <err> os: Halting system",
)


@pytest.mark.parametrize(("before", "now"), [(0, UNKNOWN), (1, UNKNOWN), (2, BURNT), (3, BURNT), (4, BURNT)])
def test_a_panic_is_recognised_wherever_it_comes(before, now):
    found = app_raw(*BANNERS, *(logged(text) for text in GOOD[:before]), *PANIC)
    assert found.outcome.bin == "firmware_fault" and found.outcome.now is now and found.finished
    assert "Kernel panic (usage fault, assertion err == 0 failed at" in found.outcome.cause
    assert "at 0x00003a70, in thread main" in found.outcome.cause


@pytest.mark.parametrize("number", range(len(PANIC)))
def test_every_line_of_a_panic_is_one(number):
    line = console_lines.line(PANIC[number])
    assert zephyr_fault.is_fault_line(line) and zephyr_fault.is_last_word(line) == (number == len(PANIC) - 1)


@pytest.mark.parametrize(
    "text",
    ["***** HARD FAULT *****", "***** MPU FAULT *****", "***** BUS FAULT *****", "***** SECURE FAULT *****",
     ">>> ZEPHYR FATAL ERROR 0: CPU exception on CPU 0", ">>> ZEPHYR FATAL ERROR 1: Unhandled interrupt on CPU 0",
     ">>> ZEPHYR FATAL ERROR 2: Stack overflow on CPU 0", ">>> ZEPHYR FATAL ERROR 3: Kernel oops on CPU 0"],
)  # fmt: skip
def test_every_class_of_fault(text):
    assert (
        zephyr_fault.fault_in([console_lines.line(text)]) and app_raw(*GOOD[:3], text).outcome.bin == "firmware_fault"
    )


@pytest.mark.parametrize("text", [*GOOD, *NET, *BANNERS, "", "0  1  2  3", "xpsr settings"])
def test_a_healthy_line_is_no_panic(text):
    assert not zephyr_fault.is_fault_line(console_lines.line(text))


def test_a_panic_of_the_network_core():
    found = net(BANNERS[0], *PANIC)
    assert found.outcome.bin == "firmware_fault" and found.finished and not found.succeeded


def test_the_network_cores_refusal():
    found = net(*BANNERS, "Cannot write to the UICR->APPROTECT register, exiting...!")
    assert (found.outcome.bin, found.outcome.now, found.finished) == ("network_core", BURNT, True)


# ---- the production firmware (sheet 2.8) -------------------------------------------------------------------

REFUSALS = [
    ("Invalid LCS: 0x4", "boot_refused", "0x4"),
    ("This device has not been provisioned with Hardware Unique Keys.", "boot_refused", "no hardware unique keys"),
    ("This device has not been provisioned with an Initial Attestation Key.", "boot_refused", "no identity key"),
    ("Failed to lock debug in network core.", "network_core", "network core"),
    ("This device was provisioned with dummy keys and is NOT secure.", "dummy_key", "dummy"),
    ("Writing random Hardware Unique Keys to the KMU.", "boot_refused", "CONFIG_TFM_NRF_PROVISIONING"),
    ("psa_initial_attest_get_token (err -151)", "attestation", "-151"),
]


def boot_of(lines):
    reader = tfm_console.BootReader()
    reader.feed(lines)
    return reader.boot


def boot(*texts):
    return boot_of([console_lines.line(text) for text in texts])


@pytest.mark.parametrize("prefix", ["", "[WRN] ", "\x1b[1;31m[ERR] ", "[Sec Thread] "])
@pytest.mark.parametrize(("text", "bin", "words"), REFUSALS)
def test_every_refusal(text, bin, words, prefix):
    found = boot(BANNERS[0], prefix + text + ("\x1b[0m" if prefix.startswith("\x1b") else ""))
    assert found.outcome.bin == bin and found.outcome.now is BURNT and words in found.outcome.cause and found.finished


def test_every_refusal_of_the_table_is_tried_here():
    assert all(any(r.pattern.search(text) for text, _, _ in REFUSALS) for r in tfm_console.REFUSALS)
    assert len(tfm_console.REFUSALS) == len(REFUSALS)


TOKEN = sign(claims())


def test_the_first_boot_restarts_itself_and_gives_a_token():
    request = "Requesting initial attestation token with 64 byte challenge."
    found = boot(*BANNERS, *BANNERS, "build time: Dec 19 2024", request, *dump(TOKEN))
    assert found.token == TOKEN and found.challenge == 64 and found.boots == 2 and found.finished and not found.damage
    assert found.outcome is None and found.speaks


def test_a_token_makes_up_for_an_earlier_failure_but_not_for_dummy_or_own_keys():
    assert boot("psa_initial_attest_get_token (err -151)", *dump(TOKEN)).outcome is None
    for text in ("This device was provisioned with dummy keys and is NOT secure.", REFUSALS[5][0]):
        assert boot(text, *dump(TOKEN)).outcome is not None


def test_a_token_that_is_cut_or_garbled_says_so():
    lines = dump(TOKEN)
    assert "came" in boot(*lines[:-3]).damage and not boot(*lines[:-3]).token
    assert "garbled" in boot(*lines[:4], lines[4].replace("|  ", "|  ~~", 1), *lines[5:]).damage


def test_silence_and_a_panic_of_the_production_firmware():
    assert not boot().speaks and not boot("", " ").speaks and not boot().finished
    assert boot(*BANNERS, *PANIC).outcome.bin == "firmware_fault"


@bounded
@given(
    st.lists(
        st.sampled_from(
            [
                *GOOD,
                *NET,
                *BANNERS,
                *PANIC,
                *(text for _, text, _, _ in IMAGE_FAILURES),
                *(text for text, _ in LIBRARY_LINES),
                *(text for text, _, _ in REFUSALS),
            ]
        ),
        max_size=12,
    )
)
def test_no_failure_is_ever_a_success(texts):  # fmt: skip
    found = app_raw(*texts)
    if any(
        text in texts
        for text in [t for _, t, _, _ in IMAGE_FAILURES] + [t for t, _ in LIBRARY_LINES] + list(PANIC[6:7])
    ):
        assert not found.succeeded and found.outcome is not None
    assert net(*texts).succeeded <= (NET[0] in texts)
    if any(text in texts for text, _, _ in REFUSALS):
        assert boot(*texts).outcome is not None
