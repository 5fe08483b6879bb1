"""Questions asked of a fitted crowd: agents answer them exactly as they do held-out tasks."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from few_drawings import few_drawings  # noqa: F401
from scipy.special import ndtr
from statsmodels.stats.proportion import proportion_confint
from synthetic import make_study

import crowdllm_jax as cl
import crowdllm_jax.workflow.ask as ask_module
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.model.persistent.asked import stretched
from crowdllm_jax.population.manifest import verify
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.folder import fitted_crowd, start_run
from crowdllm_jax.runs.trust import (
    Held,
    Trust,
    _variation,
    held_out_outlook,
    stretched_interval,
    trust_of,
)
from crowdllm_jax.study.questions import questions_on
from crowdllm_jax.study.scales import Binary, Continuous, Ordinal
from crowdllm_jax.study.split import Split, split_study
from crowdllm_jax.workflow.ask import ask
from crowdllm_jax.workflow.ask_audience import Audience
from crowdllm_jax.workflow.ask_known import Behind, no_surer
from crowdllm_jax.workflow.ask_table import table_of
from crowdllm_jax.workflow.ask_written import ask_run
from crowdllm_jax.workflow.asking import Asking
from crowdllm_jax.workflow.infer import Whom, infer_run
from crowdllm_jax.workflow.steps import fit_run

CONFIG = """\
study:
  name: survey
  folder: {folder}
  responses: {{path: responses.csv}}
  tasks:
    path: tasks.csv
    task: task
    text: text
    scale: scale
    embedding: {{path: embedding.parquet, task: task}}
  participants: {{path: people.csv, profile: {{age: numeric, city: categorical}}}}
  scales:
    rating: {{kind: ordinal, levels: [1, 2, 3, 4, 5]}}
    agree: {{kind: binary, levels: ["no", "yes"]}}
    party: {{kind: nominal, levels: [a, b, c]}}
split: {{by: tasks, test: 0.2, validation: 0}}
reference: {{kind: fitted, folds: 2}}
model: {{kind: persistent, latent: 2, injected: 0, nodes: 16, steps: 60, learning_rate: 0.1}}
models: []
population: {{agents: 2000}}
"""
EACH, PEOPLE, AGENTS = 20, 50, 20_000
SCALES = ("rating", "agree", "party")


def write_survey(folder: Path) -> None:
    """Answers that follow the tasks' embedding and the people."""
    random = np.random.default_rng(3)
    t = EACH * len(SCALES)
    vectors = random.normal(size=(t, 3)).astype(np.float32)
    place = vectors @ np.array([1.0, -0.7, 0.4]) + 0.8 * random.normal(size=PEOPLE)[:, None]
    place = place + random.logistic(size=(PEOPLE, t))
    ids = [f"t{i:02d}" for i in range(t)]
    scale = np.repeat(SCALES, EACH)
    levels = np.searchsorted([-2, -0.7, 0.5, 1.8], place)
    texts = {"rating": "12345", "agree": ("no", "no", "yes", "yes", "yes"), "party": "aabbc"}
    write(
        folder / "responses.csv",
        participant=[f"p{i}" for i in range(PEOPLE) for _ in ids],
        task=ids * PEOPLE,
        response=[texts[scale[j]][levels[i, j]] for i in range(PEOPLE) for j in range(t)],
    )
    write(folder / "tasks.csv", task=ids, text=[f"Question {i}" for i in ids], scale=list(scale))
    write(
        folder / "people.csv",
        participant=[f"p{i}" for i in range(PEOPLE)],
        age=[str(20 + i) for i in range(PEOPLE)],
        city=[("A", "B")[i % 2] for i in range(PEOPLE)],
    )
    write_vectors(folder / "embedding.parquet", ids, vectors)


def write(path: Path, **columns: list[str]) -> None:
    pyarrow.csv.write_csv(pa.table(columns), path)


def write_vectors(path: Path, ids: list[str], vectors: np.ndarray, **columns: list[str]) -> None:
    cells = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"task": ids, "embedding": cells, **columns}), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder."""
    root = tmp_path_factory.mktemp("survey")
    write_survey(root)
    (root / "run.yaml").write_text(CONFIG.format(folder=root))
    with start_run(root / "run", load_config(root / "run.yaml")) as splits:
        fit_run(root / "run", splits)
    return root / "run"


@pytest.fixture(scope="module")
def fitted(folder):
    """The run's crowd, its study, and the tasks that were held out."""
    config = load_config(folder / "config.yaml")
    study = load_study(config)
    split = split_study(study, config.split, 0)
    return fitted_crowd(folder), study, split.tasks(study, split.test)


@pytest.fixture(scope="module")
def again(folder, fitted):
    """A table of the held-out tasks under other names."""
    _, study, held = fitted
    path = folder.parent / "again.parquet"
    write_vectors(
        path,
        [f"new {study.tasks.ids[row]}" for row in held],
        study.tasks.embedding[held],
        text=[study.tasks.text[row] for row in held],
        scale=[SCALES[study.tasks.scale[row]] for row in held],
    )
    return path


@pytest.fixture(scope="module")
def answered(folder, again):
    return ask(folder, again)


@pytest.fixture(scope="module")
def drawn(answered, fitted):
    """Answers to the questions, and of the same agents to the held-out tasks they are."""
    crowd, _, held = fitted
    new, old = cl.sample(answered.crowd, AGENTS, 7), cl.sample(crowd, AGENTS, 7)
    return new, old, held


def shares(answers: np.ndarray) -> np.ndarray:
    """(T, 5) of the levels."""
    return np.stack([(answers == level).mean(0) for level in range(5)], axis=1)


def test_a_held_out_task_that_is_asked_again_is_answered_alike(answered, drawn, fitted):
    """What is drawn from, to the last digits; and so the shares: a share among AGENTS has a
    standard error of at most 0.0036, two of them differ by 5 of that times sqrt(2) at most."""
    crowd, _, held = fitted
    before, after = crowd.inputs.tasks, answered.crowd.inputs.tasks
    np.testing.assert_allclose(after.features, before.features[held], atol=1e-4)
    np.testing.assert_allclose(after.loading, before.loading[held], atol=1e-4)
    new, old, _ = drawn
    gap = np.abs(shares(new.answers) - shares(old.answers[:, held]))
    assert gap.max() < 5 * np.sqrt(2) * 0.5 / np.sqrt(AGENTS)


def test_the_same_agents_answer(drawn):
    """Their profiles are the run's; their answers hang together with those they gave the run, as
    two answers of one person do, and are not the same draws."""
    new, old, held = drawn
    for one, other in zip(new.profile, old.profile, strict=True):
        np.testing.assert_array_equal(one.cells, other.cells)
    rating = [i for i, row in enumerate(held) if row < EACH]
    again = [np.corrcoef(new.answers[:, i], old.answers[:, held[i]])[0, 1] for i in rating]
    between = np.corrcoef(old.answers[:, held[rating]].T)[np.triu_indices(len(rating), 1)]
    assert between.mean() > 0.03
    # A correlation among AGENTS is known to 0.007.
    assert abs(np.mean(again) - between.mean()) < 0.06
    among = np.corrcoef(new.answers[:, rating].T)[np.triu_indices(len(rating), 1)]
    assert abs(among.mean() - between.mean()) < 0.03


def test_an_answer_depends_on_the_question_alone(folder, again, answered, drawn):
    """Not on what else is asked, in which order, nor on which agents are drawn with it."""
    table = pq.read_table(again)
    some = [5, 2]
    path = folder.parent / "some.parquet"
    pq.write_table(table.take(some), path)
    fewer = ask(folder, path)
    assert set(fewer.crowd.task_ids) == {table["task"][i].as_py() for i in some}
    agents = cl.sample(fewer.crowd, 50, 7, start=100)
    place = [answered.crowd.task_ids.index(name) for name in fewer.crowd.task_ids]
    np.testing.assert_array_equal(agents.answers, drawn[0].answers[100:150, place])
    rows = {(r["task_id"], r["answer"]): r["share"] for r in answered.table.to_pylist()}
    for row in fewer.table.to_pylist():
        assert abs(rows[row["task_id"], row["answer"]] - row["share"]) < 1e-4


def test_the_table_is_of_the_agents(answered, drawn):
    """Shares that are worked out lie where those of the drawn agents do: off by the sampling of
    either (0.0036, and 0.011 of 2,048 agents), and by what the normal-logistic approximation is."""
    new = drawn[0]
    table = answered.table.to_pylist()
    for place, name in enumerate(answered.crowd.task_ids):
        own = [r for r in table if r["task_id"] == name and r["answer"] != "(mean)"]
        told = np.array([r["share"] for r in own])
        assert abs(told.sum() - 1) < 1e-5
        assert all(r["low"] <= r["share"] <= r["high"] for r in own)
        drawn_shares = np.bincount(new.answers[:, place].astype(int), minlength=len(own)) / AGENTS
        assert np.abs(told - drawn_shares).max() < 0.05


def test_known_shares_move_a_question_to_them(folder):
    """Many people's shares are met; few leave the question between."""
    text, wanted = "Nobody knows this one", np.array([0.4, 0.1, 0.1, 0.1, 0.3])
    given = ",".join(map(str, wanted))
    many = ask(folder, text, Asking(scale="rating", shares=given, people=100_000))
    few = ask(folder, text, Asking(scale="rating", shares=given, people=3))
    found = [np.array([r["share"] for r in one.table.to_pylist()[:5]]) for one in (many, few)]
    assert np.abs(found[0] - wanted).max() < 0.02
    assert np.abs(found[1] - wanted).max() > 0.05
    width = [
        np.mean([r["high"] - r["low"] for r in one.table.to_pylist()[:5]]) for one in (many, few)
    ]
    assert width[0] < 0.02 < 0.1 < width[1]
    agents = cl.sample(many.crowd, AGENTS, 0).answers[:, 0]
    assert np.abs(np.bincount(agents, minlength=5) / AGENTS - wanted).max() < 0.03
    assert "100,000 known answers" in many.notes[0]


@pytest.mark.parametrize("shares", [(0.5, 0.05, 0.45), (0.4, 0.05, 0.05, 0.05, 0.45), (0.02, 0.98)])
def test_shares_that_no_location_gives_are_met_all_the_same(folder, shares):
    """On options of one's own, whose levels nothing has been learned of: in the table and by agents
    alike. Of 1,000 people a share of 5% is good to .7 points; prior beliefs take it less far."""
    options = tuple("abcde"[: len(shares)])
    given = ",".join(map(str, shares))
    for people, near in ((1000, 0.02), (100_000, 0.003)):
        asking = Asking(options=options, kind=None, shares=given, people=people)
        found = ask(folder, "Nobody knows this one", asking)
        rows = found.table.to_pylist()[: len(shares)]
        told = np.array([row["share"] for row in rows])
        assert np.abs(told - shares).max() < near
        for row, share in zip(rows, shares, strict=True):
            assert row["low"] - near / 2 < share < row["high"] + near / 2
        agents = cl.sample(found.crowd, 20_000, 0).answers[:, 0]
        drawn = np.bincount(agents, minlength=len(shares)) / 20_000
        # A share of .5 among 20,000 has a deviation of .0035, and the panel as much again.
        assert np.abs(drawn - told).max() < 3 * 0.005


def test_answers_to_a_scale_that_is_new(folder, tmp_path):
    """A few people's answers, on options the run does not have."""
    write(tmp_path / "few.csv", response=["often"] * 30 + ["never"] * 5)
    asking = Asking(options=("never", "sometimes", "often"), answers=tmp_path / "few.csv")
    found = ask(folder, "How often do you vote?", asking)
    rows = {r["answer"]: r["share"] for r in found.table.to_pylist()}
    assert rows["often"] > 0.6 > rows["never"]
    assert list(found.crowd.scales) == ["never/sometimes/often"]
    assert "the 5 levels, stretched over 3, of 'rating'" in found.notes[1]
    drawn = np.bincount(cl.sample(found.crowd, AGENTS, 0).answers[:, 0], minlength=3) / AGENTS
    assert np.abs(drawn - list(rows.values())[:3]).max() < 0.04


def test_new_options_without_an_order(folder):
    asking = Asking(options=("bus", "car", "bike", "walk"), kind="nominal", shares="10,20,30,40")
    found = ask(folder, "How do you get to work?", asking)
    rows = [r["share"] for r in found.table.to_pylist()]
    assert np.abs(np.array(rows) - [0.1, 0.2, 0.3, 0.4]).max() < 0.04
    drawn = np.bincount(cl.sample(found.crowd, AGENTS, 0).answers[:, 0], minlength=4) / AGENTS
    assert np.abs(drawn - rows).max() < 0.04


def test_stretched_cuts():
    """As many levels are left alone; of twice as many every second cut is where it was."""
    cuts = np.array([-2.0, -0.5, 0.1, 2.2])
    np.testing.assert_allclose(stretched(cuts, 5), cuts, rtol=1e-6)
    twice = np.asarray(stretched(cuts, 10))
    np.testing.assert_allclose(twice[1::2], cuts, atol=1e-5)
    assert (np.diff(twice) > 0).all()
    # Of even steps on the logit axis, any number of levels has even shares.
    even = np.log(np.arange(1, 5) / np.arange(4, 0, -1))
    below = 1 / (1 + np.exp(-np.asarray(stretched(even, 7))))
    np.testing.assert_allclose(below, np.arange(1, 7) / 7, atol=1e-5)
    np.testing.assert_allclose(np.asarray(stretched(np.array([1.0]), 3)), 1 + np.log([0.5, 2.0]))


def test_a_condition_holds_for_everybody_who_is_looked_at(folder, again, fitted, tmp_path):
    found = ask(folder, again, Asking(where="age >= 60 and city == 'B'", by="city"))
    age, city = cl.sample(found.crowd, 3000, 0).profile
    assert (age.cells >= 60).all()
    assert {city.levels[cell] for cell in city.cells} == {"B"}
    assert set(found.table["city"].to_pylist()) == {"(all)", "B"}
    ages = [str(18 + i) for i in range(60)]
    write(tmp_path / "census.csv", age=ages, city=["A", "B"] * 30)
    _, study, held = fitted
    rating = next(study.tasks.ids[row] for row in held if row < EACH)
    profiles = tmp_path / "census.csv"
    table = infer_run(folder, tasks=(rating,), whom=Whom(profiles, where="age < 60"))
    assert set(table["people"].to_pylist()) == {40}
    assert set(table["profiles"].to_pylist()) == {42}


def test_another_population_answers_as_its_groups_do(folder, again):
    """Its shares are those of its groups, in its margins; of 2,048 agents each, a share is known to
    0.011, and the sum of groups' shares to as much."""
    margins = {"city": {"A": 0.9, "B": 0.1}}
    groups = ask(folder, again, Asking(by="city")).table.to_pylist()
    other = ask(folder, again, Asking(margins=margins, by="city"))
    rows = {(r["task_id"], r["answer"], r["city"]): r["share"] for r in groups}
    apart = []
    for row in other.table.to_pylist():
        if row["city"] == "(all)" and row["answer"] != "(mean)":
            a, b = (rows[row["task_id"], row["answer"], city] for city in "AB")
            apart.append(abs(row["share"] - (0.9 * a + 0.1 * b)))
            assert apart[-1] < 4 * 0.011 * np.sqrt(2)
    city = cl.sample(other.crowd, AGENTS, 0).profile[1]
    # A share of 20,000 is known to 0.0021.
    assert abs((city.cells == 0).mean() - 0.9) < 0.01


def write_routed(path: Path, fitted, **ask_if: str) -> None:
    """Three questions, the second and third perhaps with a condition."""
    _, study, held = fitted
    names = ["first", "second", "third"]
    scale = ["agree", "rating", "agree"]
    rows = [next(r for r in held if SCALES[study.tasks.scale[r]] == s) for s in scale]
    conditions = [ask_if.get(name, "") for name in names]
    write_vectors(path, names, study.tasks.embedding[rows], scale=scale, ask_if=conditions)


def test_questions_may_be_asked_of_some_alone(folder, fitted, tmp_path):
    """Agents are drawn as without conditions, and skip; the table is of those who are asked. Their
    share of LOOKED_AT agents is known to 0.004; a share of 2,048 of them to 0.011."""
    write_routed(tmp_path / "all.parquet", fitted)
    some = {"second": "first == 'yes' and age >= 30", "third": "second >= 4"}
    write_routed(tmp_path / "some.parquet", fitted, **some)
    plain, found = (ask(folder, tmp_path / f"{name}.parquet") for name in ("all", "some"))
    all_of, agents = (cl.sample(one.crowd, AGENTS, 0) for one in (plain, found))
    age = agents.profile[0].cells
    second = (all_of.answers[:, 0] == 1) & (age >= 30)
    asked = np.stack([age > 0, second, second & (all_of.answers[:, 1] >= 3)], axis=1)
    np.testing.assert_array_equal(agents.answers, np.where(asked, all_of.answers, -1))
    assert "asked" not in plain.table.column_names
    for task, name in enumerate(found.crowd.task_ids):
        own = [r for r in found.table.to_pylist() if r["task_id"] == name]
        assert abs(own[0]["asked"] - asked[:, task].mean()) < 0.02
        gave = agents.answers[asked[:, task], task]
        told = np.array([r["share"] for r in own if r["answer"] != "(mean)"])
        drawn = np.bincount(gave, minlength=len(told)) / len(gave)
        assert np.abs(told - drawn).max() < 0.05
    assert "'second' is asked of" in found.notes[0]
    out = ask_run(folder, tmp_path / "some.parquet", Asking(), tmp_path / "out", agents=300)[1]
    written = pq.read_table(out / "part-00000.parquet")
    null = written["decision"].is_null().to_numpy().reshape(300, 3)
    np.testing.assert_array_equal(null, ~asked[:300])


def test_known_answers_are_of_those_who_are_asked(folder, fitted, tmp_path):
    """A question that those who agree answer, whose shares are theirs: met among them."""
    write_routed(tmp_path / "some.parquet", fitted, third="first == 'yes'")
    write(tmp_path / "few.csv", task=["third"] * 2, response=["no", "yes"], people=["900", "100"])
    found = ask(folder, tmp_path / "some.parquet", Asking(answers=tmp_path / "few.csv"))
    row = next(r for r in found.table.to_pylist() if (r["task_id"], r["answer"]) == ("third", "no"))
    assert abs(row["share"] - 0.9) < 0.02
    answers = cl.sample(found.crowd, AGENTS, 0).answers
    gave = answers[answers[:, 2] >= 0, 2]
    assert abs((gave == 0).mean() - 0.9) < 0.03


@pytest.mark.parametrize(
    ("ask_if", "message"),
    [
        ({"second": "third == 'yes'"}, r"row 3 \('second'\).*'third' is asked after it \(row 4\)"),
        ({"second": "frist == 'yes'"}, "no attribute and no task 'frist'.*did you mean 'first'"),
        ({"second": "first == 'maybe'"}, "'maybe' is no answer to 'first'"),
        ({"second": "city == 'Z'"}, "nobody's city is 'Z'"),
    ],
)
def test_a_condition_of_a_question_is_checked(folder, fitted, tmp_path, ask_if, message):
    write_routed(tmp_path / "odd.parquet", fitted, **ask_if)
    with pytest.raises(CrowdError, match=message):
        ask(folder, tmp_path / "odd.parquet")


def test_what_is_written_joins_the_run(folder, again):
    """The same questions find the folder again; all is as its manifest says."""
    asking = Asking()
    _, out = ask_run(folder, again, asking, agents=500)
    assert verify(out) == 2
    # The run's crowd, and the two files of what was asked.
    assert verify(folder) >= 3
    part = out / "part-00000.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:-100])
    with pytest.raises(CrowdError, match=r"asked.*part-00000.parquet: "):
        verify(folder)
    part.write_bytes(whole)
    parts = pq.read_table(out / "part-00000.parquet")
    assert parts["agent_id"].to_pylist()[:: parts.num_rows // 500] == list(range(500))
    told = json.loads((out / "asked.json").read_text())
    assert told["answers"]
    assert "held-out questions like these" in told["notes"][-1]
    before = (out / "part-00000.parquet").stat().st_mtime_ns
    assert ask_run(folder, again, asking, agents=500)[1] == out
    assert (out / "part-00000.parquet").stat().st_mtime_ns == before


def test_a_question_unlike_all_others_is_told(folder, fitted):
    """One of them lies beyond a training question, in the direction in which this is the last."""
    _, study, held = fitted
    path = folder.parent / "far.parquet"
    known = np.delete(study.tasks.embedding, held, axis=0)
    away = known - known.mean(0)
    axis = np.linalg.svd(away, full_matrices=False)[2][0]
    beyond = known[np.argmax(away @ axis)] + 40 * axis
    vectors = np.array([[0.1, 0.1, 0.1], [40.0, -40.0, 40.0], beyond])
    write_vectors(path, ["near", "far", "beyond"], vectors, scale=["agree"] * 3)
    notes = " ".join(ask(folder, path).notes)
    assert "'far' is unlike all training questions" in notes
    assert "'beyond' is unlike all training questions" in notes
    assert "'near' is unlike" not in notes


def test_questions_may_stand_in_a_csv(folder, tmp_path):
    write(tmp_path / "questions.csv", task=["new"], text=["New?"], scale=["agree"])
    write(tmp_path / "few.csv", task=["new"] * 9, response=["yes"] * 9)
    found = ask(folder, tmp_path / "questions.csv", Asking(answers=tmp_path / "few.csv"))
    assert found.table["share"][1].as_py() > 0.5
    with pytest.raises(CrowdError, match="nothing says how people would answer 'New"):
        ask(folder, tmp_path / "questions.csv")


def test_questions_are_answered_in_the_order_of_their_table(folder, again, answered, tmp_path):
    """Printed and written; the order changes no number."""
    table = pq.read_table(again)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), tmp_path / "turned.parquet")
    turned, out = ask_run(
        folder, tmp_path / "turned.parquet", Asking(), tmp_path / "out", agents=300
    )
    ids = table["task"].to_pylist()
    assert list(dict.fromkeys(answered.table["task_id"].to_pylist())) == ids
    assert list(dict.fromkeys(turned.table["task_id"].to_pylist())) == ids[::-1]
    for name in ids:
        of_each = [
            [r for r in one.table.to_pylist() if r["task_id"] == name] for one in (answered, turned)
        ]
        assert of_each[0] == of_each[1]
    part = pq.read_table(out / "part-00000.parquet").slice(0, len(ids))
    assert part["task_id"].to_pylist() == ids[::-1]
    drawn = [cl.sample(one.crowd, 300, 7).answers for one in (answered, turned)]
    np.testing.assert_array_equal(drawn[0], drawn[1][:, ::-1])


def write_said(path: Path, scales: dict[str, str], share: dict[str, float]) -> None:
    """A row per task and level, on scales by the task's id; so much is said of the first level."""
    levels = {"rating": "12345", "agree": ["no", "yes"], "party": "abc"}
    rows = [(name, s, a, i) for name, s in scales.items() for i, a in enumerate(levels[s])]
    rest = [(1 - share[name]) / (len(levels[s]) - 1) for name, s, *_ in rows]
    write(
        path,
        task=[name for name, *_ in rows],
        scale=[s for _, s, *_ in rows],
        answer=[a for _, _, a, _ in rows],
        p=[str(r if i else share[name]) for r, (name, *_, i) in zip(rest, rows, strict=True)],
    )


def test_a_models_answers_may_stand_in_a_row_each(tmp_path):
    """A row per question and level, as in the table of the run's own reference."""
    write_survey(tmp_path)
    own = {f"t{i:02d}": SCALES[i // EACH] for i in range(EACH * len(SCALES))}
    people = pyarrow.csv.read_csv(tmp_path / "responses.csv").to_pandas()
    lowest = people.assign(low=people.response.isin(["1", "no", "a"])).groupby("task").low.mean()
    write_said(tmp_path / "said.csv", own, lowest.to_dict())
    config = CONFIG.replace("    embedding: {{path: embedding.parquet, task: task}}\n", "")
    said = "{{kind: column, path: said.csv, answer: answer, probability: p}}"
    config = config.replace("{{kind: fitted, folds: 2}}", said).replace("steps: 60", "steps: 9")
    (tmp_path / "run.yaml").write_text(config.format(folder=tmp_path))
    with start_run(tmp_path / "run", load_config(tmp_path / "run.yaml")) as splits:
        fit_run(tmp_path / "run", splits)
    new = {"z": "agree", "b": "rating", "a": "party"}
    write_said(tmp_path / "little.csv", new, dict.fromkeys(new, 0.1))
    write_said(tmp_path / "much.csv", new, dict.fromkeys(new, 0.8))
    little, much = (ask(tmp_path / "run", tmp_path / f"{n}.csv") for n in ("little", "much"))
    assert much.crowd.task_ids == ("z", "b", "a")
    firsts = {("z", "no"), ("b", "1"), ("a", "a")}
    for low, high in zip(little.table.to_pylist(), much.table.to_pylist(), strict=True):
        if (low["task_id"], low["answer"]) in firsts:
            assert low["share"] < high["share"] - 0.02
    table = pyarrow.csv.read_csv(tmp_path / "much.csv")
    pyarrow.csv.write_csv(table.slice(0, 2), tmp_path / "one.csv")
    one = ask(tmp_path / "run", tmp_path / "one.csv").table.to_pylist()
    assert one == much.table.to_pylist()[: len(one)]


def test_rows_of_one_question_have_one_vector(folder, tmp_path):
    twice = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    path = tmp_path / "twice.parquet"
    write_vectors(path, ["a", "a", "b"], twice, scale=["agree"] * 3)
    assert ask(folder, path).crowd.task_ids == ("a", "b")
    write_vectors(path, ["a", "b", "a"], twice, scale=["agree"] * 3)
    told = (
        r"twice.parquet, column 'embedding': question 'a' has other numbers in row 3 than in row 1"
    )
    with pytest.raises(CrowdError, match=told):
        ask(folder, path)


def test_an_attribute_that_is_called_as_a_column_is(folder, fitted):
    crowd, study, _ = fitted
    generator = crowd.generator
    called = tuple(
        replace(a, name={"city": "Answer"}.get(a.name, a.name)) for a in generator.attributes
    )
    crowd = replace(crowd, generator=replace(generator, attributes=called))
    asking = Asking(scale="agree", shares="30,70", by="Answer")
    table = ask((crowd, study, load_config(folder / "config.yaml")), "New?", asking).table
    assert table.column_names[:3] == ["task_id", "profile_Answer", "answer"]
    assert set(table["answer"].to_pylist()) == {"no", "yes", "(mean)"}


def test_a_crowd_of_another_split_is_refused(folder, fitted):
    """Its held-out tasks are others than the ones by which its answers would be trusted."""
    crowd, study, _ = fitted
    config = load_config(folder / "config.yaml")
    asking = Asking(scale="agree", shares="30,70")
    other = msgspec.structs.replace(config.split, test=0.5)
    told = r"ask: the crowd was fitted to other tasks than .* cl.fit\(study, config, seed=0\)"
    with pytest.raises(CrowdError, match=told):
        ask((crowd, study, msgspec.structs.replace(config, split=other)), "New?", asking)


def test_what_answers_say_is_not_stretched(folder, monkeypatch):
    """What is known before them is: of few answers, more is then learnt from each."""
    found = []
    for stretch in (1.0, 3.0):
        trust = Trust(50, stretch, 0.5, 0.4, 0.6)
        monkeypatch.setattr("crowdllm_jax.workflow.ask.trust_of", lambda _, trust=trust: trust)
        one, many = (
            ask(folder, "New?", Asking(scale="agree", shares="10,90", people=people)).table
            for people in (5, 20_000)
        )
        found.append([one["share"][1].as_py()] + [many[end][1].as_py() for end in ("low", "high")])
    (few, *before), (fewer, *after) = found
    assert fewer > few + 0.02
    np.testing.assert_allclose(before, after, atol=0.002)


def test_held_out_questions_whose_scale_was_not_trained_say_nothing(fitted, folder):
    crowd, study, held = fitted
    split = split_study(study, load_config(folder / "config.yaml").split, 0)
    scale = study.tasks.scale[study.task]
    less = replace(split, train=split.train & (scale != 1))
    whole, some = (held_out_outlook(crowd, study, one).questions for one in (split, less))
    assert whole == len(held)
    told = held_out_outlook(crowd, study, split)
    assert told.levels.sum() == len(told.middle)
    np.testing.assert_array_equal(told.scale, study.tasks.scale[held])
    assert some == (study.tasks.scale[held] != 1).sum() < whole


def test_held_out_questions_that_some_were_asked_do_not_calibrate(fitted, folder):
    """The shares of all agents would be held against those of some people."""
    crowd, study, held = fitted
    split = split_study(study, load_config(folder / "config.yaml").split, 0)
    routed = replace(study.tasks, ask_if={study.tasks.ids[held[0]]: "age >= 30"})
    some = held_out_outlook(crowd, replace(study, tasks=routed), split).questions
    assert some == len(held) - 1


def test_a_continuous_mean_is_known_as_far_as_its_answers_vary():
    """Normal answers of deviation 0.1 around the middle: 25 times as well as of yes and no. The
    variance of 4,000 of them is known to 2%. Answers at the two ends alone are yes and no."""
    study = make_study({"slider": Continuous(low=0, high=1)}, tasks=20, people=200)
    every = np.ones(len(study.task), bool)
    split = Split("tasks", ~every, ~every, every)
    random = np.random.default_rng(0)
    middle = replace(study, answer=0.5 + 0.1 * random.normal(size=len(every)))
    ends = replace(study, answer=random.integers(0, 2, len(every)).astype(float))
    assert _variation(middle, split, 0) == pytest.approx(0.04, rel=0.1)
    assert _variation(ends, split, 0) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("question", "given", "message"),
    [
        ("New?", {"scale": "rating"}, "nothing says how people would answer 'New\\?'.*--embedder"),
        ("New?", {}, r"say on which scale \(--scale NAME"),
        ("New?", {"scale": "ratings"}, "no scale 'ratings'; the run's scales are: rating, agree"),
        ("New?", {"scale": "rating", "options": ("a", "b")}, "not both"),
        ("New?", {"kind": "ordinal"}, "give the options, too"),
        ("New?", {"options": ("a",)}, "1 levels"),
        ("New?", {"options": ("0", "100"), "kind": "continuous"}, "learnt no continuous scale"),
        ("New?", {"options": ("c", "a", "b"), "kind": "nominal"}, "scale 'party' in another order"),
        ("", {"scale": "rating"}, "a question is empty"),
        (["New?", "New?"], {"scale": "rating"}, "is asked twice"),
        ("t03", {"scale": "agree", "shares": "20,80"}, "on the scale 'rating'; leave out --scale"),
        ("t03", {"shares": "20,20,20,20,20"}, "'t03' is a question of the run, to which"),
        ("t03", {"people": 50}, "leave out --answers, --shares and --people"),
        (["t03", "New?"], {"scale": "rating"}, "'t03' is a question of the run.*and 'New\\?'"),
        (["t03", "Question t03"], {}, "'t03' is asked twice"),
        ("New?", {"scale": "rating", "again": 1}, "--again: 'New\\?' is no question of the run"),
        ("t03", {"again": -1}, "--again -1: give how often"),
        ("New?", {"scale": "agree", "shares": "30,30,40"}, "3 shares.*2 levels"),
        ("New?", {"scale": "agree", "shares": "30,50"}, "sum to 80"),
        ("New?", {"scale": "agree", "shares": "x,50"}, "numbers with commas"),
        ("New?", {"scale": "agree", "shares": "30,70", "people": np.inf}, "--people inf: give"),
        ("New?", {"scale": "agree", "shares": "30,70", "people": 1e308}, "at most 1,000,000,000"),
        ("New?", {"scale": "agree", "people": 100}, "--people: says how many people's --shares"),
        ("New?", {"scale": "agree", "shares": "30,70", "where": "agee > 3"}, "did you mean 'age'"),
        ("New?", {"scale": "agree", "shares": "30,70", "by": "age"}, "--by age: is a number"),
        ("New?", {"scale": "agree", "shares": "30,70", "where": "age > 99"}, "nobody among"),
        (Path("nowhere.csv"), {}, "nowhere.csv"),
    ],
)
def test_what_cannot_be_asked_is_told(folder, question, given, message):
    with pytest.raises(CrowdError, match=message):
        ask(folder, question, Asking(**given))


def test_answers_that_do_not_fit_are_told(folder, tmp_path):
    path = tmp_path / "few.csv"
    write(path, task=["New?"], response=["maybe"])
    with pytest.raises(CrowdError, match=r"few.csv.*'maybe' \(row 2\) is no answer to 'New\?'"):
        ask(folder, "New?", Asking(scale="agree", answers=path))
    write(path, task=["Old?"], response=["yes"])
    with pytest.raises(CrowdError, match=r"'Old\?' \(row 2\) is no question that is asked: New\?"):
        ask(folder, "New?", Asking(scale="agree", answers=path))
    write(path, task=["New?"], response=["yes"], people=["1e308"])
    with pytest.raises(CrowdError, match=r"few.csv: 'New\?' has the answers of 1e\+308 people"):
        ask(folder, "New?", Asking(scale="agree", answers=path))


def test_trust_is_what_held_out_questions_say():
    """Intervals that are half as wide as they should be are doubled; a crowd that leaves a quarter
    of the squared distance came three quarters of the way."""
    random = np.random.default_rng(0)
    middle, sd = random.normal(size=2000), np.full(2000, 0.3)
    people = 1 / (1 + np.exp(-(middle + 0.6 * random.normal(size=2000))))
    n = np.full(2000, 1e5)
    way = np.stack([np.full(500, 0.01), np.full(500, 0.04)], axis=1)
    trust = trust_of([Held(middle, sd, people, n, way)])
    # The share inside is known to sqrt(0.9 0.1 / 2000), 0.7%: the stretch to about 3%.
    assert abs(trust.stretch - 2) < 0.2
    assert (trust.questions, round(trust.way, 9)) == (500, 0.75)
    assert not np.isfinite(trust_of([Held(middle, sd, people, n, way[:5])]).way)


def test_intervals_hold_for_questions_that_did_not_choose_them():
    """34 yes-no questions, whose two shares tell the same, choose the stretch; how many others it
    holds for is known. Stretched to hold 90% of the 34 themselves, intervals hold 31/35 = 88.6% of
    others at best."""
    random, held = np.random.default_rng(0), []
    for _ in range(200):
        middle, off = random.normal(size=34), 0.6 * random.normal(size=34)
        yes = 1 / (1 + np.exp(-(middle + off)))
        both = [np.r_[middle, -middle], np.full(68, 0.3), np.r_[yes, 1 - yes], np.full(68, 1e5)]
        stretch = trust_of([Held(*both, np.ones((34, 2)))]).stretch
        held.append(2 * ndtr(1.6448536 * stretch * 0.3 / 0.6) - 1)
    # One of them varies by .05, the mean of 200 by .0035: three of these are .011.
    assert abs(np.mean(held) - 0.9) < 0.011


def test_intervals_hold_on_each_scale():
    """20 questions of 5 levels whose intervals are as wide as they should be, and 20 of 3 levels
    whose intervals are half as wide. With one stretch for both, the latter hold .80 of others."""
    random, held = np.random.default_rng(0), []
    scale, levels, true = np.repeat([0, 4], 20), np.repeat([5, 3], 20), np.repeat([1.0, 2.0], 20)
    row = np.repeat(np.arange(40), levels)
    for _ in range(60):
        middle, own = random.normal(size=(2, len(row)))
        off = 0.3 * true[row] * (0.8 * random.normal(size=40)[row] + 0.6 * own)
        people = 1 / (1 + np.exp(-(middle + off)))
        sd, n = np.full(len(row), 0.3), np.full(len(row), 1e5)
        trust = trust_of([Held(middle, sd, people, n, np.ones((40, 2)), scale, levels)])
        wider = np.array([trust.on(0), trust.on(4)])
        held.append(2 * ndtr(1.6448536 * wider / [1.0, 2.0]) - 1)
    # One of them varies by .05, the mean of 60 by .007: three of these are .02. What is learnt of
    # scales from all together leaves the former .03 to .04 above and the latter .01 below .9.
    assert np.abs(np.mean(held, axis=0) - [0.93, 0.89]).max() < 0.02
    assert trust.on(1) == trust.stretch


def test_an_interval_holds_what_it_is_of():
    """At the ends, where logits stop short of 0 and 1, and of draws some of which lie far from the
    others; between, it is the quantiles'."""
    random = np.random.default_rng(0)
    usual = 1 / (1 + np.exp(-random.normal(size=400)))
    odd = np.where(np.arange(400) < 12, 0.9, 1e-3)
    draws = np.stack([np.zeros(400), np.ones(400), odd, usual], axis=1)
    low, high = stretched_interval(draws, 1.0)
    assert (low <= draws.mean(0)).all()
    assert (draws.mean(0) <= high).all()
    logit = np.log(usual / (1 - usual))
    own = 1 / (1 + np.exp(-np.quantile(logit, [0.05, 0.95])))
    np.testing.assert_allclose([low[3], high[3]], own, rtol=1e-12)


def test_a_few_who_answer_alike_do_not_say_that_all_do():
    """Of 10 people nobody gave some answers: up to a fifth of all may, as Wilson's interval says.
    What two levels' means say is what their shares do."""
    likert, agree = Ordinal(levels=(1, 2, 3)), Binary(levels=("no", "yes"))
    share = [0.0, 1.0, 0.0, 2.0, 0.0, 1.0, 1.0]
    answer = ["1", "2", "3", "(mean)", "no", "yes", "(mean)"]
    columns = {"task_id": ["a"] * 4 + ["b"] * 3, "answer": answer, "share": share}
    table = pa.table({**columns, "low": share, "high": share, "people": [50.0] * 7})
    found = no_surer(table, {"a": Behind(likert, 10.0, 0.0), "b": Behind(agree, 10.0, 0.0)})
    low, high = proportion_confint([0, 10], 10, alpha=0.1, method="wilson")
    ends = {name: np.array(found[name]) for name in ("low", "high", "people")}
    np.testing.assert_allclose(ends["low"][[0, 1, 2, 4, 5, 6]], [0, low[1], 0, 0, low[1], low[1]])
    np.testing.assert_allclose(
        ends["high"][[0, 1, 2, 4, 5, 6]], [high[0], 1, high[0], high[0], 1, 1]
    )
    assert (ends["people"] == 10).all()
    # The mean of answers that the crowd gives, though the people behind it gave only one.
    shares = pa.array([0.1, 0.8, 0.1, 2.0, 0.0, 1.0, 1.0])
    wider = no_surer(table.set_column(2, "share", shares), {"a": Behind(likert, 10.0, 0.0)})
    half = 1.6448536 * np.sqrt(0.2 / 10)
    np.testing.assert_allclose(
        [wider["low"][3].as_py(), wider["high"][3].as_py()], [2 - half, 2 + half]
    )


def test_a_table_holds_what_is_certain():
    """Shares and means of questions that everybody answers alike lie within their intervals, to
    the last digit."""
    known = {"rating": Ordinal(levels=(1, 2, 3, 4, 7)), "slider": Continuous(low=-3, high=11.7)}
    asked = questions_on("ab", "ab", list(known), known, list(known))
    share = np.array([0.0, 0.0, 0.0, 0.1, 0.9])

    class Alike:
        def draws(self, task):
            if task.scale is known["slider"]:
                return None, np.full(64, 11.7)
            return np.tile(share, (64, 1)), np.full(64, share @ [1, 2, 3, 4, 7])

    told = table_of(
        [Audience(Alike())] * 2,
        asked,
        [SimpleNamespace(scale=scale) for scale in known.values()],
        [1.0, 1.0],
        None,
        None,
    )
    assert len(told) == 7
    for row in told.to_pylist():
        assert row["low"] <= row["share"] <= row["high"], row
        assert row["high"] - row["low"] < 2e-3


def test_what_is_kept_of_the_reference_is_what_a_fit_would_give(folder, again, answered):
    """Without it, the reference is fitted anew."""
    kept = folder / "seed-0" / "reference.npz"
    away = kept.rename(kept.with_suffix(".away"))
    try:
        anew = ask(folder, again)
    finally:
        away.rename(kept)
    for name in ("share", "low", "high"):
        np.testing.assert_allclose(anew.table[name], answered.table[name], atol=1e-5)


def test_agents_remember_what_they_answered(folder, fitted, again):
    """By its name or its text, on its scale, in another population or not: agents answer as they
    did in the run's; the table is of these answers, as far as 20,000 and 2,048 agents and the
    normal-logistic approximation tell."""
    crowd, study, _ = fitted
    old = cl.sample(crowd, AGENTS, 7)
    for question, given, row in (
        ("t03", {}, 3),
        (f"  {study.tasks.text[25]} ", {}, 25),
        ("t45", {"scale": "party"}, 45),
        (["t07", "Question t30"], {}, 7),
    ):
        found = ask(folder, question, Asking(**given))
        name = study.tasks.ids[row]
        place = found.crowd.task_ids.index(name)
        new = cl.sample(found.crowd, AGENTS, 7).answers[:, place]
        np.testing.assert_array_equal(new, old.answers[:, row])
        own = [r for r in found.table.to_pylist() if r["task_id"] == name]
        told = np.array([r["share"] for r in own if r["answer"] != "(mean)"])
        assert np.abs(told - np.bincount(new, minlength=len(told)) / AGENTS).max() < 0.05
        assert all(r["low"] <= r["share"] <= r["high"] for r in own)
        assert f"'{name}' is a question of the run: agents answer as they did" in found.notes[0]
    other = ask(folder, "t03", Asking(where="age >= 60", by="city"))
    agents = cl.sample(other.crowd, 500, 7)
    assert (agents.profile[0].cells >= 60).all()
    same = cl.sample(crowd, 500, 7, where="age >= 60")
    np.testing.assert_array_equal(agents.answers, same.answers)
    # One that was held out is as uncertain as any that nobody answered.
    _, _, held = fitted
    name = study.tasks.ids[held[0]]
    unheard, new = ask(folder, name), ask(folder, folder.parent / "again.parquet")
    widths = [
        {r["answer"]: r["high"] - r["low"] for r in one.table.to_pylist() if r["task_id"] == task}
        for one, task in ((unheard, name), (new, f"new {name}"))
    ]
    assert widths[0] == pytest.approx(widths[1], abs=0.02)
    assert unheard.notes[-1] == new.notes[-1]
    # On other options it is another question.
    asking = Asking(options=("a", "b", "c"), shares="20,30,50")
    assert ask(folder, study.tasks.text[3], asking).crowd.asked


def test_agents_are_asked_again(folder, fitted):
    """With the beliefs they have, and other chance: the same every time it is the second time.
    Shares of 20,000 agents each differ by 5 standard errors at most."""
    crowd, _, _ = fitted
    old = cl.sample(crowd, AGENTS, 7)
    once, twice, thrice = (
        cl.sample(ask(folder, ["t03", "t25"], Asking(again=n)).crowd, AGENTS, 7) for n in (1, 1, 2)
    )
    assert [name for name, _ in thrice.tasks] == ["t03 (again 2)", "t25 (again 2)"]
    np.testing.assert_array_equal(once.answers, twice.answers)
    for one, other in zip(once.profile, old.profile, strict=True):
        np.testing.assert_array_equal(one.cells, other.cells)
    before = old.answers[:, [3, 25]]
    for new in (once, thrice):
        gap = np.abs(shares(new.answers) - shares(before))
        assert gap.max() < 5 * np.sqrt(2) * 0.5 / np.sqrt(AGENTS)
    # Retests hang together with the test as with each other.
    pairs = [(before, once.answers), (before, thrice.answers), (once.answers, thrice.answers)]
    for task in range(2):
        r = [np.corrcoef(a[:, task], b[:, task])[0, 1] for a, b in pairs]
        assert min(r) > 0.02
        assert max(r) < 0.95
        assert max(r) - min(r) < 5 / np.sqrt(AGENTS) * np.sqrt(2)


def test_what_is_remembered_is_written_as_it_was(folder, fitted):
    crowd, _, _ = fitted
    answered, out = ask_run(folder, "t03", Asking(), agents=300, seed=7)
    assert repr(answered).startswith("Answered('t03': 6 rows")
    assert out.name.startswith("t03-")
    told = json.loads((out / "asked.json").read_text())
    assert list(told["questions"]) == ["t03"]
    table = pq.read_table(out / "part-00000.parquet")
    own = table.filter(pa.compute.equal(table["task_id"], "t03"))["decision"].to_pylist()
    assert [int(cell) for cell in own] == (cl.sample(crowd, 300, 7).answers[:, 3] + 1).tolist()


def test_answers_to_several_of_the_runs_questions_are_kept_apart(folder):
    """They are of one population, and each answer has a folder of its own, found again."""
    asked = [
        ("t03", Asking()),
        (["t03", "t25"], Asking()),
        ("t03", Asking(by="city")),
        ("t03", Asking(where="age >= 60")),
    ]
    folders = [ask_run(folder, which, how, agents=50)[1] for which, how in asked]
    assert len(set(folders)) == len(asked)
    assert ask_run(folder, "t03", Asking(), agents=50)[1] == folders[0]
    kept = (folders[0] / "asked.json").read_bytes()
    for which, how in asked[1:3]:
        with pytest.raises(CrowdError, match=r"asked.json: is of 't03', or told by another"):
            ask_run(folder, which, how, folders[0], agents=50)
    assert (folders[0] / "asked.json").read_bytes() == kept


def test_nothing_is_known_better_than_by_those_who_answered(folder, fitted, monkeypatch):
    """A fit that is sure of all it says is of these people; others would have said otherwise: a
    share's standard deviation is at least sqrt(p (1 - p) / n), and its interval Wilson's."""
    _, study, held = fitted
    row = next(row for row in range(EACH) if row not in held)
    name = study.tasks.ids[row]
    places = ask_module.known_places
    monkeypatch.setattr(
        ask_module,
        "known_places",
        lambda crowd, known: [replace(one, root=0 * one.root) for one in places(crowd, known)],
    )
    config = load_config(folder / "config.yaml")
    n = (split_study(study, config.split, 0).train & (study.task == row)).sum()
    assert n == PEOPLE
    value = study.value[study.task == row]
    lines = ask(folder, name, Asking(by="city")).table.to_pylist()
    for i, line in enumerate(lines):
        p, mean = line["share"], line["answer"] == "(mean)"
        variance, (low, high), ends = p * (1 - p), (p, p), (0, 1)
        if mean:
            shares = [level["share"] for level in lines[i - 5 : i]]
            variance, ends = max(value.var(), shares @ (np.arange(1, 6) - p) ** 2), (1, 5)
        else:
            low, high = proportion_confint(p * n, n, alpha=0.1, method="wilson")
        half = 1.6448536 * np.sqrt(variance / n)
        least, most = max(ends[0], min(low, p - half)), min(ends[1], max(high, p + half))
        assert line["low"] == pytest.approx(least, abs=0.01)
        assert line["high"] == pytest.approx(most, abs=0.01)
        assert line["people"] <= n


def test_a_table_that_means_another_question_by_a_known_id(folder, tmp_path):
    path = tmp_path / "known.csv"
    write(path, task=["t03"], text=["Question t03"], scale=["rating"], ask_if=["age > 30"])
    with pytest.raises(CrowdError, match="'t03' is a question of the run, asked of everybody"):
        ask(folder, path)
    write(path, task=["t03"], text=["Something else?"], scale=["rating"])
    with pytest.warns(CrowdWarning, match=r"another text there \('Question t03'\)"):
        ask(folder, path)


def test_again_stands_behind_the_question(folder, capsys):
    with pytest.raises(SystemExit):
        main(["ask", str(folder), "--again", "Question t03"])
    assert 'put the question before it ("Question t03" --again)' in capsys.readouterr().err
