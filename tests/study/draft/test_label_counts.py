"""Counts of labels per text are shares of answers, with a record or a text to tell them by."""

import json

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.study.draft.make import study
from crowdllm_jax.study.statistics import level_shares

N = 20
LABELS = ("e", "n", "c")
COUNTS = [(50 + i, 40 - i - (i == 3), 10 + (i == 3)) for i in range(N)]
TEXTS = [f"Somebody walks down road {i}" for i in range(N)]


def check(made, texts=tuple(TEXTS)) -> None:
    assert made.toplines
    assert len(made.tasks.ids) == N
    assert {*made.tasks.text} == {*texts}
    (scale,) = made.scales.values()
    found = level_shares(made, np.ones(len(made.task), bool), 0)
    order = [LABELS.index(level) for level in scale.levels]
    wanted = np.array(COUNTS)[:, order] / 100
    of_text = {text: place for place, text in enumerate(texts)}
    np.testing.assert_allclose(found, wanted[[of_text[text] for text in made.tasks.text]])


@pytest.mark.parametrize("more", [{}, {"count": 100}, {"uid": [f"u{i}" for i in range(N)]}])
def test_columns_beside_a_text_that_add_up_are_counts(more):
    frame = pd.DataFrame(COUNTS, columns=[*LABELS]).assign(**more)
    check(study(frame.assign(text=TEXTS)))
    made = study(frame.assign(premise=TEXTS, hypothesis="Nobody is there"))
    check(made, tuple(f"{text} | Nobody is there" for text in TEXTS))


@pytest.mark.parametrize("name", ["label_counter", "counts", "label_counts", "votes"])
def test_a_record_of_counts(name, tmp_path):
    path = tmp_path / "a.jsonl"
    records = [
        {"uid": f"u{i}", name: dict(zip(LABELS, COUNTS[i], strict=True)), "text": TEXTS[i]}
        for i in range(N)
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    check(study(path))


def test_counts_that_do_not_add_up_beside_their_number_and_a_label_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    counts = [{"joy": 3, "anger": i % 3} if i % 3 else {"joy": 4} for i in range(N)]
    path.write_text("\n".join(json.dumps({"id": i, "counts": own}) for i, own in enumerate(counts)))
    made = study(path)
    assert made.toplines
    weights = np.bincount(made.task, made.participants.weight[made.person])
    np.testing.assert_allclose(weights * 4 / weights[0], [sum(own.values()) for own in counts])


@pytest.mark.parametrize(
    "more",
    [
        {"participant": [f"p{i}" for i in range(N)], "text": TEXTS},
        {"id": range(N), "comments": TEXTS},
        {"id": range(N)},
    ],
)
def test_points_that_people_share_are_theirs(more):
    frame = pd.DataFrame(COUNTS, columns=["cars", "trains", "bikes"]).assign(**more)
    made = study(frame)
    assert not made.toplines
    assert len(made.participants.ids) == N
