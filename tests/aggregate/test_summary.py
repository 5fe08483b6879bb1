"""Summaries of people, populations and counts: numpy's figures, and intervals that are honest."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from known_people import make_known
from scipy import stats
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.aggregate.summary import Histogram, interval, summarise
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.population import read as answers
from crowdllm_jax.population import sample as population
from crowdllm_jax.population import write as output
from crowdllm_jax.population.count import count
from crowdllm_jax.population.read import open_population
from crowdllm_jax.population.write import write_population
from crowdllm_jax.population.write_counts import write_counts
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Approval, Binary, Continuous, Nominal, Ordinal

AGENTS = 700


def half_width(sd: float, n: float) -> float:
    """Of Student's 95% interval of a mean; n people, about whose own mean answers deviate by sd."""
    return stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n - 1)


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    """People of known parameters on every kind of scale."""
    return make_known(
        make_study({**EVERY_SCALE, "mood": Nominal(levels=("a", "b", "c"))}), loud=0.3
    ).crowd


@pytest.fixture(scope="module")
def folder(crowd: Crowd, tmp_path_factory):
    """A population of three parts, whose blocks end elsewhere than its parts."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (population, output):
            patch.setattr(module, "BLOCK", 64)
        patch.setattr(output, "PART_ROWS", 256 * len(crowd.task_ids))
        patch.setattr(output, "GROUP_ROWS", 100 * len(crowd.task_ids))
        target = tmp_path_factory.mktemp("written") / "p"
        write_population(crowd, target, AGENTS, 3)
    assert len(list(target.glob("part-*"))) == 3
    return target


def test_a_population_is_read_as_it_was_drawn(crowd: Crowd, folder, monkeypatch):
    expected = population.sample(crowd, AGENTS, 3).answers
    for size in (64, 300, 8192):
        monkeypatch.setattr(answers, "block_size", lambda _, size=size: size)
        found = open_population(folder)
        blocks = list(found.blocks())
        assert {len(block) for block in blocks[:-1]} <= {size}
        np.testing.assert_array_equal(np.concatenate(blocks), expected)
        np.testing.assert_array_equal(np.concatenate(list(found.blocks())), expected)
    assert found.scales == crowd.scales
    assert found.effective == crowd.generator.effective
    assert found.people == AGENTS


def test_figures_are_numpys(crowd: Crowd, folder, monkeypatch):
    monkeypatch.setattr(answers, "block_size", lambda _: 64)
    rows = decide(folder).to_pylist()
    drawn = population.sample(crowd, AGENTS, 3)
    numbers = numbers_of(crowd, drawn.answers).astype(np.float64)
    for task, (row, scale) in enumerate(zip(rows, crowd.task_scales, strict=True)):
        own = numbers[:, task]
        assert (row["task_id"], row["answers"]) == (crowd.task_ids[task], AGENTS)
        if scales.is_ballot(scale):
            assert row["total"] == pytest.approx(own.sum())
            rivals = numbers[:, crowd.task_scale == crowd.task_scale[task]].sum(0)
            assert row["place"] == 1 + (rivals > own.sum() + 1e-6).sum()
            assert row["decision"] is None
        elif k := scales.size(scale):
            number = np.bincount(drawn.answers[:, task].astype(int), minlength=k)
            assert row["decision"] == scales.labels(scale)[number.argmax()]
            assert row["share"] == number.max() / AGENTS
        else:
            # Of an even number of answers the lower of the two in the middle, which was given.
            assert row["decision"] == str(np.sort(drawn.answers[:, task])[AGENTS // 2 - 1])
            assert row["share"] == (own == np.float32(row["decision"])).sum() / AGENTS
        if isinstance(scale, Nominal):
            assert row["mean"] is None
        else:
            assert row["mean"] == pytest.approx(own.mean(), rel=1e-12)
            assert row["low"] < row["mean"] < row["high"]
            if scales.size(scale) != 2:
                n = 1 / (1 / crowd.generator.effective + 1 / AGENTS)
                high = own.mean() + half_width(own.std(), n)
                end = scales.values(scale)[-1]
                assert row["high"] == pytest.approx(min(end, high), rel=1e-12)
        if scale == EVERY_SCALE["rank"]:
            assert row["first"] == (own == 3).sum()
        else:
            assert row["first"] is None


def test_counts_are_summarised_as_the_population_is(crowd: Crowd, folder, tmp_path):
    for by in (None, "city"):
        write_counts(crowd, count(crowd, AGENTS, 3, by=by), tmp_path / str(by), 3)
        rows, drawn = decide(tmp_path / str(by)).to_pylist(), decide(folder).to_pylist()
        for row, own, scale in zip(rows, drawn, crowd.task_scales, strict=True):
            if isinstance(scale, Continuous):
                low, high = row.pop("decision").split(" to ")
                # The last cell ends with the range.
                assert float(low) <= float(own.pop("decision")) <= float(high)
                assert row.pop("share") >= own.pop("share")
            for name, value in own.items():
                close = pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
                assert row[name] == close, name
    assert decide(folder).schema.metadata == {b"crowdllm.synthetic": b"true"}


@pytest.mark.parametrize("scale", [Ordinal(levels=(1, 2, 3, 4, 5)), Continuous(low=0, high=10)])
def test_people_who_all_answer_alike_have_no_interval(scale):
    """They do not say how far others differ; a mean of 0.1s is no exact 0.1."""
    assert interval(scale, 4.0, 0.0, 6.0) == (None, None)
    study = make_study({"s": scale}, tasks=1, people=6)
    alike = dataclasses.replace(study, answer=np.full(len(study.answer), 3.0))
    row = decide(alike).to_pylist()[0]
    assert (row["low"], row["high"]) == (None, None)
    assert row["mean"] == scales.values(scale)[3] if scales.size(scale) else 3.0
    # A share has Wilson's interval, of six people who all say yes, too.
    low, high = interval(Binary(), 1.0, 0.0, 6.0)
    assert high == 1
    assert low == pytest.approx(6 / (6 + 1.959964**2), abs=1e-6)


def test_real_people_with_weights_and_gaps():
    """A study of which half is answered: weighted means, and Kish's number in the interval."""
    study = make_study(people=60, tasks=5, share=0.5)
    weight = np.random.default_rng(0).uniform(0.2, 3, 60)
    people = dataclasses.replace(study.participants, weight=weight)
    rows = decide(dataclasses.replace(study, participants=people)).to_pylist()
    for task, row in enumerate(rows):
        here = study.task == task
        own, w = study.value[here], weight[study.person[here]]
        mean = (w * own).sum() / w.sum()
        assert row["answers"] == pytest.approx(w.sum())
        assert row["mean"] == pytest.approx(mean)
        sd = np.sqrt((w * (own - mean) ** 2).sum() / w.sum())
        half = half_width(sd, w.sum() ** 2 / (w**2).sum())
        assert row["high"] - row["mean"] == pytest.approx(half, rel=1e-5)
    assert decide(study).schema.metadata is None


def test_a_few_people_leave_more_open_than_many():
    """Student's interval of the very people (scipy), clipped to the scale; none of one person."""
    scale, given = Ordinal(levels=tuple(range(1, 8))), np.array([3.0, 4, 5, 4])
    found = interval(scale, given.mean(), given.var(), 4)
    told = stats.t.interval(0.95, 3, loc=given.mean(), scale=stats.sem(given))
    assert found == pytest.approx(told)
    assert interval(scale, 4.0, 1.0, 1) == (None, None)


def test_unanswered_tasks_stay_in_the_table():
    study = make_study({n: EVERY_SCALE[n] for n in ("rating", "price", "approve")}, tasks=2)
    keep = ~np.isin(study.task, (1, 3))
    study = dataclasses.replace(
        study, person=study.person[keep], task=study.task[keep], answer=study.answer[keep]
    )
    rows = decide(study).to_pylist()
    assert [row["answers"] for row in rows] == [24, 0, 24, 0, 24, 24]
    assert rows[1]["mean"] is None
    assert rows[3]["decision"] is None


def test_more_agents_do_not_know_more(crowd: Crowd, tmp_path):
    """The interval's width tends to that of the people the crowd rests on, and no further."""
    widths = []
    for n in (20, 2000, 200_000):
        write_counts(crowd, count(crowd, n, 1), tmp_path / str(n), 1)
        row = decide(tmp_path / str(n)).to_pylist()[0]
        widths.append(row["high"] - row["low"])
    drawn = population.sample(crowd, 20_000, 1).answers[:, 0]
    floor = 2 * half_width(drawn.std(), crowd.generator.effective)
    assert widths[0] > widths[1]
    assert widths[2] == pytest.approx(floor, rel=0.03)


@pytest.mark.parametrize("scale", [Approval(), Binary(), Ordinal(levels=(1, 2, 5))])
def test_intervals_hold_the_truth_95_times_in_100(scale):
    """50 answers, 4,000 times. Coverage has a standard error of .0035; Wilson's interval and the
    normal one are approximations, whose coverage is known to lie within .03 of .95 here."""
    random = np.random.default_rng(0)
    chance = np.array([0.85, 0.15]) if scales.size(scale) == 2 else np.array([0.3, 0.5, 0.2])
    value = scales.values(scale)
    truth = chance @ value
    inside = 0
    for draw in random.multinomial(50, chance, 4000):
        mean = draw @ value / 50
        low, high = interval(scale, mean, draw @ (value - mean) ** 2 / 50, 50)
        assert scales.values(scale)[0] <= low <= mean <= high <= scales.values(scale)[-1]
        inside += low <= truth <= high
    assert abs(inside / 4000 - 0.95) < 0.03 + 3 * 0.0035
    if scales.size(scale) == 2:
        wilson = stats.binomtest(7, 50).proportion_ci(method="wilson")
        found = interval(scale, 7 / 50, 0.0, 50)
        np.testing.assert_allclose(found, (wilson.low, wilson.high), rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("block", [7, 8192])
def test_values_are_numpys_to_the_last_digits(monkeypatch, weighted, block):
    """Raw values far from 0, heaped, with gaps: mean, interval and median."""
    monkeypatch.setattr(answers, "block_size", lambda _: block)
    random = np.random.default_rng(3)
    both = {"wide": Continuous(low=-5.0, high=1e7), "rating": EVERY_SCALE["rating"]}
    study = make_study(both, people=200, share=0.6)
    value = study.answer.copy()
    here = study.tasks.scale[study.task] == 0
    value[here] = random.choice([1e6 + 1 / 3, 1e6 + 0.1, -5.0, 0.0, -0.25, 1e7], here.sum())
    value[study.task == 1] = random.uniform(1e6, 1e6 + 1, (study.task == 1).sum())
    weight = random.uniform(0.1, 5, 200) if weighted else np.ones(200)
    people = dataclasses.replace(study.participants, weight=weight)
    rows = decide(dataclasses.replace(study, answer=value, participants=people)).to_pylist()
    for task in range(len(study.tasks.ids)):
        row, own = rows[task], study.task == task
        w = weight[study.person[own]]
        given = dataclasses.replace(study, answer=value).value[own]
        mean = np.average(given, weights=w)
        sd = np.sqrt(np.average((given - mean) ** 2, weights=w))
        assert row["mean"] == pytest.approx(mean, rel=1e-12)
        half = half_width(sd, w.sum() ** 2 / (w**2).sum())
        assert row["high"] - row["mean"] == pytest.approx(half, rel=1e-7)
        if study.tasks.scale[task] == 0:
            order = np.sort(given)
            until = np.array([w[given <= one].sum() for one in order])
            middle = order[(until >= w.sum() / 2).argmax()]
            assert float(row["decision"]) == middle, "an answer that was given, to the last digit"
            assert row["share"] == pytest.approx(w[given == middle].sum() / w.sum())


def test_ties_of_weighted_answers_are_no_matter_of_rounding():
    """.1 + .2 + .3 is not .6 in floats: of equals the first wins, and both have one place."""
    sums = np.array([0.1 + 0.2 + 0.3, 0.6])
    assert sums[0] > sums[1]
    rating, likes = Ordinal(levels=(1, 2)), Approval()
    for first, second in (sums, sums[::-1]):
        found = Histogram(
            task_ids=("q", "a", "b"),
            task_scales=(rating, likes, likes),
            task_scale=np.array([0, 1, 1]),
            counts=np.array([[first, second], [0, first], [0, second]]),
            total=np.array([1.2, 1.2, 1.2]),
            mean=np.array([1.5, 0.5, 0.5]),
            variance=np.full(3, 0.25),
            decision=("", "", ""),
            equal=np.zeros(3),
            effective=np.full(3, 6.0),
        )
        question, *ballot = summarise(found).to_pylist()
        assert question["decision"] == "1"
        assert [row["place"] for row in ballot] == [1, 1]


def test_damage_is_told(crowd: Crowd, folder, tmp_path):
    import shutil

    def broken(name: str):
        target = tmp_path / name
        shutil.copytree(folder, target)
        return target

    target = broken("lost")
    (target / "part-00001.parquet").unlink()
    with pytest.raises(CrowdError, match=r"part-00001\.parquet: cannot be read"):
        decide(target)
    target = broken("cut")
    table = pq.read_table(target / "part-00002.parquet")
    pq.write_table(table.slice(0, len(table) - 1), target / "part-00002.parquet")
    with pytest.raises(CrowdError, match="ends in the middle of an agent"):
        decide(target)
    pq.write_table(table.slice(0, len(crowd.task_ids)), target / "part-00002.parquet")
    with pytest.raises(
        CrowdError, match=r"part-00002.parquet: holds 1 agents, its manifest says 188"
    ):
        decide(target)
    pq.write_table(table.take(np.arange(len(table))[::-1]), target / "part-00002.parquet")
    with pytest.raises(CrowdError, match="do not stand agent by agent"):
        decide(target)
    wrong = table["decision"].to_pylist()
    wrong[0] = "77"
    table = table.set_column(2, "decision", [wrong])
    pq.write_table(table, target / "part-00002.parquet")
    with pytest.raises(CrowdError, match=r"decision 77.* is no answer on its scale \(ordinal"):
        decide(target)
    (target / "manifest.json").write_text('{"agents": 3}')
    with pytest.raises(CrowdError, match=r"manifest\.json: has changed"):
        decide(target)
    (target / "manifest.json").unlink()
    with pytest.raises(CrowdError, match="it is not finished: run its `crowdllm sample` again"):
        decide(target)
    with pytest.raises(CrowdError, match="give a population's folder, or a study"):
        decide(tmp_path)
    shutil.copytree(folder, tmp_path / "population")
    with pytest.raises(CrowdError, match=f"give {tmp_path / 'population'}"):
        decide(tmp_path)
