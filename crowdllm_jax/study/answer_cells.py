"""What the cells of a column of people's answers mean on a scale: a study's, or a later table's."""

from collections.abc import Callable
from functools import cache

import numpy as np

from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.missing import codes, is_among, warn_of_level
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.spec import Codes, StudySpec
from crowdllm_jax.study.tables import Column


def cell_reader(
    spec: StudySpec | None, column: Column, name: str, scale: Scale
) -> Callable[[int], float | None]:
    """What reads the distinct cells of a column, by their codes, as answers on a scale.

    Args:
      spec: of a study that lists codes of no answer; None lists none. name: of the scale.
    Returns:
      a function to the level (discrete) or the value (continuous); to NaN where the cell is listed
      as no answer, and to None where it is neither.
    Warns:
      CrowdWarning: a code that is listed for more than this scale is an answer on it.
    """
    listed: tuple[Codes, Codes] = ((), ())
    if spec is not None:
        listed = codes(spec, "responses", spec.responses.response, name)
    for_all, for_scale = listed
    level_of = scale_text.reader(scale)
    texts = {*map(str, scales.written(scale)), *scales.labels(scale)}
    if scales.is_continuous(scale):
        column.warn_of_thousands()

    # Once for each: what is warned of is, too.
    @cache
    def read(code: int) -> float | None:
        text = column.distinct[code]
        if is_among(text, for_scale):
            return np.nan
        # As the study file writes it, or else as a number of the table's dialect.
        level = level_of(text if text in texts else column.numeral(code))
        if not is_among(text, for_all):
            return level
        if level is not None:
            warn_of_level(
                column,
                text,
                f"on scale '{name}' it is one",
                f"study.responses.missing: {{{as_shown(name)}: [...]}}",
            )
        return np.nan

    return read
