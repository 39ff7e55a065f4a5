import dataclasses

import pytest

from station.errors import FormatError
from station.formats import firmware
from station.formats.firmware import E1, RC4, Dialect


def test_what_differs_between_the_generations():
    assert (RC4.blob_versions, RC4.blob_version, E1.blob_versions, E1.blob_version) == ((0,), 0, (0, 1), 0)
    assert (RC4.console_timeout_s, E1.console_timeout_s) == (20, 30)
    assert not RC4.sends_blob_version and E1.sends_blob_version
    assert (RC4.dice_page_data, E1.dice_page_data) == (2016, 2000)


def test_padding_of_certgen_inputs():
    assert [RC4.certgen_pad(length) for length in (180, 210)] == [210, 210]
    assert [E1.certgen_pad(length) for length in (207, 215, 231)] == [215, 215, 231]


def test_an_unknown_generation_gets_a_hint():
    with pytest.raises(FormatError, match="did you mean 'rc4'"):
        firmware.generation("rc5")
    assert firmware.generation("e1") is E1


def test_a_blob_version_the_firmware_lacks_is_refused():
    assert E1.check_blob_version(1) == 1
    with pytest.raises(FormatError, match="rc4"):
        RC4.check_blob_version(1)


def test_generations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RC4.blob_version = 1


def test_dialects():
    assert Dialect.ATE.quoted_u64 and not Dialect.HOST.quoted_u64
    assert (Dialect.ATE.frame_size, Dialect.HOST.frame_size) == (256, None)
