"""The errors that a user meets: each says what was expected, what came, where, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InkmillError(Exception):
    """A fault in the input, the parameters or the surroundings; its text is one paragraph for the user.

    The command line prints the text without a traceback. Our own bugs never raise it.
    """


class ParamsError(InkmillError, ValueError):
    """`params.yaml` or a `--set` does not say what it must."""


class DataError(InkmillError, ValueError):
    """A file or a drawing is not what its format says."""


class DownloadError(InkmillError, OSError):
    """A source could not be fetched, or what came is not what was published."""


class RegistryError(InkmillError, LookupError):
    """The model registry lacks what was asked for."""


def one_line(error: BaseException) -> str:
    """Return what a library says, fit for a paragraph: no line breaks, no control characters of a damaged file."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(error)).split())


@contextmanager
def report_errors() -> Iterator[None]:
    """Print an `InkmillError` as one paragraph and leave with exit code 1; other errors pass with their traceback."""
    try:
        yield
    except InkmillError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
