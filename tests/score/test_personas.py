"""A language model asked as everybody: who is asked what, and what becomes of the answers."""

import json

import msgspec
import numpy as np
import pytest
from fake_server import logprobs
from few_drawings import few_drawings  # noqa: F401
from scipy import stats
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.sample import sample
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference import make
from crowdllm_jax.reference.introductions import introductions
from crowdllm_jax.reference.questions import PromptConfig, prompt_and_questions
from crowdllm_jax.runs import evaluate, prepare
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runtime import progress
from crowdllm_jax.score.baselines import persona_crowd
from crowdllm_jax.score.personas import make_personas
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Joint
from crowdllm_jax.study.split import SplitConfig, split_study

pytestmark = pytest.mark.filterwarnings("ignore:.*the options hold less than")
PROFILE = (
    Attribute("age", "numeric", (), np.array([31.0, np.nan, 1234567.5])),
    Attribute("the city", "categorical", ("(missing)", "{A}"), np.array([1, 1, 0], np.int32)),
)


def test_profiles_are_introduced():
    assert introductions(PROFILE, PromptConfig()) == [
        f"Answer as this person would: {who}\n\n"
        for who in ("age: 31; the city: {A}", "the city: {A}", "age: 1234567.5")
    ]
    own = PromptConfig(persona="You are {age} and from {the city}.", attribute="{value}")
    assert introductions(PROFILE, own) == [
        "You are 31 and from {A}.",
        "You are unknown and from {A}.",
        "You are 1234567.5 and from unknown.",
    ]


@pytest.mark.parametrize(
    ("profile", "changes", "says"),
    [
        ((), {}, "the study has no profiles"),
        (PROFILE, {"persona": "As {city}"}, r"prompt\.persona: unknown placeholder \{city\}"),
        (PROFILE, {"persona": "As you are"}, "all personas would be alike"),
        (PROFILE, {"persona": "As {age"}, r"prompt\.persona: .*brace"),
        (PROFILE, {"attribute": "{name}"}, r"prompt\.attribute: \{value\} must stand in it"),
        (PROFILE, {"attribute": "{value:>3}"}, r"prompt\.attribute: unknown placeholder"),
    ],
)
def test_templates_are_checked(profile, changes, says):
    with pytest.raises(CrowdError, match=says):
        introductions(profile, PromptConfig(**changes))


def recruits(study, by, count=40, seed=3):
    split = split_study(study, SplitConfig(by=by, test=0.25), seed=0)
    generator = fit_profiles(
        study.participants.profile, study.participants.weight, ProfilesConfig()
    )
    return split, make_personas(study, split, generator, PromptConfig(), count, seed)


def test_what_is_scored_is_asked_and_nothing_else():
    study = make_study({"rating": EVERY_SCALE["rating"], "pick": EVERY_SCALE["pick"]}, tasks=8)
    split, personas = recruits(study, "tasks")
    wanted = set(study.task[split.test])
    picks = set(np.flatnonzero(study.tasks.scale == 1))
    assert wanted & picks
    assert set(personas.tasks) == wanted | picks  # a ballot is cast as a whole
    assert len(personas.questions) == len(personas.tasks) * len(personas.texts)
    plain = prompt_and_questions(study, PromptConfig())[1]
    for place, question in enumerate(personas.questions):
        task, who = divmod(place, len(personas.texts))
        assert question.text == plain[personas.tasks[task]].text
        assert question.persona == personas.texts[who]
    lengths = [len(q.text) for q in personas.questions[:: len(personas.texts)]]
    assert lengths == sorted(lengths, reverse=True)


def test_personas_are_the_first_agents_of_the_population(rating_crowd):
    """And those with one profile are one persona."""
    study = make_study()
    split = split_study(study, SplitConfig(by="people", test=0.25), seed=0)
    few, many = (
        make_personas(study, split, rating_crowd.generator, PromptConfig(), n, 7) for n in (10, 200)
    )
    agents = sample(rating_crowd, 200, 7)
    own = introductions(agents.profile, PromptConfig())
    assert [many.texts[i] for i in many.of_agent] == own
    assert [few.texts[i] for i in few.of_agent] == own[:10]
    assert len(many.texts) == len(set(own)) < 50


def test_answers_follow_the_model_on_every_scale():
    """Chi-square at 1e-6 of each persona's answers to each task with answers of its own; ballots
    keep their rule, and give more to whom the persona would rather vote for (the chances are a
    factor of 2 apart, the average over 1,000 ballots is known to a few percent)."""
    study = make_study(EVERY_SCALE)
    _, personas = recruits(study, "people", count=3)
    random = np.random.default_rng(0)
    P, T = len(personas.texts), len(personas.tasks)
    probs = np.zeros((P, T, 11), np.float32)
    options = {}
    for place, question in enumerate(personas.questions):
        task, who = divmod(place, P)
        k = len(question.options)
        probs[who, task, :k] = random.dirichlet(np.ones(k))
        if isinstance(study.scale_of(personas.tasks[task]), Joint):
            probs[who, task, 1] = (0.05, 0.2, 0.5, 0.95)[(personas.tasks[task] + who) % 4]
        options[task] = np.array(question.values)
    n = 3000
    answers = persona_crowd(study, personas, probs, PromptConfig(), n, seed=1)
    of_agent = np.resize(personas.of_agent, n)
    for task, index in enumerate(personas.tasks):
        scale = study.scale_of(index)
        if isinstance(scale, Joint):
            continue
        for who in range(P):
            own = answers[of_agent == who, index]
            chance = probs[who, task, : len(options[task])].astype(float)
            count = np.array([(own == v.astype(np.float32)).sum() for v in options[task]])
            assert count.sum() == len(own)
            # Cells that expect fewer than 5 are joined, as the test asks for.
            rare = len(own) * chance < 5
            if rare.any():
                count = np.append(count[~rare], count[rare].sum())
                chance = np.append(chance[~rare], chance[rare].sum())
            if chance[-1] * len(own) >= 1:
                assert stats.chisquare(count, len(own) * chance / chance.sum()).pvalue > 1e-6
    for index, scale in enumerate(study.scales.values()):
        if not isinstance(scale, Joint):
            continue
        tasks = np.flatnonzero(study.tasks.scale == index)
        level = np.searchsorted(scales.values(scale), answers[:, tasks])
        assert not scales.ballot_fault(scale, level).any()
        for who in range(P):
            yes = [probs[who, list(personas.tasks).index(t), 1] for t in tasks]
            given = answers[of_agent == who][:, tasks].mean(0)
            np.testing.assert_array_equal(np.argsort(given), np.argsort(yes))


# --- from the configuration to the report -------------------------------------------------------


def test_a_run_scores_the_model_asked_as_everybody(ask, model, scored, tmp_path, capsys):
    path = ask(kind="backbone", model=str(model), personas=6, dtype="float32")
    assert main(["reference", str(path), "--show", "1"]) == 0
    said = capsys.readouterr().out
    assert "--- a persona\n" in said
    assert "Answer as this person would: age: " in said
    config = load_config(path)
    study = load_study(config)
    questions = prepare.persona_questions(study, config)
    total = len(study.tasks.ids) + len(questions)
    assert main(["reference", str(path), "--dry-run"]) == 0
    assert f"{total} different; 0 answered in reference-cache.sqlite" in capsys.readouterr().out
    assert main(["run", str(path), "--out", "one"]) == 0
    assert "LLM asked per persona" in capsys.readouterr().out
    assert len(scored) == len(set(scored)) == total
    scores = json.loads((tmp_path / "here/one/scores.json").read_text())
    assert {s["metric"] for s in scores if s["model"] == "personas"} >= {"rps", "icc", "mae"}
    assert "LLM asked per persona" in (tmp_path / "here/one/report.html").read_text()
    # Nothing is asked again, in whatever order the steps are taken.
    assert main(["reference", str(path), "--quiet"]) == 0
    assert f"{len(questions):,} answers" in capsys.readouterr().out
    assert len(scored) == total


def test_the_row_is_the_average_of_what_personas_answer(ask, model):
    """The crowd's mean on a task is that of the personas' expected answers, each as often as it
    was recruited. 10,000 answers on 1 to 5 have a standard error of at most 0.02; 5 of them."""
    path = ask(kind="backbone", model=str(model), personas=8, dtype="float32")
    config = msgspec.structs.replace(
        load_config(path),
        population=msgspec.structs.replace(load_config(path).population, agents=10_000),
    )
    study = load_study(config)
    ready = prepare.prepare(study, config, 0)
    personas = prepare.personas_of(study, config, ready.split, ready.generator)
    _, answers = evaluate.score_all(ready, config, {}, 0, progress.silent)
    asked = make.ask_reference(study, config.reference, personas.questions, progress.silent)[1]
    mean = personas.probs(asked) @ np.arange(1.0, 6)  # (P, T')
    wanted = np.empty(len(study.tasks.ids))
    wanted[personas.tasks] = np.average(mean, 0, np.bincount(personas.of_agent) / 8)
    np.testing.assert_allclose(answers["personas"].mean(0), wanted, atol=0.1)
    assert mean.std(0).min() > 1e-3  # personas differ, or it would prove nothing


def test_parts_change_nothing(ask, model, monkeypatch, scored):
    path = ask(kind="backbone", model=str(model), personas=6, dtype="float32")
    config = load_config(path)
    study = load_study(config)
    questions = prepare.persona_questions(study, config)

    def answers(cache):
        own = msgspec.structs.replace(config.reference, cache=cache)
        return make.ask_reference(study, own, questions, progress.silent)[1]

    whole = answers("one.sqlite")
    monkeypatch.setattr("crowdllm_jax.reference.backbone.PART", 10)
    seen = []
    parted = make.ask_reference(
        study,
        msgspec.structs.replace(config.reference, cache="two.sqlite"),
        questions,
        lambda stage, done, total: seen.append((stage, done, total)),
    )[1]
    np.testing.assert_allclose(parted.probs, whole.probs, atol=1e-5)
    own = [(done, total) for stage, done, total in seen if "personas" in stage]
    assert own == sorted(own)
    assert own[-1] == (len(questions), len(questions))
    assert whole.embedding is None  # it is the task's, and would be kept once per persona


def test_an_endpoint_is_asked_as_everybody(ask, serve, capsys):
    server = serve(lambda body, n: logprobs({"1": 0.5, "4": 0.5}))
    path = ask(
        kind="endpoint",
        model="fake",
        base_url=server.url,
        retries=0,
        personas=5,
        price_in=1.0,
        price_out=1.0,
        budget=0.05,
    )
    config = load_config(path)
    study = load_study(config)
    total = len(study.tasks.ids) + len(prepare.persona_questions(study, config))
    assert main(["reference", str(path), "--dry-run"]) == 0
    assert f"{total} different; 0 answered" in capsys.readouterr().out
    # One budget for both: what the tasks alone would cost is not what counts.
    assert main(["run", str(path), "--set", "reference.budget=0.001"]) == 2
    assert "more than the budget" in capsys.readouterr().err
    assert server.bodies == []
    assert main(["reference", str(path), "--quiet", "--set", "reference.budget=9"]) == 0
    assert f"asked       {total} calls" in capsys.readouterr().out
    assert len(server.bodies) == total
    assert sum("as this person would: age" in str(body) for body in server.bodies) > total / 2


def test_a_template_without_a_place_is_told_at_once(ask, model, tmp_path, capsys):
    path = ask(kind="backbone", model=str(model), personas=5, prompt={"user": "{task} {options}"})
    assert main(["run", str(path)]) == 2
    assert "add {persona} to prompt.user" in capsys.readouterr().err
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("mesh", "says"),
    [
        ({"data": 64}, "reference.mesh: 64 x 1 devices are asked for, and JAX sees"),
        ({"model": 3}, "reference.mesh.model: 3 devices do not divide the 4 heads"),
        ({"model": 0}, "reference.mesh.model"),
    ],
)
def test_a_mesh_that_is_not_there(ask, model, tmp_path, capsys, mesh, says):
    path = ask(kind="backbone", model=str(model), mesh=mesh)
    assert main(["run", str(path)]) == 2
    assert says in capsys.readouterr().err
    assert list((tmp_path / "here").iterdir()) == []
