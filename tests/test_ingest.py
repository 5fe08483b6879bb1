"""From tables to a study, whatever way the tables are laid out."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic import EVERY_SCALE, make_study, rows_of, write_study, write_table

from crowdllm_jax import scales
from crowdllm_jax.config import load_study
from crowdllm_jax.ingest import read_study
from crowdllm_jax.scales import Continuous, Ordinal
from crowdllm_jax.study import Study, fingerprint
from crowdllm_jax.study_file import (
    EmbeddingSpec,
    OrdinalAttribute,
    ParticipantsSpec,
    ResponsesSpec,
    StudySpec,
    TasksSpec,
)

RATING = {"rating": Ordinal(levels=(1, 2, 3, 4, 5))}
PROFILE = {"age": "numeric", "city": "categorical"}


def spec(folder: Path, file: str = "responses.csv", **changes) -> StudySpec:
    base = StudySpec(
        responses=ResponsesSpec(path=file),
        scales=RATING,
        folder=str(folder),
        participants=ParticipantsSpec(profile=PROFILE),
    )
    return msgspec.structs.replace(base, **changes)


def same(one: Study, other: Study) -> bool:
    return fingerprint(one) == fingerprint(other)


@pytest.fixture
def long(tmp_path) -> dict[str, list[str]]:
    """The columns of a small long table, already written as responses.csv."""
    columns = rows_of(make_study(share=0.8))
    write_table(tmp_path / "responses.csv", columns)
    return columns


def test_a_written_study_is_read_back(tmp_path, long):
    study, made = read_study(spec(tmp_path)), make_study(share=0.8)
    assert study.tasks.ids == made.tasks.ids
    assert study.participants.ids == made.participants.ids
    for one, other in ((study.person, made.person), (study.task, made.task)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(study.answer, made.answer)
    age, city = study.participants.profile
    np.testing.assert_array_equal(age.cells, made.participants.profile[0].cells)
    np.testing.assert_array_equal(city.cells, made.participants.profile[1].cells)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_and_columns_does_not_matter(tmp_path, long, seed):
    random = np.random.default_rng(seed)
    order = random.permutation(len(long["task"]))
    names = random.permutation(list(long))
    write_table(tmp_path / "other.csv", {n: [long[n][i] for i in order] for n in names})
    assert same(read_study(spec(tmp_path)), read_study(spec(tmp_path, "other.csv")))


def test_parquet_is_read_like_csv(tmp_path, long):
    write_table(tmp_path / "responses.parquet", long)
    assert same(read_study(spec(tmp_path)), read_study(spec(tmp_path, "responses.parquet")))


def test_typed_parquet_is_read_like_csv(tmp_path, long):
    import pyarrow as pa
    import pyarrow.parquet as pq

    typed = pa.table(
        {
            **long,
            "response": [int(r) for r in long["response"]],
            "age": [float(a) if a else None for a in long["age"]],
        }
    )
    pq.write_table(typed, tmp_path / "typed.parquet")
    assert same(read_study(spec(tmp_path)), read_study(spec(tmp_path, "typed.parquet")))


def test_three_tables_are_read_like_one(tmp_path, long):
    people = dict(
        zip(long["participant"], zip(long["age"], long["city"], strict=True), strict=True)
    )
    # Their rows stand in another order, and people's column has another name.
    ids = sorted(people, reverse=True)
    write_table(tmp_path / "people.parquet", {"who": ids, "age": [people[i][0] for i in ids],
                                              "city": [people[i][1] for i in ids]})  # fmt: skip
    write_table(tmp_path / "tasks.csv", {"task": sorted(set(long["task"]), reverse=True)})
    write_table(tmp_path / "answers.csv", {n: long[n] for n in ("task", "participant", "response")})
    three = spec(
        tmp_path,
        "answers.csv",
        participants=ParticipantsSpec(path="people.parquet", participant="who", profile=PROFILE),
        tasks=TasksSpec(path="tasks.csv"),
    )
    assert same(read_study(spec(tmp_path)), read_study(three))


def test_other_data_give_another_fingerprint(tmp_path, long):
    study = read_study(spec(tmp_path))
    for name, text in (("response", "5"), ("city", "C")):
        changed = long | {name: list(long[name])}
        for i in np.flatnonzero(np.array(long["participant"]) == "p003"):
            changed[name][i] = text
        write_table(tmp_path / "other.csv", changed)
        assert not same(study, read_study(spec(tmp_path, "other.csv"))), name


def test_ids_are_texts(tmp_path):
    """007 is not 7, and an id past 2**63 keeps all its digits."""
    big = str(2**63 + 11)
    (tmp_path / "responses.csv").write_text(
        f"participant,task,response\n007,1,1\n7,1,2\n{big},1,3\n{int(big) + 1},1,4\n7,10,5\n7,2,1\n"
    )
    study = read_study(spec(tmp_path, participants=ParticipantsSpec()))
    assert set(study.participants.ids) == {"007", "7", big, str(int(big) + 1)}
    assert study.tasks.ids == ("1", "2", "10")


def test_a_byte_order_mark_is_welcome(tmp_path, long):
    path = tmp_path / "responses.csv"
    study = read_study(spec(tmp_path))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert same(study, read_study(spec(tmp_path)))


def test_empty_answers_are_absent_and_counted(tmp_path):
    (tmp_path / "responses.csv").write_text(
        "participant,task,response\na,x,1\na,y,\nb,x,NA\nb,y,5\n"
    )
    study = read_study(spec(tmp_path, participants=ParticipantsSpec(), missing=("NA",)))
    assert study.missing == 2
    assert study.value.tolist() == [1, 5]


def test_missing_cells_of_a_profile(tmp_path):
    (tmp_path / "responses.csv").write_text(
        "participant,task,response,age,city\na,x,1,,Rome\nb,x,2,30,\n"
    )
    age, city = read_study(spec(tmp_path)).participants.profile
    np.testing.assert_array_equal(age.cells, [np.nan, 30])
    assert city.levels == ("Rome", "(missing)")
    assert city.cells.tolist() == [0, 1]


def test_ordinal_attributes_keep_the_given_order(tmp_path, long):
    profile = {"city": OrdinalAttribute(levels=("C", "A", "B"))}
    study = read_study(spec(tmp_path, participants=ParticipantsSpec(profile=profile)))
    (city,) = study.participants.profile
    assert city.levels == ("C", "A", "B")
    by_name = read_study(spec(tmp_path)).participants.profile[1]
    assert [city.levels[c] for c in city.cells] == [by_name.levels[c] for c in by_name.cells]


def test_weights_have_mean_one(tmp_path):
    (tmp_path / "responses.csv").write_text("participant,task,response,w\na,x,1,2\nb,x,2,6\n")
    study = read_study(spec(tmp_path, participants=ParticipantsSpec(weight="w")))
    assert study.participants.weight.tolist() == [0.5, 1.5]


def test_embeddings_follow_the_tasks_not_their_rows(tmp_path, long):
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = ["t02", "extra", "t00", "t03", "t01"]
    vectors = [[2.0, 0.0], [9.0, 9.0], [0.0, 0.0], [3.0, 0.0], [1.0, 0.0]]
    pq.write_table(pa.table({"id": ids, "v": vectors}), tmp_path / "e.parquet")
    own = TasksSpec(embedding=EmbeddingSpec(path="e.parquet", task="id", column="v"))
    study = read_study(spec(tmp_path, tasks=own))
    assert study.tasks.embedding[:, 0].tolist() == [0, 1, 2, 3]


def test_several_scales(tmp_path):
    (tmp_path / "responses.csv").write_text(
        "participant,task,response,scale\na,x,4,rating\na,y,0.5,price\nb,y,9.5,price\nb,x,1,rating\n"
    )
    study = read_study(
        spec(
            tmp_path,
            scales=RATING | {"price": Continuous(low=0, high=10)},
            participants=ParticipantsSpec(),
            tasks=TasksSpec(scale="scale"),
        )
    )
    assert study.value.tolist() == [4, 0.5, 1, 9.5]
    assert study.answer.tolist() == [3, 0.5, 0, 9.5]


@pytest.mark.parametrize("name", EVERY_SCALE)
def test_every_scale_is_read_back(tmp_path, name):
    made = make_study({name: EVERY_SCALE[name]})
    write_table(tmp_path / "responses.csv", rows_of(made))
    study = read_study(spec(tmp_path, scales=made.scales))
    np.testing.assert_array_equal(study.answer, made.answer)
    assert scales.describe(study.scale_of(0)) == scales.describe(EVERY_SCALE[name])


def test_users_files_are_only_read(tmp_path):
    path = write_study(tmp_path / "input")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.parent.iterdir()}
    load_study(path)
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.parent.iterdir()}
