"""The exception and the warning that a user is meant to read, and others turned into the first."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CrowdError(ValueError):
    """A user's mistake, told in one message that names the place and the remedy.

    Examples:
      >>> try:
      ...     cl.load_config({"model": {"kind": "persistent", "stepz": 20}})
      ... except cl.CrowdError as error:
      ...     print(error)
      configuration: model.stepz: there is no such key; did you mean 'steps'?
    """


class PeerError(CrowdError):
    """Another process of the run has ended, or cannot be reached."""


class CrowdWarning(UserWarning):
    """Something that a user should look at, though the work goes on.

    Examples:
      >>> import warnings
      >>> warnings.filterwarnings("error", category=cl.CrowdWarning)  # stop at any
    """


def first_line(error: BaseException) -> str:
    """What another library's error says, as short as a message can hold; its type if nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


@contextmanager
def named_errors(
    place: Path, what: str, *errors: type[Exception], remedy: str | None = None
) -> Iterator[None]:
    """Turn what goes wrong with a file or folder into one message that names it.

    Args:
      what: what cannot be done with it, such as "cannot be read".
      errors: of other libraries, that are told so.
      remedy: what to do. With one, a CrowdError is taken for a fault of the file's content, and is
        told with the place and the remedy, too; without, it passes as it is.
    Raises:
      CrowdError: in place of these errors.
    """
    try:
        yield
    except CrowdError as error:
        if remedy is None:
            raise
        raise CrowdError(f"{place}: {error}; {remedy}") from error
    except errors as error:
        reason = first_line(error)
        told = f": {reason}" if remedy is None else f" ({reason}); {remedy}"
        raise CrowdError(f"{place}: {what}{told}") from error
