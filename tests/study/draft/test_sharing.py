"""Columns that add up to one sum for everybody are points that people share."""

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet
from crowdllm_jax.study.draft.write import study_of_draft
from crowdllm_jax.study.formats.frame import read_frame
from crowdllm_jax.study.scales import Continuous, Points, Scale

N = 40
OPTIONS = ("price", "taste", "health")


def shared(total: int, unit: int = 1) -> pd.DataFrame:
    """Shares of `total` in steps of `unit`."""
    random = np.random.default_rng(0)
    points = random.multinomial(total // unit, [0.5, 0.3, 0.2], size=N) * unit
    return pd.DataFrame(points, columns=[f"Weigh [{option}]" for option in OPTIONS])


def drafted(frame: pd.DataFrame) -> tuple[dict[str, Scale], str, pd.DataFrame]:
    """The scales, the reasons, and the answers as a row per person."""
    draft = draft_of_sheet(read_frame(frame.assign(id=range(N))), Choices())
    made = study_of_draft(draft, "it")
    answers = pd.DataFrame({"who": made.person, "task": made.task, "value": made.value})
    table = answers.pivot(index="who", columns="task", values="value")
    table.columns = list(made.tasks.ids)
    table.index = [int(made.participants.ids[i]) for i in table.index]
    scales = {task: made.scale_of(i) for i, task in enumerate(made.tasks.ids)}
    return scales, " ".join(draft.reasons), table.sort_index()


@pytest.mark.parametrize(
    ("total", "unit", "scale"),
    [
        (10, 1, Points(budget=10)),
        (100, 25, Continuous(low=0, high=100)),
        (100, 1, Continuous(low=0, high=100)),
    ],
)
def test_what_is_given_to_options_adds_up(total, unit, scale):
    given = shared(total, unit)
    sliders = {f"set{high}": np.linspace(0, high, N).round(1) for high in (100, 101, 110)}
    scales, told, answers = drafted(given.assign(**sliders))
    assert {task: scales[task] for task in given} == dict.fromkeys(given, scale)
    assert f"In Weigh, people share {total} among 3 options" in told
    np.testing.assert_array_equal(answers[[*given.columns]], given)


def test_what_stands_side_by_side_adds_up_however_it_is_called():
    given = shared(100, 5).set_axis(["Roads", "Schools", "Parks"], axis=1)
    random = np.random.default_rng(1)
    mood, calm = random.integers(0, 101, (2, N))
    beside = {"mood": mood, "unmoved": 100 - mood, "calm": calm, "hurried": 100 - calm}
    before = pd.DataFrame({"Age": 130 - given.Roads, "thermometer": random.integers(0, 101, N)})
    scales, told, _ = drafted(pd.concat([before, given, pd.DataFrame(beside)], axis=1))
    assert "In Roads, Schools, Parks, people share 100 among 3 options" in told
    assert told.count("share") == 1
    assert {scales[task] for task in given} == {Continuous(low=0, high=100)}


def test_blanks_are_zeros_sums_are_no_option_and_who_gives_otherwise_is_left_out():
    given = shared(10)
    blank = given.astype(float).where(given > 0)
    blank.loc[3, "Weigh [price]"] = 9.0 + given.loc[3, "Weigh [price]"]
    blank["Weigh [sum]"] = blank.sum(axis=1)
    scales, told, answers = drafted(blank)
    assert scales == dict.fromkeys(given.columns, Points(budget=10))
    assert "Left out, as theirs do not add up: 1." in told
    np.testing.assert_array_equal(answers[[*given.columns]], given.drop(index=3))


def test_decimals_add_up():
    cuts = np.sort(np.random.default_rng(0).integers(0, 1001, (N, 2)), axis=1)
    tenths = np.diff(cuts, axis=1, prepend=0, append=1000)
    given = pd.DataFrame(tenths / 10, columns=[f"Weigh [{option}]" for option in OPTIONS])
    assert len({*given.sum(axis=1)}) > 1  # as floats they do not
    scales, _, answers = drafted(given)
    assert scales == dict.fromkeys(given, Continuous(low=0, high=100))
    assert len(answers) == N


@pytest.mark.parametrize(
    ("stem", "rows"),
    [
        ("q", [[0, 1, 2, 3]]),
        ("q", [[1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 6, 6, 7]]),
        ("q", [[1, 2, 3], [1.5, 1.5, 3], [1, 2.5, 2.5]]),
        ("q", [[0, 1, 2, 3], [0.5, 0.5, 2, 3], [0, 1.5, 1.5, 3]]),
        ("q", [[10, 0, 0]]),
        ("Place", [[7, 2, 1], [5, 5, 0], [4, 4, 2]]),
    ],
)
def test_numbers_of_one_sum_that_are_places_are_not_shared(stem, rows):
    random = np.random.default_rng(0)
    given = [random.permutation(rows[i % len(rows)]) for i in range(N)]
    frame = pd.DataFrame(given, columns=[f"{stem}_{i}" for i in range(len(rows[0]))])
    _, told, _ = drafted(frame)
    assert "share" not in told


def test_rankings_ticks_and_other_numbers_are_not_shared():
    random = np.random.default_rng(0)
    three = {"rank": [1, 2, 3], "tick": [1] * 6 + [0] * 2}
    frames = [
        pd.DataFrame({f"{stem}_{i}": column for i, column in enumerate(rows.T)})
        for stem, values in three.items()
        for rows in [np.stack([random.permutation(values) for _ in range(N)])]
    ]
    grades = random.integers(0, 8, (N, 3))
    frames.append(pd.DataFrame({f"grade_{i}": grades[:, i] for i in range(3)}))
    scales, told, _ = drafted(pd.concat(frames, axis=1))
    assert "share" not in told
    assert len(scales) == 14
