"""From a run's folder to what the page shows, with and without the study's data."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from known_people import make_known
from synthetic import make_study, write_config

from crowdllm_jax.cli.commands.explore import asker_of
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.explore.asking import NewQuestion
from crowdllm_jax.explore.data import explore_run
from crowdllm_jax.explore.server import what_there_is
from crowdllm_jax.explore.view import Query, view
from crowdllm_jax.population.write import write_population
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.study.split import split_study
from crowdllm_jax.workflow.ask import ask
from crowdllm_jax.workflow.asking import Asking

STEPS = ("--set", "model={kind: persistent, steps: 2}")


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> tuple[Path, Path]:
    """The configuration of a nominal study of 60 people, and a fitted and sampled run of it."""
    folder = tmp_path_factory.mktemp("explored")
    config = write_config(folder / "input", make_study(people=60))
    text = config.read_text()
    nominal = text.replace(
        "{kind: ordinal, levels: [1, 2, 3, 4, 5]}",
        "{kind: nominal, levels: ['1', '2', '3', '4', '5']}",
    )
    assert nominal != text
    config.write_text(nominal)
    assert main(["fit", str(config), "--out", str(folder / "run"), *STEPS]) == 0
    assert main(["sample", str(folder / "run")]) == 0
    return config, folder / "run"


@pytest.fixture
def moved(begun, tmp_path) -> Path:
    """The same run where the study's data are gone."""
    shutil.copytree(begun[1], tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(begun[0].parent), str(tmp_path / "gone")))
    return tmp_path / "run"


def check_beside_people(explored, config: Path) -> None:
    """Agents as the Parquet files hold them, people as the study's split holds them out."""
    study = load_study(load_config(config))
    test = split_study(study, load_config(config).split, 0).test
    (scale,) = study.scales.values()
    for number, task in enumerate(explored.task_ids):
        picture = view(explored, Query(task=task))
        assert picture.labels == tuple(scale.levels)
        task_index = study.tasks.ids.index(task)
        held = study.answer[test & (study.task == task_index)].astype(int)
        assert picture.humans.counts == np.bincount(held, minlength=5).tolist()
        assert picture.crowd.counts == np.bincount(explored.answers[number], minlength=5).tolist()
        # The levels have no order, so neither has a mean.
        assert picture.crowd.mean is None
        assert picture.humans.mean is None


def test_a_run_is_shown_beside_its_held_out_people(begun):
    config, run = begun
    explored = explore_run(run)
    check_beside_people(explored, config)
    files = sorted((run / "population").glob("part-*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    for number, task in enumerate(explored.task_ids):
        decisions = {row["agent_id"]: row["decision"] for row in rows if row["task_id"] == task}
        # Quoted numbers are written as numbers.
        levels = explored.scales[number].levels
        assert [int(levels[a]) for a in explored.answers[number]] == [
            decisions[i] for i in range(50)
        ]
    choices = what_there_is(explored)
    assert choices["no_humans"] == ""
    assert {task["mean"] for task in choices["tasks"]} == {""}
    assert all(task["humans"] > 0 and not task["share"] for task in choices["tasks"])


def test_without_the_data_the_crowd_is_shown_alone(begun, moved):
    with pytest.warns(CrowdWarning, match="no held-out people are shown: .*gone.*--data DIR"):
        explored = explore_run(moved)
    picture = view(explored, Query(task=explored.task_ids[0]))
    assert sum(picture.crowd.counts) == picture.agents == 50
    assert picture.humans is None
    assert "--data DIR" in picture.no_humans
    check_beside_people(explore_run(moved, data=str(begun[0].parent)), begun[0])


def test_other_data_are_refused(moved, tmp_path):
    other = write_config(tmp_path / "other", make_study(people=60, seed=1))
    with pytest.raises(CrowdError, match="--data: the study's data are not those the run was made"):
        explore_run(moved, data=str(other.parent))


def test_another_population_of_the_run(begun, tmp_path):
    _, run = begun
    more = tmp_path / "more"
    assert main(["sample", str(run), "--agents", "70", "--seed", "9", "--out", str(more)]) == 0
    assert explore_run(run, more).agents == 70


def test_the_population_of_another_crowd_is_refused(begun, moved, tmp_path):
    write_population(make_known().crowd, tmp_path / "other", 20, 0)
    with pytest.raises(CrowdError, match="not a population of the crowd fitted in"):
        explore_run(begun[1], tmp_path / "other")
    shutil.rmtree(moved / "population")
    with pytest.raises(CrowdError, match="has no finished population; run `crowdllm sample"):
        explore_run(moved)


@pytest.mark.parametrize("damage", ["cut", "order"])
def test_a_damaged_population_is_named(begun, tmp_path, damage):
    """Files that no longer hold what the manifest says, told by name."""
    _, run = begun
    population = tmp_path / "population"
    shutil.copytree(run / "population", population)
    file = next(population.glob("agents-*.parquet"))
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    else:
        table = pq.read_table(file)
        pq.write_table(table.take(np.arange(len(table))[::-1]), file)
    with pytest.raises(CrowdError, match=file.name):
        explore_run(run, population)


def test_a_new_question_is_answered_as_by_ask(begun):
    """The page's reply holds the very table of the workflow, in its own shape."""
    _, run = begun
    asker = asker_of(run)
    assert list(asker.scales.values()) == ["1, 2, 3, 4, 5"]
    reply = asker.ask(NewQuestion(question="New?", shares="10,20,30,20,20", people=50))
    table = ask(run, "New?", Asking(shares="10,20,30,20,20", people=50)).table
    assert (reply.labels, reply.groups, reply.means) == (list("12345"), ["(all)"], [])
    told = [(one.share, one.low, one.high) for one in reply.shares[0]]
    assert told == [(r["share"], r["low"], r["high"]) for r in table.to_pylist()]
    with pytest.raises(CrowdError, match="nothing says how people would answer"):
        asker.ask(NewQuestion(question="New?"))


def test_a_new_question_finds_the_data_that_moved(begun, moved):
    new = NewQuestion(question="New?", shares="10,20,30,20,20", people=50)
    with pytest.raises(CrowdError, match="gone"):
        asker_of(moved).ask(new)
    there = asker_of(moved, str(begun[0].parent)).ask(new)
    assert there == asker_of(begun[1]).ask(new)
