"""Agents skip the tasks whose condition they do not fulfil: those, and nothing else of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_people import make_known
from routes import conditions, holds, text
from synthetic import RATING, make_study

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.aggregate.summary import read_counts
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import numbers_of
from crowdllm_jax.model.crowd_file import crowd_fingerprint, load_crowd, save_crowd
from crowdllm_jax.population import sample as population
from crowdllm_jax.population.count import count
from crowdllm_jax.population.export import export_population
from crowdllm_jax.population.manifest import check_seal, verify
from crowdllm_jax.population.read import open_population
from crowdllm_jax.population.sample import sample
from crowdllm_jax.population.write import write_population
from crowdllm_jax.population.write_counts import write_counts
from crowdllm_jax.study.scales import Binary, Continuous

AGENTS = 150
SCALES = {
    "agree": Binary(levels=("no", "yes")),
    "price": Continuous(low=-10.0, high=30.0),
    "rating": RATING,
}
TASKS = tuple(f"t{i:02d}" for i in range(6))
"""Two on each scale."""
VALUES = {"age": (30, 50), "t02": (0.0, 12.5), "t03": (5,), "t04": (2, 4), "t05": (3,)}
NAMED = {"city": ("A", "B"), "t00": ("yes",), "t01": ("no", "yes")}


@pytest.fixture(scope="module")
def crowd():
    return make_known(make_study(SCALES, tasks=2)).crowd


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "BLOCK", 64)
        yield


@pytest.fixture(scope="module")
def everything(crowd):
    """What agents answer where all are asked all."""
    return sample(crowd, AGENTS, 3)


@st.composite
def routings(draw):
    """Conditions of some tasks, each on the profile and the tasks before it."""
    chosen = {}
    for place, task in enumerate(TASKS):
        if draw(st.booleans()):
            before = ("age", "city", *TASKS[:place])
            known = [{n: v for n, v in part.items() if n in before} for part in (VALUES, NAMED)]
            chosen[task] = draw(conditions(*known))
    return chosen


def known_of(agents, place: int) -> dict:
    """An agent's profile, and its answers as a user writes them."""
    age, city = agents.profile
    known = {
        "age": None if np.isnan(age.cells[place]) else age.cells[place],
        "city": city.levels[city.cells[place]],
    }
    for task, (name, scale) in enumerate(agents.tasks):
        cell = agents.answers[place, task]
        known[name] = float(cell) if isinstance(scale, Continuous) else scale.levels[int(cell)]
    return known


def asked_by_hand(agents, routing) -> np.ndarray:
    """(N, T) bool, agent by agent and task by task."""
    asked = np.ones((len(agents.ids), len(TASKS)), bool)
    for place in range(len(agents.ids)):
        known = known_of(agents, place)
        for task, name in enumerate(TASKS):
            if name in routing and not holds(routing[name], known):
                asked[place, task], known[name] = False, None
    return asked


def routed(crowd, routing):
    return replace(crowd, ask_if={name: text(node) for name, node in routing.items()})


def is_there(answers) -> np.ndarray:
    valued = np.array([name == "price" for name in np.repeat(list(SCALES), 2)])
    return np.where(valued, ~np.isnan(answers), answers >= 0)


@given(routings(), st.integers(1, AGENTS - 1))
@settings(max_examples=30)
def test_a_condition_leaks_nobody_and_changes_nothing_else(crowd, everything, routing, cut):
    """Whoever fulfils it answers what it would answer anyway; nobody else answers; and it makes no
    difference which agents are drawn together."""
    some = routed(crowd, routing)
    asked = asked_by_hand(everything, routing)
    agents = sample(some, AGENTS, 3)
    np.testing.assert_array_equal(is_there(agents.answers), asked)
    np.testing.assert_array_equal(agents.answers[asked], everything.answers[asked])
    pieces = [sample(some, cut, 3), sample(some, AGENTS - cut, 3, start=cut)]
    joined = np.concatenate([piece.answers for piece in pieces])
    np.testing.assert_array_equal(joined, agents.answers)
    assert np.array_equal(np.isnan(numbers_of(some, agents.answers)), ~asked)


@given(routings())
@settings(max_examples=12)
def test_what_is_written_tells_skipped_answers(tmp_path_factory, crowd, everything, routing):
    """In both layouts and as counts; shares are of those who are asked, and their share is told."""
    some, folder = routed(crowd, routing), tmp_path_factory.mktemp("routed")
    asked = asked_by_hand(everything, routing)
    answers = np.where(asked, everything.answers, np.where(np.arange(6) // 2 == 1, np.nan, -1))
    for layout in ("long", "wide"):
        write_population(some, folder / layout, AGENTS, 3, layout=layout)
        found = np.concatenate(list(open_population(folder / layout).blocks()))
        np.testing.assert_array_equal(found, answers)
        assert check_seal(folder / layout / "manifest.json").get("ask_if", {}) == some.ask_if
        verify(folder / layout)
    counts = count(some, AGENTS, 3, by="city")
    np.testing.assert_array_equal(counts.asked.sum(0), asked.sum(0))
    write_counts(some, counts, folder / "counts", 3)
    summary = decide(folder / "wide")
    np.testing.assert_array_equal(summary["answers"], asked.sum(0))
    np.testing.assert_array_equal(read_counts(folder / "counts").total, asked.sum(0))
    assert ("asked" in summary.column_names) == bool(routing)
    if routing:
        np.testing.assert_allclose(summary["asked"], asked.mean(0))
    for table in (summary, decide(folder / "counts")):
        mean = np.array(table["mean"].to_pylist(), float)
        numbers = np.where(asked, numbers_of(crowd, everything.answers), np.nan).astype(float)
        there = asked.any(0)
        np.testing.assert_allclose(mean[there], np.nanmean(numbers[:, there], axis=0), rtol=1e-5)
        assert np.isnan(mean[~there]).all()


def test_a_crowd_without_conditions_is_the_crowd_it_was(tmp_path, crowd):
    """By its fingerprint, which names populations; one with conditions is another, and is kept."""
    some = replace(crowd, ask_if={"t01": "t00 == 'yes'"})
    assert crowd_fingerprint(replace(some, ask_if={})) == crowd_fingerprint(crowd)
    assert crowd_fingerprint(some) != crowd_fingerprint(crowd)
    save_crowd(some, tmp_path / "crowd")
    assert load_crowd(tmp_path / "crowd").ask_if == some.ask_if


def test_files_for_other_programs_leave_skipped_answers_empty(tmp_path, crowd):
    some = replace(crowd, ask_if={"t01": "t00 == 'yes'", "t03": "t01 == 'no'"})
    write_population(some, tmp_path / "all", 40, 3)
    agents = sample(some, 40, 3)
    export_population(tmp_path / "all", tmp_path / "all.csv")
    rows = (tmp_path / "all.csv").read_text().splitlines()
    at = rows[0].replace('"', "").split(",").index("t01")
    empty = [row.split(",")[at] == "" for row in rows[1:]]
    np.testing.assert_array_equal(empty, agents.answers[:, 1] < 0)
    cells = agents.to_arrow()["t03"].to_pylist()
    np.testing.assert_array_equal([cell is None for cell in cells], np.isnan(agents.answers[:, 3]))


def test_an_empty_answer_that_nobody_may_skip_is_damage(tmp_path, crowd):
    """The manifest says which tasks may be skipped."""
    some = replace(crowd, ask_if={"t01": "t00 == 'yes'"})
    write_population(some, tmp_path / "all", 40, 3)
    manifest = tmp_path / "all" / "manifest.json"
    entries = check_seal(manifest)
    entries["ask_if"] = {"t02": "t00 == 'yes'"}
    from crowdllm_jax.population.manifest import write_manifest

    write_manifest(tmp_path / "all", entries)
    with pytest.raises(CrowdError, match=r"part-00000.parquet: .*a decision is empty"):
        list(open_population(tmp_path / "all").blocks())
