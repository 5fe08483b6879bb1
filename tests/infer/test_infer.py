"""What a run's people and crowd say together: predictions, tables, and the command."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pyarrow.csv
import pytest
import statsmodels.api as sm
from few_drawings import few_drawings  # noqa: F401
from known_people import draw_people, make_known
from scipy import special
from synthetic import EVERY_SCALE, RATING, make_study, rows_of, write_config, write_table

from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.infer import known_profiles as infer_run
from crowdllm_jax.infer.estimate import EstimationRows, estimate
from crowdllm_jax.infer.infer import infer
from crowdllm_jax.infer.question import Estimand
from crowdllm_jax.model.crowd import numbers_of
from crowdllm_jax.model.crowd_file import save_crowd
from crowdllm_jax.model.persistent.design import profile_matrix
from crowdllm_jax.population import expected
from crowdllm_jax.population.expected import expected_answers
from crowdllm_jax.population.sample import sample
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.runs.config import dump_config, load_config, load_study
from crowdllm_jax.runs.folder import crowd_folder, fitted_crowd
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Nominal
from crowdllm_jax.study.split import split_study

PEOPLE = 200


def test_predictions_are_the_expected_answers():
    """Against the logistic averaged over beliefs: 6 people, 4 tasks, 5 levels. Of about 4,000
    agents as few as 3,700 may have a profile; 100,000 beliefs add a 25th to the variance."""
    known = make_known(make_study(people=6), loud=0.6)
    crowd, ready = known.crowd, known.ready
    profile, tasks = crowd.generator.attributes, np.array([2, 0, 3, 1])
    u = np.random.default_rng(0).normal(size=(100_000, known.model.belief.width))
    z, scale = (np.asarray(part) for part in known.model.belief(u.astype(np.float32)))
    c = profile_matrix(known.codings, profile, 6) - known.design.centre
    mean = expected_answers(crowd, profile, 6, tasks, per_profile=4000)
    level = np.array([2, 1, 0, 4])
    share = expected_answers(crowd, profile, 6, tasks, level, per_profile=4000)
    numbers = np.arange(1, 6)
    for person in range(6):
        at = np.asarray(ready.items.location + c[person] @ ready.items.profile)
        for column, task in enumerate(tasks):
            where = at[task] + z @ np.asarray(ready.items.loading[task])
            above = special.expit(
                (where[:, None] - np.asarray(ready.tables.ends)[task % 4, :, task // 4])
                / scale[:, None]
            )
            chance = -np.diff(above.mean(0), prepend=1.0, append=0.0)
            sd = np.sqrt(chance @ numbers**2 - (chance @ numbers) ** 2)
            own = chance[level[column]]
            assert abs(mean[person, column] - chance @ numbers) < 4.5 * sd / np.sqrt(3550)
            sd = np.sqrt(own * (1 - own))
            assert abs(share[person, column] - own) < 4.5 * sd / np.sqrt(3550)
    assert np.ptp(mean, axis=0).max() > 0.3


def test_other_scales_and_any_number_of_profiles_are_predicted(monkeypatch):
    """Against agents of each profile alone, of another seed, in units of the difference's
    deviation (variances 1 / 1800 and 1 / 4000 of an answer's): 9 people times 8 tasks."""
    by_name = {name: EVERY_SCALE[name] for name in ("price", "rank")}
    crowd = make_known(make_study(by_name, tasks=4, people=9), loud=0.6).crowd
    monkeypatch.setattr(expected, "AT_ONCE", 7)
    profile = crowd.generator.attributes
    found = expected_answers(crowd, profile, 9, np.arange(8), per_profile=2000)
    for place in range(9):
        one = tuple(dataclasses.replace(a, cells=a.cells[[place]]) for a in profile)
        alone = fit_profiles(one, np.ones(1), ProfilesConfig())
        answers = sample(dataclasses.replace(crowd, generator=alone), 4000, seed=1).answers
        drawn = numbers_of(crowd, answers)
        sd = drawn.std(0) * np.sqrt(1 / 1800 + 1 / 4000)
        assert (np.abs(found[place] - drawn.mean(0)) < 4.5 * sd + 1e-9).all()


@pytest.fixture(scope="module")
def answered():
    """A crowd, and people who answer just as it expects of their profiles."""
    known = make_known(make_study(people=PEOPLE, seed=4), loud=0.3)
    known.model.effects.mean["profile"][...] = jnp.array([1.5, 0.3, -1.5, 0.0, 1.5])
    known.model.level[...] = jnp.zeros_like(known.model.level[...])
    c = profile_matrix(known.codings, known.study.participants.profile, PEOPLE)
    answers = draw_people(known, c - known.design.centre, seed=1)
    return known.crowd, dataclasses.replace(known.study, answer=answers.ravel().astype(float))


def test_more_agents_make_no_narrower_interval(answered):
    crowd, study = answered
    labelled = study.person < 60
    widths = []
    for agents in (200, 2000, 20000):
        table = infer(crowd, study, labelled, per_profile=agents).to_pydict()
        assert table["profiles"] == [PEOPLE - 60] * 4
        assert table["people"] == [60] * 4
        assert max(table["effective_people"]) > 66
        widths.append(np.subtract(table["high"], table["low"]))
    # A hundred times the agents: were they people, a tenth of the width.
    assert np.abs(widths[2] / widths[0] - 1).max() < 0.05
    assert np.abs(widths[2] / widths[1] - 1).max() < 0.02


@pytest.mark.parametrize("census", [False, True])
def test_a_table_says_what_the_estimator_says(answered, census):
    crowd, study = answered
    labelled = (study.person < 60) & (study.task != 3)
    people = study.participants
    weight = np.random.default_rng(0).uniform(0.5, 2, PEOPLE)
    study = dataclasses.replace(study, participants=dataclasses.replace(people, weight=weight))
    others = infer_run.KnownProfiles(people.profile, weight[::-1]) if census else None
    question = Estimand("share", level="5", confidence=0.8)
    table = infer(crowd, study, labelled, question, others=others)
    assert table.column("task_id").to_pylist() == ["t00", "t01", "t02"]
    f = expected_answers(crowd, people.profile, PEOPLE, np.arange(3), np.full(3, 4))

    def rows(who, first, weight, task):
        ones = np.ones(len(who))
        return EstimationRows(
            first + who, np.zeros(len(who), int), weight[who], ones[:, None], f[who, task]
        )

    for task in range(3):
        y = (study.answer[study.task == task] == 4).astype(float)[:60]
        ours = rows(np.arange(60), 0, weight, task)
        theirs = rows(np.arange(60, PEOPLE), 0, weight, task)
        if census:
            theirs = rows(np.arange(PEOPLE), PEOPLE, weight[::-1], task)
        found = estimate(ours, y, theirs, level=0.8)
        for column, value in (
            ("estimate", found.value),
            ("low", found.low),
            ("high", found.high),
            ("humans_high", found.alone_high),
        ):
            assert table.column(column)[task].as_py() == pytest.approx(value[0])
    assert max(table.column("crowd_weight").to_pylist()) > 0.2


def test_regressions_code_attributes_as_they_are(answered):
    crowd, study = answered
    labelled = study.person < 100
    with pytest.warns(CrowdWarning, match="1 of 200 people are left out: they lack age or city"):
        table = infer(
            crowd, study, labelled, Estimand("regress", attributes=("age", "city")), ("t01",)
        )
    assert table.column("term").to_pylist() == ["intercept", "age", "city=B", "city=C"]
    age, city = study.participants.profile
    own = slice(1, 100)
    z = np.stack([np.ones(99), age.cells[own], city.cells[own] == 1, city.cells[own] == 2], 1)
    y = study.value[study.task == 1][own]
    np.testing.assert_allclose(
        table.column("humans_alone").to_numpy(), sm.OLS(y, z.astype(float)).fit().params, rtol=1e-8
    )
    assert set(table.column("people").to_pylist()) == {99}


def test_whoever_did_not_answer_a_held_out_task_is_its_unlabelled(answered):
    crowd, study = answered
    random = np.random.default_rng(2)
    kept = random.random(len(study.task)) < 0.5
    some = dataclasses.replace(
        study, person=study.person[kept], task=study.task[kept], answer=study.answer[kept]
    )
    labelled = np.isin(some.task, [1, 2])
    table = infer(crowd, some, labelled).to_pydict()
    assert table["task_id"] == ["t01", "t02"]
    assert np.add(table["people"], table["profiles"]).tolist() == [PEOPLE, PEOPLE]
    assert table["people"][0] == (some.task == 1).sum()
    pooled = infer(crowd, some, labelled, Estimand(pool=True))
    assert pooled.column("task_id").to_pylist() == ["2 tasks"]
    assert pooled.column("humans_alone")[0].as_py() == pytest.approx(np.mean(table["humans_alone"]))


@pytest.mark.parametrize(
    ("question", "tasks", "message"),
    [
        (Estimand(confidence=95), None, "--level 95: give a share"),
        (Estimand(), ("t09",), "the study has no task 't09'; it has: t00"),
        (Estimand(), ("t03",), "nobody's answers to 't03' are held out.*held out are: t00"),
        (
            Estimand("share", level="6"),
            None,
            "no question has a level '6' .rating: ordinal, 5",
        ),
        (Estimand("regress", attributes=("job",)), None, "no attribute 'job'; they have: age"),
        (Estimand("regress", attributes=("city", "city")), None, "'city' stands there twice"),
    ],
)
def test_bad_questions(answered, question, tasks, message):
    crowd, study = answered
    labelled = (study.person < 60) & (study.task != 3)
    with pytest.raises(CrowdError, match=message):
        infer(crowd, study, labelled, question, tasks)


def test_nobody_held_out_or_left_or_too_few(answered):
    crowd, study = answered
    with pytest.raises(CrowdError, match="nobody's answers are held out"):
        infer(crowd, study, np.zeros(len(study.task), bool))
    with pytest.raises(CrowdError, match=r"t00: everybody in the study answered.*--profiles FILE"):
        infer(crowd, study, study.task == 0)
    with pytest.raises(CrowdError, match=r"t00: 10 people's answers.*3 more tasks likewise"):
        infer(crowd, study, study.person < 10)
    # One task with enough people and one without: the latter is announced, or refused if named.
    labelled = (study.person < 60) & (study.task == 0) | (study.person < 10) & (study.task == 1)
    with pytest.warns(CrowdWarning, match="1 of 2 tasks are left out; t01: 10 people"):
        assert len(infer(crowd, study, labelled)) == 1
    with pytest.raises(CrowdError, match="t01: 10 people"):
        infer(crowd, study, labelled, tasks=("t00", "t01"))
    rare = dataclasses.replace(
        study, answer=np.where(study.person < 2, 4.0, study.answer.clip(0, 3))
    )
    with pytest.raises(CrowdError, match="t00: answer: only 2 of 60 people differ"):
        infer(crowd, rare, study.person < 60, Estimand("share", level="5"), ("t00",))


def test_a_nominal_scale_has_no_mean(answered):
    crowd, study = answered
    nominal = dataclasses.replace(study, scales={"rating": Nominal(levels=tuple("abcde"))})
    with pytest.raises(CrowdError, match="nominal scale, whose answers have no mean"):
        infer(crowd, nominal, study.person < 60)
    first = study.answer[study.task == 0][:60].astype(int)
    level = int(np.bincount(first).argmax())
    estimand = Estimand("share", level="abcde"[level])
    table = infer(crowd, nominal, study.person < 60, estimand, ("t00",))
    y = first == level
    assert table["humans_alone"][0].as_py() == pytest.approx(y.mean())


def test_a_level_that_hardly_anybody_has_is_no_regressor(answered):
    crowd, study = answered
    age, city = study.participants.profile
    city = dataclasses.replace(
        city, cells=np.where(np.abs(np.arange(PEOPLE) - 76) > 73, 2, city.cells % 2)
    )
    people = dataclasses.replace(study.participants, profile=(age, city))
    with pytest.raises(CrowdError, match="t00: city=C: only 3 of 60 people differ"):
        infer(
            crowd,
            dataclasses.replace(study, participants=people),
            study.person < 60,
            Estimand("regress", attributes=("city",)),
        )
    # Many answers of these three are no more people.
    with pytest.raises(CrowdError, match="4 tasks: city=C: only 3 of 60 people differ"):
        infer(
            crowd,
            dataclasses.replace(study, participants=people),
            study.person < 60,
            Estimand("regress", attributes=("city",), pool=True),
        )


def test_people_without_weight_have_no_part(answered):
    crowd, study = answered
    weight = np.where(np.arange(PEOPLE) % 2, 2.0, 0.0)
    people = dataclasses.replace(study.participants, weight=weight)
    table = infer(crowd, dataclasses.replace(study, participants=people), study.person < 80)
    assert set(table["people"].to_pylist()) == {40}
    assert set(table["profiles"].to_pylist()) == {60}
    odd = (study.person < 60) & (study.person % 2 == 0)
    with pytest.raises(CrowdError, match="t00: 0 people's answers"):
        infer(crowd, dataclasses.replace(study, participants=people), odd)


def test_ordinal_attributes_count_their_levels():
    rank = Attribute("rank", "ordinal", ("low", "high", "(missing)"), np.array([0, 1, 2], np.int32))
    columns, terms = infer_run.regressors((rank,), ("rank",), 3)
    assert terms == ("intercept", "rank")
    np.testing.assert_array_equal(columns[:, 1], [1, 2, np.nan])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fitted run of 160 people, 40 of them held out."""
    folder = tmp_path_factory.mktemp("infer")
    study = make_study({"rating": RATING}, people=160)
    config = load_config(write_config(folder / "input", study), ("model={kind: persistent}",))
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text(dump_config(config))
    save_crowd(make_known(study).crowd, crowd_folder(folder / "run", 0, "persistent"))
    return folder / "run"


def test_the_command(fitted, tmp_path, capsys):
    study = load_study(load_config(fitted / "config.yaml"))
    labelled = split_study(study, load_config(fitted / "config.yaml").split, 0).test
    known = infer(fitted_crowd(fitted), study, labelled)
    target = tmp_path / "means.csv"
    argv = ["infer", str(fitted), "--out", str(target), "--quiet"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "Mean answers, 95% intervals" in out
    assert "effective_people" in out
    written = pyarrow.csv.read_csv(target)
    assert written.column_names == known.column_names
    np.testing.assert_allclose(written["high"].to_numpy(), known["high"].to_numpy())
    assert set(written["people"].to_pylist()) == {40}
    assert main(argv) == 2
    assert "is there already" in capsys.readouterr().err
    assert (
        main(["infer", str(fitted), "--share", "3", "--tasks", "t01, t02", "--level", "0.9"]) == 0
    )
    assert "Share of people who answer 3, 90% intervals" in capsys.readouterr().out
    assert main(["infer", str(fitted), "--regress", "age", "--pool"]) == 0
    assert "4 tasks" in capsys.readouterr().out


def test_profiles_of_a_table(fitted, tmp_path, capsys):
    columns = {name: cells * 2 for name, cells in rows_of(make_study(people=60)).items()}
    columns["many"] = [str(i % 3) for i in range(len(columns["age"]))]
    answered = {"participant": columns.pop("participant")}
    path = tmp_path / "census.csv"
    write_table(path, columns)
    rows, counted = len(columns["age"]), sum(cell != "0" for cell in columns["many"])
    for more, profiles in ((), rows), (("--weight", "many"), counted):
        target = tmp_path / f"{profiles}.csv"
        argv = ["infer", str(fitted), "--profiles", str(path), "--out", str(target), *more]
        assert main(argv) == 0, capsys.readouterr().err
        assert set(pyarrow.csv.read_csv(target)["profiles"].to_pylist()) == {profiles}
    capsys.readouterr()
    for wrong, message in (
        ({"city": ["Z"] * rows}, "the crowd knows nobody who is 'Z'"),
        ({"age": ["old"] * rows}, "'old' (row 2, 3, 4 and"),
        (answered, "column 'participant': 'p000' stands in row 2, 3, 4 and"),
        (answered, "--profiles takes a row per person"),
        ({"many": ["-1"] * rows}, "row 2 has no weight of 0 or more"),
        ({"many": ["f"] * rows}, "'f' (row 2, 3, 4 and"),
        ({"many": ["f"] * rows}, "is no number; name the column that holds people's weights"),
    ):
        write_table(path, columns | wrong)
        assert main(["infer", str(fitted), "--profiles", str(path), "--weight", "many"]) == 2
        assert message in capsys.readouterr().err
    write_table(path, {"age": columns["age"]})
    assert main(["infer", str(fitted), "--profiles", str(path)]) == 2
    assert "no column 'city'" in capsys.readouterr().err
    assert main(["infer", str(fitted), "--weight", "many"]) == 2
    assert "give that, too" in capsys.readouterr().err


def test_a_run_that_is_not_fitted(fitted, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(dump_config(load_config(fitted / "config.yaml")))
    assert main(["infer", str(tmp_path)]) == 2
    assert "crowdllm fit" in capsys.readouterr().err


def test_without_profiles_people_are_alone():
    study = make_study(people=PEOPLE, tasks=2)
    study = dataclasses.replace(
        study, participants=dataclasses.replace(study.participants, profile=())
    )
    table = infer(make_known(study).crowd, study, study.person < 60).to_pydict()
    assert table["crowd_weight"] == [0, 0]
    assert table["effective_people"] == [60, 60]
    assert table["estimate"] == table["humans_alone"]
