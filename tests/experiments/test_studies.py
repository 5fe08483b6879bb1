"""Studies from end to end on a small synthetic study, and what they hold against work by hand.

Every study is run once, as a command; its table is then compared with crowds that are fitted,
sampled and scored one by one through the public way.
"""

import csv
import dataclasses
from pathlib import Path

import jax
import msgspec
import numpy as np
import pytest
from few_drawings import few_drawings  # noqa: F401
from synthetic import EVERY_SCALE, make_study, write_config

from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.experiments import fits, size
from crowdllm_jax.experiments.ablate import MEANINGS, _variants
from crowdllm_jax.experiments.attributes import attributes, person_error
from crowdllm_jax.experiments.fits import Job, fit_all, studied_models, with_attributes
from crowdllm_jax.experiments.folder import run_study
from crowdllm_jax.experiments.fractions import fractions
from crowdllm_jax.experiments.results import Results, Row, paired, summarised, tidy
from crowdllm_jax.model import fit
from crowdllm_jax.model.crowd import numbers_of
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.sample import sample
from crowdllm_jax.reference.fitted import FittedReference
from crowdllm_jax.runs import prepare as prepare_module
from crowdllm_jax.runs.config import Config, load_config, load_study
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.score.metrics import measure_crowd
from crowdllm_jax.study.scales import Nominal
from crowdllm_jax.study.split import SplitConfig

OPTIONS = {
    "ablate": ["--seeds", "2"],
    "attributes": [
        "--set",
        "study.participants.profile={city: categorical}",
        "--set",
        "train.epochs=60",
        "--set",
        "train.learning_rate=0.01",
    ],
    "fractions": ["--fractions", "0.05,0.5,1"],
    "size": ["--set", "population.agents=1000"],
    "sensitivity": [],
}


def lively() -> "object":
    """A study whose people of city A answer high, and others low; age says nothing."""
    study = make_study(people=40, seed=3)
    city = study.participants.profile[1].cells[study.person]
    random = np.random.default_rng(0)
    answer = np.where(city == 0, 4.0, 1.0) - random.integers(0, 2, len(city))
    return dataclasses.replace(study, answer=answer)


@pytest.fixture(scope="module")
def config_path(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp("input"), lively())


@pytest.fixture(scope="module")
def folder_of(config_path, tmp_path_factory):
    """folder_of(study): its folder, made by the command on first use."""
    folder, done = tmp_path_factory.mktemp("studies"), set()

    def make(name: str) -> Path:
        out = folder / name
        if name not in done:
            done.add(name)
            assert (
                main(
                    ["study", name, str(config_path), "--quiet", "--out", str(out), *OPTIONS[name]]
                )
                == 0
            )
        return out

    return make


def table(folder: Path, file: str = "table.csv") -> list[dict[str, str]]:
    with (folder / file).open() as lines:
        return list(csv.DictReader(lines))


def measures_of(folder: Path, seed: int, **keys: str) -> dict[str, float]:
    """The measures of one condition with one seed."""
    return {
        row["metric"]: float(row["value"])
        for row in table(folder)
        if int(row["seed"]) == seed and all(row[key] == value for key, value in keys.items())
    }


def check(folder: Path, seed: int, config: Config, keys: dict[str, str]) -> None:
    """A condition's measures are those of a crowd that is fitted alone and scored by hand."""
    study = load_study(config)
    crowd, _ = prepare_module.fit(study, config, seed)
    humans = held_out(study, prepare(study, config, seed).split)
    answers = sample(crowd, config.population.agents, config.population.seed).answers
    expected = measure_crowd(humans, numbers_of(crowd, answers)[:, humans.tasks])
    measures = measures_of(folder, seed, **keys)
    for metric, value in expected.items():
        # Float rounding in the weights may move one of 50 agents over a cut: 4 points / 50.
        assert measures[metric] == pytest.approx(value, abs=0.08), metric


def change(struct, **values):
    return msgspec.structs.replace(struct, **values)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_study_is_one_command(folder_of, config_path, capsys, name):
    out = folder_of(name)
    assert {path.name for path in out.iterdir()} == {
        "config.yaml",
        "table.csv",
        "summary.csv",
        "figure.svg",
        "notes.txt",
    }
    assert (out / "figure.svg").read_text().startswith("<svg")
    stored = load_config(out / "config.yaml")
    assert stored.seeds == (2 if name == "ablate" else 1)
    assert stored.split == load_config(config_path).split
    values: dict[tuple, list[float]] = {}
    for row in table(out):
        value = float(row.pop("value"))
        del row["seed"]
        values.setdefault(tuple(row.values()), []).append(value)
    rows = table(out, "summary.csv")
    assert len(rows) == len(values)
    for row in rows:
        mean, sd, count = (row.pop(key) for key in ("mean", "sd", "seeds"))
        seed_values = values[tuple(row.values())]
        assert float(mean) == pytest.approx(np.mean(seed_values))
        assert int(count) == len(seed_values)
        assert (
            sd == ""
            if len(seed_values) == 1
            else float(sd) == pytest.approx(np.std(seed_values, ddof=1))
        )
    # What is there is not overwritten, which is told before anything is fitted.
    assert main(["study", name, str(config_path), "--out", str(out)]) == 2
    assert "is there already; nothing was written" in capsys.readouterr().err


def test_conditions_are_what_they_say(folder_of, config_path):
    """Each against the same crowd made by itself."""
    config = load_config(config_path)
    check(folder_of("ablate"), 1, config, {"crowd": "cvae"})
    constant = change(config, model=change(config.model, constant_reference=True))
    check(folder_of("ablate"), 1, constant, {"crowd": "vae_only"})
    half = change(
        config,
        split=change(config.split, fraction=0.5),
        train=change(config.train, epochs=4, patience=20),
    )
    check(folder_of("fractions"), 0, half, {"crowd": "cvae", "share": "0.5", "people": "15"})
    fast = change(
        config, train=change(config.train, learning_rate=4e-3, blender_learning_rate=4e-3)
    )
    check(folder_of("sensitivity"), 0, fast, {"crowd": "cvae", "setting": "x4"})


def test_fractions_of_nearly_nobody_are_told(folder_of, config_path):
    """5% of 30 people is 2 by rounding; 1% is nobody."""
    people = {row["people"] for row in table(folder_of("fractions")) if row["crowd"] == "cvae"}
    assert people == {"2", "15", "30"}
    config = load_config(config_path)
    study = load_study(config)
    for share in (0.0, 1.5, -1.0):
        with pytest.raises(CrowdError, match="is not above 0 and at most 1"):
            fractions(study, config, silent, (share,))
    with pytest.raises(CrowdError, match="there is 1 person to train on"):
        fractions(make_study(people=2), config, silent, (1.0,))
    few = change(config, reference=FittedReference())
    with (
        pytest.warns(CrowdWarning, match="is 0; 2, the fewest from whom"),
        pytest.raises(CrowdError, match=r"share of 0\.0667 of the people: .*--whole-reference"),
    ):
        fractions(
            dataclasses.replace(study, tasks=make_study(embedding=2).tasks), few, silent, (0.01,)
        )


def test_an_attribute_that_says_much(folder_of):
    gain = {
        kind: measures_of(folder_of("attributes"), 0, crowd="cvae", attributes=kind)["gain"]
        for kind in ("none", "city only")
    }
    # A third live in city A and answer 3 points higher: variance 2 between cities, .25 within.
    assert gain["none"] == 0
    assert 0.6 < gain["city only"] < 0.95
    assert "one seed cannot tell" in (folder_of("attributes") / "notes.txt").read_text()


def rows(condition: tuple[str, ...], metric: str, values: list[float]) -> list[Row]:
    return [Row(condition, seed, metric, value) for seed, value in enumerate(values)]


def test_verdicts():
    from crowdllm_jax.experiments.attributes import _verdict

    def verdict(gain: list[float], seeds: int = 4) -> str:
        table_rows = [
            *rows(("m", "none"), "gain", [0.0] * seeds),
            *rows(("m", "age"), "gain", gain),
        ]
        return _verdict(Results("", ("crowd", "attributes"), tuple(table_rows), {}), "m", ["age"])

    assert "no attribute beats none" in verdict([0.2, -0.1, 0.1, -0.1])
    assert "better than with no attribute with age (+20.0%" in verdict([0.2, 0.21, 0.19, 0.2])
    assert "one seed cannot tell" in verdict([0.2], 1)


def test_a_persons_error_is_that_of_the_mean_answer(config_path):
    """With no profile everybody's forecast is the crowd's mean."""
    config = load_config(config_path)
    study = load_study(config)
    prepared = with_attributes(prepare(study, config, 0), ())
    crowd, _ = fit.fit_model(prepared, config.model, config.train, 0, None, silent, "one")
    error = person_error(prepared, crowd, np.ones(len(study.tasks.ids), bool))
    mean = numbers_of(crowd, sample(crowd, 20_000, 5).answers).mean(0, dtype=float)
    test = prepared.split.test
    direct = np.mean((study.value[test] - mean[study.task[test]]) ** 2)
    # A forecast is a mean of 8,192 agents: of deviation 4 / 2 / 90 = 0.022 at most, and so many
    # points at most, times twice an error of at most 4, over four tasks: 5 deviations are below .5;
    # their errors partly cancel, and answers deviate by 1.5 from their mean.
    assert error == pytest.approx(direct, abs=0.1)


def test_no_attributes(config_path):
    study = make_study()
    study = dataclasses.replace(
        study, participants=dataclasses.replace(study.participants, profile=())
    )
    with pytest.raises(CrowdError, match=r"no profile attributes; name columns under study\.part"):
        attributes(study, load_config(config_path), silent)


def test_an_attribute_that_tells_who_is_asked_is_not_left_out(config_path):
    study = make_study()
    tasks = dataclasses.replace(study.tasks, ask_if={"t01": "age >= 30"})
    routed = dataclasses.replace(study, tasks=tasks)
    with pytest.raises(CrowdError, match=r"who is asked 't01' depends on the attribute 'age'"):
        attributes(routed, load_config(config_path), silent)


def test_together_is_as_alone(config_path):
    """Jobs of two shapes, in the jobs' order, equal those that are fitted one by one."""
    config = load_config(config_path)
    jobs = []
    for seed in range(2):
        prepared = prepare(load_study(config), config, seed)
        for name, (other, model) in _variants(prepared, {"cvae": config.model}).items():
            jobs.append(Job((name,), other, model, config.train, seed))
    assert len({len(job.prepared.codings) for job in jobs}) == 2
    for job, crowd in zip(jobs, fit_all(jobs, silent), strict=True):
        alone, _ = fit.fit_model(job.prepared, job.model, job.train, job.seed, None, silent, "one")
        assert crowd.codings == job.prepared.codings
        assert crowd.config == job.model
        for a, b in zip(jax.tree.leaves(crowd.params), jax.tree.leaves(alone.params), strict=True):
            # As in test_many_runs: float32 rounding over a few steps.
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_persistent_ones_stand_in_their_places(config_path, monkeypatch):
    config = load_config(config_path)
    prepared = prepare(load_study(config), config, 0)
    monkeypatch.setattr(fits, "fit_model", lambda _prepared, _model, _train, seed, *_: (seed, None))
    models = [PersistentConfig(), config.model, PersistentConfig()]
    jobs = [Job(("x",), prepared, model, config.train, s) for s, model in enumerate(models)]
    crowds = fit_all(jobs, silent)
    assert crowds[0] == 0
    assert crowds[1].config == config.model
    assert crowds[2] == 2


def test_what_is_taken_away(tiny):
    """The fits of `ablate`, before they are made."""
    cvae = tiny.model
    config = change(
        tiny,
        model=PersistentConfig(),
        published=cvae,
        split=SplitConfig(by="tasks", test=0.3),
        reference=FittedReference(folds=2),
    )
    study = make_study(tasks=16, embedding=3)
    prepared = prepare(study, config, 0)
    variants = _variants(prepared, studied_models(config, study))
    assert set(variants) == {
        "persistent",
        "persistent, no profile",
        "persistent, no reference",
        "persistent, one dimension",
        "cvae",
        "cvae, no profile",
        "vae_only",
    }
    assert set(variants) < set(MEANINGS)
    assert np.ptp(variants["persistent, no reference"][0].reference.mean) == 0
    assert variants["cvae, no profile"][0].codings == ()
    assert variants["persistent, one dimension"][1].latent == 1
    assert variants["vae_only"][1].constant_reference
    # The crowd's own average is no reference to be left out.
    plain = prepare(study, change(config, reference=tiny.reference), 0)
    assert "persistent, no reference" not in _variants(plain, {"persistent": PersistentConfig()})


@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_crowd_error_is_individual_error_less_diversity(n):
    """Exactly, per task, and each part as a loop over crowds and agents computes it."""
    random = np.random.default_rng(0)
    values, truth = random.normal(3, 2, (60, 5)), random.normal(3, 1, 5)
    parts = size.decompose(values, truth, n)
    gap = parts["individual_error"] - parts["diversity"] - parts["crowd_error"]
    np.testing.assert_allclose(gap, 0, atol=1e-12)
    for task in range(5):
        crowds = [values[i * n : (i + 1) * n, task] for i in range(60 // n)]
        error = np.mean([(np.mean(crowd) - truth[task]) ** 2 for crowd in crowds])
        diversity = np.mean([np.var(crowd) for crowd in crowds])
        assert parts["crowd_error"][task] == pytest.approx(error, abs=1e-12)
        assert parts["diversity"][task] == pytest.approx(diversity, abs=1e-12)


def test_size_adds_up_and_flattens(folder_of):
    error = {}
    for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        for crowd in ("cvae", "people"):
            measures = measures_of(folder_of("size"), 0, crowd=crowd, agents=str(n))
            rest = measures["individual_error"] - measures["diversity"]
            assert measures["crowd_error"] == pytest.approx(rest, abs=1e-12)
            error[crowd, n] = measures["crowd_error"]
    # Of what a crowd of one has beyond the bias, half goes with the second agent, and the last 500
    # of 1,000 take away a thousandth.
    step = error["cvae", 1] - error["cvae", 2]
    assert step > 20 * abs(error["cvae", 500] - error["cvae", 1000])
    assert error["people", 1] > error["people", 2] > error["people", 1000]


def test_targets_are_the_peoples_means(tiny):
    """On scales of every kind, as shares of each; against a loop over the tasks."""
    study = make_study(EVERY_SCALE, people=40)
    humans = held_out(study, prepare(study, tiny, 0).split)
    tasks, mean, variance, count = size.targets(study, humans)
    assert len(tasks) == len(study.tasks.ids)
    for task in range(0, len(tasks), 3):
        low, high = humans.edges[humans.scale[task]]
        shares = (humans.value[humans.task == task] - low) / (high - low)
        assert (mean[task], variance[task]) == pytest.approx((shares.mean(), shares.var(ddof=1)))
        assert count[task] == len(shares)


def test_a_crowd_is_worth_as_many_people_as_err_alike():
    """20,000 tasks, ten people each with variance 1, a crowd off by .2: as far as 1 / .04 people.

    The mean of squares of variance .14 has a standard error of .14 sqrt(2 / 20,000) = .0014, so
    that 25 is known to .0014 / .04 = 3.5%; five of these are 4.4.
    """
    random = np.random.default_rng(0)
    chance, off = random.normal(size=(2, 20_000)) * [[0.1**0.5], [0.2]]
    ones = np.ones(20_000)
    measures = size.worth(off, chance, ones, 10 * ones)
    assert measures["worth_people"] == pytest.approx(25, abs=4.4)
    assert "worth_people" not in size.worth(0 * off, 0 * chance, ones, 10 * ones)


def test_nominal_scales_are_left_out_aloud(tiny):
    study = make_study({"party": Nominal(levels=("a", "b", "c"))})
    config = change(tiny, model=PersistentConfig(), published=tiny.model)
    with pytest.warns(CrowdWarning, match="cannot answer on a nominal scale"):
        assert set(studied_models(config, study)) == {"persistent"}
    humans = held_out(study, prepare(study, config, 0).split)
    with pytest.raises(CrowdError, match="no task has two held-out answers"):
        size.targets(study, humans)


def test_sensitivity_has_every_direction(folder_of):
    conditions = dict.fromkeys(
        (row["varied"], row["setting"])
        for row in table(folder_of("sensitivity"))
        if row["crowd"] == "cvae"
    )
    assert list(conditions) == [
        ("seeds", "splits"),
        ("seeds", "weights alone"),
        *(("learning rate", rate) for rate in ("x1/4", "x1/2", "x1", "x2", "x4")),
        ("reference", "marginal (configured)"),
    ]
    assert (
        "no fitted reference: the study has no"
        in (folder_of("sensitivity") / "notes.txt").read_text()
    )
    splits, weights = (
        {
            s: measures_of(folder_of("sensitivity"), s, crowd="cvae", setting=v).get("rps")
            for s in range(3)
        }
        for v in ("splits", "weights alone")
    )
    assert splits[0] == weights[0]
    assert splits[1] is None
    assert weights[1] != weights[2]


def test_paired_differences():
    one, other = {0: 1.0, 1: 2.0, 2: 4.0}, {0: 0.0, 1: 2.0, 2: 1.0}
    # Differences 1, 0, 3: mean 4/3, deviation 1.5275, and t(.975, 2) = 4.3027.
    expected = (4 / 3, 4 / 3 - 3.7946, 4 / 3 + 3.7946)
    assert paired(one, other) == pytest.approx(expected, abs=1e-4)
    assert np.isnan(paired({0: 1.0}, {0: 0.5})[1])


def test_tables_as_csv():
    table_rows = tuple(rows(("a, b",), "rps", [1.0, 2.0]))
    results = Results("x", ("crowd",), table_rows, {"rps": "RPS"})
    assert tidy(results).splitlines() == [
        "crowd,seed,metric,value",
        '"a, b",0,rps,1.0',
        '"a, b",1,rps,2.0',
    ]
    assert summarised(results).splitlines()[1] == '"a, b",rps,1.5,0.7071067811865476,2'


def test_bad_fractions_on_the_command_line(config_path, tmp_path, capsys):
    for bad, said in (("half", "give numbers above 0"), ("2", "2 is not above 0 and at most 1")):
        assert (
            main(
                [
                    "study",
                    "fractions",
                    str(config_path),
                    "--out",
                    str(tmp_path / "out"),
                    "--fractions",
                    bad,
                ]
            )
            == 2
        )
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_where_a_study_fails(tmp_path, tiny):
    with pytest.raises(ValueError, match="there is no study"):
        run_study("nothing", tiny, tmp_path / "out")
    assert not (tmp_path / "out").exists()
