"""Twins: the posterior of a person's belief is right, and the command writes them whole."""

import dataclasses
import json

import jax.numpy as jnp
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from known_people import draw_people, make_known
from scipy import special, stats
from synthetic import EVERY_SCALE, make_study, rows_of, write_config, write_table

from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd_file import save_crowd
from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.decision import Standing, log_likelihood
from crowdllm_jax.model.persistent.draw import draw_beliefs
from crowdllm_jax.model.persistent.posterior import sobol
from crowdllm_jax.population import twins
from crowdllm_jax.population import write_twins as output
from crowdllm_jax.population.twins import make_twins
from crowdllm_jax.population.write_twins import _write_part
from crowdllm_jax.runs.config import dump_config, load_config, load_study
from crowdllm_jax.runs.folder import crowd_folder, fitted_crowd, main_model, stored_config
from crowdllm_jax.runs.prepare import fit
from crowdllm_jax.runtime.randomness import seed_halves, split_ids
from crowdllm_jax.study.coding import encode
from crowdllm_jax.study.scales import Nominal
from crowdllm_jax.workflow.twins import _answers_to

PEOPLE = 400


@pytest.fixture(scope="module")
def known():
    """A model of 12 ratings whose parameters are the truth, and as many people of it."""
    known = make_known(make_study(tasks=12, people=PEOPLE), latent=1, loud=0.4)
    known.model.belief.log_spread[...] = jnp.log(jnp.array([1.2, 0.3]))
    return known


@pytest.fixture(scope="module")
def truth(known):
    """(H, 2) true beliefs, and the study that these people answered."""
    ids = split_ids(np.arange(PEOPLE))
    ready, design = known.ready, known.design
    z, scale = draw_beliefs(ready.graph, ready.params, seed_halves(9), ids)
    c = encode(known.codings, known.study.participants.profile) - design.centre
    answers = draw_people(known, c, 9, z, scale)
    study = dataclasses.replace(known.study, answer=answers.ravel().astype(float))
    return np.column_stack([z[:, 0], np.log(scale)]), study


@pytest.fixture(scope="module")
def made(known, truth):
    return make_twins(known.crowd, truth[1], draws=20, seed=1)


def few_answers(study, count: int) -> np.ndarray:
    return study.task < count


def test_posteriors_cover_the_truth(truth, made):
    """90% intervals of 400 people: the share that covers is 90% with a deviation of 1.5 points, so
    85% to 95% is 3.3 deviations. That the posterior is not quite normal moves it by a point."""
    belief, _ = truth
    gap = (belief - made.belief) / made.belief_sd
    covered = (np.abs(gap) < 1.645).mean(0)
    assert (np.abs(covered - 0.9) < 0.05).all(), covered
    # Standardised gaps have mean 0 +- 1/20 and mean square 1 +- sqrt(2)/20.
    assert np.abs(gap.mean(0)).max() < 0.17
    assert np.abs((gap**2).mean(0) - 1).max() < 0.24
    assert made.effective.min() > 400
    assert np.corrcoef(belief[:, 0], made.belief[:, 0])[0, 1] > 0.85


def test_twins_answer_as_their_person(truth, made):
    """Twins drawn for the right person agree with them more than with anyone else."""
    _, study = truth
    own = study.answer.reshape(PEOPLE, -1).mean(1)
    theirs = made.answers.mean((1, 2))
    assert np.corrcoef(own, theirs)[0, 1] > 0.9


def test_without_answers_the_belief_is_the_populations(known, truth):
    _, study = truth
    nothing = np.zeros(len(study.task), bool)
    few = dataclasses.replace(study, participants=study.participants)
    found = make_twins(known.crowd, few, nothing, draws=30, seed=2)
    # Three in four points lie a tenth wider than the population.
    np.testing.assert_allclose(found.effective, twins.NODES, rtol=0.1)
    np.testing.assert_allclose(found.belief, 0, atol=2e-3)
    np.testing.assert_allclose(found.belief_sd, [[1.2, 0.3]] * PEOPLE, rtol=5e-3)
    # And so are the answers: 400 * 30 twins against the 400 people, per task.
    real = study.answer.reshape(PEOPLE, -1).astype(int)
    for task in range(real.shape[1]):
        drawn = np.bincount(found.answers[:, :, task].astype(int).ravel(), minlength=5)
        own = np.bincount(real[:, task], minlength=5)
        keep = drawn + own > 50
        # Twins of one person share their profile, so people count, not twins: 400 against 400.
        table = np.stack([drawn[keep] / 30, own[keep]])
        assert stats.chi2_contingency(table, correction=False).pvalue > 1e-6


def test_the_order_of_answers_does_not_matter(known, truth):
    _, study = truth
    order = np.random.default_rng(0).permutation(len(study.task))
    mixed = dataclasses.replace(
        study, person=study.person[order], task=study.task[order], answer=study.answer[order]
    )
    few = few_answers(study, 6)
    one = make_twins(known.crowd, study, few, draws=1)
    two = make_twins(known.crowd, mixed, few[order], draws=1)
    assert_same(one, two)


def assert_same(one, two, some=slice(None)):
    """Twins of some of `one`'s people are those of `two`, bit by bit."""
    for name in ("answers", "belief", "belief_sd", "effective"):
        np.testing.assert_array_equal(getattr(one, name)[some], getattr(two, name), err_msg=name)


def only(study, people: np.ndarray):
    """The study of these people, in this order."""
    row = np.full(len(study.participants.ids), -1)
    row[people] = np.arange(len(people))
    kept = row[study.person] >= 0
    who = study.participants
    profile = tuple(dataclasses.replace(a, cells=a.cells[people]) for a in who.profile)
    who = dataclasses.replace(
        who, ids=tuple(who.ids[i] for i in people), profile=profile, weight=who.weight[people]
    )
    return dataclasses.replace(
        study,
        participants=who,
        person=row[study.person][kept].astype(np.int32),
        task=study.task[kept],
        answer=study.answer[kept],
    )


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_twins_do_not_depend_on_who_else_is_there(share):
    """Other rows, other company (which makes more or fewer answers the most): the same twins, on
    every scale where all is answered, and on ratings alone where half is."""
    every = EVERY_SCALE | {"party": Nominal(levels=("a", "b", "c"))}
    study = (
        make_study(every, tasks=5, people=7)
        if share == 1
        else make_study(tasks=40, people=7, share=share)
    )
    crowd = make_known(study).crowd
    all_of_them = make_twins(crowd, study, draws=9, seed=3)
    for people in (np.array([4, 2, 0, 6, 1, 3, 5]), np.array([5, 1]), np.array([3])):
        assert_same(all_of_them, make_twins(crowd, only(study, people), draws=9, seed=3), people)
    # And different people are different: nobody shares another's draws.
    assert len(np.unique(all_of_them.answers.reshape(7, -1), axis=0)) == 7


def test_the_posterior_is_compiled_once(known, truth):
    """Neither the number of people, nor other weights compile anything anew, nor other answers in
    as many rows."""
    _, study = truth
    make_twins(known.crowd, only(study, np.arange(3)), draws=4)
    before = twins._posterior._cache_size()
    other = make_known(known.study, latent=1, loud=0.2).crowd
    make_twins(other, only(study, np.arange(9)), few_answers(only(study, np.arange(9)), 9), draws=4)
    assert before == twins._posterior._cache_size()


def test_as_many_programs_as_powers_of_two():
    """17 to 24 answers are three rows and 25 to 32 four, which take the program of four."""
    known = make_known(make_study(tasks=32, people=2), latent=1, loud=0.2)
    make_twins(known.crowd, known.study, draws=2)
    before = twins._posterior._cache_size()
    make_twins(known.crowd, known.study, few_answers(known.study, 17), draws=2)
    assert twins._posterior._cache_size() == before


def test_the_first_draws_of_a_twin_are_draws_of_it(known, truth):
    """Beliefs come in no order: means of the first and the last 500 of 1,000 draws of 12 answers by
    8 people differ by less than 4 standard errors of a difference, 1.4 sqrt(2 / 500) each."""
    _, study = truth
    some = make_twins(known.crowd, only(study, np.arange(8)), draws=1000).answers.astype(float)
    gap = some[:, :500].mean((1, 2)) - some[:, 500:].mean((1, 2))
    sd = some.mean(2).std(1)  # of a draw's average answer
    assert (np.abs(gap) < 4 * sd * np.sqrt(2 / 500)).all()


def test_more_answers_say_more(known, truth, made):
    _, study = truth
    some = make_twins(known.crowd, study, few_answers(study, 3), draws=1)
    assert (made.belief_sd[:, 0] < some.belief_sd[:, 0]).mean() > 0.97
    assert (some.belief_sd[:, 0] < 1.2).mean() > 0.97
    assert made.belief_sd[:, 0].mean() < 0.75 * some.belief_sd[:, 0].mean()


def test_the_posterior_is_bayes_rule(known, truth, made):
    """Against float64 on a grid, through another route: the weights of the nodes are recomputed
    from cumulative logits here."""
    _, study = truth
    ready = known.ready
    share = np.exp(np.asarray(ready.items.base, np.float64)).cumsum(1)[:, :-1]
    cut = np.column_stack(
        [np.full(12, -np.inf), np.log(share) - np.log1p(-share), np.full(12, np.inf)]
    )
    z, w = np.meshgrid(np.linspace(-5, 5, 201), np.linspace(-4, 4, 81), indexing="ij")
    prior = stats.norm.logpdf(z, scale=1.2) + stats.norm.logpdf(w)
    scale = np.exp(0.3 * w)
    c = encode(known.codings, study.participants.profile) - known.design.centre
    for person in (0, 7, 123):
        log = prior.copy()
        where = np.asarray(ready.items.location + c[person] @ ready.items.profile)
        for task, level in enumerate(study.answer.reshape(PEOPLE, -1)[person].astype(int)):
            location = where[task] + z * float(ready.items.loading[task, 0])
            low, high = (cut[task, level + up] - location for up in (0, 1))
            # Far out both ends round to 1 (or 0); the chance there is nothing.
            log += np.log(
                np.maximum(special.expit(high / scale) - special.expit(low / scale), 1e-300)
            )
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        mean = (weight * z).sum()
        sd = np.sqrt((weight * (z - mean) ** 2).sum())
        # 1,024 quasi-random beliefs: half of the plain Monte Carlo error sd / sqrt(effective).
        assert made.belief[person, 0] == pytest.approx(mean, abs=0.02 * sd)
        assert made.belief_sd[person, 0] == pytest.approx(sd, rel=0.02)


def test_levels_are_matched_by_name(known, truth):
    """A table of few people numbers its levels anew."""
    _, study = truth
    age, city = study.participants.profile
    turned = dataclasses.replace(
        city, levels=("C", "B", "A"), cells=(2 - city.cells).astype(np.int32)
    )
    people = dataclasses.replace(study.participants, profile=(turned, age))
    few = few_answers(study, 4)
    one = make_twins(known.crowd, study, few, draws=2)
    two = make_twins(known.crowd, dataclasses.replace(study, participants=people), few, draws=2)
    np.testing.assert_array_equal(one.answers, two.answers)


def test_what_does_not_fit_the_crowd_is_refused(known, truth, rating_crowd):
    crowd, (_, study) = known.crowd, truth
    with pytest.raises(CrowdError, match="need the persistent model"):
        make_twins(rating_crowd, make_study())
    with pytest.raises(CrowdError, match="other tasks or scales"):
        make_twins(crowd, make_study(tasks=3))
    age, city = study.participants.profile
    for profile, says in (
        ((age,), "the crowd knows people by age, city"),
        ((age, dataclasses.replace(city, levels=("A", "B", "Z"))), "nobody who is 'Z'"),
        ((age, dataclasses.replace(city, kind="ordinal")), "'city' is ordinal"),
    ):
        people = dataclasses.replace(study.participants, profile=profile)
        with pytest.raises(CrowdError, match=says):
            make_twins(crowd, dataclasses.replace(study, participants=people))
    for wrong in ({"draws": 0}, {"draws": 10**7}, {"seed": -1}, {"seed": 2**63}):
        with pytest.raises(CrowdError):
            make_twins(crowd, study, **wrong)


def test_a_wide_belief_costs_nothing_of_the_nodes():
    """Sobol points fill the cube evenly: the mean of each of 5 columns is off by 1e-3 at most."""
    points = sobol(twins.NODES, 5)
    assert 0 < points.min() < points.max() < 1
    np.testing.assert_allclose(points.mean(0), 0.5, atol=1e-3)


PERSISTENT = "model: {kind: persistent, latent: 1, injected: 0, steps: 5, nodes: 16, people: 8}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small persistent crowd, only fitted."""
    folder = tmp_path_factory.mktemp("twins")
    config = write_config(folder / "input", make_study(tasks=5, people=20))
    text = config.read_text()
    config.write_text(
        text.replace("model: {kind: cvae, hidden: 8, latent: 2}", PERSISTENT)
        + "published: {hidden: 4, latent: 2}\n"
    )
    crowd, _ = fit(load_study(config), load_config(config))
    return as_run(folder / "run", config, crowd)


def as_run(folder, config, crowd):
    """A run folder that is fitted, and not more."""
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(load_config(config)))
    save_crowd(crowd, crowd_folder(folder, 0, main_model(load_config(config))))
    return folder


@pytest.fixture
def few(tmp_path):
    """Answers of new people to some of the tasks; one answered nothing."""
    path = tmp_path / "few.csv"
    columns = rows_of(make_study(tasks=2, people=4, seed=5))
    columns["participant"] = [f"new-{name}" for name in columns["participant"]]
    columns["task"] = ["t03" if task == "t01" else task for task in columns["task"]]
    columns["response"][2:4] = ["", ""]
    # Nobody here lives in C, and someone's age is unknown.
    columns["city"] = ["B"] * 4 + ["A"] * 4
    write_table(path, columns)
    return path


def twin(run, answers, out, *more: str) -> int:
    return main(
        [
            "twin",
            str(run),
            "--answers",
            str(answers),
            "--out",
            str(out),
            "--quiet",
            "--draws",
            "50",
            *more,
        ]
    )


def test_the_command_writes_three_tables(run, few, tmp_path, capsys):
    out = tmp_path / "deep" / "twins"
    assert twin(run, few, out) == 0
    assert str(out) in capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == [
        "beliefs.parquet",
        "expected.parquet",
        "manifest.json",
        "twins.parquet",
    ]
    for other in (["aggregate"], ["export", "--out", str(tmp_path / "twins.csv")]):
        assert main([*other, str(out)]) == 2
        assert f"{out}: holds twins of real people, which are no pop" in capsys.readouterr().err
    tables = {
        name: pq.read_table(out / f"{name}.parquet") for name in ("twins", "expected", "beliefs")
    }
    for table in tables.values():
        assert table.schema.metadata[b"crowdllm.synthetic"] == b"true"
    long = tables["twins"].to_pydict()
    assert list(long) == ["participant", "draw", "task_id", "decision"]
    assert len(long["draw"]) == 4 * 50 * 5
    assert set(long["participant"]) == {f"new-p00{i}" for i in range(4)}
    assert set(long["task_id"]) == {f"t0{i}" for i in range(5)}
    assert set(long["decision"]) <= {1, 2, 3, 4, 5}
    # One row per twin and task, and the expected answers are their averages.
    cell = list(zip(long["participant"], long["draw"], long["task_id"], strict=True))
    assert len(set(cell)) == len(cell)
    expected = tables["expected"].to_pydict()
    assert list(expected) == ["participant", "task_id", "mean", "low", "high"]
    for who, task, mean, low, high in zip(*expected.values(), strict=True):
        own = [
            d for (p, _, t), d in zip(cell, long["decision"], strict=True) if (p, t) == (who, task)
        ]
        assert mean == pytest.approx(np.mean(own))
        assert low <= mean <= high
        assert np.mean([low <= d <= high for d in own]) >= 0.9
    beliefs = tables["beliefs"].to_pydict()
    assert list(beliefs) == ["participant", "dimension", "mean", "sd", "effective"]
    assert beliefs["dimension"] == ["belief_1", "log_scale"] * 4
    # Who answered nothing is known worst.
    effective = np.array(beliefs["effective"]).reshape(4, 2)[:, 0]
    assert effective[1] == pytest.approx(twins.NODES, rel=0.1)
    assert max(effective[[0, 2, 3]]) < effective[1]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["synthetic"] is True
    assert (manifest["participants"], manifest["draws"], manifest["answers"]) == (4, 50, 6)
    assert manifest["files"]["twins.parquet"]["rows"] == 1000


def test_twins_are_reproducible(run, few, tmp_path):
    parquet = tmp_path / "few.parquet"
    text = pa.csv.read_csv(
        few,
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(("participant", "task", "response", "age", "city"), "string")
        ),
    )
    pq.write_table(text, parquet)
    for name, answers, more in (("a", few, ()), ("b", parquet, ()), ("c", few, ("--seed", "8"))):
        assert twin(run, answers, tmp_path / name, *more) == 0
    one, same, other = (
        pq.read_table(tmp_path / name / "twins.parquet") for name in ("a", "b", "c")
    )
    assert one.equals(same)
    assert not one.equals(other)


def change(few, old: str, new: str) -> None:
    text = few.read_text()
    assert old in text
    few.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "more", "says"),
    [
        ('"t03"', '"t99"', (), "task 't99'"),
        ('"city"', '"town"', (), "no column 'city'"),
        ('"A"', '"Z"', (), "nobody who is 'Z'; it knows: A, B, C"),
        ('"t00"', '"t03"', (), "answers task 't03' twice"),
        ("", "", ("--draws", "0"), "draws: 0 is not"),
        ("", "", ("--seed", "-1"), "crowdllm: seed: -1"),
        ("", "", ("--data", "."), "no table of participants"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(run, few, tmp_path, old, new, more, says, capsys):
    change(few, old, new)
    out = tmp_path / "out"
    assert twin(run, few, out, *more) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["few.csv"]


def test_answers_outside_the_scale_are_named(run, few, tmp_path, capsys):
    rows = few.read_text().splitlines()
    cells = rows[1].split(",")
    cells[2] = '"9"'
    few.write_text("\n".join([rows[0], ",".join(cells), *rows[2:]]) + "\n")
    assert twin(run, few, tmp_path / "out") == 2
    assert "'9' (row 2) is no answer on scale 'rating'" in capsys.readouterr().err


def test_what_is_there_is_not_overwritten(run, few, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert twin(run, few, out) == 0, "an empty folder is as good as none"
    before = (out / "twins.parquet").stat().st_mtime_ns
    assert twin(run, few, out) == 2
    assert "is there already" in capsys.readouterr().err
    assert (out / "twins.parquet").stat().st_mtime_ns == before
    assert twin(run, tmp_path / "nowhere.csv", tmp_path / "x") == 2
    assert twin(tmp_path, few, tmp_path / "x") == 2
    assert "is no run folder" in capsys.readouterr().err


def test_witnesses_are_named_and_known(run, few, tmp_path, capsys):
    assert twin(run, few, tmp_path / "out", "--witness", "gpt") == 2
    assert "--witness gpt: write it as NAME=FILE" in capsys.readouterr().err
    said = {"participant": ["new-p000"], "task": ["t00"], "response": ["3"]}
    write_table(tmp_path / "gpt.csv", said)
    assert twin(run, few, tmp_path / "out", "--witness", f"gpt={tmp_path / 'gpt.csv'}") == 2
    assert "witness 'gpt': the crowd was fitted without it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_failing_disk_leaves_what_is_whole(run, few, tmp_path, monkeypatch, capsys):
    """And the same command goes on from there, to the same bytes."""
    assert twin(run, few, tmp_path / "whole") == 0
    monkeypatch.setattr(output, "PART_PEOPLE", 1)
    wrote, drawn, swept = output.pq.write_table, [], []

    def full(*arguments, **options):
        drawn.append(arguments)
        if len(drawn) == 3:
            raise OSError(28, "No space left on device")
        wrote(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(output.pq, "write_table", full)
        assert twin(run, few, tmp_path / "out") == 2
    assert "No space left on device; what is whole stays" in capsys.readouterr().err
    kept = tmp_path / ".tmp-parts-out"
    assert sorted(p.name for p in kept.glob("*.parquet")) == [
        f"twins-0000{i}.parquet" for i in "01"
    ]
    assert not (tmp_path / "out").exists()
    (kept / ".tmp-taken-00003").touch()  # nobody waits for whom an earlier start had
    with monkeypatch.context() as patch:
        patch.setattr(output, "_write_part", lambda *a: drawn.append(a) or _write_part(*a))
        patch.setattr(output.processes, "meet", lambda _: swept.append([*kept.glob(".tmp-*")]))
        drawn.clear()
        assert twin(run, few, tmp_path / "out") == 0
    assert swept[0] == []
    assert [part.first for _, part, *_ in drawn] == [2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["few.csv", "out", "whole"]
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name


def test_profiles_from_the_runs_own_table(run, tmp_path):
    """With --data, people of the run's participants table need only their answers."""
    study = make_study(tasks=5, people=20)
    columns = rows_of(study)
    people = {k: [columns[k][i * 5] for i in range(20)] for k in ("participant", "age", "city")}
    folder = tmp_path / "tables"
    folder.mkdir()
    write_table(folder / "people.csv", people)
    config = stored_config(run)
    spec = config.study

    crowd = fitted_crowd(run)
    two_tables = msgspec.structs.replace(
        spec, participants=msgspec.structs.replace(spec.participants, path="people.csv")
    )
    few = {k: columns[k][50:53] for k in ("participant", "task", "response")}
    write_table(tmp_path / "few.csv", few)
    found = _answers_to(crowd, two_tables, tmp_path / "few.csv", str(folder))
    assert found.participants.ids == ("p010",)
    assert found.participants.profile[0].cells == [study.participants.profile[0].cells[10]]
    np.testing.assert_array_equal(found.answer, study.answer[50:53])


def test_a_packaged_study_takes_the_default_columns(known, few):
    change(few, '"t03"', '"t11"')
    found = _answers_to(known.crowd, "anes96", few, None)
    assert found.participants.ids == tuple(f"new-p00{i}" for i in range(4))
    assert found.tasks.ids == known.crowd.task_ids
    assert set(found.task) == {0, 11}
    assert np.isfinite(make_twins(known.crowd, found, draws=1).belief).all()


def test_twins_of_the_published_model_are_refused(config_file, rating_crowd, few, tmp_path, capsys):
    run = as_run(tmp_path / "run", config_file, rating_crowd)
    change(few, '"t03"', '"t01"')
    assert twin(run, few, tmp_path / "out") == 2
    assert "need the persistent model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_beliefs_move_to_people_with_many_answers():
    """Against a fine grid over location and log scale: 150 answers leave hardly any of the
    population's beliefs near the person's."""
    known = make_known(make_study(tasks=150, people=4), latent=1, loud=0.4)
    made = make_twins(known.crowd, known.study, draws=1)
    design, (_, answers) = (
        known.design,
        gather_answers(
            known.study, known.codings, known.design, np.ones(len(known.study.task), bool)
        ),
    )
    spread, scale_spread = np.exp(np.asarray(known.model.belief.log_spread[...]))
    z, log_scale = np.meshgrid(
        np.linspace(-4 * spread, 4 * spread, 201), np.linspace(-1, 1, 81), indexing="ij"
    )
    prior = stats.norm.logpdf(z, 0, spread) + stats.norm.logpdf(log_scale, 0, scale_spread)
    grid = np.column_stack([z.ravel(), log_scale.ravel()])
    standing = Standing(jnp.asarray(grid[:, :1]), jnp.exp(jnp.asarray(grid[:, 1])))
    for person in range(4):
        given = twins._answers_of(answers, person)
        everyone = Standing(standing.z[None], standing.scale[None])
        chance = log_likelihood(known.ready.tables.responses, design.layout, given, everyone)[0]
        weight = special.softmax(np.asarray(chance, float) + prior.ravel())
        mean = weight @ grid
        sd = np.sqrt(weight @ (grid - mean) ** 2)
        # 400 effective beliefs place a mean to within sd / 20, and an sd to within sd / 28.
        assert (np.abs(made.belief[person] - mean) < 0.15 * sd).all()
        np.testing.assert_allclose(made.belief_sd[person], sd, rtol=0.12)
    assert made.effective.min() > 400
