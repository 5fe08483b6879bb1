"""Plans of whom to ask what: laws of the draw and of the budget, and the command."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pyarrow.csv
import pytest
from few_drawings import few_drawings  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st
from known_people import draw_people, make_known
from synthetic import RATING, make_study, write_config, write_table

from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.infer.allocation import (
    ENOUGH,
    MIXED,
    Prospect,
    allocate,
    chances,
    draw,
    shares_of,
)
from crowdllm_jax.infer.infer import infer
from crowdllm_jax.infer.plan import Goal, plan_answers
from crowdllm_jax.infer.planned import PlannedAnswers, planned_weights, read_plan
from crowdllm_jax.infer.prospects import Told, questions_of
from crowdllm_jax.infer.question import Estimand
from crowdllm_jax.model.crowd_file import load_crowd, save_crowd
from crowdllm_jax.runs.config import dump_config, load_config, load_study
from crowdllm_jax.runs.folder import crowd_folder
from crowdllm_jax.study.records import Participants, only_answers
from crowdllm_jax.study.split import split_study
from crowdllm_jax.workflow.plan import plan

PEOPLE, TASKS = 160, 4
errors = st.lists(st.floats(0, 100), min_size=1, max_size=30)


@given(errors, st.integers(0, 40))
def test_chances_add_up_to_those_drawn(error, count):
    share = shares_of(np.array(error))
    assert share.sum() == pytest.approx(1)
    assert (share >= MIXED / len(share) - 1e-12).all()
    chance = chances(share, count)
    assert chance.sum() == pytest.approx(min(count, len(error)))
    assert ((chance > 0) | (count == 0)).all()
    assert (chance <= 1).all()
    below = chance < 1 - 1e-9
    # Whoever is not asked for sure is asked as often as the share says.
    np.testing.assert_allclose(
        chance[below] * share[below].sum(), share[below] * chance[below].sum()
    )
    drawn = draw(chance, np.random.default_rng(count))
    assert len(drawn) == len(set(drawn.tolist())) == min(count, len(error))


def test_everybody_is_drawn_as_often_as_told():
    """Of 4,000 draws; the most deviant of 12 frequencies is within 4.5 standard deviations."""
    random = np.random.default_rng(0)
    chance = chances(shares_of(np.arange(12.0)), 5)
    times = sum(np.bincount(draw(chance, random), minlength=12) for _ in range(4000))
    sd = np.sqrt(chance * (1 - chance) / 4000)
    assert (np.abs(times / 4000 - chance) <= 4.5 * sd + 1e-12).all()


prospects = st.builds(
    lambda answers, open_to, equal, gain, rest: Prospect(
        answers, open_to, equal, (gain * equal, equal), rest
    ),
    st.integers(0, 60),
    st.integers(0, 40),
    st.floats(0.01, 0.25),
    st.floats(0.7, 1),
    st.floats(0, 1e-3),
)


@settings(deadline=None)
@given(
    st.lists(prospects, min_size=1, max_size=5),
    st.integers(1, 200),
    st.none() | st.floats(0.05, 0.5),
)
def test_a_budget_is_never_exceeded(several, budget, width):
    more = allocate(several, budget, level=0.9, width=width)
    assert sum(more) <= budget
    assert all(0 <= count <= one.open for one, count in zip(several, more, strict=True))
    then = [one.width(count, 0.9) for one, count in zip(several, more, strict=True)]
    if width is None:
        # Nothing is left over that would narrow an interval there is.
        assert sum(more) == budget or all(
            count == one.open or now == np.inf or one.width(count + 1, 0.9) >= now
            for one, count, now in zip(several, more, then, strict=True)
        )
        return
    # It stops where all are so narrow, not before, and never goes on beyond.
    wide = [i for i, w in enumerate(then) if width < w < np.inf]
    assert not wide or sum(more) == budget or any(more[i] == several[i].open for i in wide)
    for one, count in zip(several, more, strict=True):
        if count and one.effective(count - 1) >= ENOUGH and one.width(count, 0.9) <= width:
            assert one.width(count - 1, 0.9) > width


@pytest.mark.parametrize("width", [None, 1e-6])
def test_no_other_allocation_is_better(width):
    """Against all there are of 12 answers to three questions."""
    random = np.random.default_rng(3)
    for _ in range(10):
        several = [
            Prospect(int(random.integers(31, 60)), 12, equal, (0.9 * equal,), 1e-4)
            for equal in random.uniform(0.01, 0.25, 3)
        ]

        def worth(counts, several=several):
            each = [p.width(int(c), 0.9) for p, c in zip(several, counts, strict=True)]
            return sum(each) if width is None else max(each)

        every = [c for c in itertools.product(range(13), repeat=3) if sum(c) == 12]
        best = min(map(worth, every))
        assert worth(allocate(several, 12, level=0.9, width=width)) == pytest.approx(best)


def test_questions_without_an_interval_come_first():
    lacking = Prospect(ENOUGH - 4, 50, 0.01, (0.01,), 0)
    wide = Prospect(40, 50, 0.25, (0.25,), 0)
    assert allocate([wide, lacking], 4, level=0.9) == [0, 4]
    assert allocate([wide, lacking], 3, level=0.9) == [3, 0]
    assert allocate([lacking], 3, level=0.9) == [3]


def told(answers, weight, *, low=None, open_to=40):
    """A question of which these answers are there, and as many people are open."""
    n = len(answers) + open_to
    gave = np.arange(n) < len(answers)
    answer = np.append(np.asarray(answers, float), np.full(open_to, np.nan))
    spread = np.full(n, 0.25)
    return questions_of(
        [Told(0, 1.0, answer, np.full(n, 0.1), spread, gave, ~gave, low)], np.resize(weight, n)
    )[0].prospect


def test_answers_count_by_their_weights():
    """As `infer` counts them: 40 people of whom every other weighs 9 times as much are 24.4."""
    kish = 20 * (1 + 9) ** 2 / (1 + 81)
    uneven, even = told([0, 1] * 20, [1.0, 9.0]), told([0, 1] * 20, [1.0])
    assert uneven.effective(0) == pytest.approx(kish)
    assert not np.isfinite(uneven.width(0, 0.9))
    assert uneven.even == pytest.approx(kish / 40)
    assert even.effective(0) == 40
    assert np.isfinite(even.width(0, 0.9))


def test_a_rare_answer_has_no_interval_before_it_is_given_often_enough():
    """Two of 40 gave it, and each of the others is expected to by 0.1: 30 more make it five."""
    for low in (0.0, 1.0):
        one = told(np.append([1, 1], np.zeros(38)) + low, [1.0], low=low)
        if low:
            one = dataclasses.replace(one, rate=0.1)
        assert one.rare == 2
        assert allocate([one], 40, level=0.9) == [40]
        assert not np.isfinite(one.width(29, 0.9))
        assert np.isfinite(one.width(30, 0.9))


@pytest.fixture(scope="module")
def known():
    """People with one strong belief; six of ten answers are there, and t01 is asked of some."""
    known = make_known(make_study(tasks=TASKS, people=PEOPLE), latent=1, loud=0.8)
    known.model.belief.log_spread[...] = jnp.log(jnp.array([2.0, 1e-3]))
    random = np.random.default_rng(1)
    answers = draw_people(known, np.zeros((PEOPLE, known.design.centre.shape[-1]), np.float32), 5)
    there = random.random(answers.size) < 0.6
    study = dataclasses.replace(
        known.study,
        answer=answers.ravel().astype(float),
        tasks=dataclasses.replace(known.study.tasks, ask_if={"t01": "t00 >= 3"}),
    )
    asked = np.where(study.task == 1, np.repeat(answers[:, 0] >= 2, TASKS), True)
    return known._replace(study=only_answers(study, there & asked))


def held_of(study):
    """Two crowds, each of which has not seen half of the people."""
    return study.person % 2 == np.arange(2)[:, None]


def plan_of(known, goal, **more):
    crowds = (known.crowd, known.crowd)
    return plan_answers(crowds, known.study, held_of(known.study), goal, **more)


def test_nobody_is_asked_twice_or_what_they_would_skip(known):
    study, pairs = known.study, set()
    people, tasks = study.participants.ids, study.tasks.ids
    gave = {(people[p], tasks[t]) for p, t in zip(study.person, study.task, strict=True)}
    decides = study.task == 0
    first = dict(zip(study.person[decides], study.answer[decides], strict=True))
    first = {people[person]: answer for person, answer in first.items()}
    planned = plan_of(known, Goal(budget=10_000))
    rows = planned.asks.to_pylist()
    for row in rows:
        pairs.add((row["participant"], row["task"]))
        if row["task"] == "t01":
            assert first[row["participant"]] >= 2
    assert len(pairs) == len(rows)
    assert not pairs & gave
    # With so many, everybody is asked who may be.
    assert {row["probability"] for row in rows} == {1.0}
    everybody = set(itertools.product(people, tasks))
    may = {(p, t) for p, t in everybody - gave if t != "t01" or first.get(p, 0) >= 2}
    assert pairs == may
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert planned.questions["open"].to_pylist() == planned.questions["ask"].to_pylist()


def test_a_plan_depends_on_its_seed_and_on_nothing_else_that_is_asked(known):
    one = plan_of(known, Goal(budget=30, seed=4))
    assert one.asks.equals(plan_of(known, Goal(budget=30, seed=4)).asks)
    assert not one.asks.equals(plan_of(known, Goal(budget=30, seed=5)).asks)
    assert one.asks.num_rows == 30
    counts = {row["task_id"]: row["ask"] for row in one.questions.to_pylist()}
    task = max(counts, key=counts.get)
    alone = plan_of(known, Goal(budget=counts[task], seed=4), tasks=(task,))
    of_both = {row["participant"] for row in one.asks.to_pylist() if row["task"] == task}
    assert of_both == set(alone.asks["participant"].to_pylist())


def test_widths_are_foretold(known):
    """Gather what is planned, and compare with the interval: within a fifth, which 100 answers
    (whose standard deviation is known to 7%) and two ways of telling it leave room for."""
    study = known.study
    planned = plan_of(known, Goal(budget=120), tasks=("t02", "t03"))
    answers = draw_people(known, np.zeros((PEOPLE, known.design.centre.shape[-1]), np.float32), 5)
    number = {name: i for i, name in enumerate(study.participants.ids)}
    of_task = {name: i for i, name in enumerate(study.tasks.ids)}
    person = np.array([number[name] for name in planned.asks["participant"].to_pylist()])
    task = np.array([of_task[name] for name in planned.asks["task"].to_pylist()])
    more = dataclasses.replace(
        study,
        person=np.append(study.person, person).astype(np.int32),
        task=np.append(study.task, task).astype(np.int32),
        answer=np.append(study.answer, answers[person, task].astype(float)),
    )
    plan = PlannedAnswers(person, task, planned.asks["probability"].to_numpy())
    crowds = (known.crowd, known.crowd)
    table = infer(
        crowds, more, held_of(more), tasks=("t02", "t03"), twins=True, plans=(plan,)
    ).to_pylist()
    for row, told in zip(table, planned.questions.to_pylist(), strict=True):
        assert row["people"] == told["answers"] + told["ask"]
        assert row["high"] - row["low"] == pytest.approx(told["width_then"], rel=0.2)
        assert told["width_then"] < told["width_now"]
        # Against the estimator itself, with weights by the definition.
        t = of_task[row["task_id"]]
        mine = np.zeros(PEOPLE)
        gave = np.isin(np.arange(PEOPLE), more.person[more.task == t])
        mine[gave] = planned_weights((plan,), t, gave, np.ones(PEOPLE, bool), np.ones(PEOPLE))[gave]
        value = np.zeros(PEOPLE)
        value[more.person[more.task == t]] = more.value[more.task == t]
        assert row["humans_alone"] == pytest.approx(np.average(value, weights=mine))


def test_answers_of_the_fit_cannot_be_planned_with(known):
    """They are no part of those who could be asked; of other questions they do no harm."""
    study, plan = known.study, PlannedAnswers(np.array([0]), np.array([2]), np.array([0.5]))
    fitted = np.flatnonzero(study.task == 2)[:7]
    held = held_of(study)
    held[:, fitted] = False
    crowds = (known.crowd, known.crowd)
    message = r"fitted on 7 of \d+ answers.*'t02'.*split: {by: people, folds: 5}"
    with pytest.raises(CrowdError, match=message):
        plan_answers(crowds, study, held, Goal(5), tasks=("t02", "t03"))
    with pytest.raises(CrowdError, match=message):
        infer(crowds, study, held, tasks=("t02",), twins=True, plans=(plan,))
    assert plan_answers(crowds, study, held, Goal(5), tasks=("t03",)).asks.num_rows == 5


def test_a_plan_says_which_of_its_questions_cannot_be_estimated(known):
    both = plan_of(known, Goal(10_000), tasks=("t00", "t01"))
    assert "'t01' is asked by the answer to 't00'" in both.notes[-1]
    alone = plan_of(known, Goal(10_000), tasks=("t01", "t02"))
    assert not any("ask_if" in note for note in alone.notes)


def test_what_an_asked_answer_decides_is_not_estimated(known):
    """t01 is asked by t00; of all tasks it is left out, and told."""
    crowds, held = (known.crowd, known.crowd), held_of(known.study)
    who = np.setdiff1d(np.arange(PEOPLE), known.study.person[known.study.task == 0])[:5]
    plan = PlannedAnswers(who, np.zeros(5, int), np.full(5, 0.5))
    told = "'t01' is asked by the answer to 't00'.*leave it out"
    with pytest.raises(CrowdError, match=told):
        infer(crowds, known.study, held, tasks=("t01",), twins=True, plans=(plan,))
    with pytest.warns(CrowdWarning, match=told):
        table = infer(crowds, known.study, held, twins=True, plans=(plan,))
    assert table["task_id"].to_pylist() == ["t00", "t02", "t03"]


def test_a_plan_is_given_once(known):
    crowds, held = (known.crowd, known.crowd), held_of(known.study)
    one = PlannedAnswers(np.array([3, 4]), np.array([2, 2]), np.array([0.5, 0.4]))
    same = PlannedAnswers(*(cells[::-1] for cells in (one.person, one.task, one.chance)))
    with pytest.raises(CrowdError, match="number 2 has the same rows as number 1"):
        infer(crowds, known.study, held, twins=True, plans=(one, same))


def test_a_width_stops(known):
    reached = plan_of(known, Goal(width=0.13), tasks=("t02", "t03"))
    assert "stop there" in reached.notes[-1], reached
    count = reached.asks.num_rows
    assert max(reached.questions["width_then"].to_pylist()) <= 4 * 0.13
    short = plan_of(known, Goal(budget=count - 1, width=0.13), tasks=("t02", "t03"))
    assert short.asks.num_rows == count - 1
    assert f"{count} answers would do" in short.notes[-1]
    never = plan_of(known, Goal(width=0.001), tasks=("t02",))
    assert "not even everybody's answers would do" in never.notes[-1]


@pytest.mark.parametrize(
    ("goal", "question", "message"),
    [
        (Goal(), Estimand(), "give the number of answers"),
        (Goal(2.5), Estimand(), "--budget 2.5: give a whole number"),
        (Goal("5"), Estimand(), "--budget '5': give a whole number"),
        (Goal(True), Estimand(), "--budget True: give a whole number"),
        (Goal(0), Estimand(), "--budget 0: give a number of answers from 1"),
        (Goal(5, 2.0), Estimand(), "--width 2: is a part of the range"),
        (Goal(5, seed=-1), Estimand(), "--seed: -1 is not from 0"),
        (Goal(5), Estimand(pool=True), "means and shares of single tasks"),
        (Goal(5), Estimand("share", level="nine"), "no question has a level 'nine'"),
        (Goal(5), Estimand(confidence=1.0), "--level 1: give a share between 0 and 1"),
    ],
)
def test_what_cannot_be_planned(known, goal, question, message):
    with pytest.raises(CrowdError, match=message):
        plan_of(known, goal, question=question)


def test_what_has_no_interval_is_told_beside_the_others(known):
    """30 people answered t02 so far, too few."""
    study = known.study
    rows = np.flatnonzero(study.task == 2)[30:]
    fewer = known._replace(study=only_answers(study, ~np.isin(np.arange(len(study.task)), rows)))
    notes = plan_of(fewer, Goal(60), tasks=("t02", "t03")).notes
    assert "and too few answers to 1 of 2 questions); by equal chances" in notes[1]


def test_nobody_left_to_ask(known):
    full = known._replace(study=make_study(tasks=TASKS, people=PEOPLE))
    with pytest.raises(CrowdError, match="everybody who may be asked these questions"):
        plan_of(full, Goal(5))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run of 160 people who gave seven of ten answers, a crowd for each of two folds."""
    folder = tmp_path_factory.mktemp("plan")
    study = make_study({"rating": RATING}, people=PEOPLE, share=0.7)
    more = ("model={kind: persistent}", "split={by: people, folds: 2}")
    config = load_config(write_config(folder / "input", study), more)
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text(dump_config(config))
    for fold in range(2):
        where = crowd_folder(folder / "run", 0, "persistent", fold)
        save_crowd(make_known(study).crowd, where)
    return folder / "run"


def test_the_command(fitted, tmp_path, capsys):
    target = tmp_path / "plan.csv"
    argv = ["plan", str(fitted), "--budget", "20", "--level", "0.9", "--out", str(target)]
    assert main([*argv, "--quiet"]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "20 answers of" in told
    assert "Answers to gather, 90% intervals" in told
    written = pyarrow.csv.read_csv(target)
    assert written.column_names == ["rank", "participant", "task", "probability"]
    assert written.num_rows == 20
    assert main(argv) == 2
    assert "is there already" in capsys.readouterr().err
    # Before anybody was asked, the plan changes nothing but whom the answers are compared with.
    assert main(["infer", str(fitted), "--twins", "--plan", str(target)]) == 0
    shown = capsys.readouterr()
    assert "Mean answers" in shown.out
    assert "0 of 20 planned answers are there." in shown.out
    assert "no answer that plan 1 asked for is there" in shown.err
    rows = pyarrow.csv.read_csv(target).to_pydict()
    study = load_study(load_config(fitted / "config.yaml"))
    there = study.participants.ids[study.person[0]], study.tasks.ids[study.task[0]]
    rows["participant"][0], rows["task"][0] = there
    write_table(tmp_path / "one.csv", {name: list(map(str, rows[name])) for name in rows})
    assert main(["infer", str(fitted), "--twins", "--plan", str(tmp_path / "one.csv")]) == 0
    shown = capsys.readouterr()
    assert "1 of 20 planned answers are there." in shown.out
    assert "no answer" not in shown.err
    assert main(["plan", str(fitted), "--share", "3", "--width", "0.2", "--tasks", "t00"]) == 0
    assert "--out FILE writes" in capsys.readouterr().out


def test_people_of_a_table_may_be_asked(fitted, tmp_path, capsys):
    """As if they had stood in the study's table of participants: the same questions of as many
    people with the same prospects, and all of them among those who are drawn from."""
    crowds = tuple(load_crowd(crowd_folder(fitted, 0, "persistent", fold)) for fold in range(2))
    config = load_config(fitted / "config.yaml")
    study, others = load_study(config), make_study({"rating": RATING}, people=30, seed=9)
    path = tmp_path / "people.csv"
    age, city = others.participants.profile
    columns = {
        "participant": [f"new {i}" for i in range(30)],
        "age": ["" if np.isnan(a) else f"{a:g}" for a in age.cells],
        "city": [city.levels[c] for c in city.cells],
    }
    write_table(path, columns)
    planned = plan(fitted, 100_000, people=path)
    alone = plan(fitted, 100_000)
    rows = {row["task"] for row in planned.asks.to_pylist() if row["participant"] == "new 3"}
    assert rows == set(study.tasks.ids)
    gap = np.array(planned.questions["open"]) - np.array(alone.questions["open"])
    assert gap.tolist() == [30] * 4
    own = study.participants
    profile = tuple(
        dataclasses.replace(a, cells=np.concatenate([a.cells, b.cells]))
        for a, b in zip(own.profile, (age, city), strict=True)
    )
    people = Participants((*own.ids, *columns["participant"]), profile, np.ones(len(own.ids) + 30))
    larger = dataclasses.replace(study, participants=people)
    held = np.stack([split_study(study, config.split, 0, fold).test for fold in range(2)])
    same = plan_answers(crowds, larger, held, Goal(budget=100_000))
    for name in planned.questions.column_names[1:]:
        found, wanted = (table[name].to_numpy() for table in (planned.questions, same.questions))
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    write_table(path, columns | {"city": ["Atlantis", *columns["city"][1:]]})
    with pytest.raises(CrowdError, match=r"people.csv: .*'city'.*'Atlantis'"):
        plan(fitted, 9, people=path)
    write_table(path, columns | {"participant": ["p003", *columns["participant"][1:]]})
    assert main(["plan", str(fitted), "--budget", "9", "--people", str(path)]) == 2
    assert "'p003' is one of the study's people" in capsys.readouterr().err


def test_wrong_plans(fitted, tmp_path, capsys):
    study = load_study(load_config(fitted / "config.yaml"))
    right = {"participant": ["p000", "p001"], "task": ["t00", "t00"], "probability": ["0.5", "1"]}
    for change, message in (
        ({"participant": ["p000", "nobody"]}, "the study has no participant nobody"),
        ({"task": ["t00", "t99"]}, "the study has no task t99"),
        ({"probability": ["0.5", "0"]}, "holds no chance above 0"),
        ({"probability": ["0.5", "often"]}, "holds no chance above 0"),
        ({"participant": ["p000", "p000"]}, "'p000' is asked 't00' twice"),
        ({"participant": ["p000", ""]}, "no id in"),
    ):
        path = tmp_path / "wrong.csv"
        write_table(path, right | change)
        with pytest.raises(CrowdError, match=message):
            read_plan(path, study)
    write_table(tmp_path / "right.csv", right)
    plan = read_plan(tmp_path / "right.csv", study)
    np.testing.assert_array_equal(plan.chance, [0.5, 1])
    # As a spreadsheet program saves it where decimals stand after a comma.
    rows = [";".join(row).replace(".", ",") for row in zip(*right.values(), strict=True)]
    (tmp_path / "saved.csv").write_text("\n".join([";".join(right), *rows]))
    np.testing.assert_array_equal(read_plan(tmp_path / "saved.csv", study).chance, [0.5, 1])
    argv = ["infer", str(fitted), "--plan", str(tmp_path / "right.csv"), "--profiles", "x.csv"]
    assert main(argv) == 2
    capsys.readouterr()
