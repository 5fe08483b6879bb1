"""The median answer on continuous scales: exact, and in bounded memory.

No answer is kept. A float's bits, read as an integer, stand in the order of the floats (once the
negative ones are turned round), so the median is found digit by digit: a pass over all answers
counts how many have each next digit among those that agree so far. 32-bit answers of up to 16
tasks take two passes, 64-bit ones four; of more tasks the digits are shorter and the passes more.
"""

from itertools import chain

import numpy as np

from crowdllm_jax.population.read import Answers
from crowdllm_jax.runtime.counting import added, handed_out
from crowdllm_jax.runtime.progress import Progress, silent

CELLS = 1 << 20
"""Counts kept at once: tasks x digits."""


def medians(
    answers: Answers, tasks: np.ndarray, total: np.ndarray, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """The lower median of each task's answers, and how many gave exactly it.

    It is the smallest answer that, with those below it, makes up half of all or more.

    Args:
      tasks: (C,) indices of tasks on continuous scales. total: (C,) (weighted) number of answers.
    Returns:
      (C,) answers, NaN where nobody answered, and (C,) (weighted) number.
    """
    c = len(tasks)
    kind = next(answers.blocks()).dtype if c else np.dtype(np.float64)
    word = np.dtype(f"uint{8 * kind.itemsize}")
    left = 8 * kind.itemsize
    most = int(np.clip(CELLS // max(c, 1), 2, 1 << 16)).bit_length() - 1
    prefix = np.zeros(c, word)
    below, equal = np.zeros(c), np.zeros(c)
    begun = False
    while c and left:
        digit = min(most, left)
        left -= digit
        count = np.zeros(c << digit)
        done = 0
        for block in chain.from_iterable(
            blocks() for _, blocks in handed_out("the medians", answers.passes)
        ):
            values = block if c == block.shape[1] else block[:, tasks]
            key = _ordered(values, word) >> word.type(left)
            same = ~np.isnan(values)
            if begun:
                same &= key >> word.type(digit) == prefix
            cell = np.flatnonzero(same)
            last = (key.ravel()[cell] & word.type((1 << digit) - 1)).astype(np.intp)
            weight = 1.0 if answers.weight is None else answers.weight[done + cell // c]
            np.add.at(count, (cell % c << digit) + last, weight)
            done += len(block)
            progress("median", done, answers.people)
        (count,) = added("the medians", (count,))
        until = below[:, None] + count.reshape(c, -1).cumsum(1)
        chosen = (until >= total[:, None] / 2 * (1 - 1e-12)).argmax(1)
        equal = count.reshape(c, -1)[np.arange(c), chosen]
        below = until[np.arange(c), chosen] - equal
        begun = True
        prefix = prefix << word.type(digit) | chosen.astype(word)
    return np.where(total > 0, _value(prefix, kind), np.nan), equal


def _ordered(values: np.ndarray, word: np.dtype) -> np.ndarray:
    """Unsigned integers that stand in the order of floats."""
    # -0.0 is 0.0.
    bits = np.ascontiguousarray(values + values.dtype.type(0)).view(word)
    top = word.type(1 << (8 * word.itemsize - 1))
    return np.where(bits & top, ~bits, bits | top)


def _value(key: np.ndarray, kind: np.dtype) -> np.ndarray:
    """The floats again."""
    top = key.dtype.type(1 << (8 * key.dtype.itemsize - 1))
    return np.where(key & top, key ^ top, ~key).view(kind)
