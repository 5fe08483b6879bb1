"""Names that a command line lists."""

import csv
from collections.abc import Collection, Sequence

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name


def named(option: str, texts: Sequence[str], known: Collection[str] = ()) -> tuple[str, ...]:
    """The names that the texts behind an option list, in their order.

    A text that is a known name is that name, whatever it holds. Any other is a list with commas
    between, blanks around a name left out, in which a name that holds a comma stands in quotes, as
    in a CSV file.

    Raises:
      CrowdError: a quote is not closed, or stands inside a name.
    """
    names: list[str] = []
    for text in texts:
        if text in known:
            names.append(text)
            continue
        try:
            rows = list(csv.reader([text], skipinitialspace=True, strict=True))
        except csv.Error as error:
            raise CrowdError(
                f"{option} {text}: {error}; put quotes around a whole name, and write "
                "a quote inside it twice"
            ) from error
        names += [tidy_name(name) for row in rows for name in row]
    return tuple(names)
