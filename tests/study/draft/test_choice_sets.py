"""Tables with a row for every option of a choice set, as conjoint analysis has them."""

import re

import numpy as np
import pandas as pd
import pytest

import crowdllm_jax as cl
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import look_alikes
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_file
from crowdllm_jax.study.draft.write import study_of_draft, write_study
from crowdllm_jax.study.scales import Nominal

PEOPLE, SETS, OPTIONS = 12, 5, 3


def made(*, own: bool = True, opt_out: bool = False) -> pd.DataFrame:
    """Choices by people whose sets are their own, or the same for all; `opt_out`: of every fourth
    set none is chosen."""
    rows = []
    for person in range(PEOPLE):
        for number in range(SETS):
            random = np.random.default_rng([number, person if own else 0])
            taken = -1 if opt_out and (person + number) % 4 == 0 else (person + number) % OPTIONS
            rows += [
                {
                    "resp_id": f"p{person:02d}",
                    "age": 20 + person,
                    "task": number + 1,
                    "alt": option + 1,
                    "price": f"${int(random.choice([199, 299, 399, 499]))}.00",
                    "brand": str(random.choice(["Acme", "Bolt", "Core"])),
                    "choice": int(option == taken),
                }
                for option in range(OPTIONS)
            ]
    return pd.DataFrame(rows)


def study_of(frame: pd.DataFrame, tmp_path, **choices):
    frame.to_csv(tmp_path / "choices.csv", index=False)
    return study_of_draft(draft_of_file(tmp_path / "choices.csv", Choices(**choices)), "choices")


def chosen_options(study) -> set[tuple[str, tuple[float | str, ...]]]:
    """Who chose what, as it is described; "none" where nothing describes it."""
    described = study.tasks.alternatives
    price, brand = described.attributes
    said = {
        (task, level): (price.cells[row], brand.levels[brand.cells[row]])
        for row, (task, level) in enumerate(zip(described.task, described.level, strict=True))
    }
    rows = zip(study.person, study.task, study.answer.astype(int), strict=True)
    return {
        (study.participants.ids[person], said.get((task, level), ("none",)))
        for person, task, level in rows
    }


def expected(frame: pd.DataFrame) -> set[tuple[str, tuple[float | str, ...]]]:
    taken = frame[frame.choice.isin([1, "yes"])]
    found = {
        (row.resp_id, (float(str(row.price).strip("$")), row.brand)) for row in taken.itertuples()
    }
    answered = frame.groupby(["resp_id", "task"]).choice.sum()
    return found | {(person, ("none",)) for (person, _), count in answered.items() if count == 0}


@pytest.mark.parametrize("own", [True, False])
def test_a_row_per_option_is_a_set_per_task(own, tmp_path):
    frame = made(own=own)
    study = study_of(frame, tmp_path)
    assert chosen_options(study) == expected(frame)
    assert len(study.answer) == PEOPLE * SETS
    by_set = frame.groupby(["resp_id", "task"])
    assert len(study.tasks.ids) == len({(*rows.price, *rows.brand) for _, rows in by_set})
    assert list(study.scales.values()) == [Nominal(levels=("1", "2", "3"))]
    assert study.tasks.alternatives.attributes[0].kind == "numeric"
    (age,) = study.participants.profile
    assert (age.name, age.kind) == ("age", "numeric")
    assert study.tasks.text[0].startswith("Which do you choose: 1 (price ")


def test_rows_may_stand_in_any_order_and_options_have_no_names(tmp_path):
    frame = made()
    mixed = study_of(frame.sample(frac=1, random_state=0), tmp_path)
    assert chosen_options(mixed) == expected(frame)
    assert {*mixed.tasks.text} == {*study_of(frame, tmp_path).tasks.text}
    unnamed = frame.drop(columns="alt")
    assert chosen_options(study_of(unnamed, tmp_path)) == expected(frame)


def test_who_chose_nothing_chose_none(tmp_path):
    frame = made(opt_out=True)
    frame.to_csv(tmp_path / "choices.csv", index=False)
    draft = draft_of_file(tmp_path / "choices.csv", Choices())
    assert "In 15 sets no option was chosen, which is taken for 'none'" in " ".join(draft.reasons)
    study = study_of_draft(draft, "choices")
    assert list(study.scales.values()) == [Nominal(levels=("1", "2", "3", "none"))]
    assert chosen_options(study) == expected(frame)


def test_everybody_may_have_one_set_of_named_options(tmp_path):
    """As in `TravelMode` of the R package AER; the rows' own numbers describe nothing."""
    random = np.random.default_rng(0)
    modes = ["air", "train", "bus", "car"]
    frame = pd.DataFrame(
        {
            "rownames": range(1, 81),
            "individual": np.repeat(range(1, 21), 4),
            "mode": modes * 20,
            "choice": np.eye(4, dtype=int)[random.integers(0, 4, 20)].ravel(),
            "wait": random.integers(0, 99, 80),
            "income": np.repeat(random.integers(2, 72, 20), 4),
        }
    )
    frame["choice"] = frame.choice.map({1: "yes", 0: "no"})
    study = study_of(frame, tmp_path)
    assert list(study.scales.values()) == [Nominal(levels=tuple(sorted(modes)))]
    assert [a.name for a in study.tasks.alternatives.attributes] == ["wait"]
    assert [a.name for a in study.participants.profile] == ["income"]
    levels = next(iter(study.scales.values())).levels
    found = [levels[int(level)] for level in study.answer]
    assert found == list(frame[frame.choice == "yes"]["mode"])


def test_sets_of_other_sizes_stand_on_scales_of_their_own(tmp_path):
    frame = made()
    fewer = frame[~((frame.task == 2) & (frame.alt == 3))]
    fewer = fewer.groupby(["resp_id", "task"]).filter(lambda rows: rows.choice.sum() == 1)
    study = study_of(fewer, tmp_path)
    assert {scale.levels for scale in study.scales.values()} == {("1", "2", "3"), ("1", "2")}
    assert chosen_options(study) == expected(fewer)


def test_many_options_of_other_names_stand_on_scales_of_their_own(tmp_path):
    """Of as many: what a scale is called tells its options only where they are few."""
    random = np.random.default_rng(0)
    rows = [
        (f"p{person}", number, f"{'ab'[number]}{option}", random.integers(9), option == person % 6)
        for person in range(12)
        for number in range(2)
        for option in range(6)
    ]
    frame = pd.DataFrame(rows, columns=["person", "set", "option", "price", "chosen"])
    study = study_of(frame, tmp_path)
    levels = {tuple(f"{letter}{option}" for option in range(6)) for letter in "ab"}
    assert {scale.levels for scale in study.scales.values()} == levels
    assert len(study.answer) == 24


def test_cells_that_say_nothing_are_empty(tmp_path):
    frame = made()
    frame["price"] = [*frame.price[:-1], "n/a"]
    frame.loc[5, "brand"] = np.nan
    price, brand = study_of(frame, tmp_path).tasks.alternatives.attributes
    assert np.isnan(price.cells).sum() == 1
    known = [brand.levels[cell] in ("Acme", "Bolt", "Core") for cell in brand.cells]
    assert known.count(False) == 1


def test_a_set_seen_twice_is_two_tasks(tmp_path):
    frame = made(own=False)
    again = frame[frame.task == 1].assign(task=SETS + 1)
    study = study_of(pd.concat([frame, again]), tmp_path)
    assert len(study.tasks.ids) == SETS + 1
    assert len(study.answer) == PEOPLE * (SETS + 1)


def test_the_files_are_a_study_that_holds_out_answers(tmp_path):
    made().to_csv(tmp_path / "choices.csv", index=False)
    draft = draft_of_file(tmp_path / "choices.csv", Choices())
    study, paths = write_study(draft, tmp_path / "study.yaml", force=False)
    assert tmp_path / "study-options.csv" in paths
    assert "split: {by: answers}" in paths[0].read_text()
    again = cl.load_study(str(paths[0]))
    assert chosen_options(again) == chosen_options(study) == expected(made())


def test_a_frame_is_understood_alike():
    assert chosen_options(cl.study(made())) == expected(made())


@pytest.mark.parametrize(
    "names",
    [
        {"resp_id": "sys_RespNum", "task": "Task", "alt": "Concept", "choice": "Response"},
        {"resp_id": "respID", "task": "qID", "alt": "altID"},
        {"resp_id": "Teilnehmer", "task": "Aufgabe", "alt": "Option", "choice": "gewählt"},
        {"resp_id": "id", "task": "chid"},
        {"resp_id": "ID", "choice": "y"},
        {"resp_id": "UserID", "task": "ScenarioOrder", "choice": "Saved"},
    ],
    ids=lambda names: names["resp_id"],
)
def test_columns_as_tools_call_them(names, tmp_path):
    frame = made()
    renamed = frame.assign(choice=frame.choice.map({0: "nein", 1: "ja"})).rename(columns=names)
    assert chosen_options(study_of(renamed, tmp_path)) == expected(frame)


def test_ids_ranks_and_marks_of_no_choice_describe_no_option(tmp_path):
    """A weight that differs within sets is what options weigh, and no survey weight."""
    frame = made()
    frame["profileID"] = np.random.default_rng(0).integers(1, 30, len(frame))
    frame["rank"] = np.where(frame.choice == 1, 1, 1 + frame.alt)
    frame["no_choice"] = (frame.alt == 3).astype(int)
    frame["weight"] = frame.alt + 0.5 * frame.task
    study = study_of(frame.drop(columns="alt"), tmp_path)
    described = [attribute.name for attribute in study.tasks.alternatives.attributes]
    assert described == ["price", "brand", "no_choice", "weight"]
    assert np.ptp(study.participants.weight) == 0
    assert len(study.answer) == PEOPLE * SETS


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            lambda f: f.assign(choice=f.choice.mask(f.index == 1, 1)),
            "several options .*row 2, 3, 4",
        ),
        (lambda f: f[~f.index.isin([1, 2])], "one option alone .*row 2"),
        (lambda f: pd.concat([f[:3], f]), "several options"),
    ],
)
def test_mistakes_are_told_with_their_rows(wrong, told, tmp_path):
    with pytest.raises(CrowdError, match=rf"'choice': a set of 'p00' has {told}"):
        study_of(wrong(made()), tmp_path)


def test_options_that_only_texts_describe_are_told(tmp_path):
    frame = made().drop(columns=["price", "brand"])
    frame["pitch"] = [f"an offer unlike any other, number {row}" for row in range(len(frame))]
    with pytest.raises(CrowdError, match=r"what differs within sets \(pitch\) is told in texts"):
        study_of(frame, tmp_path)


def test_people_of_whom_one_was_chosen_are_no_options(tmp_path):
    """Households, of whose members one was interviewed."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"household": np.repeat(range(20), 3), "age": random.integers(18, 90, 60)})
    frame["selected"] = (np.arange(60) % 3 == frame.household % 3).astype(int)
    frame["trust"] = random.integers(1, 6, 60)
    assert study_of(frame, tmp_path).tasks.alternatives is None


def test_what_is_given_with_response_is_a_mark_or_no_choice(tmp_path):
    """Ratings of which everybody gives one 1 stay ratings."""
    person, item = (axis.ravel() for axis in np.indices((20, 4)))
    frame = pd.DataFrame({"user": person, "movie": item, "rating": 1 + (item + person) % 4})
    frame["year"] = 1990 + item
    study = study_of(frame, tmp_path, response="rating")
    assert study.tasks.alternatives is None
    assert len(study.answer) == 80


def test_what_is_the_same_for_a_person_is_no_set(tmp_path):
    """As in Stata's example: everybody has one set, and a sex."""
    frame = made()
    one = frame[frame.task == 1].drop(columns=["task", "age"])
    sex = [int(person[1:]) % 2 for person in one.resp_id]
    study = study_of(one.assign(sex=[("male", "female")[one] for one in sex]), tmp_path)
    assert [a.name for a in study.participants.profile] == ["sex"]
    assert len(study.answer) == PEOPLE


def test_a_choice_before_this_one_and_copies_of_it_describe_no_option(tmp_path):
    frame = made()
    frame.insert(0, "prev_choice", np.roll(frame.choice, 1))
    frame["answer"] = frame.choice
    frame["time"] = 10 * frame.alt + frame.task
    study = study_of(frame, tmp_path)
    described = [attribute.name for attribute in study.tasks.alternatives.attributes]
    assert described[-3:] == ["price", "brand", "time"]
    assert "answer" not in described
    assert chosen_options_count(study) == frame.groupby("alt").choice.sum().tolist()


def chosen_options_count(study) -> list[int]:
    return np.bincount(study.answer.astype(int), minlength=3).tolist()


@pytest.mark.parametrize("mark", ["label", "response"])
def test_one_hit_in_each_batch_is_no_choice(mark, tmp_path):
    """Everybody labels the same comments, of which one in a batch is rude."""
    person, item = (axis.ravel() for axis in np.indices((20, 12)))
    frame = pd.DataFrame({"annotator": person, "batch": item // 4, "item": item})
    frame["topic"] = [f"topic {i % 3}" for i in item]
    frame[mark] = (item % 4 == person % 4).astype(int)
    study = study_of(frame, tmp_path)
    assert study.tasks.alternatives is None
    assert len(study.tasks.ids) == 12


def test_ratings_of_several_things_are_no_choice_sets(tmp_path):
    """Each person likes some films of a genre: none is chosen from among the others."""
    random = np.random.default_rng(0)
    person, film = (axis.ravel() for axis in np.indices((20, 12)))
    frame = pd.DataFrame(
        {
            "user": [f"u{p}" for p in person],
            "movie": [f"film {f}" for f in film],
            "genre": [f"genre {f % 4}" for f in film],
            "choice": random.integers(0, 2, len(film)),
        }
    )
    study = study_of(frame, tmp_path)
    assert study.tasks.alternatives is None
    assert len(study.tasks.ids) == 12


def side_by_side(style: str, *, opt_out: bool = False) -> pd.DataFrame:
    """A row per set, in which columns are called after what is told of an option and the option."""
    letter = {1: "a", 2: "b", 3: "c"}
    rows = []
    for (person, task), options in made(opt_out=opt_out).groupby(["resp_id", "task"]):
        told = {"resp_id": person, "age": options.age.iloc[0], "task": task, "choice": "none"}
        for option in options.itertuples():
            for name in ("price", "brand"):
                called = style.format(stem=name, option=letter[option.alt], number=option.alt)
                told[called] = getattr(option, name)
            if option.choice:
                told["choice"] = letter[option.alt] if "{option}" in style else option.alt
        rows.append(told)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("opt_out", [False, True])
@pytest.mark.parametrize("style", ["{stem}_{option}", "{option}.{stem}", "{stem}{number}"])
def test_options_side_by_side_are_rows_of_their_own(style, opt_out, tmp_path):
    frame = side_by_side(style, opt_out=opt_out)
    study = study_of(frame, tmp_path)
    assert chosen_options(study) == expected(made(opt_out=opt_out))
    assert [attribute.name for attribute in study.participants.profile] == ["age"]
    assert len(study.answer) == len(frame)


@pytest.mark.parametrize("word", ["choice", "option"])
def test_options_that_a_word_numbers_are_those_of_numbered_columns(word, tmp_path):
    frame = side_by_side("{stem}{number}")
    frame["choice"] = [f"{word}{number}" for number in frame.choice]
    study = study_of(frame, tmp_path)
    assert chosen_options(study) == expected(made())
    # Their columns may be called after the words as well.
    named = frame.rename(columns=lambda name: re.sub(r"(\d)$", rf"_{word}\1", name))
    assert chosen_options(study_of(named, tmp_path)) == expected(made())


def test_sets_side_by_side_need_no_number_and_models_may_tie(tmp_path):
    random = np.random.default_rng(0)
    pairs = [random.permutation(["gpt", "llama", "claude"])[:2] for _ in range(60)]
    frame = pd.DataFrame(pairs, columns=["model_a", "model_b"])
    frame["winner"] = random.choice(["model_a", "model_b", "tie"], 60)
    frame["judge"] = np.arange(60) % 12
    study = study_of(frame, tmp_path)
    assert list(study.scales.values()) == [Nominal(levels=("a", "b", "tie"))]
    assert [a.name for a in study.tasks.alternatives.attributes] == ["model"]
    assert len(study.answer) == 60
    marks = {f"winner_{text}": (frame.winner == text).astype(int) for text in set(frame.winner)}
    alone = frame.drop(columns=["winner", "judge"]).assign(id=range(60), **marks)
    counted = frame.winner.value_counts()[["model_a", "model_b", "tie"]].tolist()
    assert chosen_options_count(study) == counted
    assert chosen_options_count(study_of(alone, tmp_path)) == counted


def test_the_same_things_now_left_now_right_are_options(tmp_path):
    random = np.random.default_rng(0)
    pairs = [random.permutation([f"im{i}.png" for i in range(6)])[:2] for _ in range(80)]
    frame = pd.DataFrame(pairs, columns=["left_image", "right_image"])
    frame.insert(0, "subject", np.arange(80) // 8)
    frame["choice"] = random.choice(["left", "right"], 80)
    study = study_of(frame, tmp_path)
    assert [a.name for a in study.tasks.alternatives.attributes] == ["image"]
    counted = frame.choice.value_counts()[["left", "right"]].tolist()
    assert chosen_options_count(study)[:2] == counted
    others = frame.assign(right_image=frame.right_image.str.upper())
    assert study_of(others, tmp_path, questions=("choice",)).tasks.ids == ("choice",)


def test_ratings_of_what_numbered_columns_describe_are_no_choices(tmp_path):
    random = np.random.default_rng(0)
    person, film = (axis.ravel() for axis in np.indices((20, 8)))
    frame = pd.DataFrame({"user": person, "movie": film, "rating": random.integers(1, 4, 160)})
    for name in ("theme", "genre"):
        for i in (1, 2, 3):
            frame[f"{name}_{i}"] = (film * i) % 5
    assert study_of(frame, tmp_path).tasks.alternatives is None


def test_sets_of_a_survey_program_are_told(tmp_path):
    shown = {f"F-{t}-{o}-1": ["low", "high"] * 20 for t in (1, 2) for o in (1, 2)}
    frame = pd.DataFrame({"ResponseId": [f"R_{i}" for i in range(40)], **shown})
    frame["choice1"], frame["trust"] = ["1", "2"] * 20, [1, 2, 3, 4] * 10
    with pytest.raises(CrowdError, match="say what a conjoint showed"):
        study_of(frame, tmp_path)
    assert study_of(frame, tmp_path, questions=("trust",)).tasks.ids == ("trust",)


def test_numbers_of_options_with_names_are_asked_for(tmp_path):
    frame = side_by_side("{stem}_{option}")
    numbered = frame.assign(choice=frame.choice.map({"a": 1, "b": 2, "c": 3}))
    with pytest.raises(CrowdError, match=r"options a, b, c, .* do 1, 2, 3 stand for"):
        study_of(numbered, tmp_path)


def test_ratings_beside_a_choice_are_no_sets(tmp_path):
    """A person rates two products, and then chooses."""
    random = np.random.default_rng(0)
    rated = {f"{q}_{p}": random.integers(1, 8, 40) for q in ("taste", "look") for p in "AB"}
    frame = pd.DataFrame({"id": range(40), **rated, "choice": random.choice(["A", "B"], 40)})
    assert study_of(frame, tmp_path).tasks.alternatives is None


SIDES = ((1, "left"), (2, "right"))


def rated(*, task: str, stems: tuple[str, ...], **columns) -> pd.DataFrame:
    """20 people rate what they see left and right, three times each, and choose."""
    random = np.random.default_rng(0)
    person, seen = (axis.ravel() for axis in np.indices((20, 3)))
    frame = pd.DataFrame({"participant": person, task: ["uvw"[i] for i in seen]})
    for name in (f"{stem}_{side}" for stem in stems for side in ("left", "right")):
        frame[name] = random.integers(1, 6, 60)
    return frame.assign(choice=random.choice(["left", "right"], 60), **columns)


@pytest.mark.parametrize(
    "frame",
    [
        rated(task="item", stems=("rating",)),
        rated(task="trial", stems=("attractive", "trust")),
        rated(task="week", stems=("mood",)),
        rated(task="trial", stems=("size", "width")),
        rated(task="item", stems=("size", "width"), size_left=[15 + i % 7 for i in range(60)]),
    ],
)
def test_what_people_say_of_both_sides_describes_no_options(frame, tmp_path):
    assert study_of(frame, tmp_path, response="choice").tasks.alternatives is None


def test_numbers_of_what_a_task_shows_describe_options(tmp_path):
    """A task shows everybody the same, or sets are only counted and the numbers are no ratings."""
    same = {f"{stem}_{side}": [1, k, 3] * 20 for stem in ("size", "trust") for k, side in SIDES}
    drawn = {f"price_{side}": [(i * k) % 7 * 50 for i in range(60)] for k, side in SIDES}
    shown = rated(task="item", stems=("size", "trust"), **same)
    counted = rated(task="trial", stems=("price", "trust"), trial=[1, 2, 3] * 20, **drawn)
    for frame, told in ((shown, ["size", "trust"]), (counted, ["price"])):
        found = study_of(frame, tmp_path).tasks.alternatives
        assert [attribute.name for attribute in found.attributes] == told


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        (["low", "high"], {"colour", "trust"}),
        (["Disagree", "Rather disagree", "Rather agree", "Agree"], {"colour"}),
    ],
)
def test_words_of_a_rating_describe_no_options(levels, told, tmp_path):
    frame = rated(task="trial", stems=("trust", "colour"), trial=[1, 2, 3] * 20)
    for name in frame.columns[2:-1]:
        words = levels if name.startswith("trust") else ["red", "blue", "grey"]
        frame[name] = [words[k % len(words)] for k in frame[name]]
    found = study_of(frame, tmp_path).tasks.alternatives
    assert {attribute.name for attribute in found.attributes} == told


def test_a_winner_of_what_everybody_rated_once_is_an_answer(tmp_path):
    frame = rated(task="week", stems=("like", "fear"), participant=range(60))
    frame = frame.drop(columns="week").rename(columns={"choice": "winner"})
    assert study_of(frame, tmp_path).tasks.alternatives is None


def test_sets_of_numbered_people_are_not_called_alike(tmp_path):
    random = np.random.default_rng(1)
    rows = [
        {"id": person, "task": task, "alt": alt, "price": random.random(), "choice": int(alt == 1)}
        for person in range(1, 23)
        for task in range(1, 13)
        for alt in (1, 2)
    ]
    study = study_of(pd.DataFrame(rows), tmp_path)
    assert len(study.tasks.ids) == 22 * 12
    assert look_alikes(study.tasks.ids) == []
