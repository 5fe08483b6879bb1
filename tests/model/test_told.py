"""What references say of scales of few known tasks: what is usual there, and what beside that."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import make_study

from crowdllm_jax.errors import CrowdWarning
from crowdllm_jax.model import caution
from crowdllm_jax.model.persistent import told as module
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import Design, make_design
from crowdllm_jax.model.persistent.told import FORECAST, options_told
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Ordinal

QUICK = PersistentConfig(latent=1, injected=0, nodes=8, steps=5)
SCALES = {name: Ordinal(levels=(1, 2, 3)) for name in ("many", "few", "none")}
SCALE = np.array([0] * 7 + [1] * 3 + [2] * 2)
KNOWN = np.array([1] * 6 + [0] + [1] * 2 + [0] + [0] * 2, bool)


def study() -> Study:
    """Seven tasks on a scale of which six are known, three of which two, and two of which none."""
    made = make_study({"many": SCALES["many"]}, tasks=len(SCALE), people=4)
    people = replace(made.participants, profile=())
    return replace(
        made,
        scales=SCALES,
        participants=people,
        tasks=replace(made.tasks, scale=SCALE.astype(np.int32)),
    )


def told(kind: str, seed: int = 0) -> Reference:
    probs = np.random.default_rng(seed).dirichlet(np.full(3, 5.0), len(SCALE))
    return replace(from_levels(study(), kind, probs), kind=kind)


def logs(reference: Reference) -> np.ndarray:
    log = np.log(reference.probs)
    return log - log.mean(1, keepdims=True)


def design(reference: Reference, *, known: bool = False) -> Design:
    made = study()
    return make_design(made, reference, (), KNOWN[made.task], QUICK, known=known)


def test_what_is_usual_on_a_scale_of_few_known_tasks_is_told_apart(monkeypatch):
    monkeypatch.setattr(module, "ENOUGH", 2)
    reference = told("column")
    tasks = design(reference).tasks
    log = logs(reference)
    beside, usual = tasks.reference, tasks.others[:, :, 0]
    np.testing.assert_allclose(usual[7:10], np.tile(log[7:9].mean(0), (3, 1)), atol=1e-6)
    np.testing.assert_allclose(beside[7:10], log[7:10] - log[7:9].mean(0), atol=1e-6)
    np.testing.assert_allclose(usual[10:], log[10:], atol=1e-6)
    assert not beside[10:].any()
    assert not usual[:7].any()
    np.testing.assert_allclose(beside[:6], (log[:6] - log[:6].mean(0)), atol=1e-6)
    assert tasks.levelled.tolist() == [1] * 7 + [0] * 5


@pytest.mark.parametrize("kind", ["pooled", "column"])
def test_a_forecast_is_taken_as_it_is(kind):
    """And any reference, where too few tasks tell how far to trust what is usual by it."""
    reference = told(kind)
    found = design(reference)
    log = logs(reference)
    assert found.tasks.others is None
    np.testing.assert_allclose(found.tasks.reference[7:], log[7:], atol=1e-6)
    np.testing.assert_allclose(found.tasks.reference[:6], log[:6] - log[:6].mean(0), atol=1e-6)
    if kind == "pooled":
        np.testing.assert_allclose(found.tasks.expected, FORECAST)


def test_several_and_what_is_usual_by_them(monkeypatch):
    """Together the columns say, under equal trust, what the average does."""
    monkeypatch.setattr(module, "ENOUGH", 2)
    first, second, third = told("column"), told("column", 1), told("pooled", 2)
    found = design(replace(first, others=(second, third)))
    average = np.mean([logs(one) for one in (first, second, third)], axis=0)
    every = np.concatenate([found.tasks.reference[..., None], found.tasks.others], axis=2)
    assert every.shape == (12, 3, 5)
    whole = every[..., 0] + every[..., 4]
    np.testing.assert_allclose(whole[7:], average[7:], atol=1e-6)
    np.testing.assert_allclose(every[7:, :, 1] + average[7:], logs(first)[7:], atol=1e-6)
    assert found.groups["trust_everywhere"].tolist() == [0, 1, 1, 1, 2]
    np.testing.assert_allclose(found.tasks.expected[0], [FORECAST, 0, 0, FORECAST, 0], atol=1e-6)


def test_where_people_are_held_out_levels_are_learnt():
    for reference in (told("column"), told("pooled")):
        found = design(reference, known=True)
        assert found.tasks.levelled is None
        assert found.tasks.others is None


def test_nothing_is_usual_by_the_average_of_answers():
    found = design(replace(told("column"), kind="marginal"))
    assert found.tasks.others is None
    assert not found.tasks.reference[10:].any()


def test_scales_of_few_known_tasks_are_warned_of_together(monkeypatch):
    """Nobody answered the tasks of the last; one line is of both."""
    made, found = study(), design(told("column"))
    answered = made.task < 10
    made = replace(
        made,
        person=made.person[answered],
        task=made.task[answered],
        answer=made.answer[answered],
    )
    monkeypatch.setattr(caution, "explained", lambda *_: np.array([0.5, 0.01, 0.01]))
    crowd = SimpleNamespace(graph=None, params=None, inputs=found, scales=SCALES)
    with pytest.warns(CrowdWarning) as caught:
        caution.warn_of_new_tasks(made, crowd, "column")
    (warning,) = caught
    assert "2 scales of fewer than 5 known tasks ('few', 'none'): nobody answered 2 task(s)" in str(
        warning.message
    )
    assert "explains 1% of how the 2 known tasks differ" in str(warning.message)


def test_options_that_the_run_has_not():
    """As of a scale without known tasks: all that is said is what is usual."""
    first, second = told("column"), told("column", 1)
    one = options_told([first], 3, 3, 2)
    np.testing.assert_allclose(one, np.stack([np.zeros(3), logs(first)[3]], 1), atol=1e-12)
    np.testing.assert_allclose(options_told([first], 3, 3, 1)[:, 0], logs(first)[3], atol=1e-12)
    several = options_told([first, None, second], 3, 3, 5)
    average = (logs(first)[3] + logs(second)[3]) / 3
    np.testing.assert_allclose(several[:, 4], average, atol=1e-12)
    np.testing.assert_allclose(several[:, 1], logs(first)[3] - average, atol=1e-12)
    np.testing.assert_allclose(several[:, 2], -average, atol=1e-12)
    assert not several[:, 0].any()
