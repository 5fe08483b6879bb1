"""Reference decisions read from a table."""

import numpy as np
import pytest
from synthetic import EVERY_SCALE, make_study, write_table

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.reference.column import ColumnReference, from_column
from crowdllm_jax.reference.questions import write_reference
from crowdllm_jax.reference.record import from_levels
from crowdllm_jax.runs.asked import Sources, _reference
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study import scales
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.questions import joined, questions_on
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal, Ranking
from crowdllm_jax.study.spec import ResponsesSpec, StudySpec
from crowdllm_jax.study.split import SplitConfig, split_study

TASKS = ["t00", "t01", "t02", "t03"]


def read(folder, columns, study=None, **keys):
    write_table(folder / "ref.csv", columns)
    config = ColumnReference(path="ref.csv", **keys)
    return from_column(study or make_study(), config, str(folder))


def test_values_in_any_order_with_more_tasks_than_asked(tmp_path):
    reference = read(
        tmp_path,
        {"task": [*TASKS[::-1], "extra"], "v": ["4", "3.5", "2", "1", "99"]},
        value="v",
    )
    assert reference.mean.tolist() == [1, 2, 3.5, 4]
    assert reference.probs is None
    assert reference.mass is None


def test_repeated_answers_become_frequencies(tmp_path):
    task = [name for name in TASKS for _ in range(4)]
    values = ["1", "1", "2", "5"] * 4
    reference = read(tmp_path, {"task": task, "v": values}, value="v")
    np.testing.assert_allclose(reference.mean, 9 / 4)
    np.testing.assert_allclose(reference.probs, np.tile([0.5, 0.25, 0, 0, 0.25], (4, 1)))


def test_answers_that_are_none_are_left_out(tmp_path):
    """Two levels and a refusal each; of the last task everything is refused, which is told."""
    task = [name for name in TASKS for _ in range(3)]
    answers, p = ["2", "Refused", "4"] * 4, ["0.3", "0.4", "0.3"] * 3 + ["0", "1", "0"]
    columns = {"task": task, "v": answers, "p": p}
    with pytest.warns(CrowdWarning, match="says nothing of 1 task.*'t03'.*taken as even"):
        found = read(tmp_path, columns, answer="v", probability="p", missing=("Refused",))
    np.testing.assert_allclose(found.probs[:3], np.tile([0, 0.5, 0, 0.5, 0], (3, 1)))
    np.testing.assert_allclose(found.probs[3], 0.2)
    plain = read(tmp_path, {"task": task, "v": answers}, answer="v", missing=("Refused",))
    np.testing.assert_allclose(plain.probs, np.tile([0, 0.5, 0, 0.5, 0], (4, 1)))
    with pytest.raises(CrowdError, match=r"'Refused' \(row 2.* listed under reference.missing"):
        read(tmp_path, {"task": task, "v": ["Refused", "1", "1"] * 4}, answer="v")
    with pytest.raises(CrowdError, match=r"reference\.missing: lists answers; name"):
        read(tmp_path, columns, probs="p", missing=("Refused",))


def test_probabilities_and_their_mass(tmp_path):
    levels = {name: ["0.2"] * 4 for name in "abcd"} | {"e": ["0.19"] * 4}
    reference = read(
        tmp_path,
        {"task": TASKS, **levels, "m": ["0.5"] * 4},
        probabilities=tuple("abcde"),
        mass="m",
    )
    np.testing.assert_allclose(reference.probs.sum(1), 1)
    np.testing.assert_allclose(reference.mean, reference.probs @ [1, 2, 3, 4, 5])
    np.testing.assert_allclose(reference.mass, 0.5)


@pytest.mark.parametrize("where", [{"model": "big"}, {"heat": 1}, {"heat": "1.0"}])
def test_rows_are_kept_by_what_they_hold(tmp_path, where):
    columns = {
        "task": TASKS * 2,
        "v": ["1"] * 4 + ["5"] * 4,
        "model": ["small"] * 4 + ["big"] * 4,
        "heat": ["0"] * 4 + ["1.0"] * 4,
    }
    reference = read(tmp_path, columns, value="v", where=where)
    assert reference.mean.tolist() == [5] * 4


def test_several_scales_keep_their_own_units(tmp_path):
    study = make_study({"a": EVERY_SCALE["rating"], "b": EVERY_SCALE["price"]}, tasks=2)
    reference = read(tmp_path, {"task": TASKS, "v": ["1", "5", "-10", "30"]}, study, value="v")
    assert reference.mean.tolist() == [1, 5, -10, 30]


CODED = {
    "gaps": Ordinal(levels=(1, 3, 7), labels=("low", "mid", "high")),
    "quoted": Ordinal(levels=("0", "5", "10")),
    "words": Ordinal(levels=("never", "sometimes", "always")),
    "coded": Binary(levels=(1, 2), labels=("yes", "no")),
    "turned": Binary(levels=(2, 1), labels=("no", "yes")),
    "agree": Binary(levels=("no", "yes")),
    "party": Nominal(levels=(1, 2, 3), labels=("left", "right", "centre")),
    "mood": Nominal(levels=("sad", "glad")),
    "rank": Ranking(k=2),
}


@pytest.mark.parametrize("scale", CODED.values(), ids=CODED)
@pytest.mark.parametrize("key", ["answer", "value"])
def test_answers_by_code_and_by_label_are_what_people_answered(tmp_path, scale, key):
    """A study's own answers as a reference table: each task's shares of levels and its mean."""
    study = make_study({"s": scale}, people=30)
    columns = {
        name: [str(texts[int(a)]) for a in study.answer]
        for name, texts in (("code", scales.written(scale)), ("label", scales.labels(scale)))
    }
    columns["task"] = [study.tasks.ids[t] for t in study.task]
    if isinstance(scale, Ranking) and key == "value":
        with pytest.raises(CrowdError, match=r"which may be ranks .* under `answer`"):
            read(tmp_path, columns, study, value="code")
        return
    for name in ("code", "label"):
        found = read(tmp_path, columns, study, **{key: name})
        for task in range(4):
            own = study.task == task
            shares = np.bincount(study.answer[own].astype(int), minlength=scales.size(scale)) / 30
            np.testing.assert_allclose(found.probs[task], shares, atol=1e-12)
            assert found.mean[task] == pytest.approx(study.value[own].mean(), rel=1e-12)


@pytest.mark.parametrize("scale", [s for s in CODED.values() if not isinstance(s, Ranking)])
def test_probabilities_by_code_label_rows_or_order_are_one(tmp_path, scale):
    study, k = make_study({"s": scale}), scales.size(scale)
    probs = np.random.default_rng(0).dirichlet(np.ones(k), 4)
    codes, labels = [str(code) for code in scales.written(scale)], list(scales.labels(scale))
    place = list(range(k))[::-1]
    for names in (codes, labels):
        columns = {"task": TASKS} | {names[i]: [repr(float(p)) for p in probs[:, i]] for i in place}
        ways = [
            {"probabilities": tuple(names[i] for i in place)},
            {"probabilities": {codes[i]: names[i] for i in place}},
        ]
        rows = {
            "task": [task for task in TASKS for _ in range(k)],
            "a": [names[i] for _ in TASKS for i in place],
            "p": [repr(float(p)) for row in probs for p in row[::-1]],
        }
        found = [read(tmp_path, columns, study, **way) for way in ways]
        found.append(read(tmp_path, rows, study, answer="a", probability="p"))
        for one in found:
            np.testing.assert_allclose(one.probs, probs, atol=1e-12)
    columns = {"task": TASKS} | {f"p{i}": [repr(float(p)) for p in probs[:, i]] for i in range(k)}
    named = tuple(f"p{i}" for i in range(k))
    np.testing.assert_allclose(read(tmp_path, columns, study, probabilities=named).probs, probs)


@pytest.mark.parametrize(
    ("scale", "cells", "mean"),
    [
        (CODED["gaps"], ["1", "2.5", "7", "mid"], [1, 2.5, 7, 3]),
        (CODED["words"], ["never", "1.5", "3", "2"], [1, 1.5, 3, 2]),
        # Levels 1 and 2 count as 0 and 1.
        (CODED["coded"], ["1", "1.25", "2", "no"], [0, 0.25, 1, 1]),
        (CODED["turned"], ["1", "1.25", "2", "no"], [1, 0.75, 0, 0]),
        (CODED["agree"], ["no", "0.25", "1", "yes"], [0, 0.25, 1, 1]),
        (CODED["quoted"], ["0", "7.5", "10", "5"], [0, 7.5, 10, 5]),
        (CODED["rank"], ["0", "1", "0.5", "2"], [0, 1, 0.5, 2]),
        (Continuous(low=0.0, high=1.0), ["0", "1", "0.5", "0.25"], [0, 1, 0.5, 0.25]),
    ],
)
def test_means_stand_in_the_numbers_the_study_writes(tmp_path, scale, cells, mean):
    found = read(tmp_path, {"task": TASKS, "v": cells}, make_study({"s": scale}), value="v")
    np.testing.assert_allclose(found.mean, mean, atol=1e-15)
    assert found.probs is None


@pytest.mark.parametrize(
    ("scale", "cell", "key", "match"),
    [
        (
            "coded",
            "0",
            "value",
            r"'0' \(row 2\) is no answer on scale 's' .* from 1 to 2; give a sh",
        ),
        ("coded", "0.3", "value", "no mean of answers, which lies from 1 to 2"),
        ("coded", "1.5", "answer", r"'1.5' \(row 2\) is no answer on scale 's' \(binary"),
        ("party", "0", "value", "whose answers have no mean; give levels"),
        ("party", "1.5", "value", "whose answers have no mean"),
        ("mood", "1", "value", "whose answers have no mean"),
        ("gaps", "2", "answer", "is no answer"),
        ("gaps", "8", "value", "from 1 to 7"),
        ("words", "0", "value", "from 1 to 3"),
        ("gaps", "", "value", "row 2 is empty"),
    ],
)
def test_what_is_no_answer_is_told_with_the_remedy(tmp_path, scale, cell, key, match):
    own = str(scales.written(CODED[scale])[1])
    study = make_study({"s": CODED[scale]})
    with pytest.raises(CrowdError, match=match):
        read(tmp_path, {"task": TASKS, "v": [cell, own, own, own]}, study, **{key: "v"})


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"probabilities": ("0", "1", "2")}, "some but not all of the levels"),
        ({"probabilities": ("1", "2", "right")}, "each once, are named"),
        ({"probabilities": {1: "0", 2: "1"}}, "give a column for each, {level: column}"),
        ({"probabilities": {1: "0", 2: "1", 3: "2", 4: "0"}}, "gives '4' a probability for task"),
        ({"answer": "1", "value": "1"}, "name one of"),
        ({"value": "1", "probability": "1"}, "name its column under `answer`"),
    ],
)
def test_columns_that_may_be_meant_in_two_ways_are_refused(tmp_path, keys, match):
    columns = {"task": TASKS} | {name: ["0.25"] * 4 for name in ("0", "1", "2", "right")}
    with pytest.raises(CrowdError, match=match):
        read(tmp_path, columns, make_study({"s": CODED["party"]}), **keys)


def test_one_answer_of_a_nominal_scale_is_a_distribution(tmp_path):
    columns = {"task": TASKS, "v": ["3", "1", "right", "2"]}
    found = read(tmp_path, columns, make_study({"s": CODED["party"]}), value="v")
    np.testing.assert_array_equal(found.probs, np.eye(3)[[2, 0, 1, 1]])


@pytest.mark.parametrize("name", ["gaps", "coded", "turned", "agree", "words"])
def test_a_reference_that_was_written_is_read_back(tmp_path, name):
    study = make_study({"s": CODED[name]})
    probs = np.random.default_rng(0).dirichlet(np.ones(scales.size(CODED[name])), 4)
    before = from_levels(study, "endpoint", probs)
    write_reference(study, before, ColumnReference(path=""), tmp_path / "ref.parquet")
    for keys in ({"value": "mean"}, {"probs": "probs"}):
        config = ColumnReference(path="ref.parquet", **keys)
        after = from_column(study, config, str(tmp_path))
        np.testing.assert_allclose(after.mean, before.mean, rtol=1e-6)


def test_a_population_is_a_reference_table(tmp_path, rating_crowd):
    """Its parts hold answers as a study writes them."""
    from crowdllm_jax.model.crowd import numbers_of
    from crowdllm_jax.population.sample import sample
    from crowdllm_jax.population.write import write_population

    write_population(rating_crowd, tmp_path / "p", 40, 1)
    config = ColumnReference(path="p/part-00000.parquet", task="task_id", answer="decision")
    found = from_column(make_study(), config, str(tmp_path))
    drawn = numbers_of(rating_crowd, sample(rating_crowd, 40, 1).answers)
    np.testing.assert_allclose(found.mean, drawn.mean(0), rtol=1e-6)


def test_a_table_may_be_in_another_dialect(tmp_path):
    """Answers, means and numbers, in a table with semicolons and decimal commas."""
    study = make_study()
    (tmp_path / "ref.csv").write_text(
        "task;v;m\n" + "".join(f"{name};{v};0,5\n" for name, v in zip(TASKS, "1234", strict=True))
    )
    config = ColumnReference(path="ref.csv", value="v", mass="m")
    dialect = Dialect(";", decimal=",")
    found = from_column(study, config, str(tmp_path), dialect)
    assert found.mean.tolist() == [1, 2, 3, 4]
    assert found.mass.tolist() == [0.5] * 4
    text = (tmp_path / "ref.csv").read_text().replace(";2;", ";2,5;")
    (tmp_path / "ref.csv").write_text(text)
    assert from_column(study, config, str(tmp_path), dialect).mean.tolist() == [1, 2.5, 3, 4]


def test_new_questions_answers_are_in_the_studys_dialect(tmp_path):
    """The run's own table of references has commas, whatever the study's tables have."""
    study = make_study()
    write_table(tmp_path / "ref.csv", {"task": TASKS, "v": ["1", "2", "3", "3.5"]})
    (tmp_path / "new.csv").write_text("task;v\nnew;1,5\n")
    config = ColumnReference(path="ref.csv", value="v")
    name = next(iter(study.scales))
    questions = questions_on(["new"], ["New?"], [name], study.scales, list(study.scales))
    spec = StudySpec(
        responses=ResponsesSpec(path="r.csv"),
        scales=dict(study.scales),
        folder=str(tmp_path),
        delimiter=";",
        decimal=",",
    )
    split = split_study(study, SplitConfig(by="tasks"), 0)
    longer = joined(study, questions, (), None)
    given = Sources(table=tmp_path / "new.csv")
    found = _reference(study, longer, split, config, spec, questions, given, silent)
    assert found.of_all.mean.tolist() == [1, 2, 3, 3.5, 1.5]
    assert found.of_questions.mean.tolist() == [1.5]
    assert found.how == "answers in new.csv"
