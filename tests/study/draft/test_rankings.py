"""Options that people rank, in one cell or a column each, are one ballot."""

import itertools

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.draft.write import study_of_draft
from crowdllm_jax.study.formats.frame import read_frame
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Binary, Ordinal, Ranking

OPTIONS = ("Health care", "Roads", "Taxes")
ORDERS = [*itertools.permutations(OPTIONS)] * 5
N = len(ORDERS)


def table(**columns) -> pd.DataFrame:
    """A table of 30 people who rank three things, and answer another question."""
    return pd.DataFrame({"id": range(N), "trust": [1 + i % 5 for i in range(N)], **columns})


def places(made: Study, question: str) -> np.ndarray:
    """(N, 3) the places that people give to the options, in their order."""
    at = [made.tasks.ids.index(f"{question} [{option}]") for option in OPTIONS]
    levels = np.array([0, 3, 2, 1])  # as a ranking is written, by its level
    found = np.zeros((N, 3), int)
    for column, task in enumerate(at):
        rows = made.task == task
        person = np.array(made.participants.ids, int)[made.person[rows]]
        found[person, column] = levels[made.answer[rows].astype(int)]
    return found


WANTED = np.array([[order.index(option) + 1 for option in OPTIONS] for order in ORDERS])


@pytest.mark.parametrize("sign", [";", ", ", " > ", "|"])
def test_cells_that_hold_all_options_in_an_order(sign):
    made = study(table(q=[sign.join(order) for order in ORDERS]))
    assert np.array_equal(places(made, "q"), WANTED)
    assert sum(scale == Ranking(k=3) for scale in made.scales.values()) == 1


def test_columns_that_hold_each_place_once():
    columns = {f"q [{option}]": WANTED[:, i] for i, option in enumerate(OPTIONS)}
    assert np.array_equal(places(study(table(**columns)), "q"), WANTED)


@pytest.mark.parametrize("called", ["rank_{}", "{}_rank", "Rank {}", "my.rank.{}", "priority-{}"])
def test_columns_that_are_called_after_ranks_and_options(called):
    names = {option: called.format(option.replace(" ", "")) for option in OPTIONS}
    made = study(table(**{names[o]: WANTED[:, i] for i, o in enumerate(OPTIONS)}))
    scales = {name: made.scale_of(made.tasks.ids.index(name)) for name in names.values()}
    assert set(scales.values()) == {Ranking(k=3)}
    # Ratings from 1 to 3 that are called so are none.
    rated = {name: [1 + (i * j + i // 4) % 3 for i in range(N)] for j, name in enumerate(scales)}
    assert not any(isinstance(s, Ranking) for s in study(table(**rated)).scales.values())


def test_two_rankings_are_two_ballots():
    cells = [";".join(order) for order in ORDERS]
    made = study(table(a=cells, b=cells[::-1]))
    assert sum(scale == Ranking(k=3) for scale in made.scales.values()) == 2
    assert np.array_equal(places(made, "b"), WANTED[::-1])


def test_the_best_of_more_options():
    ranks = np.where(WANTED == 3, np.nan, WANTED)
    columns = {f"q_{i}": ranks[:, i % 3] for i in range(3)}
    made = study(table(**columns))
    assert Ranking(k=2) not in made.scales.values()  # two places tell too little
    five = {f"q_{i}": WANTED[:, i] if i < 3 else np.nan for i in range(3)}
    five |= {"q_4": [np.nan] * N}
    assert Ranking(k=3) in study(table(**five)).scales.values()


def test_who_does_not_rank_is_left_out_and_told():
    cells = [";".join(order) for order in ORDERS]
    cells[4] = "Roads"
    draft = draft_of_sheet(read_frame(table(q=cells)), Choices())
    assert "Left out, as they are no such ranking: 1." in " ".join(draft.reasons)
    wanted = WANTED.copy()
    wanted[4] = 0
    assert np.array_equal(places(study(table(q=cells)), "q"), wanted)


def test_options_that_are_ticked_are_no_ranking():
    ticked = ["Roads;Taxes", "Health care;Roads;Taxes", "Health care", "Roads"]
    made = study(table(q=[ticked[i % 4] for i in range(N)]))
    assert isinstance(made.scale_of(made.tasks.ids.index("q [Roads]")), Binary)


def test_items_on_one_scale_are_no_ranking():
    random = np.random.default_rng(0)
    made = study(table(**{f"q_{i}": random.integers(1, 4, N) for i in range(3)}))
    assert made.scale_of(made.tasks.ids.index("q_1")) == Ordinal(levels=(1, 2, 3))


@pytest.mark.parametrize(
    "names", [["First choice", "2nd choice", "Third choice"], ["rank[1]", "rank[2]", "rank[3]"]]
)
def test_columns_of_places_that_hold_options(names):
    made = study(table(**{name: [order[k] for order in ORDERS] for k, name in enumerate(names)}))
    levels = np.array([0, 3, 2, 1])
    for option, wanted in zip(OPTIONS, WANTED.T, strict=True):
        rows = made.task == made.tasks.ids.index(option)
        person = np.array(made.participants.ids, int)[made.person[rows]]
        assert np.array_equal(levels[made.answer[rows].astype(int)], wanted[person])


def test_words_of_a_scale_under_numbered_names_are_no_ranking():
    words = ["never", "sometimes", "often"]
    columns = {f"choice {j}": [words[(i + j) % 3] for i in range(N)] for j in range(3)}
    assert study(table(**columns)).tasks.ids == ("choice 0", "choice 1", "choice 2", "trust")


def short(name: str) -> dict[str, list[str | None]]:
    """Columns of places that people fill from the first on, as far as they like."""
    return {
        f"{name}{place + 1}": [
            order[place] if place <= i % 4 else "skipped" for i, order in enumerate(ORDERS)
        ]
        for place in range(3)
    }


def test_places_that_not_everybody_fills():
    columns = short("rank")
    columns["rank1"][3] = columns["rank2"][3] = "Roads"
    draft = draft_of_sheet(read_frame(table(**columns)), Choices())
    told = " ".join(draft.reasons)
    assert "rank1 / rank2 / rank3 are places of a ranking that not everybody fills" in told
    assert "Left out, as they name an option twice: 1." in told
    made = study_of_draft(draft, "it")
    scale = Ordinal(levels=(-3, -2, -1), labels=("3", "2", "1"))
    for option, wanted in zip(OPTIONS, WANTED.T, strict=True):
        task = made.tasks.ids.index(option)
        assert made.scale_of(task) == scale
        rows = made.task == task
        person = np.array(made.participants.ids, int)[made.person[rows]]
        assert np.array_equal(-made.value[rows], wanted[person])
        asked = [i for i in range(N) if wanted[i] <= i % 4 + 1 and i != 3]
        assert sorted(person) == asked


def test_choices_of_which_some_are_blank_are_no_places():
    columns = {f"choice{i}": [OPTIONS[(i + j) % 3] for j in range(N)] for i in (1, 2, 3)}
    columns["choice1"] = [None, *columns["choice1"][1:]]
    columns["choice2"] = [*columns["choice2"][:20], *columns["choice1"][20:]]
    with pytest.raises(CrowdError, match="'choice1': in which order"):
        study(table(**columns))


def test_columns_that_hold_each_place_once_whatever_they_are_called():
    frame = table(**{option: WANTED[:, i] for i, option in enumerate(OPTIONS)})
    made = study(frame)
    kinds = {made.tasks.ids[i]: made.scale_of(i) for i in range(len(made.tasks.ids))}
    assert {kinds[option] for option in OPTIONS} == {Ranking(k=3)}
    assert isinstance(kinds["trust"], Ordinal)
    # A few people of whom each gave the three another number are no ranking.
    few = study(frame[:12])
    assert all(isinstance(few.scale_of(i), Ordinal) for i in range(4))
    ratings = frame.assign(Roads=[1 + i % 3 for i in range(N)])
    assert all(isinstance(study(ratings).scale_of(i), Ordinal) for i in range(4))


def test_numbered_columns_that_hold_all_options_are_places():
    frame = table(**{f"Q5[{i + 1}]": [order[i] for order in ORDERS] for i in range(3)})
    made = study(frame)
    assert {*made.tasks.ids} == {"trust", *OPTIONS}
    # Of more options than columns they may be what came to mind.
    more = frame.assign(
        **{"Q5[3]": ["Police" if i % 2 else order[2] for i, order in enumerate(ORDERS)]}
    )
    made = study(more)
    assert not any(isinstance(made.scale_of(i), Ranking) for i in range(len(made.tasks.ids)))


def test_a_short_ranking_in_a_cell_gives_each_option_its_place():
    orders = ["Ann > Bob > Cat", "Cat", "Bob > Ann", "Cat>Ann>Bob", "Ann > Cat"]
    frame = pd.DataFrame({"voter": range(40), "ballot": [orders[i % 5] for i in range(40)]})
    made = study(frame)
    assert made.tasks.ids == ("ballot [Ann]", "ballot [Bob]", "ballot [Cat]")
    (scale,) = made.scales.values()
    assert scale.labels == ("3", "2", "1")
    best = np.bincount(made.task[made.answer == 2], minlength=3)
    assert best.tolist() == [16, 8, 16]
    assert len(made.task) == 8 * (3 + 1 + 2 + 3 + 2)


def test_counted_ballots_are_nobodys():
    frame = pd.DataFrame({"count": [9, 8, 3], "ballot": ["A > B > C", "B > C > A", "C > A > B"]})
    with pytest.raises(CrowdError, match="each row comes as often as 'count' says"):
        study(frame)
