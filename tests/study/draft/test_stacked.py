"""Rows that answer several questions, and columns that are people."""

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Binary, Ordinal

RATERS, WINES = 8, 9
N = 40
AROMA = 1 + np.arange(RATERS * WINES) * 5 % 7
TASTE = 1 + np.arange(RATERS * WINES) * 3 % 4


def tasting(**columns) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "panelist": np.repeat([f"p{i}" for i in range(RATERS)], WINES),
            "wine": np.tile([f"wine {j}" for j in range(WINES)], RATERS),
            "aroma": AROMA,
            "taste": TASTE,
        }
    )
    return table.assign(**columns)


def numbers(made: Study, task: str) -> dict[str, int]:
    """What each person answers to a task, by the numbers of its levels."""
    at = made.tasks.ids.index(task)
    levels = made.scale_of(at).levels
    rows = np.flatnonzero(made.task == at)
    return {made.participants.ids[made.person[r]]: levels[int(made.answer[r])] for r in rows}


def test_each_question_is_asked_of_each_task_on_a_scale_of_its_own():
    made = study(tasting(grape=lambda t: "ab"[len(t) % 2]))
    assert len(made.tasks.ids) == 2 * WINES
    assert numbers(made, "wine 2 [taste]") == {f"p{i}": TASTE[i * WINES + 2] for i in range(RATERS)}
    assert numbers(made, "wine 4 [aroma]") == {f"p{i}": AROMA[i * WINES + 4] for i in range(RATERS)}
    scales = {made.scale_of(made.tasks.ids.index(f"wine 1 [{q}]")) for q in ("aroma", "taste")}
    assert scales == {Ordinal(levels=tuple(range(1, 8))), Ordinal(levels=(1, 2, 3, 4))}


def test_what_has_to_be_said_of_a_question_names_its_column():
    colour = tasting().aroma.map(lambda n: ("very chilly", "somewhat chilly", "toasty")[n % 3])
    with pytest.raises(CrowdError, match="'colour': in which order"):
        study(tasting().assign(colour=colour), response="aroma,colour")


def test_texts_of_tasks_say_what_was_asked():
    table = tasting(about=lambda t: "A bottle of " + t["wine"] + " from the south of the hill")
    made = study(table)
    text = made.tasks.text[made.tasks.ids.index("wine 3 [taste]")]
    assert text == "A bottle of wine 3 from the south of the hill [taste]"


def test_one_that_is_called_an_answer_is_taken_alone_and_the_others_are_told():
    table = tasting().rename(columns={"aroma": "rating"})
    draft = draft_of_sheet(read_frame(table), Choices())
    assert len(draft.tasks) == WINES
    assert "taste (--response A,B asks several)" in " ".join(draft.reasons)


def test_several_answers_in_a_cell_are_chosen_or_not():
    held = [" ".join("abc"[k] for k in range(3) if (i + k) % 3 or k == i % 2) for i in AROMA]
    table = tasting(aroma=[cell.replace(" ", "; ") for cell in held]).drop(columns="taste")
    made = study(table)
    assert len(made.tasks.ids) == 3 * WINES
    own = numbers(made, "wine 2 [aroma: b]")
    assert own == {f"p{i}": int("b" in held[i * WINES + 2]) for i in range(RATERS)}


def test_several_answers_in_a_cell_leave_the_other_question_its_scale():
    held = [("a; b", "b", "a; c", "c", "b; c", "a", "a; b; c")[i - 1] for i in AROMA]
    made = study(tasting(aroma=held))
    assert len(made.tasks.ids) == (1 + 3) * WINES
    assert made.scale_of(made.tasks.ids.index("wine 2 [taste]")) == Ordinal(levels=(1, 2, 3, 4))
    assert numbers(made, "wine 2 [taste]") == {f"p{i}": TASTE[i * WINES + 2] for i in range(RATERS)}
    own = numbers(made, "wine 2 [aroma: b]")
    assert own == {f"p{i}": int("b" in held[i * WINES + 2]) for i in range(RATERS)}


def asked_of(answers: dict[str, list[str]]) -> Study:
    rows = [
        (f"p{i}", question, words[i % len(words)])
        for i in range(N)
        for question, words in answers.items()
    ]
    return study(pd.DataFrame(rows, columns=["respondent", "question", "answer"]))


def test_several_answers_to_all_questions_are_chosen_or_not():
    made = asked_of({"media": ["radio; tv", "tv", "net; tv"], "trusted": ["radio", "net", "tv"]})
    assert set(made.tasks.ids) == {
        f"{question} [answer: {option}]"
        for question in ("media", "trusted")
        for option in ("radio", "tv", "net")
    }


def test_several_answers_to_one_question_leave_the_others_as_they_are():
    media = ["radio; tv", "tv", "net; tv", "radio; net", "net", "radio"]
    made = asked_of({"media": media, "owns": ["yes", "no"]})
    assert made.scale_of(made.tasks.ids.index("owns")) == Binary(levels=("no", "yes"))


def test_a_code_and_its_label_are_one_answer():
    words = np.array(["never", "rarely", "often", "always"])
    table = tasting().drop(columns="aroma").assign(code=TASTE).assign(taste=words[TASTE - 1])
    made = study(table)
    assert len(made.tasks.ids) == WINES
    assert made.scale_of(0) == Ordinal(levels=tuple(words))


def test_columns_that_are_called_after_people():
    for who in ("rater_", "ann", "annot_", "Person "):
        rated = {f"{who}{i}": AROMA[i * WINES : (i + 1) * WINES] for i in range(RATERS)}
        made = study(pd.DataFrame({"sentence": [f"s{j}" for j in range(WINES)], **rated}))
        assert (len(made.participants.ids), len(made.tasks.ids)) == (RATERS, WINES)
        assert numbers(made, "s4") == {f"{who}{i}": AROMA[i * WINES + 4] for i in range(RATERS)}


@pytest.mark.parametrize(
    ("called", "key"),
    [
        ("Player {}", "respondent"),
        ("Member {}", "client"),
        ("rater_{}", "user"),
        ("anno 201{}", "house"),
    ],
)
def test_rows_are_people_though_columns_are_called_after_people_or_years(called, key):
    random = np.random.default_rng(0)
    columns = {called.format(i): random.integers(1, 6, N) for i in range(1, 6)}
    table = {key: [f"k{i}" for i in range(N)], **columns, "good": random.integers(1, 6, N)}
    made = study(pd.DataFrame({**table, "age": random.integers(18, 80, N)}))
    assert len(made.participants.ids) == N
    assert "good" in made.tasks.ids
    assert [attribute.name for attribute in made.participants.profile] == ["age"]


def test_what_is_said_of_numbered_people_is_a_question_and_their_ids_are_none():
    random = np.random.default_rng(0)
    rated = {f"Player {i}": random.integers(0, 11, N) for i in (1, 2)}
    words = {f"Member {i}": random.permutation(["hawk", "dove"] * (N // 2)) for i in (1, 2)}
    ids = {
        "player 1 id": [f"x{i}" for i in range(N)],
        "client 2": random.permutation(N) % 20 + 1000,
        "player 5": [f"x{i % 9}" for i in range(N)],
        "coder 3": random.integers(1, 4, N),
        "id 2": random.integers(1, 4, N),
    }
    made = study(pd.DataFrame({"respondent": range(N), **words, **rated, **ids}))
    assert made.tasks.ids == (*words, *rated)
    assert numbers(made, "Player 2") == {str(i): n for i, n in enumerate(rated["Player 2"])}
    assert study(pd.DataFrame(rated)).tasks.ids == tuple(rated)


def test_numbers_of_which_two_players_share_none_are_their_ids():
    random = np.random.default_rng(0)
    ids = {f"Player {i}": random.integers(20 * i, 20 * i + 15, 100) for i in (1, 2)}
    frame = pd.DataFrame({"game": range(100), **ids, "offer": random.integers(0, 11, 100)})
    with pytest.raises(CrowdError, match="--leave-out 'Player 1,Player 2' takes each row"):
        study(frame)
    assert study(frame, choices=Choices(out=tuple(ids))).tasks.ids == ("offer",)


def test_columns_called_after_people_beside_a_profile_are_asked_for():
    random = np.random.default_rng(0)
    columns = {f"Member {i}": random.integers(1, 6, N) for i in range(1, 6)}
    table = pd.DataFrame({"id": range(N), **columns, "age": random.integers(18, 80, N)})
    with pytest.raises(CrowdError, match="which column holds the ids of people: Member 1, "):
        study(table)


RATED = {name: 1 + np.arange(N) * (i + 8) % 7 for i, name in enumerate("abcdef")}


def rated(key: str, called: list[str], **more: object) -> pd.DataFrame:
    """Things in rows, with a column of ratings for each name."""
    columns = dict(zip(called, RATED.values(), strict=False))
    return pd.DataFrame({key: [f"thing {i}" for i in range(N)], **columns, **more})


@pytest.mark.parametrize(
    ("key", "called"),
    [
        ("image", [f"A{i}QWERTYUIOPAS" for i in range(5)]),
        ("image", [f"{i}0aa0bb0cc0dd0ee0ff0aa0" + "f" for i in range(1, 6)]),
        ("essay_id", ["rater1_score", "rater2_score"]),
        ("Item", [f"P{i:02}" for i in range(1, 7)]),
        ("sentence", [f"worker{i}_label" for i in range(1, 6)]),
        ("PatientID", ["Rater A", "Rater B", "Rater C"]),
    ],
)
def test_columns_are_people_by_their_ids_and_by_what_the_rows_are(key, called):
    made = study(rated(key, called))
    assert (len(made.participants.ids), len(made.tasks.ids)) == (len(called), N)
    assert numbers(made, "thing 4") == {
        name: own[4] for name, own in zip(called, RATED.values(), strict=False)
    }


@pytest.mark.parametrize(
    ("key", "called"),
    [
        ("respondent", [f"P{i:02}" for i in range(1, 7)]),
        ("name", [f"P{i}" for i in range(1, 7)]),
        ("respondent", ["Rater A", "Rater B", "Rater C"]),
        ("name", ["anna", "ben", "cem"]),
        ("text", ["q1", "q2", "q3"]),
        ("product", ["Is it good?", "Is it new?", "Is it dear?"]),
    ],
)
def test_columns_are_questions_where_rows_may_be_people(key, called):
    made = study(rated(key, called))
    assert (len(made.participants.ids), len(made.tasks.ids)) == (N, len(called))


def test_whose_answers_columns_hold_is_asked_for_where_rows_are_things():
    table = rated("wine", ["Dubois", "Kahn", "Tari"])
    with pytest.raises(CrowdError, match="If each of these columns is a person, say --task 'wine'"):
        study(table)
    made = study(table.assign(grape=["red", "white"] * (N // 2)), task="wine")
    assert made.participants.ids == ("Dubois", "Kahn", "Tari")
    assert numbers(made, "thing 7")["Kahn"] == RATED["b"][7]
    assert len(study(table, choices=Choices(out=("wine",))).participants.ids) == N
    for known in ({"age": range(20, 20 + N)}, {"submitdate": ["2024-01-02"] * N}):
        assert len(study(table.assign(**known)).participants.ids) == N


def test_rows_that_describe_people_are_no_tasks():
    cells = [[1 + (i + j) % 5 for j in range(9)] for i in range(3)]
    asked = ["I like it", "It is dear", "I am glad", "Age", "Gender"]
    rows = [*(map(str, row) for row in cells), [f"{20 + i}" for i in range(9)], [*"fmffmmfmf"]]
    table = pd.DataFrame(rows, columns=[f"Respondent {i}" for i in range(9)])
    made = study(table.assign(Question=asked))
    assert {*made.tasks.ids} == {*asked[:3]}
    assert [attribute.name for attribute in made.participants.profile] == ["Age", "Gender"]
    assert numbers(made, "It is dear") == {f"Respondent {i}": n for i, n in enumerate(cells[1])}


@pytest.mark.parametrize(
    ("key", "called"),
    [
        ("ID", ["AGREEABLENESS", "ASSERTIVENESS", "ATTENTIVENESS"]),
        ("book", [f"S{i}" for i in range(1, 7)]),
        ("project", ["reviewer_trust_1", "reviewer_trust_2", "satisfaction"]),
    ],
)
def test_questions_that_are_called_as_people_may_be_stay_questions(key, called):
    made = study(rated(key, called))
    assert (len(made.participants.ids), len(made.tasks.ids)) == (N, len(called))


def test_topics_that_people_rate_do_not_describe_them():
    topics = ["Education", "Economy", "Crime", "Gender", "Age", "Health", "Peace", "Income"]
    frame = pd.DataFrame({"policy": topics})
    for rater in range(1, 6):
        frame[f"rater_{rater}"] = [1 + (rater * 3 + i * i) % 5 for i in range(len(topics))]
    made = study(frame)
    assert (len(made.participants.ids), len(made.tasks.ids)) == (5, len(topics))
    assert not made.participants.profile


def test_what_was_asked_in_each_wave_are_questions_though_one_is_called_an_answer():
    people = [(i, wave) for i in range(40) for wave in (1, 2)]
    frame = pd.DataFrame(people, columns=["pid", "wave"])
    frame["trust"] = [1 + i * wave % 5 for i, wave in people]
    frame["vote"] = ["ABC"[i * wave % 3] for i, wave in people]
    made = study(frame.assign(age=30 + frame.wave + frame.pid))
    assert {*made.tasks.ids} == {"1 [trust]", "2 [trust]", "1 [vote]", "2 [vote]"}
