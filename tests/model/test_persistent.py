"""The persistent model: its likelihood is exact, and a fit finds what made the data."""

import dataclasses
import signal

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
from flax import nnx
from known_people import Known, draw_people, make_known
from scipy.special import expit, logsumexp, roots_hermitenorm
from scipy.stats import norm
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model import crowd_file
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.crowd_file import load_crowd, save_crowd
from crowdllm_jax.model.persistent import fit as marginal
from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.belief import Belief
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import make_design
from crowdllm_jax.model.persistent.draw import draw_beliefs
from crowdllm_jax.model.persistent.effects import divergence
from crowdllm_jax.model.persistent.fit import fit_marginal, held_out_evidence
from crowdllm_jax.model.persistent.posterior import sobol
from crowdllm_jax.population.sample import sample
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runs import prepare as fitting
from crowdllm_jax.runtime import pieces
from crowdllm_jax.runtime.checkpoints import Checkpoints
from crowdllm_jax.runtime.randomness import seed_halves, split_ids
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import encode, fit_coding
from crowdllm_jax.study.datasets import anes96
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal

QUICK = PersistentConfig(latent=1, injected=0, nodes=16, steps=60, people=16, learning_rate=0.15)
"""Three chunks (see `chunks`): one program serves every fit to the small study."""
EVERY = {**EVERY_SCALE, "party": Nominal(levels=("a", "b", "c"))}


def answers_of(known, study=None):
    study = known.study if study is None else study
    everything = np.ones(len(study.task), bool)
    return gather_answers(study, known.codings, known.design, everything)[1]


def centred(known) -> np.ndarray:
    people = known.study.participants
    return (encode(known.codings, people.profile) - known.design.centre).astype(np.float32)


def evidence_of(known, answers=None, nodes: int = 4096) -> np.ndarray:
    answers = answers_of(known) if answers is None else answers
    return held_out_evidence(*nnx.split(known.model, nnx.Param), known.design, answers, nodes)


def test_the_marginal_likelihood_is_an_integral():
    """Against Gauss-Hermite in both dimensions of the belief, in float64 and written anew."""
    study = make_study(
        {
            "rating": Ordinal(levels=(1, 2, 3)),
            "agree": Binary(),
            "price": Continuous(low=2.0, high=6.0),
        },
        tasks=3,
        people=6,
    )
    # Answers at the very end of the scale have mass, those between have density.
    answer = np.where(study.task == 6, 6.0, study.answer)
    known = make_known(dataclasses.replace(study, answer=answer), latent=1, loud=0.3)
    known.model.belief.log_spread[...] = jnp.array([-0.1, -1.2])
    known.model.belief.tilt[...] = jnp.array([0.3])
    ready = known.ready
    share = np.exp(np.asarray(ready.items.base, np.float64)).cumsum(1)
    x, weight = roots_hermitenorm(180)
    u, w = np.meshgrid(x, x, indexing="ij")
    weight = np.log(np.outer(weight, weight) / (2 * np.pi))
    z = np.exp(-0.1) * u
    scale = np.exp(np.exp(-1.2) * w + 0.3 * u)
    c = centred(known)
    levels = known.study.answer.reshape(6, 9)
    exact = np.zeros(6)
    for person in range(6):
        log = weight.copy()
        where = np.asarray(ready.items.location + c[person] @ ready.items.profile, np.float64)
        for task in range(9):
            location = where[task] + z * float(ready.items.loading[task, 0])
            answer = levels[person, task]
            if task < 6:
                cut = np.log(share[task]) - np.log1p(-np.minimum(share[task], 1 - 1e-15))
                top = 3 if task < 3 else 2
                high = np.inf if answer == top - 1 else cut[int(answer)]
                low = -np.inf if answer == 0 else cut[int(answer) - 1]
                chance = expit((high - location) / scale) - expit((low - location) / scale)
                log += np.log(np.maximum(chance, 1e-300))
            else:
                sd = np.exp(-1.0) * scale
                unit = (answer - 2) / 4
                log += (
                    norm.logsf(1, 0.5 + location, sd)
                    if unit == 1
                    else norm.logpdf(unit, 0.5 + location, sd)
                )
        exact[person] = logsumexp(log)
    # 4,096 points around each mode, and float32 sums over nine answers.
    np.testing.assert_allclose(evidence_of(known), exact, atol=3e-3)


@pytest.fixture(scope="module")
def crowd():
    """A loud crowd on every kind of scale."""
    return make_known(make_study(EVERY, people=8), loud=0.4, injected=2).crowd


def test_an_agent_depends_on_its_id_alone(crowd):
    every = sample(crowd, 60, seed=4)
    for start, count in ((0, 1), (0, 7), (13, 20), (59, 1)):
        some = sample(crowd, count, seed=4, start=start)
        np.testing.assert_array_equal(some.answers, every.answers[start : start + count])
    assert (sample(crowd, 60, seed=5).answers != every.answers).mean() > 0.3
    far = sample(crowd, 3, seed=4, start=2**33)
    np.testing.assert_array_equal(far.answers[1:], sample(crowd, 2, 4, start=2**33 + 1).answers)
    assert (far.answers != every.answers[:3]).any()


def test_every_scale_is_drawn_validly(crowd):
    answers = sample(crowd, 500, seed=0).answers
    for index, scale in enumerate(crowd.scales.values()):
        own = answers[:, crowd.task_scale == index]
        low, high = (-10, 30) if isinstance(scale, Continuous) else (0, scales.size(scale) - 1)
        assert low <= own.min() < own.max() <= high
        if scales.is_ballot(scale):
            assert not scales.ballot_fault(scale, own.astype(int)).any()


def test_a_saved_crowd_answers_the_same(crowd, tmp_path):
    save_crowd(crowd, tmp_path / "crowd")
    loaded = load_crowd(tmp_path / "crowd")
    assert loaded.config == crowd.config
    assert loaded.inputs.layout == crowd.inputs.layout
    np.testing.assert_array_equal(sample(loaded, 50, 3).answers, sample(crowd, 50, 3).answers)
    with pytest.raises(CrowdError, match=r"give .*crowd"):
        load_crowd(tmp_path)


def test_a_crowd_that_was_saved_before_beliefs_were_centred_answers_as_it_did(crowd, tmp_path):
    old = {n: a for n, a in crowd_file.arrays_of(crowd).items() if "belief.middle" not in n}
    assert len(old) == len(crowd_file.arrays_of(crowd)) - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crowd_file, "arrays_of", lambda _: old)
        save_crowd(crowd, tmp_path / "crowd")
    loaded = load_crowd(tmp_path / "crowd")
    np.testing.assert_array_equal(sample(loaded, 50, 3).answers, sample(crowd, 50, 3).answers)


def test_beliefs_are_centred_however_noise_is_mixed_in():
    """Or features would move tasks by what these load on. The mean of 100,000 is good to .003 of a
    deviation, which is below 2; the worst of three is within four times that."""
    belief = mixed_belief()
    u = jax.random.normal(jax.random.key(9), (100_000, belief.width))
    assert np.abs(belief(u)[0].mean(0)).max() > 0.2
    belief.centre()
    np.testing.assert_allclose(belief(u)[0].mean(0), 0, atol=0.025)


def mixed_belief() -> Belief:
    belief = Belief(3, 2, rngs=nnx.Rngs(0))
    for seed, param in enumerate((belief.mixing.kernel, belief.mixing.bias, belief.shift.kernel)):
        param[...] = jax.random.normal(jax.random.key(seed), param.shape)
    belief.tilt[...] = jnp.array([0.3, -0.2, 0.1])
    return belief


def test_noise_moves_beliefs_in_a_fit_as_it_does_in_agents():
    belief = mixed_belief()
    belief.centre()
    u = jax.random.normal(jax.random.key(2), (50, belief.width))
    moved = u[:, :4] + belief.moved(u[:, 4:])
    for found, drawn in zip(belief.placed(moved), belief(u), strict=True):
        np.testing.assert_allclose(found, drawn, rtol=1e-4, atol=1e-5)


def item_correlation(answers: np.ndarray) -> float:
    r = np.corrcoef(answers.T)
    return r[np.triu_indices(len(r), 1)].mean()


def test_one_belief_serves_all_tasks():
    """Agents with one profile: their answers hang together through the belief, and only so."""
    known = make_known(make_study(tasks=8), latent=1, loud=0.0)
    n = 4000
    same = np.zeros((n, len(known.design.centre)), np.float32)

    def correlation(log_spread: float) -> float:
        known.model.belief.log_spread[...] = jnp.array([log_spread, -9.0])
        return item_correlation(draw_people(known, same, seed=1).astype(float))

    # A mean of 28 correlations, each 0 +- 1 / sqrt(4000): below 0.016 even if they were one.
    assert abs(correlation(-20.0)) < 0.016
    # On the logit scale the belief has variance 1, an answer pi**2 / 3 beside it: ICC 0.23; cutting
    # into 5 levels loses a little.
    assert 0.17 < correlation(0.0) < 0.24


def test_profiles_move_answers():
    known = make_known(make_study(tasks=8), latent=1, loud=0.0)
    known.model.effects.mean["profile"][...] = jnp.array([0.0, 0.0, -2.0, 0.0, 2.0])
    c = np.zeros((2000, 5), np.float32)
    c[:1000, 2], c[1000:, 4] = 1, 1
    answers = draw_people(known, c, seed=1)
    assert answers[1000:].mean() - answers[:1000].mean() > 1


def simulate(known, seed: int):
    """The study answered by its own people according to the known model; and their beliefs."""
    ids = split_ids(np.arange(len(known.study.participants.ids)))
    ready = known.ready
    z, scale = draw_beliefs(ready.graph, ready.params, seed_halves(seed), ids)
    answers = draw_people(known, centred(known), seed, z, scale)
    return dataclasses.replace(known.study, answer=answers.ravel().astype(float)), z


@pytest.fixture(scope="module")
def recovered():
    """300 people answer 20 ratings; what made the answers, and what a fit finds."""
    study = make_study(tasks=20, people=300)
    study = dataclasses.replace(
        study,
        participants=dataclasses.replace(
            study.participants,
            profile=(
                *study.participants.profile,
                # Says nothing of the answers.
                dataclasses.replace(
                    study.participants.profile[1],
                    name="sign",
                    cells=np.random.default_rng(8).integers(0, 3, 300).astype(np.int32),
                ),
            ),
        ),
    )
    known = make_known(study, latent=2, loud=0.0)
    random = np.random.default_rng(1)
    effects = known.model.effects.mean
    effects["task"][...] = jnp.asarray(random.normal(size=20), jnp.float32) * 0.7
    loading = np.zeros((20, 2), np.float32)
    # The second dimension divides the tasks into two camps.
    loading[:, 1] = np.where(np.arange(20) < 10, 1.2, -1.2)
    effects["task_loading"][...] = jnp.asarray(loading)
    city = np.array([-0.8, 0.0, 0.8], np.float32)
    effects["profile"][...] = jnp.concatenate([jnp.zeros(2), city, jnp.zeros(3)])
    known.model.belief.log_spread[...] = jnp.log(jnp.array([0.9, 0.9, 0.25]))
    study, z = simulate(known, seed=2)
    config = PersistentConfig(
        latent=2, injected=0, nodes=64, steps=250, people=64, learning_rate=0.06
    )
    known = known._replace(study=study)
    graph, params, losses = fit_marginal(known.design, answers_of(known), config, 0)
    fitted = known._replace(model=nnx.merge(graph, params))
    return known, fitted, losses, np.asarray(z)


def item_covariance(known) -> np.ndarray:
    """(T, T) covariance of the tasks' locations over people, which rotations do not change."""
    spread = np.exp(np.asarray(known.model.belief.log_spread[...]))[:2]
    loading = np.asarray(known.ready.items.loading) * spread
    return loading @ loading.T


def test_recovers_how_far_people_lie_apart(recovered):
    known, fitted, losses, _ = recovered
    assert np.isfinite(losses).all()
    # What was fitted to the answers explains them better than the truth does, and the bound lies
    # below that by what knowing 48 effects costs: 2.5 units each at most, log(prior deviation /
    # their own) and half a unit for their size, are .4 for each of 300 people.
    truth, own = (evidence_of(one, nodes=256).mean() for one in (known, fitted))
    assert own > truth
    assert -losses[-50:].mean() > truth - 0.4
    true, found = item_covariance(known), item_covariance(fitted)
    # A variance of 300 people has a relative error of sqrt(2 / 300) = 8%; three of them, and the
    # answers' noise on top.
    assert np.trace(found) == pytest.approx(np.trace(true), rel=0.3)
    off = np.triu_indices(20, 1)
    assert np.corrcoef(true[off], found[off])[0, 1] > 0.95
    agents = [np.asarray(sample(k.crowd, 4000, 1).answers, float) for k in (known, fitted)]
    one, two = (np.corrcoef(a.T)[off] for a in agents)
    # Correlations between two answers of 300 people are good to 1 / sqrt(300) = 0.06 each.
    assert np.sqrt(((one - two) ** 2).mean()) < 0.06
    assert item_correlation(agents[0]) == pytest.approx(item_correlation(agents[1]), abs=0.03)


def test_agents_answers_hang_together_as_those_of_voters_do():
    """Where voters place themselves and two candidates: some take liberal for conservative, so that
    beliefs have to be lopsided."""
    study = anes96()
    everything = np.ones(len(study.task), bool)
    codings = tuple(fit_coding(one, np.arange(944)) for one in study.participants.profile)
    reference = Reference("marginal", np.zeros(len(study.tasks.ids)))
    config = PersistentConfig(latent=4, learning_rate=0.02)
    design = make_design(study, reference, codings, everything, config, known=True)
    _, answers = gather_answers(study, codings, design, everything)
    graph, params, _ = fit_marginal(design, answers, config, 0)
    tasks, profiles = study.tasks, study.participants.profile
    profiles = fit_profiles(profiles, np.ones(944), ProfilesConfig())
    crowd = Crowd(
        config, graph, params, tasks.ids, study.scales, tasks.scale, design, codings, profiles
    )
    agents = np.asarray(sample(crowd, 20_000, 1).answers, float)
    people = study.answer.reshape(944, 6)
    off = np.triu_indices(3, 1)
    true, found = (np.corrcoef(answers[:, :3].T)[off] for answers in (people, agents))
    # A correlation in 944 people is good to 1 / sqrt(944) = .033, and these were fitted to.
    assert np.abs(true - found).mean() < 2 * 0.033


def contrast(known, columns: slice) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and deviation of an attribute's effects, relative to their average."""
    effects = known.model.effects
    mean = np.asarray(effects.mean["profile"][...])[columns]
    sd = np.exp(np.asarray(effects.log_sd["profile"][...]))[columns]
    return mean - mean.mean(), sd


def test_profile_effects_are_recovered_and_noise_shrinks(recovered):
    _, fitted, _, _ = recovered
    mean, sd = contrast(fitted, slice(2, 5))
    # The beliefs of 100 people per city (deviation 0.9) alone leave 0.09 + the answers' noise.
    assert np.abs(mean - [-0.8, 0, 0.8]).max() < 4 * max(sd.max(), 0.1)
    assert mean[2] - mean[0] > 1.0
    nothing, _ = contrast(fitted, slice(5, 8))
    assert np.abs(nothing).max() < 0.2
    prior = np.exp(np.asarray(fitted.model.effects.log_prior["profile"][...]))
    assert prior[1] > 3 * prior[2], "the sign of the zodiac must shrink, the city must not"


def test_task_effects_are_recovered(recovered):
    known, fitted, _, _ = recovered
    one, two = (sample(k.crowd, 4000, 1).answers.mean(0) for k in (known, fitted))
    # A task's mean of 300 answers is good to 1.3 / sqrt(300) = 0.075.
    assert np.sqrt(((one - two) ** 2).mean()) < 0.1
    assert np.ptp(one) > 0.8


def test_agents_stand_where_people_do_whom_a_fit_has_left_on_one_side():
    """40 people answer 300 ratings each; long steps change the units of all of them before people's
    prior says that their scales lie around 1."""
    known = make_known(make_study(tasks=300, people=40), latent=1, loud=0.0, nodes=16, steps=50)
    known = known._replace(config=msgspec.structs.replace(known.config, learning_rate=0.1))
    effects = known.model.effects.mean
    effects["task"][...] = jnp.asarray(np.random.default_rng(1).normal(size=300), jnp.float32)
    known.model.belief.log_spread[...] = jnp.log(jnp.array([0.9, 0.3]))
    study, _ = simulate(known, seed=2)
    known = known._replace(study=study)
    graph, params, _ = fit_marginal(known.design, answers_of(known), known.config, 0)
    fitted = known._replace(model=nnx.merge(graph, params))
    people = item_correlation(study.answer.reshape(40, 300))

    def agents() -> float:
        return item_correlation(np.asarray(sample(fitted.crowd, 1000, 1).answers, float))

    # 1,000 agents' variances have a relative error of sqrt(2 / 1000) = 4.5%; three of them.
    assert agents() == pytest.approx(people, rel=0.135)
    fitted.model.belief.mean[...] = jnp.zeros(2)
    assert agents() > 1.2 * people


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_people_follow_the_reference_more_or_less_steeply(spread):
    """240 people answer 24 ratings with slopes of their own on the reference; agents do so too."""
    random = np.random.default_rng(3)
    study = make_study(tasks=24, people=240)
    mean = random.normal(size=24)
    slope = 0.8 + spread * random.normal(size=240)
    place = slope[study.person] * mean[study.task] + random.logistic(size=len(study.task))
    answer = np.searchsorted([-1.5, -0.5, 0.5, 1.5], place).astype(float)
    nobody = dataclasses.replace(study.participants, profile=())
    study = dataclasses.replace(study, answer=answer, participants=nobody)
    reference = Reference("column", 3 + mean)
    everything = np.ones(len(study.task), bool)
    config = PersistentConfig(latent=2, injected=0, nodes=64, steps=250, learning_rate=0.06)
    design = make_design(study, reference, (), everything, config, known=False)
    _, answers = gather_answers(study, (), design, everything)
    graph, params, _ = fit_marginal(design, answers, config, 0)
    known = Known(study, (), config, design, nnx.merge(graph, params))
    agents = sample(known.crowd, 4000, 1).answers.astype(float)

    def slopes(answers: np.ndarray) -> np.ndarray:
        centred = mean - mean.mean()
        return answers @ centred / (centred @ centred)

    own = slopes(answer.reshape(240, 24)).std()
    # A deviation of 240 people is good to 1 / sqrt(2 * 240) = 5%; of agents without slopes of their
    # own it would be less than half of the real one where people have them.
    assert slopes(agents).std() == pytest.approx(own, rel=0.15)


def fit(known, seed=0, answers=None, **more):
    answers = answers_of(known) if answers is None else answers
    return fit_marginal(known.design, answers, QUICK, seed, **more)


@pytest.fixture
def chunks(monkeypatch):
    monkeypatch.setattr(marginal, "CHUNK", 20)


@pytest.fixture(scope="module")
def small():
    return make_known(latent=1)


def test_a_resumed_fit_ends_as_an_uninterrupted_one(small, chunks, tmp_path):
    _, whole, losses = fit(small)

    class StopError(Exception):
        pass

    def stop(step: int, _: float) -> None:
        if step == 20:
            raise StopError

    with Checkpoints(tmp_path / "c") as kept, pytest.raises(StopError):
        fit(small, checkpoints=kept, on_step=stop)
    seen = []
    with Checkpoints(tmp_path / "c") as kept:
        _, resumed, again = fit(small, checkpoints=kept, on_step=lambda step, _: seen.append(step))
    assert seen == [40, 60], "the first chunk was not done again"
    np.testing.assert_array_equal(losses, again)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), whole, resumed))


def test_a_fit_that_is_stopped_within_a_chunk_ends_in_the_same_bits(
    small, chunks, tmp_path, monkeypatch
):
    """After 5 steps of 60, by Ctrl-C while the sixth is computed; a step at a time."""
    _, whole, losses = fit(small)
    monkeypatch.setattr(pieces, "PIECE", 0.0)
    unpatched, calls = marginal._steps, []

    def interrupted(*arguments):
        calls.append(int(arguments[-1]))
        after = unpatched(*arguments)
        if len(calls) == 6:
            signal.raise_signal(signal.SIGINT)
        return after

    monkeypatch.setattr(marginal, "_steps", interrupted)
    with Checkpoints(tmp_path / "c") as kept, pytest.raises(KeyboardInterrupt):
        fit(small, checkpoints=kept)
    assert calls == [1] * 6, "it went on"
    with Checkpoints(tmp_path / "c") as kept:
        _, resumed, again = fit(small, checkpoints=kept)
    assert calls == [1] * 60, "a step was done twice"
    np.testing.assert_array_equal(losses, again)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), whole, resumed))


def test_one_program_per_shape(small, chunks):
    marginal._steps.clear_cache()
    one = fit(small, seed=0)[2]
    other = fit(small, seed=1)[2]
    assert marginal._steps._cache_size() == 1
    assert (one != other).any()


def test_divergence_is_an_error(small, chunks, tmp_path):
    answers = answers_of(small)
    bad = answers._replace(weight=answers.weight * np.nan)
    with (
        Checkpoints(tmp_path / "c") as kept,
        pytest.raises(CrowdError, match=r"loss is nan after 20 steps; lower model\.learning_rate"),
    ):
        fit(small, answers=bad, checkpoints=kept)
    assert not any(path.name.isdigit() for path in (tmp_path / "c").iterdir())


def test_weights_count(small, chunks):
    """Those who answer high weigh ten times as much: the crowd answers higher."""
    total = np.bincount(small.study.person, small.study.answer)
    high = total > np.median(total)
    means = {}
    for name, ratio in (("plain", 1.0), ("high", 10.0), ("low", 0.1)):
        weight = np.where(high, ratio, 1.0)
        answers = answers_of(small)._replace(weight=(weight / weight.mean()).astype(np.float32))
        graph, params, _ = fit(small, answers=answers)
        crowd = small._replace(model=nnx.merge(graph, params)).crowd
        means[name] = sample(crowd, 2000, 0).answers.mean()
    assert means["low"] + 0.1 < means["plain"] < means["high"] - 0.1


def test_the_divergence_is_the_normal_one():
    """KL of N(m, s) from N(0, d), summed; written anew, besides the prior on d. Tasks' effects have
    their own test (tests/model/test_unanswered.py): without columns they are like the others."""
    known = make_known(latent=1, loud=0.6)
    effects, groups = known.model.effects, known.design.groups
    total = 0.0
    for name, group in groups.items():
        m = np.asarray(effects.mean[name][...], float)
        s = np.exp(np.asarray(effects.log_sd[name][...], float))
        d = np.exp(np.asarray(effects.log_prior[name][...], float))
        of = d[group]
        if name not in ("trust", "task_features"):
            total += (np.log(of / s) + (s**2 + m**2) / (2 * of**2) - 0.5).sum()
        price = 0.5 * (np.log(d / 0.8) / 0.3) ** 2 if name == "task" else 4.6 * d
        total += (2 * price if name in ("loading", "task_loading") else price).sum()
    found = float(divergence(known.model, groups, known.design.tasks))
    assert found == pytest.approx(total, rel=1e-4)


def test_sobol_points_are_always_the_same():
    np.testing.assert_array_equal(sobol(64, 3), sobol(64, 3))


@pytest.fixture
def persistent(tiny):
    model = msgspec.structs.replace(QUICK, latent=2, injected=2, steps=10)
    return msgspec.structs.replace(tiny, model=model)


def test_every_scale_in_one_study_is_fitted(persistent):
    crowd, losses = fitting.fit(make_study(EVERY, people=20), persistent)
    assert np.isfinite(losses.train).all()
    answers = sample(crowd, 100, 0).answers
    assert np.isfinite(answers).all()
    assert len(np.unique(answers, axis=0)) > 90


def without(study, people: int):
    keep = study.person != people
    return dataclasses.replace(
        study, person=study.person[keep], task=study.task[keep], answer=study.answer[keep]
    )


def test_two_people_are_fitted(persistent):
    split = msgspec.structs.replace(persistent.split, test=0.5, validation=0.0)
    crowd, losses = fitting.fit(
        make_study(people=2), msgspec.structs.replace(persistent, split=split)
    )
    assert np.isfinite(losses.train).all()
    assert sample(crowd, 40, 0).answers.std() > 0


def test_people_of_no_profile_with_one_answer_or_none_are_fitted(persistent):
    study = without(make_study(people=8), 3)
    keep = study.task == study.person % 4
    study = dataclasses.replace(
        study,
        participants=dataclasses.replace(study.participants, profile=()),
        person=study.person[keep],
        task=study.task[keep],
        answer=study.answer[keep],
    )
    crowd, losses = fitting.fit(study, persistent)
    assert np.isfinite(losses.train).all()
    assert sample(crowd, 40, 0).answers.std() > 0


def test_people_without_answers_take_no_part(small):
    study = without(small.study, 3)
    everything = np.ones(len(study.task), bool)
    people, answers = gather_answers(study, small.codings, small.design, everything)
    assert 3 not in people
    assert len(answers.weight) == len(people) == 23


def test_of_ballots_the_held_out_projects_are_unknown():
    """They are no answers of 0: whoever fits them learns nothing of them."""
    known = make_known(make_study(EVERY_SCALE, people=6), latent=1)
    study, layout = known.study, known.design.layout
    hidden = np.array([tasks[1] for _, tasks in layout.ballots])
    part = ~np.isin(study.task, hidden)
    _, answers = gather_answers(study, known.codings, known.design, part)
    _, whole = gather_answers(study, known.codings, known.design, np.ones(len(part), bool))
    assert len(hidden) == 3
    for (levels, present), (every, _) in zip(answers.ballots, whole.ballots, strict=True):
        assert present.all()
        assert (levels[:, 1] == -1).all()
        np.testing.assert_array_equal(np.delete(levels, 1, 1), np.delete(every, 1, 1))
        assert every.min() >= 0


def test_statistics_come_from_training_answers(small):
    """Neither the centre of profiles nor anything of the tasks moves with the other people."""
    study = small.study
    train = study.person < 10
    design = make_design(
        study, Reference("column", study.task[:4] + 1.0), small.codings, train, QUICK, known=True
    )
    coded = encode(small.codings, study.participants.profile)
    np.testing.assert_allclose(design.centre, coded[:10].mean(0), atol=1e-6)
    assert design.tasks.features[:, 0].std() == pytest.approx(1, rel=1e-5)
    new = make_design(
        study, Reference("fitted", np.arange(4) + 1.0), small.codings, train, QUICK, known=False
    )
    # A fitted one in its own units: the log odds of where on 1 to 5 it puts a task. As it is, since
    # four known tasks do not tell what is usual.
    share = np.array([0.02, 0.25, 0.5, 0.75])
    logit = np.log(share / (1 - share))
    np.testing.assert_allclose(new.tasks.features[:, 0], logit, atol=1e-5)
    assert "task_loading" not in new.groups, (
        "no loadings of single tasks, of which new ones have none"
    )
    assert design.groups["task_loading"].shape == (4, QUICK.latent)


def test_answers_find_their_places(small):
    """Rows of people with different numbers of answers, in any order."""
    random = np.random.default_rng(0)
    keep = random.random(len(small.study.task)) < 0.6
    rows = random.permutation(np.flatnonzero(keep))
    study = dataclasses.replace(
        small.study,
        person=small.study.person[rows],
        task=small.study.task[rows],
        answer=small.study.answer[rows],
    )
    part = random.random(len(rows)) < 0.7
    people, answers = gather_answers(study, small.codings, small.design, part)
    found = {
        (int(people[answers.person[r]]), int(answers.task[r, j]), int(answers.level[r, j]))
        for r, j in zip(*np.nonzero(answers.present), strict=True)
    }
    true = {
        (int(p), int(t), int(a))
        for p, t, a in zip(study.person[part], study.task[part], study.answer[part], strict=True)
    }
    assert found == true
    assert answers.present.sum() == part.sum()
