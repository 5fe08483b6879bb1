"""A column of answers in a file: written as the study writes them, and read back.

Whoever opens a population with nothing but a Parquet reader sees the study's own codes (1 and 2,
not 0 and 1) or words. A column holds numbers, in the smallest type that holds them exactly, where
every scale in it is written in numbers; else it holds texts, as an Arrow dictionary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.scales import Scale

MEANING = (
    "the answer as the study writes it: its number, code or word; a ranking's rank, 0 for none"
)


@dataclass(frozen=True)
class Writing:
    """How the answers on S scales stand in one column.

    Attributes:
      words: the texts of the column's dictionary; None where it holds numbers.
      of_level: per scale what stands for each of its K levels, a number or a place in `words`; None
        where the scale is continuous.
    """

    type: pa.DataType
    words: pa.Array | None
    of_level: tuple[np.ndarray | None, ...]


def writing_of(several: Sequence[Scale]) -> Writing:
    """The column that holds answers on all these scales."""
    numbers = [_numbers(scale) for scale in several]
    if all(of_scale is not None for of_scale in numbers):
        dtype = _smallest([levels for levels in numbers if levels], not all(numbers))
        stored = tuple(np.array(levels, dtype) if levels else None for levels in numbers)
        return Writing(pa.from_numpy_dtype(dtype), None, stored)
    texts = [[str(level) for level in scales.written(scale)] for scale in several]
    code = {text: i for i, text in enumerate(dict.fromkeys(chain(*texts)))}
    # The values of a continuous scale become words, too, and nobody knows how many.
    index = np.min_scalar_type(-len(code)) if all(texts) else np.dtype(np.int32)
    coded = tuple(
        np.array([code[text] for text in levels], index) if levels else None for levels in texts
    )
    words = pa.array(list(code), pa.string())
    return Writing(pa.dictionary(pa.from_numpy_dtype(index), pa.string()), words, coded)


def _numbers(scale: Scale) -> list[int | float] | None:
    """The numbers the study writes for the levels; empty where continuous, None where it writes
    words. A quoted "7" is a number, "07" and "7 - often" are words."""
    numbers: list[int | float] = []
    for level in scales.written(scale):
        number = numerals.number(level) if isinstance(level, str) else level
        if number is None:
            return None
        shortest = int(number) if float(number).is_integer() else number
        if isinstance(level, str) and level not in (str(shortest), str(number)):
            return None
        numbers.append(shortest)
    return numbers


def _smallest(numbers: list[list[int | float]], continuous: bool) -> np.dtype:
    """The smallest type that holds every number exactly, and 32-bit floats where continuous."""
    each = list(chain(*numbers))
    if not continuous and all(isinstance(number, int) for number in each):
        for dtype in (np.int8, np.int16, np.int32, np.int64):
            if np.iinfo(dtype).min <= min(each) and max(each) <= np.iinfo(dtype).max:
                return np.dtype(dtype)
    with np.errstate(over="ignore"):
        exact = all(float(np.float32(number)) == number for number in each)
    return np.dtype(np.float32 if exact else np.float64)


def write(writing: Writing, scale_of: np.ndarray, answers: np.ndarray) -> pa.Array:
    """The column of answers, row by row.

    Args:
      scale_of: (T,) index into the writing's scales.
      answers: (N, T) levels of discrete tasks, values of continuous ones; -1 (NaN) where an agent
        was not asked, which becomes null.
    Returns:
      N * T cells.
    """
    none = _not_asked(writing, scale_of, answers)
    if len(writing.of_level) == 1 and writing.of_level[0] is not None:
        level = answers if answers.dtype.kind == "i" else answers.astype(np.intp)
        cells = np.take(writing.of_level[0], level)
    else:
        dtype = np.int32 if writing.words is not None else writing.type.to_pandas_dtype()
        cells = np.empty(answers.shape, dtype)
        for index, of_level in enumerate(writing.of_level):
            tasks = np.flatnonzero(scale_of == index)
            if of_level is not None:
                cells[:, tasks] = of_level[answers[:, tasks].astype(np.int64)]
            elif writing.words is None:
                cells[:, tasks] = answers[:, tasks]
    if writing.words is None:
        return pa.array(cells.ravel(), mask=none)
    words = writing.words
    valued = np.array([of_level is None for of_level in writing.of_level])[scale_of]
    if valued.any():
        values = pa.array(answers[:, valued].ravel()).dictionary_encode()
        # A value may be written like a word that is there already.
        joined = pa.concat_arrays([words, values.dictionary.cast(pa.string())]).dictionary_encode()
        code = np.asarray(joined.indices)[len(words) + np.asarray(values.indices)]
        cells[:, valued] = code.reshape(len(cells), -1)
        words = joined.dictionary
    index = writing.type.index_type.to_pandas_dtype()
    codes = pa.array(cells.ravel().astype(index, copy=False), mask=none)
    return pa.DictionaryArray.from_arrays(codes, words)


def _not_asked(writing: Writing, scale_of: np.ndarray, answers: np.ndarray) -> np.ndarray | None:
    """(N * T,) bool; None where everybody was asked everything."""
    if answers.dtype.kind != "f":
        return (answers < 0).ravel() if answers.size and answers.min() < 0 else None
    valued = np.array([of_level is None for of_level in writing.of_level])[scale_of]
    none = np.where(valued, np.isnan(answers), answers < 0)
    return none.ravel() if none.any() else None


def read(
    column: pa.Array,
    several: Sequence[Scale],
    scale_of: np.ndarray,
    dtype: np.dtype,
    routed: np.ndarray | None = None,
) -> np.ndarray:
    """(R,) levels (and values, where continuous) of R cells that `write` wrote; -1 (NaN) of nulls.

    Args:
      scale_of: (R,) index of each cell's scale. dtype: of what is returned.
      routed: (R,) bool, which cells may be null, since not every agent is asked.
    Raises:
      CrowdError: a cell is no answer on its scale.
    """
    if column.null_count:
        none = column.is_null().to_numpy(zero_copy_only=False)
        if routed is None or np.any(none & ~routed):
            raise CrowdError("a decision is empty")
        there = np.flatnonzero(~none)
        continuous = scales.which(scales.is_continuous, several)[scale_of]
        answers = np.where(continuous, np.nan, -1).astype(dtype)
        given = column.take(pa.array(there))
        answers[there] = read(given, several, scale_of[there], dtype)
        return answers
    out = (_read_numbers if pa.types.is_primitive(column.type) else _read_texts)(
        column, several, scale_of, dtype
    )
    bad = out < 0
    continuous = scales.which(scales.is_continuous, several)
    if continuous.any():
        valued = continuous[scale_of]
        bad = np.where(valued, ~np.isfinite(out), bad)
    if bad.any():
        row = int(bad.argmax())
        raise CrowdError(
            f"decision {column[row].as_py()} is no answer on its scale "
            f"({scale_text.describe(several[scale_of[row]])})"
        )
    return out


def _read_numbers(
    column: pa.Array, several: Sequence[Scale], scale_of: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    given = np.asarray(column)
    out = np.full(given.shape, -1, dtype)
    for index, scale in enumerate(several):
        rows = slice(None) if len(several) == 1 else np.flatnonzero(scale_of == index)
        cells = given[rows]
        if scales.is_continuous(scale):
            out[rows] = cells
            continue
        numbers = np.array(_numbers(scale) or [], np.float64)
        if not len(numbers):
            continue
        if given.dtype in (np.int8, np.int16):
            # A table is faster than a search.
            least, most = np.iinfo(given.dtype).min, np.iinfo(given.dtype).max
            table = np.full(most - least + 1, -1, dtype)
            held = (numbers >= least) & (numbers <= most) & (numbers == np.round(numbers))
            table[numbers[held].astype(int)] = np.flatnonzero(held)
            out[rows] = table[cells]
            continue
        numbers = numbers.astype(given.dtype)
        order = np.argsort(numbers)
        level = order[np.searchsorted(numbers[order], cells).clip(0, len(numbers) - 1)]
        out[rows] = np.where(numbers[level] == cells, level, -1)
    return out


def _read_texts(
    column: pa.Array, several: Sequence[Scale], scale_of: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    code = np.asarray(coded.indices)
    table = np.full((len(several), len(coded.dictionary)), -1, dtype)
    texts = None
    for index, scale in enumerate(several):
        if scales.is_continuous(scale):
            used = np.unique(code[scale_of == index])
            try:
                table[index, used] = coded.dictionary.take(pa.array(used)).cast(pa.float32())
            except pa.ArrowInvalid:
                table[index, used] = np.nan
            continue
        texts = coded.dictionary.to_pylist() if texts is None else texts
        level = {str(word): i for i, word in enumerate(scales.written(scale))}
        table[index] = [level.get(text, -1) for text in texts]
    levels: np.ndarray = table[scale_of, code]
    return levels
