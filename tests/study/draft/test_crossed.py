"""Rows that are answers are told by how two columns cut them, whatever these are called."""

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import study

RANDOM = np.random.default_rng(3)
WORDS = ["soup", "pasta", "curry", "salad", "cake", "tofu", "rice", "stew"]


def answers(head: str, people: list, tasks: list, share: float = 1.0, **columns) -> pd.DataFrame:
    """A row for a share of all pairs, in a random order; columns are made of the two indices."""
    rows = [
        (p, t, 1 + int(RANDOM.integers(5)), i, j)
        for i, p in enumerate(people)
        for j, t in enumerate(tasks)
        if RANDOM.random() < share
    ]
    table = pd.DataFrame(rows, columns=[*head.split(), "i", "j"])
    made = {
        name: [tell(i, j) for i, j in table[["i", "j"]].values] for name, tell in columns.items()
    }
    table = table.drop(columns=["i", "j"]).assign(**made)
    return table.sample(frac=1, random_state=1).reset_index(drop=True)


def asked(table: pd.DataFrame, choices: Choices = Choices()) -> str:  # noqa: B008
    with pytest.raises(CrowdError) as caught:
        study(table, choices=choices)
    return str(caught.value)


def counted(table: pd.DataFrame, choices: Choices = Choices()) -> tuple[int, int]:  # noqa: B008
    """How many people and tasks a table is taken to have."""
    made = study(table, choices=choices)
    return len(made.participants.ids), len(made.tasks.ids)


MAILS = [f"p{i}@x.org" for i in range(30)]
TABLES = {
    "a name that is no id": answers("who film stars", [f"w{i}" for i in range(30)], WORDS),
    "whole numbers as ids": answers("uid jid val", list(range(50)), list(range(40)), 0.4),
    "few raters of many things": answers("rater essay points", ["A", "B"], list(range(60))),
    "addresses": answers("email product liking", MAILS, WORDS),
    "names of people": answers("name dish liking", [f"Ann B{i}" for i in range(20)], WORDS),
    "ids that say what they are": answers("x y z", [f"user_{i}" for i in range(20)], WORDS),
    "files that were shown": answers("x y z", list(range(20)), [f"f{j}.png" for j in range(9)]),
    "colleagues": answers("rater ratee tact", list(range(15)), [f"e{j}" for j in range(12)], 0.3),
    "laws": answers("legislator bill_id vote", list(range(30)), [f"HB{j}" for j in range(12)]),
    "products": answers(
        "reviewerID asin overall", list(range(40)), [f"B{j}" for j in range(40)], 0.06
    ),
    "profile told by one key": answers(
        "x y z", list(range(20)), list("abcdefgh"), age=lambda i, j: 20 + 2 * i
    ),
    "a count of trials beside what was shown": answers(
        "subj trial resp_value",
        list(range(20)),
        list(range(8)),
        stim=lambda i, j: WORDS[(i + j) % 8],
    ),
}
SIZES = dict(
    zip(
        TABLES,
        [
            *((30, 8), (50, 40), (2, 60), (30, 8), (20, 8), (20, 8), (20, 9)),
            *((15, 12), (30, 12), (40, 38), (20, 8), (20, 8)),
        ],
        strict=True,
    )
)


@pytest.mark.parametrize("kind", TABLES)
def test_rows_that_are_answers(kind):
    assert counted(TABLES[kind]) == SIZES[kind]


def test_trials_are_what_was_shown():
    made = study(TABLES["a count of trials beside what was shown"])
    assert set(made.tasks.ids) == set(WORDS)


def test_what_an_id_tells_is_profile_and_what_a_task_tells_its_attribute():
    table = answers(
        "who film stars",
        list(range(20)),
        WORDS,
        sex=lambda i, j: "fm"[i % 2],
        private_id=lambda i, j: 7700 + 3 * i,
        genre=lambda i, j: ["a", "b"][j % 2],
    )
    made = study(table)
    assert [a.name for a in made.participants.profile] == ["sex"]
    assert [a.name for a in made.tasks.attributes] == ["genre"]


def test_keys_of_unknown_names_are_asked_for():
    table = answers("a b c", list(range(100, 130)), list(range(1, 21)), 0.6)
    assert "--id 'a' --task 'b', or the other way round; --leave-out a,b" in asked(table)
    assert counted(table, Choices(person="a", task="b")) == (30, 20)
    assert counted(table, Choices(person="b")) == (20, 30)


def much_told(within: bool) -> pd.DataFrame:
    """Answers of 120 people to 60 tasks, or of people who are counted within 60 schools, beside
    much that is told of each row."""
    table = answers("s d y", list(range(120)), list(range(1, 61)), 0.3)
    if within:
        table = table.sort_values("d", ignore_index=True)
        table["s"] = table.groupby("d").cumcount() + 1
    told = {f"t{k}": RANDOM.integers(1, 3 + k, len(table)) for k in range(5)}
    return table.assign(rownames=range(1, len(table) + 1), **told)


def test_keys_are_asked_for_beside_much_that_is_told():
    table = much_told(within=False)
    assert "which are the people's, and which the tasks'?" in asked(table)
    keyed = Choices(person="s", task="d")
    # What numbers the rows is no answer.
    assert "rownames" not in " ".join(study(table, choices=keyed).tasks.ids)
    assert counted(table, Choices(out=("s", "d")))[0] == len(table)


def test_people_who_are_counted_within_schools_are_rows():
    table = much_told(within=True)
    assert counted(table)[0] == len(table)


def test_two_that_may_be_people_are_asked_for():
    table = answers("member client liking", list(range(20)), list(range(8)))
    assert "--id 'member' --task 'client'" in asked(table)


def test_rows_without_an_answer_need_no_id():
    table = TABLES["a name that is no id"].copy()
    blank = pd.DataFrame({"who": ["w1", "w2"], "film": [None, None], "stars": [None, None]})
    assert counted(pd.concat([blank, table], ignore_index=True)) == (30, 8)


def test_numbers_of_one_scale_of_which_each_task_uses_a_part():
    tasks = [f"t{j}" for j in range(12)]
    table = answers("user thing liking", list(range(60)), tasks)
    mean = 3 + table["thing"].str[1:].astype(int) % 5
    table["liking"] = np.clip(np.rint(RANDOM.normal(mean, 1)), 1, 9).astype(int)
    assert len(study(table).scales) == 1


def test_members_of_a_parliament_of_whom_people_think_are_tasks():
    names = ["Smith", "Jones", "Lee", "Cruz", "King"]
    for head in ("voter senator approval", "user legislator rating"):
        assert counted(answers(head, list(range(12)), names)) == (12, 5)
    table = pd.DataFrame({"id": range(60), "senator": (names * 12), "trust": [1, 2, 3, 4] * 15})
    told = Choices(unordered=(tuple(sorted(names)),))
    assert {*study(table, choices=told).tasks.ids} == {"senator", "trust"}


N = 200
WIDE = {
    "numbers of people": {"age": RANDOM.integers(18, 80, N), "minutes": RANDOM.integers(0, 120, N)},
    "sliders": {f"s{j}": RANDOM.integers(0, 101, N) for j in range(8)},
    "people who belong together": {
        "cluster": np.repeat(np.arange(50), 4),
        "line_no": np.tile(np.arange(4), 50),
        **{f"q{j}": RANDOM.integers(1, 6, N) for j in range(5)},
    },
    "groups beside ids": {
        "respondent": np.arange(N),
        "member": np.arange(N) % 2,
        "client": np.arange(N) // 2 % 100,
        "q": RANDOM.integers(1, 6, N),
    },
}


@pytest.mark.parametrize("kind", WIDE)
def test_rows_that_are_people(kind):
    table = pd.DataFrame({**WIDE[kind], "trust": RANDOM.integers(1, 6, N)})
    assert counted(table)[0] == N


def test_people_asked_several_times_are_no_tasks():
    table = pd.DataFrame({"id": np.repeat(np.arange(40), 3), "wave": np.tile([1, 2, 3], 40)})
    table["trust"] = RANDOM.integers(1, 6, 120)
    assert "its 40 ids come back in several of the 120 rows" in asked(table)


def test_unrelated_columns_are_seldom_taken_for_keys():
    """Of 100 tables of two numbers and a question none; one is by a chance below exp(-18)."""
    random = np.random.default_rng(0)
    for _ in range(100):
        rows = int(random.integers(20, 60))
        table = pd.DataFrame(random.integers(0, 30, (rows, 2)), columns=["a", "b"])
        table["q"] = 1 + np.arange(rows) % 5
        assert counted(table)[0] == rows


def test_what_says_less_than_another_answer_is_not_asked_again():
    random = np.random.default_rng(3)
    rows = [(f"p{i}", f"item {j}") for i in range(30) for j in range(8)]
    frame = pd.DataFrame(rows, columns=["person", "item"])
    frame["said"] = random.choice(["no", "perhaps", "yes"], len(frame))
    frame["coarse"] = frame.said.map({"no": "N", "perhaps": "Y", "yes": "Y"})
    assert len(study(frame).tasks.ids) == 8
    other = frame.assign(coarse=random.choice(["N", "Y"], len(frame)))
    assert len(study(other).tasks.ids) == 16
    # Who has not heard of a thing does not say how it is: both were asked.
    heard = frame.assign(coarse=["N" if i % 5 == 0 else "Y" for i in range(len(frame))])
    heard.loc[heard.coarse == "N", "said"] = None
    assert len(study(heard).tasks.ids) == 16
