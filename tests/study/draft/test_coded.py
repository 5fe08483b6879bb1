"""Codes of labels, and which order they and the labels have."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.study.draft.make import study

pyreadstat = pytest.importorskip("pyreadstat")
FREQUENT = ["Never", "Sometimes", "Often", "Always"]


def labelled(folder: Path, labels: list[str], **said: object):
    """A study of 60 people who give codes 1 to K in turn, and its levels as people read them."""
    codes = np.arange(60) % len(labels) + 1.0
    frame = pd.DataFrame({"id": np.arange(60.0), "q": codes})
    path = folder / "a.sav"
    pyreadstat.write_sav(
        frame, str(path), variable_value_labels={"q": dict(enumerate(labels, start=1))}
    )
    made = study(path, **said)
    scale = made.scale_of(0)
    return made, scale.labels or scale.levels


def test_codes_by_the_alphabet_do_not_order_labels_that_have_an_order(tmp_path):
    frame = pd.DataFrame({"id": range(60), "q": pd.Categorical(FREQUENT * 15)})
    frame["education"] = pd.Categorical(["Low", "Medium", "High"] * 20)
    frame.to_stata(tmp_path / "a.dta", write_index=False)
    made = study(tmp_path / "a.dta")
    assert made.scale_of(0).levels == tuple(FREQUENT)
    assert made.participants.profile[0].levels == ("Low", "Medium", "High")
    answers = [FREQUENT[level] for level in made.answer[np.argsort(made.person)].astype(int)]
    assert answers == FREQUENT * 15


@pytest.mark.parametrize(
    ("codes", "order"),
    [
        ("Increase|Decrease|Stay the same", "Decrease|Stay the same|Increase"),
        ("Agree|Disagree|Neither", "Disagree|Neither|Agree"),
        ("Better|Worse|Same|Don't know", "Worse|Same|Better"),
        # From the highest to the lowest the codes have an order, too.
        ("Always|Often|Sometimes|Never", "Always|Often|Sometimes|Never"),
        ("zip|very zip|zap", "zip|very zip|zap"),
    ],
)
def test_the_order_of_codes_gives_way_to_that_of_labels_alone(tmp_path, codes, order):
    assert labelled(tmp_path, codes.split("|"))[1] == tuple(order.split("|"))


def test_what_the_user_says_of_the_order_of_labels_is_heeded(tmp_path):
    order = ["zap", "zip", "very zip"]
    made, levels = labelled(tmp_path, ["zip", "very zip", "zap"], order=order)
    assert levels == tuple(order)
    assert made.answer[:3].tolist() == [1, 2, 0]
    free, _ = labelled(tmp_path, ["zip", "very zip", "zap"], no_order=order)
    assert type(free.scale_of(0)).__name__ == "Nominal"
