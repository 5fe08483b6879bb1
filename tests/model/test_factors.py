"""Where a fit starts, against scikit-learn's factor analysis and simulated factors."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from known_people import make_known
from sklearn.decomposition import FactorAnalysis
from synthetic import make_study

from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.factors import Numbers, analyse, enough, standardised
from crowdllm_jax.model.persistent.start import LOGISTIC_SD, start_loadings


def simulated(people: int, loading: np.ndarray, share: float = 1.0, seed: int = 0):
    """Normal answers (P, T) with unit noise, as numbers; a share of them is given."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(people, loading.shape[1])) @ loading.T
    x += random.normal(size=x.shape)
    person, task = np.nonzero(random.random(x.shape) < share)
    return x, standardised(person, task, x[person, task], len(loading))[0]


def correlation(found) -> np.ndarray:
    covariance = found.loading @ found.loading.T + np.diag(found.noise)
    sd = np.sqrt(np.diag(covariance))
    return covariance / sd / sd[:, None]


def test_it_is_scikit_learns_where_everything_is_answered():
    """With 4,000 people shrinkage moves loadings by about 1 / 4,000 of themselves."""
    loading = np.random.default_rng(1).normal(size=(9, 2))
    x, numbers = simulated(4000, loading)
    z = (x - x.mean(0)) / x.std(0)
    expected = FactorAnalysis(2, tol=1e-6).fit(z).get_covariance()
    np.testing.assert_allclose(correlation(analyse(numbers, x.shape, 2)), expected, atol=0.01)


def test_it_needs_a_part_of_the_answers_and_drops_factors_that_are_none():
    """Of 3,000 people a third answers: 330 pairs give a correlation to .055, of 66 of which the
    worst is off by less than three times that."""
    loading = np.random.default_rng(1).normal(size=(12, 2))
    x, numbers = simulated(3000, loading, share=0.33)
    found = analyse(numbers, x.shape, 6)
    true = loading @ loading.T + np.eye(12)
    sd = np.sqrt(np.diag(true))
    np.testing.assert_allclose(correlation(found), true / sd / sd[:, None], atol=0.15)
    size = np.sort(np.sqrt((found.loading**2).mean(0)))
    assert size[:4].max() < 0.05
    assert size[4] > 0.3


@pytest.mark.parametrize(("factors", "expected"), [(2, 8), (14, 16)])
def test_as_many_dimensions_as_answers_left_out_pay_for(factors, expected):
    """Each factor moves four tasks of its own."""
    loading = np.repeat(np.eye(factors), 4, axis=0) * 1.5
    _, numbers = simulated(400, loading)
    assert enough(numbers, (400, len(loading))) == expected


def test_a_fit_starts_there():
    """Beliefs move tasks' locations with the covariance that the analysis finds, on the logistic
    axis, on whatever axes they do it and however it is parted among columns."""
    known = make_known(make_study(tasks=8, people=300), latent=3, loud=0.0)
    random = np.random.default_rng(0)
    factor, side = random.normal(size=(300, 1)), np.repeat([1.0, -1.0], 4)
    stand = factor * (1 + side) + random.normal(size=(300, 8))
    level = np.digitize(stand, [-1.5, -0.5, 0.5, 1.5]).astype(float).ravel()
    study = known.study
    assert len(level) == len(study.task)
    study = study.__class__(**{**vars(study), "answer": level})
    everything = np.ones(len(level), bool)
    _, answers = gather_answers(study, known.codings, known.design, everything)
    start_loadings(known.model, known.design.tasks, known.design.layout, answers)
    spread = np.exp(np.asarray(known.model.belief.log_spread[...]))[:3]
    loading = np.asarray(known.ready.items.loading) * spread
    numbers, _ = standardised(study.person, study.task, level, 8)
    found = analyse(numbers, (300, 8), 3)
    expected = found.loading * (LOGISTIC_SD / np.sqrt(found.noise))[:, None]
    expected *= np.minimum(1, 3 / np.sqrt((expected**2).sum(1, keepdims=True)))
    # Dimensions that hold nothing start anywhere, of deviation .3 times the spread .6.
    strong = loading[:4] @ loading[:4].T
    np.testing.assert_allclose(strong, expected[:4] @ expected[:4].T, atol=0.3)
    nnx.state(known.model)
    assert jnp.isfinite(jnp.asarray(loading)).all()
