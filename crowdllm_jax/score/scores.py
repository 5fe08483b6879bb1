"""Scores as a notebook wants them: a list that is also a table."""

import html
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.score.metrics import Score

if TYPE_CHECKING:
    import pandas

SHOWN = ("skill", "rps", "nwd", "mae", "rmse", "accuracy", "variance_ratio", "correlation_error")
"""Metrics that a notebook shows, as far as there are any; all are in the table."""


class Scores(list[Score]):
    """A list of `Score`, one for each model and metric.

    Examples:
      >>> skill = scores.of("persistent", "skill")
      >>> bool(skill.low <= skill.value <= skill.high)
      True
    """

    def of(self, model: str, metric: str) -> Score:
        """The first score of a model by a metric.

        Raises:
          CrowdError: there is none; says which models and metrics there are.

        Examples:
          >>> scores.of("humans", "skill").value
          1.0
        """
        for score in self:
            if (score.model, score.metric) == (model, metric):
                return score
        known = sorted({s.metric for s in self if s.model == model}) or sorted(_models(self))
        raise CrowdError(f"no {metric} of {model}; there is: {', '.join(known)}")

    def to_pandas(self) -> "pandas.DataFrame":
        """A row per score: model, split, seed, metric, value, low and high (95%), why.

        Examples:
          >>> scores.to_pandas().query("metric == 'skill'").model.iloc[0]
          'humans'
        """
        import pandas

        fields = [field.name for field in msgspec.structs.fields(Score)]
        return pandas.DataFrame([msgspec.structs.asdict(score) for score in self], columns=fields)

    def __repr__(self) -> str:
        models = _models(self)
        return f"Scores({len(self):,} of {len(models)} models: {', '.join(models)})"

    def _repr_html_(self) -> str:
        metrics = [metric for metric in SHOWN if any(s.metric == metric for s in self)]
        head = "".join(f"<th>{name}</th>" for name in ("model", *metrics))
        rows = ""
        for model in _models(self):
            own = {s.metric: s for s in reversed(self) if s.model == model}
            cells = "".join(f"<td>{_told(own.get(metric))}</td>" for metric in metrics)
            rows += f"<tr><td>{html.escape(model)}</td>{cells}</tr>"
        return (
            f"<div><p>{html.escape(repr(self))}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )


def _models(scores: list[Score]) -> list[str]:
    return list(dict.fromkeys(score.model for score in scores))


def _told(score: Score | None) -> str:
    """A value with its interval; why there is none on hover."""
    if score is None:
        return ""
    if not np.isfinite(score.value):
        return f'<span title="{html.escape(score.why)}">&ndash;</span>'
    if not np.isfinite(score.low):
        return f"{score.value:.3f}"
    return f"{score.value:.3f} <small>({score.low:.3f} to {score.high:.3f})</small>"
