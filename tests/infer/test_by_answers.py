"""People predicted by their other answers: never by the answer itself, and by the right crowd."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from few_drawings import few_drawings  # noqa: F401
from known_people import draw_people, make_known
from synthetic import make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.by_answers import crowd_for_each, may_stand_for, predict_by_answers
from crowdllm_jax.infer.infer import infer
from crowdllm_jax.infer.known_profiles import KnownProfiles
from crowdllm_jax.infer.question import Estimand
from crowdllm_jax.population.predicted import predict_answers
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study.coding import encode

PEOPLE, TASKS = 120, 6
HOLD_OUT = {
    "people": lambda study: study.person[None] < 40,
    "tasks": lambda study: study.task[None] < 2,
    "answers": lambda study: (study.person + study.task)[None] % 3 == 0,
    "folds of answers": lambda study: (study.person + study.task) % 3 == np.arange(3)[:, None],
    "folds of people": lambda study: study.person % 3 == np.arange(3)[:, None],
    "folds of tasks": lambda study: study.task % 2 == np.arange(2)[:, None],
}


@pytest.fixture(scope="module")
def known():
    """People with one strong belief; six of ten answers are there."""
    known = make_known(make_study(tasks=TASKS, people=PEOPLE), latent=1, loud=0.8)
    known.model.belief.log_spread[...] = jnp.log(jnp.array([2.0, 1e-3]))
    c = encode(known.codings, known.study.participants.profile) - known.design.centre
    answers = draw_people(known, c, 5)
    there = np.random.default_rng(1).random(answers.size) < 0.6
    study = dataclasses.replace(
        known.study,
        person=known.study.person[there],
        task=known.study.task[there],
        answer=answers.ravel()[there].astype(float),
    )
    return known._replace(study=study)


def crowds_of(known, held):
    """As many crowds, of whom the later ones expect more."""
    crowd = known.crowd
    changed = []
    for number in range(len(held)):
        known.model.level[...] = known.model.level[...] + 0.3 * bool(number)
        changed.append(known.crowd)
    return (crowd, *changed[1:])


@pytest.mark.parametrize("kind", HOLD_OUT)
def test_who_predicts_whom(known, kind):
    """By the definition, pair by pair."""
    study, held = known.study, HOLD_OUT[kind](known.study)
    found, stands = crowd_for_each(study, held), may_stand_for(study, held)
    answered = {(p, t): r for r, (p, t) in enumerate(zip(study.person, study.task, strict=True))}
    for p in range(PEOPLE):
        for t in range(TASKS):
            row = answered.get((p, t))
            if row is not None and held[:, row].any():
                assert held[found[p, t], row]
                assert not stands[p, t]
                continue
            own, of_task = study.person == p, study.task == t
            new = [
                k
                for k, out in enumerate(held)
                if (own.any() and out[own].all()) or (of_task.any() and out[of_task].all())
            ]
            assert found[p, t] in (new or [-1])
            # Where answers are held out, nobody stands for those who answered in training.
            if held[:, of_task].any():
                assert stands[p, t] == (row is None or kind == "people")


@pytest.mark.parametrize("kind", ["people", "tasks", "answers", "folds of answers"])
def test_an_answer_is_not_predicted_from_itself(known, kind):
    """Change all of one task's answers that may be used in an estimate: the predictions of them
    are the same to the last bit, and others are not."""
    study, held = known.study, HOLD_OUT[kind](known.study)
    crowds = tuple(known.crowd for _ in held)
    chosen = np.unique(study.task[held.any(0)])
    task = int(chosen[0])
    other = np.where(study.task == task, 4 - study.answer, study.answer)
    turned = dataclasses.replace(study, answer=other)
    first, second = (
        predict_by_answers(crowds, one, held, chosen, None, silent).mean for one in (study, turned)
    )
    usable = np.isfinite(first[:, 0])
    assert usable.sum() > 40
    np.testing.assert_array_equal(first[usable, 0], second[usable, 0])
    if kind not in ("tasks",):
        # People whose known answer to it has changed are expected to answer otherwise elsewhere.
        assert np.nanmax(np.abs(first[:, 1:] - second[:, 1:])) > 0.1


def test_predictions_are_those_of_one_person_and_answer_at_a_time(known):
    """Against predict_answers asked for one answer, with the responses that may be used."""
    study, held = known.study, HOLD_OUT["folds of answers"](known.study)
    crowds = crowds_of(known, held)
    level = np.full(TASKS, 4)
    found = predict_by_answers(crowds, study, held, np.arange(TASKS), level, silent).mean
    random = np.random.default_rng(0)
    of_each, stands = crowd_for_each(study, held), may_stand_for(study, held)
    for p, t in random.choice(np.argwhere(stands | (of_each >= 0)), 12, replace=False):
        asked = [of_each[p, t]] if of_each[p, t] >= 0 else range(len(crowds))
        one = []
        for k in asked:
            # Whoever is new to the crowd is known by all other answers.
            usable = ~held[k] | held[k][study.person == p].all() & (study.task != t)
            predicted = predict_answers(crowds[k], study, usable, np.array([p]), np.array([t]))
            one.append(predicted.chance[0, 4])
        assert found[p, t] == pytest.approx(np.mean(one), abs=1e-6)


def test_twins_are_worth_people_where_beliefs_speak(known):
    """The belief is most of what these people differ by. Of a crowd without beliefs, whose agents
    differ by chance alone, nothing is to be had."""
    study, held = known.study, HOLD_OUT["folds of answers"](known.study)
    question, worth = Estimand("share", level="5"), []
    spread = known.model.belief.log_spread[...]
    for loud in (0.0, -6.0):
        known.model.belief.log_spread[...] = spread + loud
        table = infer((known.crowd,) * 3, study, held, question, twins=True).to_pydict()
        people = np.array(table["people"])
        assert list(people) == list(np.bincount(study.task))
        assert np.add(people, table["profiles"]).tolist() == [PEOPLE] * TASKS
        worth.append(np.mean(np.array(table["effective_people"]) / people))
    known.model.belief.log_spread[...] = spread
    # Beside 72 people stand 48 others: at most two fifths are to be had.
    assert worth[0] > worth[1] + 0.05


def test_what_cannot_be_done_is_refused(known, rating_crowd):
    study, held = known.study, HOLD_OUT["people"](known.study)
    people = study.participants
    with pytest.raises(CrowdError, match="people of --profiles have given none"):
        infer(
            known.crowd,
            study,
            held,
            others=KnownProfiles(people.profile, people.weight),
            twins=True,
        )
    small = make_study(people=80)
    with pytest.raises(CrowdError, match="need the persistent model"):
        infer(rating_crowd, small, small.person < 40, twins=True)
