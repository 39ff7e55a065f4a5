"""Shared by the format tests: bounded hypothesis settings and the never-crash check."""

from hypothesis import HealthCheck, settings

from station.errors import FormatError

bounded = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def only_format_error(function, *args, **kwargs):
    """Call a parser; FormatError with a helpful text is a fine answer, any other exception fails the test."""
    try:
        return function(*args, **kwargs)
    except FormatError as error:
        text = str(error)
        assert len(text) > 20 and "\n" not in text and len(text) < 400
        return None
