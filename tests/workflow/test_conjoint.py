"""Choices among described options, from files to what agents choose among options nobody saw."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import yaml
from few_drawings import few_drawings  # noqa: F401
from flax import nnx
from phones import STUDY
from statsmodels.discrete.conditional_models import ConditionalLogit

import crowdllm_jax as cl
from crowdllm_jax.cli.main import main
from crowdllm_jax.model.persistent.effects import divergence
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.folder import fitted_crowd, start_run
from crowdllm_jax.study.alternatives import codings_of, options_of
from crowdllm_jax.study.split import split_study
from crowdllm_jax.workflow import ask_known
from crowdllm_jax.workflow.ask import ask
from crowdllm_jax.workflow.asking import Asking
from crowdllm_jax.workflow.steps import fit_run

PEOPLE, SETS, EACH = 160, 24, 10
PRICES, BRANDS = (10, 15, 20, 25), ("Acme", "Bolt", "Core")
WORTH = {"price": -0.3, "Acme": 0.8, "Bolt": 0.0, "Core": -0.8}
"""What a unit of price and a brand are worth on average; "none" is worth .5 more than Bolt at 17.5,
to the young 1.5 less."""
CONFIG = {
    "study": STUDY
    | {
        "participants": {"profile": {"age": "categorical"}},
        "scales": {"choice": {"kind": "nominal", "levels": ["A", "B", "C", "none"]}},
    },
    "split": {"by": "tasks", "test": 0.2, "validation": 0},
    "model": {"kind": "persistent", "latent": 4, "injected": 0, "steps": 300},
    "models": [],
    "population": {"agents": 2000},
}


def write(path: Path, **columns: list) -> None:
    pa.csv.write_csv(pa.table(columns), path)


def write_study(folder: Path) -> dict[str, np.ndarray]:
    """People who differ in what brands are worth to them; the young like Acme, and choose."""
    random = np.random.default_rng(2)
    young = random.random(PEOPLE) < 0.5
    brand_worth = np.array([WORTH[b] for b in BRANDS]) + 0.6 * random.normal(size=(PEOPLE, 3))
    brand_worth = brand_worth + np.outer(young, [0.8, 0.0, -0.8])
    price = random.choice(PRICES, (SETS, 3))
    brand = random.integers(0, 3, (SETS, 3))
    utility = WORTH["price"] * (price - 17.5)[None] + brand_worth[:, brand]
    none = np.broadcast_to(np.where(young, -1.5, 0.5)[:, None, None], (PEOPLE, SETS, 1))
    utility = np.concatenate([utility, none], axis=2)
    chosen = (utility + random.gumbel(size=utility.shape)).argmax(2)
    rows = [(n, s) for n in range(PEOPLE) for s in sorted(random.permutation(SETS)[:EACH])]
    write(
        folder / "answers.csv",
        person=[f"p{n:03d}" for n, _ in rows],
        age=["young" if young[n] else "old" for n, _ in rows],
        set=[f"s{s:02d}" for _, s in rows],
        choice=[("A", "B", "C", "none")[chosen[n, s]] for n, s in rows],
    )
    write(
        folder / "options.csv",
        set=[f"s{s:02d}" for s in range(SETS) for _ in range(3)],
        option=list("ABC") * SETS,
        price=price.ravel().tolist(),
        brand=[BRANDS[b] for b in brand.ravel()],
    )
    return {"brand": brand_worth, "young": young}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("conjoint")
    truth = write_study(folder)
    content = CONFIG | {"study": CONFIG["study"] | {"folder": str(folder)}}
    (folder / "phones.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with start_run(folder / "run", load_config(folder / "phones.yaml")) as splits:
        fit_run(folder / "run", splits)
    return folder, truth


def market(path: Path, rows: list[tuple[str, object, str]]) -> Path:
    """A table of options: level, price, brand."""
    text = "level,price,brand\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    path.write_text(text)
    return path


def shares(folder: Path, options: Path, **asked: object) -> dict[str, float]:
    table = ask(folder / "run", [], Asking(alternatives=options, **asked)).table.to_pylist()
    return {row["answer"]: row["share"] for row in table}


def test_worths_are_those_of_a_conditional_logit_and_of_the_people(run):
    """On average over people worths are a little larger than those of a conditional logit, which
    takes what people differ by for noise; both lie within three standard errors of the truth's,
    scaled alike."""
    folder, truth = run
    study, crowd = load_study(load_config(folder / "phones.yaml")), fitted_crowd(folder / "run")
    found = {(w.attribute, w.level): w for w in cl.part_worths(crowd, study)}
    mean = truth["brand"].mean(0) - truth["brand"].mean()
    for brand, own in zip(BRANDS, mean, strict=True):
        worth = found["brand", brand]
        # The logit's own standard errors are .08 to .1 with these choices.
        assert abs(worth.worth - own) < 0.3
        assert worth.low < worth.worth < worth.high
    assert abs(found["price", ""].worth - WORTH["price"]) < 0.06  # three of .02
    importance = {w.attribute: w.importance for w in found.values()}
    assert sum(importance.values()) == pytest.approx(1)
    # Prices lie 15 * .3 = 4.5 apart, brands about 2.5.
    assert 0.5 < importance["price"] < 0.8
    # The young find Acme worth more, Core less; on Bolt people of both ages agree.
    assert found["brand", "Acme"].spread > found["brand", "Bolt"].spread

    split = split_study(study, load_config(folder / "phones.yaml").split, 0)
    rows = np.flatnonzero(split.seen)
    described = study.tasks.alternatives
    seen = np.isin(np.arange(SETS), study.task[rows])
    columns = options_of(described, codings_of(described, seen), SETS, 4).columns[study.task[rows]]
    x = np.concatenate([np.broadcast_to(np.eye(4)[None, :, 3:], (len(rows), 4, 1)), columns], 2)
    x = np.delete(x, 2, axis=2)  # one brand is the others' zero
    chosen = (np.arange(4) == study.answer[rows, None]).astype(float).ravel()
    groups = np.repeat(np.arange(len(rows)), 4)
    logit = ConditionalLogit(chosen, x.reshape(-1, x.shape[2]), groups=groups).fit(disp=0)
    by_unit = logit.params[1] / codings_of(described, seen)[0].sd
    assert 1 < found["price", ""].worth / by_unit < 1.35


@pytest.mark.parametrize("name", ["part_worth_loading", "level_loading"])
def test_who_finds_options_worth_what_counts_a_tenth(run, name):
    """Whole, the divergence of such loadings draws people's differences to nothing."""
    crowd = fitted_crowd(run[0] / "run")
    design, model = crowd.inputs, nnx.merge(crowd.graph, crowd.params)
    effects, group = model.effects, design.groups[name]
    mean, prior = np.asarray(effects.mean[name][...]), np.exp(effects.log_prior[name][...])[group]
    sd = np.exp(effects.log_sd[name][...])

    def from_prior(sd: np.ndarray) -> float:
        return (np.log(prior / sd) + (sd**2 + mean**2) / (2 * prior**2) - 0.5).sum()

    before = float(divergence(model, design.groups, design.tasks))
    effects.log_sd[name][...] = np.log(3 * sd)
    after = float(divergence(model, design.groups, design.tasks))
    # Sums of single precision, of which the difference is a small part.
    assert after - before == pytest.approx(0.1 * (from_prior(3 * sd) - from_prior(sd)), rel=0.01)


def test_what_nobody_saw_is_chosen_as_people_would(run, tmp_path):
    """Shares among options that no set had together, beside those of the people's own utilities:
    1,600 choices tell a share to about .03."""
    folder, truth = run
    options = [("Nova", 12, "Acme"), ("Zip", 18, "Bolt"), ("Omni", 10, "Core"), ("none", "", "")]
    found = shares(folder, market(tmp_path / "market.csv", options))
    utility = np.column_stack(
        [
            WORTH["price"] * (price - 17.5) + truth["brand"][:, BRANDS.index(brand)]
            for _, price, brand in options[:3]
        ]
        + [np.where(truth["young"], -1.5, 0.5)]
    )
    chance = np.exp(utility) / np.exp(utility).sum(1, keepdims=True)
    for (name, *_), own in zip(options, chance.mean(0), strict=True):
        assert abs(found[name] - own) < 0.08, name
    by_age = ask(
        folder / "run", [], Asking(alternatives=tmp_path / "market.csv", by="age")
    ).table.to_pylist()
    told = {(row["age"], row["answer"]): row["share"] for row in by_age}
    assert told["young", "Nova"] > told["old", "Nova"] + 0.05
    assert told["old", "none"] > told["young", "none"] + 0.05


def test_a_study_that_no_file_describes_is_put_before_options_too(run, tmp_path):
    """Of a data frame, say: what describes its options stands in columns of their names."""
    folder, _ = run
    path = market(tmp_path / "market.csv", [("Nova", 12, "Acme"), ("none", "", "")])
    config = load_config(folder / "phones.yaml")
    crowd, study = fitted_crowd(folder / "run"), load_study(config)
    options = Asking(alternatives=path)
    of_frame = ask((crowd, study, msgspec.structs.replace(config, study=None)), [], options)
    assert of_frame.table.equals(ask((crowd, study, config), [], options).table)


def test_what_is_told_is_what_agents_choose(run, tmp_path):
    """Of options under new names, by age. Shares are told of 2,048 agents, and 20,000 choose: of
    each age a half, so that three standard errors of a difference are at most .05."""
    folder, _ = run
    options = [("x", 12, "Acme"), ("y", 18, "Core"), ("none", "", "")]
    path = market(tmp_path / "market.csv", options)
    answered = ask(folder / "run", [], Asking(alternatives=path, by="age"))
    agents = cl.sample(answered.crowd, 20_000, 0)
    (age,) = agents.profile
    for row in answered.table.to_pylist():
        if row["age"] != "(all)":
            own = age.cells == age.levels.index(row["age"])
            level = [name for name, *_ in options].index(row["answer"])
            chosen = (agents.answers[own, 0] == level).mean()
            assert abs(row["share"] - chosen) < 0.05, row


def test_an_average_option_is_described_too(run, tmp_path):
    """Its numbers stand at the mean, where their columns are 0; and it is like its like."""
    folder, _ = run
    price = load_study(load_config(folder / "phones.yaml")).tasks.alternatives.attributes[0]
    mean = float(price.cells.mean())
    rows = [("x", mean, "Bolt"), ("y", mean, "Bolt"), ("none", "", "")]
    found = shares(folder, market(tmp_path / "mean.csv", rows))
    assert found["x"] == pytest.approx(found["y"], abs=0.01)


def test_the_order_and_the_names_of_options_are_nothing(run, tmp_path):
    """Of options with names that no set had, and two that are alike are chosen equally often."""
    folder, _ = run
    first = [("x", 12, "Acme"), ("y", 15, "Bolt"), ("z", 15, "Bolt"), ("none", "", "")]
    again = [("none", "", ""), ("q", 15, "Bolt"), ("r", 12, "Acme"), ("s", 15, "Bolt")]
    one = shares(folder, market(tmp_path / "one.csv", first))
    two = shares(folder, market(tmp_path / "two.csv", again))
    np.testing.assert_allclose(
        [one["x"], one["y"], one["none"]], [two["r"], two["q"], two["none"]], atol=0.01
    )
    # Quasi-random numbers are not alike for alike options.
    assert one["y"] == pytest.approx(one["z"], abs=0.01)
    assert shares(folder, tmp_path / "one.csv") == one


def test_a_price_beyond_all_that_people_saw_is_told(run, tmp_path):
    folder, _ = run
    path = market(tmp_path / "far.csv", [("x", 25, "Acme"), ("y", 40, "Bolt"), ("none", "", "")])
    (told,) = (n for n in ask(folder / "run", [], Asking(alternatives=path)).notes if "beyond" in n)
    assert told.startswith("'far': price 40 of 'y' is beyond what people chose among (10 to 25)")


def test_a_set_is_known_by_everybody_who_chose_among_such(run):
    """And not by those few alone to whom these very options were shown."""
    folder, _ = run
    study = load_study(load_config(folder / "phones.yaml"))
    split = split_study(study, load_config(folder / "phones.yaml").split, 0)
    assert ask_known._answers(study, split, 0)[0] == PEOPLE
    undescribed = replace(study, tasks=replace(study.tasks, alternatives=None))
    assert ask_known._answers(undescribed, split, 0)[0] == (study.task[split.seen] == 0).sum()


def test_new_sets_are_no_better_known_than_by_those_who_chose(run, tmp_path):
    """However far out options are, another sample would have chosen otherwise; answers to the very
    set add to those."""
    folder, _ = run
    path = market(tmp_path / "far.csv", [("x", -20, "Acme"), ("y", 15, "Core"), ("none", "", "")])
    for asking, people in (
        (Asking(alternatives=path), PEOPLE),
        (Asking(alternatives=path, by="age"), PEOPLE),
        (Asking(alternatives=path, shares="90,5,5", people=40), PEOPLE + 40),
    ):
        for row in ask(folder / "run", [], asking).table.to_pylist():
            p = row["share"]
            half = 1.6448536 * np.sqrt(p * (1 - p) / people)
            assert row["people"] <= people
            assert row["low"] <= max(p - half, 0)
            assert row["high"] >= min(p + half, 1)
    near = market(tmp_path / "near.csv", [("x", 12, "Acme"), ("y", 15, "Core"), ("none", "", "")])
    many = ask(folder / "run", [], Asking(alternatives=near, shares="60,20,20", people=40_000))
    assert max(many.table["people"].to_pylist()) > 10_000


def test_a_cheaper_option_is_chosen_more(run, tmp_path):
    folder, _ = run
    dear, cheap = (
        shares(folder, market(tmp_path / f"{p}.csv", [("x", p, "Bolt"), ("y", 17, "Bolt")]))
        for p in (20, 14)
    )
    assert cheap["x"] > dear["x"] + 0.3
    assert cheap["x"] > 0.5 > dear["x"]


def test_a_held_out_set_asked_again_is_answered_alike(run, tmp_path):
    """By its options alone agents choose as they do among the very same of the run's own."""
    folder, _ = run
    study, crowd = load_study(load_config(folder / "phones.yaml")), fitted_crowd(folder / "run")
    split = split_study(study, load_config(folder / "phones.yaml").split, 0)
    row = np.setdiff1d(np.arange(SETS), study.task[split.seen])[0]
    described = study.tasks.alternatives
    price, brand = described.attributes
    own = np.flatnonzero(described.task == row)
    rows = [
        ("ABC"[described.level[i]], price.cells[i], brand.levels[int(brand.cells[i])]) for i in own
    ]
    options = market(tmp_path / "again.csv", [*rows, ("none", "", "")])
    answered = ask(folder / "run", "the same again", Asking(alternatives=options))
    agents = 20_000
    asked = np.bincount(cl.sample(answered.crowd, agents, 0).answers[:, 0], minlength=4)
    before = np.bincount(cl.sample(crowd, agents, 0).answers[:, row], minlength=4)
    # Each count's standard deviation is at most sqrt(n) / 2; five of a difference of two.
    assert np.abs(asked - before).max() < 5 * np.sqrt(agents / 2)
    # And what agents choose is what is told, within the same.
    told = [line["share"] for line in answered.table.to_pylist()[:4]]
    np.testing.assert_allclose(asked / agents, told, atol=0.03)


def test_the_command_writes_what_agents_choose(run, tmp_path, capsys):
    folder, _ = run
    options = tmp_path / "market.csv"
    options.write_text(
        "task,level,price,brand\nm1,x,12,Acme\nm1,y,15,Bolt\nm2,x,20,Acme\nm2,z,9,Core\n"
    )
    command = ["ask", str(folder / "run"), "--alternatives", str(options), "--json", "--quiet"]
    assert main([*command, "--agents", "500", "--out", str(tmp_path / "out")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["task_id"] for row in told["answers"]} == {"m1", "m2"}
    assert "placed by what describes its options" in told["notes"][0]
    assert (tmp_path / "out" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("table", "flags", "told"),
    [
        ("level,price,brand\nx,1,Dyne\ny,2,Bolt\n", [], "nothing in the run has 'brand' Dyne, as"),
        ("level,price,brand\nx,1,Acme\nnothing,,\n", [], "nothing describes the option 'nothing'"),
        ("level,price\nx,1\ny,2\n", [], "no column 'brand'"),
        ("level,price,brand\nA,,\nx,1,Acme\n", [], "describes the option 'A', and in the run"),
        (
            "level,price,brand\nA,,\nB,1,Acme\nC,2,Acme\nnone,,\n",
            [],
            "describes the option 'A', and in the run",
        ),
        ("level,price,brand\nx,1,Acme\ny,,Bolt\n", [], "'price' of "),
        ("level,price,brand\nx,1,Acme\nx,2,Bolt\ny,,\n", [], "stands twice"),
        ("set,level,price,brand\ns01,A,1,Acme\ns01,B,2,Bolt\n", [], "is a task of the run"),
        ("level,price,brand\nx,1,Acme\ny,2,Bolt\n", ["--scale", "choice"], "leave out --tasks"),
    ],
)
def test_what_cannot_be_asked_is_refused(run, tmp_path, capsys, table, flags, told):
    folder, _ = run
    (tmp_path / "market.csv").write_text(table)
    command = ["ask", str(folder / "run"), "--alternatives", str(tmp_path / "market.csv"), *flags]
    assert main([*command, "--quiet"]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_choice_whose_options_are_not_described_is_refused(run, capsys):
    folder, _ = run
    assert main(["ask", str(folder / "run"), "Which one?", "--scale", "choice", "--quiet"]) == 2
    assert "say what they are in a table (--alternatives FILE)" in " ".join(
        capsys.readouterr().err.split()
    )
