"""From tables to a study, whatever way the tables are laid out."""

import codecs
import csv
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import EVERY_SCALE, make_study, rows_of, write_study, write_table

from crowdllm_jax.aggregate.decide import read_costs
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.known_profiles import read_profiles
from crowdllm_jax.profiles.generator import ProfilesConfig
from crowdllm_jax.profiles.raking import rake
from crowdllm_jax.reference.column import ColumnReference, from_column
from crowdllm_jax.runs.config import load_study
from crowdllm_jax.study import scale_text as scales
from crowdllm_jax.study.coding import feature_blocks, fit_coding
from crowdllm_jax.study.read import read_answers, read_study
from crowdllm_jax.study.records import Study, fingerprint
from crowdllm_jax.study.scales import Continuous, Ordinal
from crowdllm_jax.study.spec import (
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


@pytest.mark.usefixtures("long")
def test_a_written_study_is_read_back(tmp_path):
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
    write_table(
        tmp_path / "people.parquet",
        {"who": ids, "age": [people[i][0] for i in ids], "city": [people[i][1] for i in ids]},
    )
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


@pytest.mark.usefixtures("long")
def test_a_byte_order_mark_is_welcome(tmp_path):
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


@pytest.mark.usefixtures("long")
def test_ordinal_attributes_keep_the_given_order(tmp_path):
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


@pytest.mark.usefixtures("long")
def test_embeddings_follow_the_tasks_not_their_rows(tmp_path):
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


def odd_names() -> dict[str, list[str]]:
    """A long table whose names and texts can be written in several ways."""
    columns = rows_of(make_study(share=0.8))
    cities = {"A": "Köln", "B": "New York", "C": "São Paulo"}
    return {
        "Prénom": [f"Zoë {name}" for name in columns["participant"]],
        "task": [f"Q {name}: wie schön?" for name in columns["task"]],
        "response": columns["response"],
        "âge": columns["age"],
        "city": [cities[city] for city in columns["city"]],
        "text": [f"Ist {name} schön?\nJa  oder nein" for name in columns["task"]],
    }


def odd_spec(folder: Path, **changes) -> StudySpec:
    return spec(
        folder,
        "answers.csv",
        responses=ResponsesSpec(path="answers.csv", participant="Prénom"),
        participants=ParticipantsSpec(profile={"âge": "numeric", "city": "categorical"}),
        tasks=TasksSpec(text="text"),
        **changes,
    )


ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16": b"",
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32": b"",
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    encoding=st.sampled_from([*ENCODINGS, "cp1252"]),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    three=st.booleans(),
)
def test_the_same_data_written_in_any_way_are_the_same_study(
    tmp_path, seed, encoding, delimiter, quoting, end, three
):
    """Accents, blanks, order of rows, encoding, delimiter, quotes, one table or three."""
    random = np.random.default_rng(seed)
    columns = odd_names()
    write_table(tmp_path / "answers.csv", columns)
    study = read_study(odd_spec(tmp_path))

    def written(text: str) -> str:
        if encoding == "cp1252":
            blanks = ["", " ", "\u00a0"]
        else:
            text = unicodedata.normalize(random.choice(["NFC", "NFD"]), text)
            blanks = ["", " ", "\t", "\u00a0", "\u3000", "\u200b"]
        return random.choice(blanks) + text + random.choice(blanks)

    def write(file: str, names: list[str], *, once: bool) -> None:
        rows = list(zip(*(columns[name] for name in names), strict=True))
        rows = list(dict.fromkeys(rows)) if once else rows
        with (tmp_path / file).open("wb") as binary:
            binary.write(ENCODINGS.get(encoding, b""))
        with (tmp_path / file).open("a", encoding=encoding, newline="") as text:
            writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
            for place in (-1, *random.permutation(len(rows))):
                writer.writerow(map(written, names if place < 0 else rows[place]))

    own = odd_spec(tmp_path, delimiter=delimiter)
    if encoding == "cp1252":
        own = msgspec.structs.replace(own, encoding="cp1252")
    if three:
        write("answers.csv", ["task", "response", "Prénom"], once=False)
        write("people.csv", ["Prénom", "âge", "city"], once=True)
        write("tasks.csv", ["text", "task"], once=True)
        own = msgspec.structs.replace(
            own,
            participants=msgspec.structs.replace(own.participants, path="people.csv"),
            tasks=msgspec.structs.replace(own.tasks, path="tasks.csv"),
        )
    else:
        write("answers.csv", random.permutation(list(columns)).tolist(), once=False)
    assert same(study, read_study(own))


def other_form(text: str) -> str:
    """The same name in other characters, with blanks."""
    return f" {unicodedata.normalize('NFD', text)}\u00a0".replace(" ", "\u00a0 ")


def test_names_in_the_study_file_are_tidied_as_those_in_tables(tmp_path):
    columns = odd_names()
    rating = dict(zip("12345", ("très peu", "un peu", "assez", "beaucoup", "à fond"), strict=True))
    columns["response"] = [rating[answer] for answer in columns["response"]]
    columns["échelle"] = ["größe"] * len(columns["task"])
    write_table(tmp_path / "answers.csv", columns)

    def read(form) -> Study:
        tree = {
            "folder": str(tmp_path),
            "responses": {"path": "answers.csv", "participant": form("Prénom")},
            "tasks": {"text": "text", "scale": form("échelle")},
            "participants": {
                "profile": {
                    form("âge"): "numeric",
                    form("city"): {
                        "kind": "ordinal",
                        "levels": [form(city) for city in ("New York", "São Paulo", "Köln")],
                    },
                },
                "missing": {form("city"): [form("São Tomé")]},
            },
            "scales": {
                form("größe"): {"kind": "ordinal", "levels": list(map(form, rating.values()))}
            },
        }
        return read_study(msgspec.convert(tree, StudySpec))

    assert same(read(other_form), read(str))
    assert read(other_form).scales == read(str).scales


def test_names_are_tidied_wherever_they_come_from_outside(tmp_path):
    """References, costs, embeddings, profiles, twins' answers, margins."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_table(tmp_path / "answers.csv", odd_names())
    own = odd_spec(tmp_path)
    study = read_study(own)
    ids = list(map(other_form, study.tasks.ids))
    numbers = [f"{place + 1} " for place in range(len(ids))]

    table = {other_form("tâche"): ids, other_form("coût"): numbers, "of": [other_form("é")] * 4}
    write_table(tmp_path / "ref.csv", table)
    config = ColumnReference(path="ref.csv", task="tâche", value="coût", where={"of": "é"})
    assert from_column(study, config, str(tmp_path)).mean.tolist() == [1, 2, 3, 4]
    costs = read_costs(tmp_path / "ref.csv", "tâche,coût")
    assert costs == dict(zip(study.tasks.ids, [1, 2, 3, 4], strict=True))

    pq.write_table(
        pa.table({other_form("tâche"): ids, "v": [[1.0], [2.0], [3.0], [4.0]]}),
        tmp_path / "e.parquet",
    )
    embedded = TasksSpec(embedding=EmbeddingSpec(path="e.parquet", task="tâche", column="v"))
    found = read_study(msgspec.structs.replace(own, tasks=embedded)).tasks
    assert found.embedding.ravel().tolist() == [1, 2, 3, 4]

    write_table(
        tmp_path / "few.csv",
        {
            other_form("Prénom"): [other_form("Élise")],
            "task": ids[:1],
            "response": [" 3"],
            "âge": ["50"],
            "city": [other_form("Köln")],
        },
    )
    few = msgspec.structs.replace(
        own, responses=msgspec.structs.replace(own.responses, path="few.csv")
    )
    people = read_answers(few, study.tasks)
    assert people.participants.ids == ("Élise",)
    assert people.value.tolist() == [3]

    everyone = np.arange(len(study.participants.ids))
    codings = tuple(fit_coding(a, everyone) for a in study.participants.profile)
    profiles = read_profiles(tmp_path / "few.csv", SimpleNamespace(codings=codings), own)
    city = profiles.attributes[1]
    assert city.levels[city.cells[0]] == "Köln"

    margins = ProfilesConfig(
        margins={
            other_form("city"): {other_form(k): 1 / 3 for k in ("Köln", "New York", "São Paulo")}
        }
    ).margins
    raked = rake(study.participants.profile, study.participants.weight, margins)
    share = np.bincount(study.participants.profile[1].cells, raked) / raked.sum()
    np.testing.assert_allclose(share, 1 / 3, atol=1e-6)


@pytest.mark.usefixtures("long")
def test_later_answers_in_another_dialect_are_to_be_saved_otherwise(tmp_path):
    """What the study file of a fitted run says cannot be changed."""
    own = spec(tmp_path)
    study = read_study(own)
    text = (tmp_path / own.responses.path).read_text().replace(",", ";")
    (tmp_path / own.responses.path).write_text(text)
    with pytest.raises(CrowdError, match="by semicolons; save it with commas between the cells"):
        read_answers(own, study.tasks)
    with pytest.raises(CrowdError, match=r"by semicolons: set study.delimiter: ';'"):
        read_study(own)


def test_profiles_are_read_with_the_codes_of_missing_answers(tmp_path):
    write_table(tmp_path / "answers.csv", odd_names())
    missing = {"âge": (999,), "city": ("?",)}
    own = odd_spec(tmp_path)
    people = msgspec.structs.replace(own.participants, missing=missing)
    own = msgspec.structs.replace(own, participants=people, delimiter=";", decimal=",")
    (tmp_path / "few.csv").write_text("âge;city\n30,5;Köln\n999;New York\n", "utf-8")
    study = read_study(odd_spec(tmp_path))
    everyone = np.arange(len(study.participants.ids))
    codings = tuple(fit_coding(a, everyone) for a in study.participants.profile)
    profiles = read_profiles(tmp_path / "few.csv", SimpleNamespace(codings=codings), own)
    np.testing.assert_array_equal(profiles.attributes[0].cells, [30.5, np.nan])
    # Which sign is between the cells cannot be said of a fitted run any more.
    (tmp_path / "few.csv").write_text("age,city\n30,Rome\n")
    with pytest.raises(CrowdError, match="by commas; save it with semicolons between the cells"):
        read_profiles(tmp_path / "few.csv", SimpleNamespace(codings=codings), own)


def test_several_embeddings_stand_side_by_side(tmp_path, long):
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = ["t02", "t00", "t03", "t01"]
    one = [[2.0, 0.0], [0.0, 0.0], [3.0, 0.0], [1.0, 0.0]]
    pq.write_table(pa.table({"task": ids, "embedding": one}), tmp_path / "e.parquet")
    layers = {"layer_1": [[20.0], [0.0], [30.0], [10.0]], "layer_2": one}
    pq.write_table(pa.table({"task": ids, **layers}), tmp_path / "llm.parquet")
    many = EmbeddingSpec(path="llm.parquet", column=("layer_1", "layer_2"))
    own = TasksSpec(embedding=(EmbeddingSpec(path="e.parquet"), many))
    tasks = read_study(spec(tmp_path, tasks=own)).tasks
    assert tasks.embedding[:, [0, 2, 3]].tolist() == [[i, 10 * i, i] for i in range(4)]
    assert [(b.name, b.table, b.begin, b.end) for b in tasks.blocks] == [
        ("e", 0, 0, 2),
        ("llm/layer_1", 1, 2, 3),
        ("llm/layer_2", 1, 3, 5),
    ]
    assert [x.shape for x in feature_blocks(tasks).values()] == [(4, 2), (4, 1), (4, 2)]
    twice = TasksSpec(embedding=(EmbeddingSpec(path="e.parquet"),) * 2)
    with pytest.raises(CrowdError, match="two embeddings are called 'e'; give each a name"):
        read_study(spec(tmp_path, tasks=twice))
