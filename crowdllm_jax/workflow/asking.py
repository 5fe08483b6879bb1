"""What is asked of a crowd, and what it answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.frames import html_of
from crowdllm_jax.runs.trust import Trust
from crowdllm_jax.runtime.given import as_path, as_whole, told

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How a question is put, and to whom.

    Attributes:
      scale: the name of a scale of the run; options: the answers that may be given, in their order,
        in its place; kind: of the options: ordinal (binary if there are two), nominal, binary, or
        continuous (whose options are its two ends).
      alternatives: a table of options to choose among, described as the run's own are
        (study.alternatives), in place of a scale.
      answers: a table of some people's answers to the questions. shares: known shares of the levels
        of a single question, lowest first, as `people` people's (None: 1000).
      embedder: the model that turned the run's texts into vectors, where its table does not say.
      again: of a question that the run has: ask the agents anew, for the first, ... time; 0 takes
        what they answered.
      where: a condition on the agents' profiles. margins: shares of them in another population,
        {attribute: {level: share}}. by: an attribute whose values are told apart.

    Examples:
      >>> cl.Asking(options=("never", "sometimes", "often"), kind="ordinal").kind
      'ordinal'
    """

    scale: str | None = None
    options: tuple[str, ...] | None = None
    kind: str | None = None
    alternatives: str | Path | None = None
    answers: str | Path | None = None
    shares: str | Sequence[float] | None = None
    people: float | None = None
    embedder: str | None = None
    again: int = 0
    where: str | None = None
    margins: Mapping[str, Mapping[str, float]] | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        """Raises CrowdError of what is of another kind: texts of which each letter would be an
        option, frames in place of files."""
        for name in ("scale", "kind", "embedder", "where", "by"):
            if not isinstance(value := getattr(self, name), str | None):
                raise CrowdError(f"ask: {name} is {told(value)}; give a text")
        for name in ("alternatives", "answers"):
            if (value := getattr(self, name)) is not None:
                as_path(value, f"ask: {name}: give the path of a table")
        for name in ("options", "shares"):
            value = getattr(self, name)
            listed = isinstance(value, Iterable) and not isinstance(value, Mapping)
            if value is not None and (not listed or (name == "options" and isinstance(value, str))):
                raise CrowdError(f"ask: {name} is {told(value)}; give a list, lowest first")
        as_whole(self.again, "ask: again")

    def says(self, *names: str) -> bool:
        """Whether any of these is given."""
        return any(getattr(self, name) is not None for name in names)


@dataclass(frozen=True)
class Answered:
    """What a crowd says to new questions.

    Attributes:
      crowd: whose agents answer them: `sample` draws them, each as in the run's population. Of
        questions that the run has it is the run's, whose agents answer its other questions, too.
      table: task_id, (the attribute of `by`,) answer, share, low, high (90%), people (how many
        asked would make as narrow an interval); the row "(mean)" holds the mean answer.
      trust: how the run's held-out questions were met. notes: sentences on all that.
    """

    crowd: Crowd
    table: pa.Table
    trust: Trust
    notes: tuple[str, ...]

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as a data frame of pandas.

        Examples:
          >>> answered.to_pandas().columns.tolist()
          ['task_id', 'answer', 'share', 'low', 'high', 'people']
        """
        return self.table.to_pandas()

    def __repr__(self) -> str:
        asked = ", ".join(repr(name) for name in dict.fromkeys(self.table["task_id"].to_pylist()))
        return f"Answered({asked}: {len(self.table)} rows, {len(self.notes)} notes)"

    def _repr_html_(self) -> str:
        return html_of(self.table, " ".join(self.notes), len(self.table))
