"""What is guessed of a table, what is asked, and what is left as it is."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.runs.config import dump_config, load_config, load_study
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.draft import write
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_file, study
from crowdllm_jax.study.draft.write import write_study
from crowdllm_jax.study.records import fingerprint
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal

N = 30
RANDOM = np.random.default_rng(5)


def frame(**columns) -> pd.DataFrame:
    """A table of 30 people with a question on 1 to 5, and other columns."""
    rating = 1 + np.arange(N) % 5
    return pd.DataFrame({"id": [f"p{i}" for i in range(N)], "good": rating, **columns})


def scale_of(table: pd.DataFrame, question: str, choices: Choices = Choices()):  # noqa: B008
    made = study(table, choices=choices)
    return made.scale_of(made.tasks.ids.index(question))


def asked(table: pd.DataFrame, choices: Choices = Choices()) -> str:  # noqa: B008
    with pytest.raises(CrowdError) as caught:
        study(table, choices=choices)
    return str(caught.value)


def cycle(*values: object) -> list[object]:
    return [values[i % len(values)] for i in range(N)]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (cycle(0, 1), Binary(levels=(0, 1))),
        (cycle(1, 2, 4), Ordinal(levels=(1, 2, 3, 4))),
        (cycle(*range(11)), Ordinal(levels=tuple(range(11)))),
        (cycle(1, 2, 3, 4, 5, 99), Ordinal(levels=(1, 2, 3, 4, 5))),
        (cycle(-2, -1, 0, 1, 2), Ordinal(levels=(-2, -1, 0, 1, 2))),
        (cycle(1, 2, 3, -9), Ordinal(levels=(1, 2, 3))),
        (
            cycle(0.5, 1, 2.5, 5),
            Ordinal(levels=tuple(x / 2 if x % 2 else x // 2 for x in range(1, 11))),
        ),
        ([i + i % 2 for i in range(N)], Continuous(low=0, high=30)),
        ([3 * i for i in range(N)], Continuous(low=0, high=100)),
        (cycle("yes", "no"), Binary(levels=("no", "yes"))),
        (cycle("yes", "no", "don't know"), Binary(levels=("no", "yes"))),
        (cycle("often", "never", "sometimes"), Ordinal(levels=("never", "sometimes", "often"))),
        (cycle("tea", "coffee", "water"), Nominal(levels=("coffee", "tea", "water"))),
        (cycle("1 (bad)", "2", "3 (good)"), Ordinal(levels=("1 (bad)", "2", "3 (good)"))),
    ],
)
def test_scales(values, scale):
    assert scale_of(frame(x=values), "x") == scale


MOODS = ["Disagree", "Neutral", "Agree", "Strongly agree"]


def test_misspelt_answers_are_told():
    table = frame(x=[*cycle(*MOODS)[:-2], "Agre", "Stongly agree"])
    said = asked(table)
    assert "misspelt ('Agre' for 'Agree'; 'Stongly agree' for 'Strongly agree')" in said
    assert "--missing 'Agre,Stongly agree'" in said
    made = scale_of(table, "x", Choices(missing=("Agre", "Stongly agree")))
    assert made == Ordinal(levels=tuple(MOODS))


def test_rare_answers_of_their_own_are_not_misspelt():
    likely = frame(x=[*cycle("Likely", "Neutral")[:-2], "Unlikely", "Unlikely"])
    assert scale_of(likely, "x") == Ordinal(levels=("Unlikely", "Neutral", "Likely"))
    teas = frame(x=[*cycle("tea", "teas")[:-2], "team", "team"])
    assert scale_of(teas, "x") == Nominal(levels=("tea", "team", "teas"))
    often = scale_of(frame(x=cycle("Agree", "Agre", "Neutral")), "x")
    assert often == Nominal(levels=("Agre", "Agree", "Neutral"))


def test_yes_and_no_in_several_ways_are_asked_for():
    for words in (["Yes", "No", "Ja", "Nein"], ["Y", "N", "Yes", "No"], ["Sí", "No", "Yes"]):
        assert "yes and no are written in several ways" in asked(frame(x=cycle(*words)))
        kept = scale_of(frame(x=cycle(*words)), "x", Choices(unordered=(tuple(words),)))
        assert kept == Nominal(levels=tuple(sorted(words)))
    for words in (["Yes", "No", "Other"], ["Yes", "Da Vinci", "Nu"]):
        assert scale_of(frame(x=cycle(*words)), "x") == Nominal(levels=tuple(sorted(words)))


def test_an_answer_that_nobody_gave_is_that_of_the_questions_beside():
    words = ["Never", "Rarely", "Sometimes", "Often", "Always"]
    table = frame(a=cycle(*words), b=cycle(*words), c=cycle(*words[:4]))
    assert scale_of(table, "c") == Ordinal(levels=tuple(words))
    numbers = frame(a=cycle(1, 2, 3, 4, 5), b=cycle(2, 3, 4))
    assert scale_of(numbers, "b") == Ordinal(levels=(1, 2, 3, 4, 5))


def test_a_scale_of_unknown_order_is_asked_for_and_then_taken():
    table = frame(**{f"q{i}": cycle("bronze", "silver", "gold") for i in range(3)})
    assert "--order" in asked(table)
    order = Choices(orders=(("Bronze", "silver", "gold"),))
    assert scale_of(table, "q1", order) == Ordinal(levels=("bronze", "silver", "gold"))
    free = Choices(unordered=(("bronze", "silver", "gold"),))
    assert isinstance(scale_of(table, "q1", free), Nominal)


@pytest.mark.parametrize(
    "answers",
    [("1. Liberal", "2. Moderate", "3. Other"), ("30-60 minutes", "1-2 hours", "over 2 hours")],
)
def test_numbers_that_may_mean_no_order_are_asked_for(answers):
    table = frame(x=cycle(*answers))
    assert "--order" in asked(table)
    assert scale_of(table, "x", Choices(orders=(answers,))) == Ordinal(levels=answers)
    assert isinstance(scale_of(table, "x", Choices(unordered=(answers,))), Nominal)


def test_names_of_ends_are_labels_of_numbers():
    table = frame(x=cycle("Not at all likely", "2", "4", "Extremely likely"))
    labels = ("Not at all likely", "2", "3", "4", "Extremely likely")
    assert scale_of(table, "x") == Ordinal(levels=(1, 2, 3, 4, 5), labels=labels)
    unknown = frame(x=cycle("Cats", "2", "3", "4", "Dogs"))
    assert "--order" in asked(unknown)
    order = Choices(orders=(("Cats", "2", "3", "4", "Dogs"),))
    assert scale_of(unknown, "x", order) == Ordinal(
        levels=(1, 2, 3, 4, 5), labels=("Cats", "2", "3", "4", "Dogs")
    )


def test_a_stray_text_among_numbers_is_asked_for():
    table = frame(x=[*cycle("1", "2", "3")[:-2], "three, or so", "two"])
    told = asked(table)
    assert "'x': 28 of 30 answers are numbers, but not three, or so, two" in told
    assert """--missing '"three, or so",two'""" in told
    strays = Choices(missing=("three, or so", "two"))
    assert scale_of(table, "x", strays) == Ordinal(levels=(1, 2, 3))
    open_end = frame(x=[*cycle("1", "2")[:-2], "3+", "3+"])
    assert scale_of(open_end, "x") == Ordinal(levels=("1", "2", "3+"))


def test_a_nine_that_may_be_an_answer_is_asked_for():
    table = frame(x=cycle(1, 2, 3, 4, 5, 9))
    assert "--missing 9" in asked(table)
    assert scale_of(table, "x", Choices(missing=("9",))) == Ordinal(levels=(1, 2, 3, 4, 5))
    assert scale_of(table, "x", Choices(missing=("none",))) == Ordinal(levels=tuple(range(1, 10)))
    assert "--missing 8" in asked(frame(x=cycle(1, 2, 3, 4, 5, 6, 8)))
    gaps = frame(x=cycle(0, 1, 3, 6, 8))
    assert scale_of(gaps, "x") == Ordinal(levels=tuple(range(9)))


def test_of_two_columns_of_ids_that_of_people_is_taken():
    table = frame(respondent=[f"r{i}" for i in range(N)])
    assert study(table).participants.ids[0] == "r0"
    assert study(table, id="id").participants.ids[0] == "p0"


def test_without_ids_people_are_numbered():
    made = study(frame().drop(columns="id"))
    assert made.participants.ids[0] == "2"


def test_an_id_that_stands_twice_is_refused():
    table = frame()
    table.loc[3, "id"] = "p1"
    assert "'p1' stands in row 3, 5" in asked(table)


def test_weights_and_how_heavy_people_are():
    survey = frame(weight=RANDOM.uniform(0.5, 2, N))
    assert np.ptp(study(survey).participants.weight) > 0
    body = frame(weight=RANDOM.uniform(50, 100, N))
    assert "--weight none" in asked(body)
    assert np.ptp(study(body, weight="none").participants.weight) == 0
    two = frame(weight=RANDOM.uniform(0.5, 2, N), wgt=RANDOM.uniform(0.5, 2, N))
    assert "which column holds people's weights" in asked(two)


@pytest.mark.parametrize("cell", [None, "NA"])
def test_a_row_without_a_weight_is_told(cell):
    weights = [cell, *map(str, RANDOM.uniform(0.5, 2, N - 1))]
    table = frame(Gewichtungsfaktor=weights)
    assert "'Gewichtungsfaktor': no weight in row 2;" in asked(table)
    assert np.ptp(study(table, weight="none").participants.weight) == 0
    assert (
        np.ptp(study(table, choices=Choices(out=("Gewichtungsfaktor",))).participants.weight) == 0
    )


def test_a_full_stop_or_quotes_are_one_spelling():
    levels = ["Disagree", "Agree", "Strongly agree"]
    frame = pd.DataFrame({"id": range(30), "q1": levels * 10, "q2": levels * 10})
    for row, text in ((4, "Agree."), (7, '"Agree"'), (10, "agree,"), (13, "“Agree”")):
        frame.loc[row, "q1"] = text
    (scale,) = study(frame).scales.values()
    assert list(scale.levels) == levels


def test_capitals_are_one_spelling():
    table = frame(x=cycle("Agree", "agree", "Disagree", "Agree", "DISAGREE", "Disagree"))
    assert scale_of(table, "x") == Binary(levels=("Disagree", "Agree"))
    order = Choices(orders=(("bronze", "silver", "gold"),))
    medals = frame(x=cycle("Bronze", "bronze", "Bronze", "silver", "GOLD"))
    assert scale_of(medals, "x", order) == Ordinal(levels=("Bronze", "silver", "GOLD"))
    ids = frame(id=[f"{'p' if i % 2 else 'P'}{i // 2}" for i in range(N)])
    assert len(study(ids).participants.ids) == N


def test_bands_of_age_are_ordered():
    table = frame(age_group=cycle("18-24", "65+", "under 18", "25-64"))
    (age,) = study(table).participants.profile
    assert (age.kind, age.levels) == ("ordinal", ("under 18", "18-24", "25-64", "65+"))


def test_what_is_no_question_is_left_out():
    table = frame(
        timestamp=[f"2024-01-{i % 28 + 1:02d} 10:00" for i in range(N)],
        comment=[f"some words number {i}" for i in range(N)],
        same=cycle("x"),
        empty=cycle(None),
        Epoch=cycle(1700000000, 1700000100),
        total_time=cycle(20, 30, 40),
        rowid=cycle(1, 2, 3),
        lat=cycle(48.1, 52.5),
        zip=cycle(80331, 10115),
        PLZ=cycle(80331, 10115),
        running=range(7, 7 + N),
        token=[1000 + 37 * i for i in range(N)],
    )
    made = study(table)
    assert made.tasks.ids == ("good",)
    assert not made.participants.profile
    kept = study(table, choices=Choices(questions=("running", "good")))
    assert set(kept.tasks.ids) == {"running", "good"}
    assert [a.name for a in study(frame(year=cycle(2019, 2024))).participants.profile] == ["year"]


def test_questions_and_profile_as_the_user_says():
    table = frame(age=cycle(20, 30, 40), mood=cycle(1, 2, 3))
    made = study(table, choices=Choices(questions=("age",), profile=("mood",)))
    assert made.tasks.ids == ("age",)
    assert [a.name for a in made.participants.profile] == ["mood"]
    assert "--profile: data frame has no column 'moot'" in asked(table, Choices(profile=("moot",)))


def long_table(**columns) -> pd.DataFrame:
    rows = [(f"u{p}", f"t{t}", 1 + (p * t + p) % 5) for p in range(10) for t in range(4)]
    table = pd.DataFrame(rows, columns=["user", "item", "stars"])
    return table.assign(**columns)


def test_long_tables_and_their_columns():
    made = study(long_table(note=[f"n{i}" for i in range(40)]))
    assert (len(made.participants.ids), len(made.tasks.ids), len(made.task)) == (10, 4, 40)
    renamed = (
        long_table().rename(columns={"stars": "a"}).assign(b=[3.1 * i % 97 for i in range(40)])
    )
    assert "which column holds the answers: a, b? Say it with --response 'a'" in asked(renamed)
    assert len(study(renamed, choices=Choices(response="a,b")).tasks.ids) == 8
    twice = pd.concat([long_table(), long_table().head(1)], ignore_index=True)
    message = asked(twice, Choices(person="user", task="item"))
    assert "'u0' answers 't0' twice (rows 2 and 42" in message


def test_a_long_table_of_several_questions_has_a_scale_for_each():
    rows = [(f"u{p}", "sure", ["no", "yes"][p % 2]) for p in range(40)]
    rows += [(f"u{p}", "mood", ["bad", "good", "very good"][p % 3]) for p in range(40)]
    made = study(pd.DataFrame(rows, columns=["participant", "question", "answer"]))
    assert made.scale_of(made.tasks.ids.index("sure")) == Binary(levels=("no", "yes"))
    assert made.scale_of(made.tasks.ids.index("mood")) == Ordinal(
        levels=("bad", "good", "very good")
    )


def test_polars_and_pandas_are_one():
    polars = pytest.importorskip("polars")
    table = frame(x=cycle("yes", "no", None), age=cycle(20.5, None, 70.0))
    assert fingerprint(study(polars.from_pandas(table))) == fingerprint(study(table))


def test_an_ordered_categorical_says_its_order():
    levels = ["zip", "zap", "zup"]
    table = frame(x=pd.Categorical(cycle("zap", "zup"), categories=levels, ordered=True))
    assert scale_of(table, "x") == Ordinal(levels=tuple(levels))


def test_what_is_no_data_frame():
    with pytest.raises(CrowdError, match="dict is no data frame"):
        study({"a": [1]})


def written(folder: Path, force: bool = False) -> list[Path]:
    frame().to_csv(folder / "a.csv", index=False)
    return write_study(draft_of_file(folder / "a.csv"), folder / "a.yaml", force=force)[1]


def test_files_are_never_replaced_unasked(tmp_path):
    files = written(tmp_path)
    assert {f.name for f in files} == {
        "a.yaml",
        "a-answers.csv",
        "a-questions.csv",
        "a-people.csv",
    }
    (tmp_path / "a.yaml").unlink()
    (tmp_path / "a-people.csv").write_text("mine")
    (tmp_path / "a-answers.csv").unlink()
    with pytest.raises(CrowdError, match="nothing was written"):
        written(tmp_path)
    assert (tmp_path / "a-people.csv").read_text() == "mine"
    assert not (tmp_path / "a.yaml").exists()
    assert not (tmp_path / "a-answers.csv").exists()
    written(tmp_path, force=True)
    assert (tmp_path / "a-people.csv").read_text() != "mine"


def test_a_users_own_files_are_never_replaced(tmp_path):
    frame().to_csv(tmp_path / "a.csv", index=False)
    mine = tmp_path / "b-people.csv"
    frame(age=cycle(20, 30, 40))[["id", "age"]].to_csv(mine, index=False)
    before = mine.read_bytes()
    draft = draft_of_file(tmp_path / "a.csv", people=mine)
    with pytest.raises(CrowdError, match="would be replaced"):
        write_study(draft, tmp_path / "b.yaml", force=True, sources=[tmp_path / "a.csv", mine])
    assert mine.read_bytes() == before


def test_a_message_names_no_file_that_is_gone(tmp_path, monkeypatch):
    def refuse(spec):
        path = Path(spec.folder) / spec.responses.path
        warnings.warn(f"{path}: is odd", CrowdWarning, stacklevel=1)
        raise CrowdError(f"{path}: is wrong")

    monkeypatch.setattr(write, "read_study", refuse)
    frame().to_csv(tmp_path / "a.csv", index=False)
    draft = draft_of_file(tmp_path / "a.csv")
    told = pytest.warns(CrowdWarning, match=r"^a-answers\.csv: is odd$")
    with told, pytest.raises(CrowdError, match=r"^a-answers\.csv: is wrong$"):
        write_study(draft, tmp_path / "a.yaml", force=False)


def test_names_that_yaml_or_our_tables_would_take_for_others(tmp_path):
    """Columns called like ours, levels like YAML's own words, texts with commas and quotes."""
    table = frame(task=cycle(1, 2, 3), weight_of_it=cycle("no", "yes"), x=cycle('a "b", c', "~: #"))
    table["text"] = cycle("male", "female")
    path = tmp_path / "odd.csv"
    table.to_csv(path, index=False)
    choices = Choices(profile=("text", "task"))
    made, _ = write_study(draft_of_file(path, choices), tmp_path / "odd.yaml", force=False)
    from crowdllm_jax.study.load import load_study_file

    again = load_study_file(tmp_path / "odd.yaml")
    assert fingerprint(again) == fingerprint(made)
    assert again.scale_of(again.tasks.ids.index("x")) == Binary(levels=('a "b", c', "~: #"))
    assert {a.name for a in again.participants.profile} == {"text_", "task_"}


CELLS = [
    "yes",
    "no",
    "very good",
    "bad",
    "1",
    "99",
    "-1",
    "1.5",
    "a;b",
    "b;c",
    "18-24",
    "=x",
    "",
    "NA",
    "don't know",
    "agree",
    "disagree",
    "😀",
    "1,000",
    "2024-01-02",
    "never",
    "1e400",
    "nan",
    "x" * 300,
    "1 - low",
]
NAMES = [
    "id",
    "user",
    "age",
    "weight",
    "q1",
    "item",
    "rating",
    "task",
    "text",
    "Q [a]",
    "agent_id",
    "participant",
    "scale",
    "x_r",
    "response",
]


@given(data=st.data())
def test_any_table_is_a_study_or_one_message(data):
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True))
    rows = data.draw(st.integers(1, 30))
    table = {}
    for name in names:
        pool = data.draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=5))
        table[name] = [pool[(7 * i + len(name)) % len(pool)] or None for i in range(rows)]
    if "id" in table and data.draw(st.booleans()):
        table["id"] = [f"p{i}" for i in range(rows)]
    try:
        made = study(pd.DataFrame(table))
    except CrowdError as error:
        message = str(error)
        assert message
    else:
        assert len(made.task) > 0


def test_people_of_a_long_table_are_joined_by_their_own_ids(tmp_path):
    """Tasks are numbered like people: the ids of both occur in the table of people."""
    rows = [(p, t, 1 + (p * t + p) % 5) for p in range(10) for t in range(4)]
    answers = pd.DataFrame(rows, columns=["participant", "task", "response"])
    answers.to_csv(tmp_path / "a.csv", index=False)
    people = pd.DataFrame({"participant": range(10), "age": range(20, 30)})
    people.to_csv(tmp_path / "p.csv", index=False)
    draft = draft_of_file(tmp_path / "a.csv", people=tmp_path / "p.csv")
    kind, ages = draft.profile["age"]
    assert kind == "numeric"
    assert dict(zip(draft.people, ages, strict=True)) == {str(i): str(20 + i) for i in range(10)}
    assert len(draft.tasks) == 4


def test_a_study_file_with_many_long_names_is_read_again(tmp_path):
    """A mapping on one line must not be broken within a name."""
    # Of so many lengths that a line would be full within one of them.
    names = [" ".join(["of people"] * (1 + i)) + f" {i}" for i in range(16)]
    table = frame(**{name: [f"{'ab'[i % 2]}" for i in range(N)] for name in names})
    table.to_csv(tmp_path / "a.csv", index=False)
    draft = draft_of_file(tmp_path / "a.csv", Choices(profile=tuple(names)))
    write_study(draft, tmp_path / "a.yaml", force=False)
    (tmp_path / "run.yaml").write_text(dump_config(load_config(tmp_path / "a.yaml")))
    read = load_study(tmp_path / "run.yaml")
    told = {attribute.name for attribute in read.participants.profile}
    assert told == set(map(tidy_name, names))
