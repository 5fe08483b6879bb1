"""What sums up the answers to a task is not known of a new one, and describes none."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.study.draft.make import study
from crowdllm_jax.study.records import Study

LABELS = ("neg", "neu", "pos")
TASKS, PEOPLE = 24, 3


def label(task: int, person: int) -> str:
    return LABELS[(task + (task * person) % 2) % 3]


def annotated(name: str, column: list[object] | None = None) -> Study:
    """A row per text with a column per annotator, and one that says what most of them said."""
    frame = pd.DataFrame(
        {"id": range(TASKS), "text": [f"a text of number {i}" for i in range(TASKS)]}
    )
    for person in range(PEOPLE):
        frame[f"annotator_{person + 1}"] = [label(i, person) for i in range(TASKS)]
    most = [Counter(label(i, j) for j in range(PEOPLE)).most_common(1)[0][0] for i in range(TASKS)]
    return study(frame.assign(**{name: column or most}))


def told(made: Study) -> list[str]:
    return [attribute.name for attribute in made.tasks.attributes]


@pytest.mark.parametrize("name", ["majority", "gold", "consensus", "final_label", "label", "Final"])
def test_what_most_annotators_said_describes_no_text(name):
    made = annotated(name)
    assert len(made.participants.ids) == PEOPLE
    assert told(made) == []


def test_what_else_is_told_of_texts_describes_them():
    assert told(annotated("topic", [("a", "b")[i % 2] for i in range(TASKS)])) == ["topic"]
    # A label that is none of most annotators, and is not called one of all.
    assert told(annotated("shown", [LABELS[i % 3] for i in range(TASKS)])) == ["shown"]
    assert told(annotated("target")) == ["target"]
    assert told(annotated("rating", [LABELS[(i // 3) % 3] for i in range(TASKS)])) == ["rating"]


def test_averages_of_ratings_and_how_much_they_differ_describe_nothing():
    rows = [
        {"item": f"t{i}", "rater": f"r{j}", "score": 1 + (i * j + i) % 5, "length": 10 + i * i}
        for i in range(TASKS)
        for j in range(6)
    ]
    frame = pd.DataFrame(rows)
    by_task = frame.groupby("item").score
    frame["mean_score"] = by_task.transform("mean").round(2)
    frame["sd"] = by_task.transform("std").round(2)
    frame["n_ratings"] = 6 + frame.length % 2
    made = study(frame)
    assert told(made) == ["length"]
    assert np.bincount(made.task).tolist() == [6] * TASKS
