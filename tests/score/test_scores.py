"""Scores as a table."""

import numpy as np
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.score.metrics import Score
from crowdllm_jax.score.scores import Scores

SCORES = Scores(
    [
        Score("crowd", "people", 0, "skill", 0.5, 0.4, 0.6),
        Score("crowd", "people", 1, "skill", 0.9, 0.8, 1.0),
        Score("<humans>", "people", 0, "skill", 1.0, np.nan, np.nan, "no interval"),
        Score("<humans>", "people", 0, "rps", np.nan, np.nan, np.nan, "too few"),
    ]
)


def test_a_score_is_found_by_model_and_metric():
    assert SCORES.of("crowd", "skill") is SCORES[0]
    with pytest.raises(CrowdError, match="no rps of crowd; there is: skill"):
        SCORES.of("crowd", "rps")
    with pytest.raises(CrowdError, match="there is: <humans>, crowd"):
        SCORES.of("nobody", "rps")


def test_a_data_frame_has_a_row_per_score():
    frame = SCORES.to_pandas()
    assert list(frame.columns) == [*Score.__struct_fields__]
    assert frame.value[:3].tolist() == [0.5, 0.9, 1.0]
    assert Scores().to_pandas().empty


def test_a_notebook_shows_the_first_seed_and_says_why_there_is_none():
    page = SCORES._repr_html_()
    assert "0.500 <small>(0.400 to 0.600)</small>" in page
    assert "0.900" not in page
    assert '<span title="too few">&ndash;</span>' in page
    assert "<humans>" not in page
    assert repr(SCORES) == "Scores(4 of 2 models: crowd, <humans>)"
