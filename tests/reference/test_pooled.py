"""The pool of references: a conditional logit of all scales' tasks at once, cross-fitted."""

from dataclasses import replace

import numpy as np
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference import pooled
from crowdllm_jax.reference.column import ColumnReference
from crowdllm_jax.reference.pooled import PooledReference, pool_questions, pool_references
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.study.records import Participants, Study, Tasks
from crowdllm_jax.study.scales import Continuous, Nominal, Ordinal
from crowdllm_jax.study.split import Split

PEOPLE = 100
TOPICS = ("worried", "happy", "proud", "sure", "angry", "tired", "certain", "calm")
GRADES = ("not at all", "not too", "somewhat", "very")
TWO = PooledReference(of=(ColumnReference(path="one.csv"), ColumnReference(path="two.csv")))


def opinions(tasks: int = 120, seed: int = 0) -> tuple[Study, tuple[Reference, Reference]]:
    """Questions with eight sets of options and what two models say of them: people's shares follow
    the first, and besides choose what is `somewhat` so; the second says nothing."""
    random = np.random.default_rng(seed)
    every = {
        f"how {topic}": Ordinal(levels=tuple(f"{g} {topic}" for g in GRADES)) for topic in TOPICS
    }
    every["how often"] = Ordinal(levels=("never", "sometimes", "always"))
    scale = random.integers(0, len(every), tasks).astype(np.int32)
    size = np.array([len(one.levels) for one in every.values()])[scale]
    exists = np.arange(4) < size[:, None]
    said = random.normal(size=(2, tasks, 4))
    favoured = (np.arange(4) == 2) & (size == 4)[:, None]
    logit = np.where(exists, 0.7 * said[0] + 1.5 * favoured, -np.inf)
    share = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
    level = np.array([random.choice(4, PEOPLE, p=p) for p in share])
    task, person = (axis.ravel() for axis in np.indices(level.shape))
    ids = tuple(f"t{i:03d}" for i in range(tasks))
    study = Study(
        "opinions",
        every,
        Tasks(ids, ids, scale, (), None),
        Participants(tuple(f"p{i:03d}" for i in range(PEOPLE)), (), np.ones(PEOPLE)),
        person.astype(np.int32),
        task.astype(np.int32),
        level.ravel().astype(float),
    )
    models = []
    for one in said:
        probs = np.where(exists, np.exp(one), 0.0)
        models.append(from_levels(study, "column", probs / probs.sum(1, keepdims=True)))
    return study, (models[0], models[1])


def without(study: Study, held: np.ndarray) -> Split:
    """The split that holds tasks (T,) bool out."""
    train = ~held[study.task]
    return Split("tasks", train, train & ~train, ~train)


def people(study: Study) -> np.ndarray:
    """(T, 4) shares."""
    count = np.zeros((len(study.tasks.ids), 4))
    np.add.at(count, (study.task, study.answer.astype(int)), 1.0)
    return count / count.sum(1, keepdims=True)


def off(probs: np.ndarray, study: Study, which: np.ndarray) -> float:
    return float(np.abs(probs - people(study))[which].sum(1).mean())


HELD = np.arange(120) >= 80


def test_slopes_are_where_the_penalised_likelihood_is_flat():
    """Derivatives by hand, a task and an option at a time."""
    study, models = opinions(40)
    options = pooled._options(study, models)
    x = pooled._columns(options)
    share = people(study)
    weight = np.random.default_rng(1).uniform(0.5, 2, 40)
    weight[30:] = 0
    dense = x.toarray()
    for penalty, slopes in zip(
        pooled.PENALTIES, pooled._path(x, options, share, weight, 4), strict=False
    ):
        gradient = penalty * slopes
        for task in range(30):
            rows = np.flatnonzero(options.task == task)
            chance = np.exp(dense[rows] @ slopes)
            chance /= chance.sum()
            gradient -= weight[task] * (share[task, : len(rows)] - chance) @ dense[rows]
        # L-BFGS stops where no entry of a gradient is beyond 1e-5, or steps gain no more.
        assert np.abs(gradient).max() < 1e-2


def test_new_tasks_are_forecast_from_models_and_words():
    study, models = opinions()
    found = pool_references(study, without(study, HELD), TWO, models).probs
    # 100 people's shares lie sqrt(2 p (1 - p) / pi / 100) from the truth on average: of three or
    # four levels .12 in sum, whoever forecasts them.
    assert off(found, study, HELD) < 0.14
    assert off(models[0].probs, study, HELD) > 0.5
    words = pool_references(study, without(study, HELD), PooledReference(), ()).probs
    exists = models[0].probs > 0
    uniform = exists / exists.sum(1, keepdims=True)
    assert off(words, study, HELD) < off(uniform, study, HELD) - 0.2


def test_options_of_a_new_set_are_known_by_their_words():
    study, models = opinions()
    held = study.tasks.scale == 0
    found = pool_references(study, without(study, held), TWO, models).probs
    assert off(found, study, held) < 0.16


def test_options_without_a_word_are_known_by_their_places():
    """Ratings from 1 to 3, say; as near as where they are words."""
    study, models = opinions()
    rated = replace(study, scales={**study.scales, "how often": Ordinal(levels=(1, 2, 3))})
    found = pool_references(rated, without(rated, HELD), TWO, models).probs
    assert off(found, rated, HELD) < 0.14


def test_a_model_that_says_nothing_costs_nothing():
    study, (tells, silent) = opinions()
    split = without(study, HELD)
    one = pool_references(study, split, replace_of(1), (tells,)).probs
    two = pool_references(study, split, TWO, (tells, silent)).probs
    assert off(two, study, HELD) < off(one, study, HELD) + 0.01


def replace_of(count: int) -> PooledReference:
    return PooledReference(of=TWO.of[:count])


def test_a_mean_alone_tells_of_ordered_options():
    study, (tells, _) = opinions()
    split = without(study, HELD)
    bare = replace(tells, probs=None)
    found = pool_references(study, split, replace_of(1), (bare,)).probs
    words = pool_references(study, split, PooledReference(), ()).probs
    assert off(found, study, HELD) < off(words, study, HELD) - 0.03


def test_held_out_answers_are_not_looked_at():
    study, models = opinions()
    split = without(study, HELD)
    answer = np.where(HELD[study.task], 0.0, study.answer)
    one, two = (
        pool_references(s, split, TWO, models) for s in (study, replace(study, answer=answer))
    )
    np.testing.assert_array_equal(one.probs, two.probs)


def test_a_training_task_is_forecast_by_a_pool_that_has_not_seen_it(monkeypatch):
    monkeypatch.setattr(pooled, "PENALTIES", (0.1,))  # which one is best, all tasks tell
    study, models = opinions()
    split = without(study, HELD)
    answer = np.where(study.task == 7, 0.0, study.answer)
    one, two = (
        pool_references(s, split, TWO, models) for s in (study, replace(study, answer=answer))
    )
    same_fold = np.arange(7 % TWO.folds, 80, TWO.folds)
    np.testing.assert_array_equal(one.probs[same_fold], two.probs[same_fold])
    other = np.setdiff1d(np.arange(80), same_fold)
    assert (one.probs[other] != two.probs[other]).any(1).all()


def test_a_question_is_forecast_as_a_held_out_task_is():
    """The last 40 tasks, once in the study and once asked of the pool of the others."""
    study, models = opinions()
    whole = pool_references(study, without(study, HELD), TWO, models)
    rows = ~HELD[study.task]
    less = replace(
        study,
        tasks=replace(
            study.tasks,
            ids=study.tasks.ids[:80],
            text=study.tasks.text[:80],
            scale=study.tasks.scale[:80],
        ),
        person=study.person[rows],
        task=study.task[rows],
        answer=study.answer[rows],
    )
    asked = replace(
        study,
        tasks=replace(
            study.tasks,
            ids=study.tasks.ids[80:],
            text=study.tasks.text[80:],
            scale=study.tasks.scale[80:],
        ),
        person=study.person[:0],
        task=study.task[:0],
        answer=study.answer[:0],
    )

    def part(which: slice) -> list[Reference]:
        return [replace(m, mean=m.mean[which], probs=m.probs[which]) for m in models]

    split = without(less, np.zeros(80, bool))
    known = pool_references(less, split, TWO, part(slice(80)))
    np.testing.assert_allclose(known.probs, whole.probs[:80], atol=1e-6)
    found = pool_questions(less, split, known, part(slice(80)), asked, part(slice(80, None)))
    np.testing.assert_allclose(found.probs, whole.probs[80:], atol=1e-3)
    np.testing.assert_allclose(found.mean, whole.mean[80:], atol=1e-2)


def test_what_cannot_be_pooled_is_refused():
    study, models = opinions(20)
    split = without(study, np.arange(20) >= 9)
    with pytest.raises(
        CrowdError, match="at least 10 training tasks; there are 9; use fewer folds"
    ):
        pool_references(study, split, TWO, models)
    every = {**study.scales, "line": Continuous(low=0, high=1)}
    with pytest.raises(CrowdError, match="scale 'line' is continuous and lists none"):
        pool_references(replace(study, scales=every), split, TWO, models)
    alike = np.flatnonzero(study.tasks.scale >= 0)
    one = replace(
        study,
        scales={"how worried": study.scales["how worried"]},
        tasks=replace(study.tasks, scale=np.zeros(len(alike), np.int32)),
    )
    with pytest.raises(CrowdError, match="nothing to tell tasks apart by"):
        pool_references(one, without(one, np.zeros(20, bool)), PooledReference(), ())


def test_places_of_options_without_an_order_say_nothing():
    """People favour whoever is listed third of four, which new options in the same places do not
    inherit: their words and their set are others. Where options have an order, they do."""
    study, _ = opinions()
    held = study.tasks.scale == 0
    split = without(study, held)
    words = "red", "blue", "green", "pink"
    for kind, inherited in ((Nominal, False), (Ordinal, True)):
        every = {
            name: kind(levels=tuple(words[i] + name.replace(" ", "") for i in range(len(s.levels))))
            for name, s in study.scales.items()
        }
        found = pool_references(replace(study, scales=every), split, PooledReference(), ())
        favoured = found.probs[held, 2].mean()
        assert (favoured > 0.4) == inherited
        assert inherited or np.allclose(found.probs[held], 0.25)


def test_runs_of_words():
    assert pooled._runs("Not too — sure") == [
        "not",
        "too",
        "sure",
        "not too",
        "too sure",
        "not too sure",
    ]
    assert pooled._runs("18 to 24") == ["to"]
    assert pooled._runs("5") == []
