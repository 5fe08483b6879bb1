"""What the cells of a table of reference decisions mean on the scales of a study.

A cell is an answer as the study writes it, a code or a label, and never a position: on a scale of
1 and 2, 1 is the first level. Between the codes of an ordered scale lie mean answers. What may be
read in two ways is refused.
"""

from collections.abc import Callable, Iterable

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.record import written_ends
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Ranking, Scale
from crowdllm_jax.study.tables import Column, rows


def read_cells(
    study: Study, column: Column, task: np.ndarray, keep: np.ndarray, *, strict: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Read answers, and unless strict mean answers, to the tasks (R,) of the rows that are kept.

    Returns:
      (R,) the number that each counts as, and (R,) its level, -1 where it is a mean or continuous.
    """
    number = np.full(len(column.codes), np.nan)
    level = np.full(len(column.codes), -1)
    for index, (name, scale) in enumerate(study.scales.items()):
        rows_here = np.flatnonzero(keep)
        rows_here = rows_here[study.tasks.scale[task[rows_here]] == index]
        if not strict and not scales.is_ordered(scale):
            # A table of means has none here: it says nothing of the levels.
            empty = rows_here[column.codes[rows_here] < 0]
            number[empty] = (scales.size(scale) - 1) / 2
            rows_here = np.setdiff1d(rows_here, empty)
        codes = column.codes[rows_here]
        if np.any(codes < 0):
            raise CrowdError(
                f"{column.where}: {rows(rows_here[codes < 0])} is empty; every row needs an answer"
            )
        texts = {int(code): column.distinct[code] for code in np.unique(codes)}
        # As the study file writes it, or else as a number of the table's dialect.
        own = {*map(str, scales.written(scale)), *scales.labels(scale)}
        told = {c: text if text in own else column.numeral(c) for c, text in texts.items()}
        read = _parseder(scale) if strict else _mean_reader(scale, told.values(), column.where)
        meaning = {code: read(text) for code, text in told.items()}
        odd = [code for code, meant in meaning.items() if meant is None]
        if odd:
            raise CrowdError(
                f"{column.where}: '{texts[odd[0]]}' ({rows(rows_here[codes == odd[0]])}) is no "
                f"answer on scale '{name}' ({scale_text.describe(scale)})"
                f"{'' if strict else _no_mean(scale)}; answers that are none, such as refusals, "
                "are listed under reference.missing"
            )
        for code, meant in meaning.items():
            if meant is not None:
                number[rows_here[codes == code]], level[rows_here[codes == code]] = meant
    return number, level


Meaning = Callable[[str], tuple[float, int] | None]
"""From a cell's text to the number it counts as, and its level (-1 where it has none)."""


def _parseder(scale: Scale) -> Meaning:
    read, value = scale_text.reader(scale), scales.values(scale)

    def meaning(text: str) -> tuple[float, int] | None:
        parsed = read(text)
        if parsed is None:
            return None
        return (float(value[int(parsed)]), int(parsed)) if scales.size(scale) else (parsed, -1)

    return meaning


def _mean_reader(scale: Scale, texts: Iterable[str], where: str) -> Meaning:
    """Also reads means, in the numbers the study writes."""
    if not scales.is_ordered(scale):
        return _parseder(scale)
    numbers = [numerals.number(text) for text in texts]
    if isinstance(scale, Ranking) and all(n is not None and n.is_integer() for n in numbers):
        raise CrowdError(
            f"{where}: holds whole numbers for a ranking, which may be ranks (1 is best) or Borda "
            f"points ({scale.k} is best); name the column under `answer` if it holds ranks, and "
            "give Borda points as `probabilities`"
        )
    # A column of a ranking that is not whole holds mean Borda points throughout.
    answer = _parseder(scale) if not isinstance(scale, Ranking) else lambda _: None
    value, (low, high) = scales.values(scale), written_ends(scale)

    def meaning(text: str) -> tuple[float, int] | None:
        parsed = answer(text)
        number = numerals.number(text)
        if parsed is not None or number is None or not min(low, high) <= number <= max(low, high):
            return parsed
        if (low, high) != (value[0], value[-1]):
            number = value[0] + (number - low) / (high - low) * (value[-1] - value[0])
        same = np.flatnonzero(value == number)
        return float(number), int(same[0]) if len(same) and scales.size(scale) else -1

    return meaning


def _no_mean(scale: Scale) -> str:
    """Why a cell is no mean answer either, and what to do."""
    if not scales.is_ordered(scale):
        return ", whose answers have no mean; give levels, or `probabilities`"
    low, high = sorted(written_ends(scale))
    hint = (
        "; give a share of the second level as `probabilities`" if scales.size(scale) == 2 else ""
    )
    return f" and no mean of answers, which lies from {low:g} to {high:g}{hint}"


def by_level(
    study: Study, path: str, names: tuple[str | int | float, ...], given: np.ndarray, *, known: bool
) -> np.ndarray:
    """Probabilities (T, K) in the order of each scale's levels, from columns (T, C).

    Args:
      names: what each column is called: after the levels, or (unless known) in any way.
    """
    used = [(i, s) for i, s in enumerate(study.scales.values()) if np.any(study.tasks.scale == i)]
    found = {
        index: [scale_text.parse(s, str(name)) if scales.size(s) else None for name in names]
        for index, s in used
    }
    if not known and all(place is None for own in found.values() for place in own):
        return given
    out = np.zeros((len(given), max(scales.size(scale) for scale in study.scales.values())))
    for index, scale in used:
        own = [None if place is None else int(place) for place in found[index]]
        on_scale = study.tasks.scale == index
        if sorted(p for p in own if p is not None) != list(range(scales.size(scale))):
            raise CrowdError(
                f"{path}: reference.probabilities {', '.join(map(str, names))}: some but not all "
                f"of the levels ({scale_text.describe(scale)}), each once, are named; give a "
                "column for each, {level: column}"
            )
        for column, place in enumerate(own):
            if place is not None:
                out[on_scale, place] = given[on_scale, column]
            elif np.any(given[on_scale, column]):
                task = study.tasks.ids[int((on_scale & (given[:, column] != 0)).argmax())]
                raise CrowdError(
                    f"{path}: gives '{names[column]}' a probability for task '{task}', whose scale"
                    f" ({scale_text.describe(scale)}) has no such level"
                )
    return out
