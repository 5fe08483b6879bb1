"""The ridge head: cross-fitted, weighted, and honest."""

import dataclasses

import numpy as np
import pytest
from synthetic import RATING, make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference import fitted, ridge
from crowdllm_jax.reference.fitted import FittedReference, answer_features, fit_reference
from crowdllm_jax.reference.record import from_levels
from crowdllm_jax.study.coding import feature_blocks
from crowdllm_jax.study.records import Block
from crowdllm_jax.study.split import SplitConfig, split_study


def test_ridge_equals_its_normal_equations():
    random = np.random.default_rng(0)
    x, y, new = random.normal(size=(20, 4)), random.normal(size=(20, 2)), random.normal(size=(5, 4))
    weight = random.uniform(0.5, 3, 20)
    w = np.diag(weight / weight.mean())
    found = ridge.ridge(x, y, weight, new)
    one = np.column_stack([np.ones(20), x])
    for penalty, own in zip(ridge.PENALTIES, found, strict=True):
        shrink = penalty * np.diag([0, 1, 1, 1, 1])  # the intercept is free
        beta = np.linalg.solve(one.T @ w @ one + shrink, one.T @ w @ y)
        np.testing.assert_allclose(own, np.column_stack([np.ones(5), new]) @ beta, atol=1e-8)


def test_likeness_gives_kernel_ridge():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(30, 3)), random.normal(size=(20, 2))
    weight = random.uniform(0.5, 3, 20)
    apart = ((x[:, None] - x[None, :20]) ** 2).sum(2)
    kernel = np.exp(-2 * apart / np.median(apart[:20]))
    z = ridge.kernel_features(x, np.arange(20), 2.0)
    found = ridge.ridge(z[:20], y, weight, z[20:])
    one = np.ones((20, 1))
    for penalty, own in zip(ridge.PENALTIES, found, strict=True):
        # The dual problem with a free intercept: (K + penalty W^-1) a + b = y, sum a = 0.
        noisy = kernel[:20] + penalty * np.diag(weight.mean() / weight)
        system = np.block([[noisy, one], [one.T, np.zeros((1, 1))]])
        dual = np.linalg.solve(system, np.concatenate([y, np.zeros((1, 2))]))
        np.testing.assert_allclose(own, kernel[20:] @ dual[:20] + dual[20], atol=1e-5)


def test_likeness_predicts_what_no_line_does():
    study = make_study({"rating": RATING}, tasks=120, people=10, embedding=2)
    angle = np.random.default_rng(4).uniform(0, 2 * np.pi, 120)
    study.tasks.embedding[:] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    height = 2 + 2 * np.sin(2 * angle)  # no linear function of the embedding predicts it
    study = dataclasses.replace(study, answer=np.round(height)[study.task])
    split = split_study(study, SplitConfig(), seed=0)
    reference = fit_reference(study, split, FittedReference(), {"embedding": study.tasks.embedding})
    held = split.tasks(study, split.test)
    assert np.corrcoef(reference.mean[held], height[held])[0, 1] > 0.9


def test_many_tasks_are_compared_with_landmarks(monkeypatch):
    x = np.random.default_rng(0).normal(size=(50, 2))
    monkeypatch.setattr(ridge, "LANDMARKS", 15)
    assert ridge.kernel_features(x, np.arange(40), 2.0).shape == (50, 14)  # every third of the 40


@pytest.fixture(scope="module")
def predictable():
    """60 tasks whose first feature says how high they are answered."""
    study = make_study({"rating": RATING}, tasks=60, people=10, embedding=4)
    quality = np.random.default_rng(3).uniform(0, 4, 60)
    study.tasks.embedding[:, 0] = quality
    return dataclasses.replace(study, answer=np.round(quality)[study.task])


def test_new_tasks_are_predicted(predictable):
    split = split_study(predictable, SplitConfig(), seed=0)
    x = predictable.tasks.embedding
    reference = fit_reference(predictable, split, FittedReference(), {"embedding": x})
    held = split.tasks(predictable, split.test)
    assert np.corrcoef(reference.mean[held], x[held, 0])[0, 1] > 0.95
    assert reference.mean.min() >= 1
    assert reference.mean.max() <= 5
    np.testing.assert_allclose(reference.probs.sum(1), 1)
    assert (reference.probs >= 0).all()


@pytest.mark.parametrize(
    ("by", "part"), [("tasks", "test"), ("people", "test"), ("people", "validation")]
)
def test_held_out_answers_are_not_looked_at(predictable, by, part):
    split = split_study(predictable, SplitConfig(by=by), seed=0)
    turned = predictable.answer.copy()
    held = getattr(split, part)
    turned[held] = 4 - turned[held]
    other = dataclasses.replace(predictable, answer=turned)
    one, two = (
        fit_reference(study, split, FittedReference(), {"embedding": study.tasks.embedding})
        for study in (predictable, other)
    )
    np.testing.assert_array_equal(one.mean, two.mean)


def test_a_validation_task_is_predicted_without_its_own_answers(predictable):
    split = split_study(predictable, SplitConfig(), seed=0)
    task = split.tasks(predictable, split.validation)[0]
    turned = predictable.answer.copy()
    own = predictable.task == task
    turned[own] = 0 if turned[own].mean() > 2 else 4
    other = dataclasses.replace(predictable, answer=turned)
    one, two = (
        fit_reference(study, split, FittedReference(), {"embedding": study.tasks.embedding})
        for study in (predictable, other)
    )
    # The heads of other folds do see its answers, and the penalty is chosen by all folds' error.
    assert not np.array_equal(one.mean, two.mean)
    assert abs(one.mean[task] - two.mean[task]) < 0.2


def test_a_training_task_is_predicted_by_a_head_that_has_not_seen_it(predictable):
    split = split_study(predictable, SplitConfig(), seed=0)
    task = split.tasks(predictable, split.train)[7]
    turned = predictable.answer.copy()
    turned[predictable.task == task] = (turned[predictable.task == task] + 2) % 5
    other = dataclasses.replace(predictable, answer=turned)
    monkey = pytest.MonkeyPatch()
    # The penalty is chosen from all tasks, so it is fixed here.
    monkey.setattr(ridge, "PENALTIES", np.array([1.0]))
    one, two = (
        fit_reference(study, split, FittedReference(), {"embedding": study.tasks.embedding})
        for study in (predictable, other)
    )
    monkey.undo()
    assert one.mean[task] == two.mean[task]
    assert (one.mean != two.mean).sum() > 20


def test_too_few_tasks_are_told():
    study = make_study(tasks=8, embedding=2)
    split = split_study(study, SplitConfig(), seed=0)
    with pytest.raises(CrowdError, match="at least 10 training tasks on scale 'rating', which has"):
        fit_reference(study, split, FittedReference(), {"embedding": study.tasks.embedding})


def with_sources(study, **sources):
    """The study with several embeddings, each from a table of its own."""
    edges = np.cumsum([0, *(x.shape[1] for x in sources.values())]).tolist()
    blocks = tuple(
        Block(name, table, edges[table], edges[table + 1]) for table, name in enumerate(sources)
    )
    x = np.concatenate(list(sources.values()), axis=1).astype(np.float32)
    return dataclasses.replace(
        study, tasks=dataclasses.replace(study.tasks, embedding=x, blocks=blocks)
    )


@pytest.fixture(scope="module")
def two_sources():
    """120 tasks whose answers are the sum of what two sources say, beside a source of noise; one
    source is a thousand times as large as the other."""
    random = np.random.default_rng(5)
    one, two, noise = (random.normal(size=(120, 3)) for _ in range(3))
    height = 1 / (1 + np.exp(-one[:, 0] - two[:, 0]))
    study = make_study({"rating": RATING}, tasks=120, people=40)
    answer = random.binomial(4, height[study.task]).astype(float)
    study = dataclasses.replace(study, answer=answer)
    return with_sources(study, small=one, large=1000 * two, noise=noise), height


def test_several_sources_are_stacked_and_each_is_named(two_sources):
    study, height = two_sources
    split = split_study(study, SplitConfig(), seed=0)
    reference = fit_reference(study, split, FittedReference(), feature_blocks(study.tasks))
    held = split.tasks(study, split.test)
    assert np.corrcoef(reference.mean[held], height[held])[0, 1] > 0.95
    gain = {g.source: g for g in reference.gains}
    assert list(gain) == ["small", "large", "noise"]
    rps, r = reference.fitted
    for name in ("small", "large"):
        # Each says half of it: alone r is sqrt(.5), of which 96 tasks tell within .1 or so.
        assert 0.5 < gain[name].alone[1] < 0.85
        assert gain[name].without[0] > 1.05 * rps
    assert abs(gain["noise"].alone[1]) < 0.3  # 1 / sqrt(96) is .1
    # Weights are fitted to what they are judged on: noise may bring a little, and no more.
    assert gain["noise"].without[0] < 1.02 * rps
    assert rps <= min(g.alone[0] for g in reference.gains)
    assert r > 0.95


def test_the_stack_is_never_worse_than_its_best_part_on_what_it_is_fitted_to():
    random = np.random.default_rng(6)
    y = random.normal(size=(200, 2))
    heads = [y + random.normal(size=y.shape), y + 2 * random.normal(size=y.shape), 0 * y]
    count = random.integers(0, 5, 200).astype(float)

    def error(head):
        return float((((head - y) ** 2).sum(1) * count).sum())

    stacked = fitted._stack(heads, y, count)
    assert error(stacked) < min(map(error, heads))
    # Weights that are positive and sum to 1 are found again.
    mixed = fitted._stack([heads[0], heads[1]], 0.3 * heads[0] + 0.7 * heads[1], count)
    np.testing.assert_allclose(mixed, 0.3 * heads[0] + 0.7 * heads[1], atol=1e-6)


def test_few_tasks_do_not_decide_which_of_equally_good_heads_is_read():
    """Eight heads err alike and independently, so that equal weights are right: with these the
    squared error on new tasks is 1/8."""
    random = np.random.default_rng(7)
    count = np.where(np.arange(1012) < 12, 1.0, 0.0)
    found = []
    for _ in range(400):
        heads = list(random.normal(size=(8, 1012, 1)))
        found.append((fitted._stack(heads, np.zeros((1012, 1)), count)[12:] ** 2).mean())
    # Weights that 12 tasks alone decide have .2143 (standard error of 400: .0022), these
    # have .1954 (.0019), both more than four standard errors from the bound.
    assert 0.125 < np.mean(found) < 0.205


def test_many_tasks_decide_the_weights():
    random = np.random.default_rng(8)
    y = random.normal(size=(20_000, 1))
    one, other = y + random.normal(size=y.shape), y + 2 * random.normal(size=y.shape)
    weight = np.linalg.lstsq(one - other, y - other, rcond=None)[0][0, 0]
    found = fitted._stack([one, other], y, np.ones(20_000))
    np.testing.assert_allclose(found, weight * one + (1 - weight) * other, atol=1e-3)


def test_heads_that_all_foretell_equal_answers_are_averaged():
    heads = [np.full((4, 2), 0.5), np.full((4, 2), 0.5)]
    found = fitted._stack(heads, np.full((4, 2), 0.5), np.array([3.0, 2.0, 0.0, 1.0]))
    np.testing.assert_array_equal(found, heads[0])


def test_a_source_that_says_nothing_leaves_the_others_forecast_as_good():
    """On left-out training tasks the whole errs hardly more than any part: it has all of a part's
    heads, with three sources as with two."""
    random = np.random.default_rng(3)
    sources = {name: random.normal(size=(150, 8)) for name in ("one", "other")}
    # Neither head alone sees how the two go together; the noise drowns them in a head of all three.
    gap = sources["one"][:, 0] - sources["other"][:, 0]
    target = (0.5 + 0.1 * np.tanh(gap) + 0.02 * random.normal(size=150))[:, None]
    sources["noise"] = random.normal(size=(150, 300))
    count = np.ones(150)
    found = fitted._forecasts(sources, target, count, 5, np.ones(150, bool))
    error = {case: float(((forecast - target) ** 2).sum()) for case, forecast in found.items()}
    # The pull costs at most variance x H, as the squared distance of weights from equal ones is
    # below 1; and the variance is hardly above the error of any part for each task.
    heads = 3 + 3 * 2 + 2
    most = 1 + heads / 150 + 1e-6
    for name in sources:
        assert error["all"] <= error["without", name] * most
        assert error["all"] <= error["only", name] * most
    assert error["without", "noise"] < 0.9 * min(error["without", "one"], error["without", "other"])


def test_one_of_a_tables_alternatives_is_chosen_on_training_tasks(two_sources):
    study, height = two_sources
    x = np.concatenate([study.tasks.embedding, height[:, None]], axis=1).astype(np.float32)
    blocks = (Block("e", 0, 0, 3), Block("l/1", 1, 6, 9), Block("l/2", 1, 9, 10))
    tasks = dataclasses.replace(study.tasks, embedding=x, blocks=blocks)
    study = dataclasses.replace(study, tasks=tasks)
    split = split_study(study, SplitConfig(), seed=0)
    chosen = fitted.as_trained(study, split)
    assert chosen.tasks.blocks == (Block("e", 0, 0, 3), Block("l/2", 1, 3, 4))
    np.testing.assert_array_equal(chosen.tasks.embedding, x[:, [0, 1, 2, 9]])
    # What the held-out people say changes nothing.
    turned = np.where(split.test, 4 - study.answer, study.answer)
    other = dataclasses.replace(study, answer=turned)
    assert fitted.as_trained(other, split).tasks.blocks == chosen.tasks.blocks


def test_a_models_answers_are_a_source(two_sources):
    study, height = two_sources
    split = split_study(study, SplitConfig(), seed=0)
    # It reads the scale the wrong way round, which a head of its own puts right.
    probs = np.full((120, 5), 0.05)
    probs[np.arange(120), 4 - np.round(4 * height).astype(int)] = 0.8
    answers = from_levels(study, "column", probs)
    sources = feature_blocks(study.tasks) | {"answers": answer_features(study, answers)}
    reference = fit_reference(study, split, FittedReference(), sources)
    held = split.tasks(study, split.test)
    assert np.corrcoef(reference.mean[held], height[held])[0, 1] > 0.95
    assert reference.gains[-1].alone[1] > 0.9
