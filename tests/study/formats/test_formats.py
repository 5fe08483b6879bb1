"""Every kind of file becomes the study that its own program's reader sees in it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from samples import AGREE, SAMPLES, ZUSTIMMUNG, N, people, prolific, qsf, qualtrics, wide

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scales
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_file
from crowdllm_jax.study.draft.write import study_of_draft
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Approval, Binary, Nominal, Ordinal, Ranking

LEVELS, AGE = people()


def made(folder: Path, name: str, choices: Choices = Choices(), **options) -> Study:  # noqa: B008
    path = folder / name
    SAMPLES[name](path)
    return study_of_draft(draft_of_file(path, choices, **options), "it")


def answers(study: Study, task: str) -> dict[str, object]:
    """What each person answered to a task, as the study writes it."""
    place = study.tasks.ids.index(task)
    scale = study.scale_of(place)
    given = {}
    for row in np.flatnonzero(study.task == place):
        level = study.answer[row]
        own = level if scales.is_continuous(scale) else scales.written(scale)[int(level)]
        given[study.participants.ids[study.person[row]]] = own
    return given


def profile(study: Study, name: str) -> dict[str, object]:
    attribute = next(a for a in study.participants.profile if a.name == name)
    cells = attribute.cells
    told = cells if attribute.kind == "numeric" else [attribute.levels[c] for c in cells]
    return dict(zip(study.participants.ids, told, strict=True))


def of_frame(frame: pd.DataFrame, column: str) -> dict[str, object]:
    """The oracle: what pandas holds."""
    return frame.set_index("id")[column].dropna().to_dict()


@pytest.mark.parametrize("name", ["wide.csv", "book.xlsx", "wide.parquet"])
def test_a_column_per_question(name, tmp_path):
    study = made(tmp_path, name)
    frame = wide()
    for task in ("q1", "q2", "q3", "recommend", "drink"):
        assert answers(study, task) == of_frame(frame, task), task
    assert profile(study, "age") == of_frame(frame, "age")
    assert profile(study, "gender") == of_frame(frame, "gender")
    weight = dict(zip(study.participants.ids, study.participants.weight, strict=True))
    expected = of_frame(frame, "weight")
    assert weight == pytest.approx({k: w / frame["weight"].mean() for k, w in expected.items()})
    assert study.scale_of(study.tasks.ids.index("q1")) == Ordinal(levels=AGREE)
    assert study.scale_of(study.tasks.ids.index("recommend")) == Ordinal(levels=tuple(range(11)))
    assert study.scale_of(study.tasks.ids.index("drink")) == Nominal(
        levels=("coffee", "tea", "water")
    )


def test_semicolons_decimal_commas_and_a_code_page(tmp_path):
    study = made(tmp_path, "german.csv")
    frame = wide(ZUSTIMMUNG)
    assert answers(study, "q2") == of_frame(frame, "q2")
    assert study.scale_of(study.tasks.ids.index("q1")) == Ordinal(levels=ZUSTIMMUNG)
    assert profile(study, "Alter") == of_frame(frame, "age")
    assert np.ptp(study.participants.weight) > 0


@pytest.mark.parametrize(("name", "read"), [("survey.sav", "read_sav"), ("survey.dta", "read_dta")])
def test_labels_codes_and_missing_values_as_pyreadstat_reads_them(name, read, tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    study = made(tmp_path, name)
    # Without user_missing, pyreadstat itself makes NaN of the declared codes.
    frame, meta = getattr(pyreadstat, read)(str(tmp_path / name))
    for task in ("q1", "q2", "q3", "recommend", "drink"):
        assert answers(study, task) == of_frame(frame, task), task
        text = study.tasks.text[study.tasks.ids.index(task)]
        assert text == meta.column_names_to_labels[task]
    labels = {float(k): v for k, v in meta.variable_value_labels["gender"].items()}
    genders = of_frame(frame, "gender")
    assert profile(study, "gender") == {k: labels[v] for k, v in genders.items()}
    assert study.scale_of(study.tasks.ids.index("q2")) == Ordinal(
        levels=(1, 2, 3, 4, 5), labels=AGREE
    )
    assert study.scale_of(study.tasks.ids.index("drink")) == Nominal(
        levels=(1, 2, 3), labels=("Tea", "Coffee", "Water")
    )
    assert "p07" not in answers(study, "q1")
    assert "p08" not in answers(study, "q1")


def test_a_row_per_answer(tmp_path):
    study = made(tmp_path, "long.csv")
    frame = pd.read_csv(tmp_path / "long.csv")
    for item, own in frame.groupby("item_id"):
        assert answers(study, item) == own.set_index("user_id")["stars"].to_dict()
    assert (
        profile(study, "age")
        == frame.drop_duplicates("user_id").set_index("user_id")["age"].to_dict()
    )
    assert study.tasks.text[0] == "Review of the item, number 0"
    assert [a.name for a in study.participants.profile] == ["age"]


def test_qualtrics(tmp_path):
    study = made(tmp_path, "qualtrics.csv")
    frame = pd.read_csv(tmp_path / "qualtrics.csv", skiprows=[1, 2]).iloc[:-1]
    frame = frame.rename(columns={"ResponseId": "id"})
    for task in ("Q1_1", "Q1_2", "Q1_3"):
        assert answers(study, task) == of_frame(frame, task)
    # Several answers in a cell: a question per option.
    uses = of_frame(frame, "Q4")
    for option in ("Bus", "Train", "Bike"):
        expected = {k: int(option in cell.split(",")) for k, cell in uses.items()}
        assert answers(study, f"Q4 [{option}]") == expected
    assert len(study.participants.ids) == N
    assert {a.name for a in study.participants.profile} == {"Q2", "Q3"}
    assert study.tasks.text[study.tasks.ids.index("Q1_1")] == (
        "How much do you agree? - The city is clean"
    )


def test_a_qsf_gives_the_order_and_the_texts(tmp_path):
    """With words whose order nobody could guess."""
    qualtrics(tmp_path / "q.csv")
    qsf(tmp_path / "s.qsf")
    strange = ("zip", "zap", "zop", "zup", "zep")
    for file in ("q.csv", "s.qsf"):
        text = (tmp_path / file).read_text("utf-8-sig")
        # The longer of "Disagree" and "Strongly disagree" first.
        for word, odd in sorted(zip(AGREE, strange, strict=True), key=lambda p: -len(p[0])):
            text = text.replace(word, odd)
        (tmp_path / file).write_text(text)
    with pytest.raises(CrowdError, match="--order"):
        draft_of_file(tmp_path / "q.csv")
    draft = draft_of_file(tmp_path / "q.csv", questionnaire=tmp_path / "s.qsf")
    study = study_of_draft(draft, "it")
    place = study.tasks.ids.index("Q1_2")
    assert study.scale_of(place) == Ordinal(levels=strange)
    assert study.tasks.text[place] == "How much do you agree ? - safe"


def test_surveymonkey(tmp_path):
    study = made(tmp_path, "monkey.csv")
    grid = "How much do you agree?"
    for i, item in enumerate(("The city is clean", "It is safe", "It is green")):
        expected = {str(1000 + p): AGREE[LEVELS[p, i]] for p in range(N)}
        assert answers(study, f"{grid} [{item}]") == expected
    own = answers(study, "Which do you own? [Bike]")
    # Whoever ticks nothing may have skipped the question.
    assert own == {str(1000 + p): int(p % 3 > 0) for p in range(N) if p % 2 or p % 3}
    assert set(profile(study, "What is your age?").values()) == set(AGE)


def test_limesurvey(tmp_path):
    study = made(tmp_path, "lime.csv")
    assert answers(study, "G1[SQ002]") == {str(p + 1): f"A{LEVELS[p, 1] + 1}" for p in range(N)}
    place = study.tasks.ids.index("own")
    assert study.scale_of(place) == Binary(levels=("N", "Y"), labels=("no", "yes"))
    assert set(study.tasks.ids) == {"G1[SQ001]", "G1[SQ002]", "G1[SQ003]", "own"}


def test_label_studio(tmp_path):
    study = made(tmp_path, "labels.json")
    levels, _ = people(12)
    assert answers(study, "2 stars") == {str(p + 1): levels[p, 1] + 1 for p in range(12)}
    assert answers(study, "1 sentiment") == {
        str(p + 1): "Positive" if levels[p, 0] > 2 else "Negative" for p in range(12)
    }
    assert study.tasks.text[study.tasks.ids.index("2 stars")] == "A text, number 1 [stars]"


def test_label_studio_json_min(tmp_path):
    tasks = [
        {
            "id": t,
            "text": f"A long text that people read, number {t}",
            "annotator": a,
            "annotation_id": 10 * t + a,
            "sentiment": "good" if (t + a) % 2 else "bad",
        }
        for t in range(4)
        for a in range(6)
    ]
    (tmp_path / "min.json").write_text(json.dumps(tasks))
    study = study_of_draft(draft_of_file(tmp_path / "min.json"), "it")
    assert answers(study, "1") == {str(a): "good" if (1 + a) % 2 else "bad" for a in range(6)}


def test_mechanical_turk(tmp_path):
    study = made(tmp_path, "mturk.csv")
    levels, _ = people(12)
    assert answers(study, "H1 rating") == {f"W{p}": levels[p, 1] + 1 for p in range(12)}
    assert "W0" not in answers(study, "H0 rating")  # rejected


def test_crowd_html_elements(tmp_path):
    rows = ["HITId,WorkerId,Input.text,Answer.taskAnswers"]
    for hit in range(3):
        for worker in range(6):
            cell = json.dumps([{"sense": {"label": "Good" if worker % 2 else "Bad"}}])
            quoted = cell.replace('"', '""')
            rows.append(f'H{hit},W{worker},A text,"{quoted}"')
    (tmp_path / "m.csv").write_text("\n".join(rows))
    study = study_of_draft(draft_of_file(tmp_path / "m.csv"), "it")
    assert answers(study, "H1") == {f"W{w}": "Good" if w % 2 else "Bad" for w in range(6)}


def test_pabulib(tmp_path):
    study = made(tmp_path, "budget.pb")
    assert study.scales == {"vote": Approval()}
    votes = {}
    for line in (tmp_path / "budget.pb").read_text().split("VOTES\n")[1].splitlines()[1:]:
        voter, _, _, vote = line.split(";")
        votes[voter] = set(vote.split(","))
    for project in ("1", "2", "3", "4"):
        assert answers(study, project) == {v: int(project in own) for v, own in votes.items()}
    assert {a.name for a in study.tasks.attributes} == {"cost", "category"}


@pytest.mark.parametrize(
    ("kind", "votes", "scale"),
    [
        ("ordinal", ["1,2", "2,3", "3,1"], Ranking(k=2)),
        ("ordinal", ["1,2", "2", "3,1"], Approval()),
        ("cumulative", ["1,2;3,7", "2;10", "3,1;5,5"], scales.Points(budget=10)),
        ("scoring", ["1,2;3,2", "2;1", "3,1;2,3"], Ordinal(levels=(0, 1, 2, 3))),
    ],
)
def test_other_ballots_of_pabulib(kind, votes, scale, tmp_path):
    points = ";points" if any(";" in vote for vote in votes) else ""
    text = f"META\nkey;value\nvote_type;{kind}\nPROJECTS\nproject_id;cost\n1;5\n2;6\n3;7\nVOTES\n"
    text += f"voter_id;vote{points}\n" + "".join(f"{i};{v}\n" for i, v in enumerate(votes))
    (tmp_path / "v.pb").write_text(text)
    study = study_of_draft(draft_of_file(tmp_path / "v.pb"), "it")
    assert study.scales == {"vote": scale}
    if kind == "scoring":
        assert answers(study, "1") == {"0": 3, "1": 0, "2": 3}
    if kind == "cumulative":
        assert answers(study, "2") == {"0": 7, "1": 10, "2": 0}


def test_preflib(tmp_path):
    study = made(tmp_path, "fruit.soc")
    assert study.scales == {"vote": Ranking(k=3)}
    pears = list(answers(study, "Pear").values())
    assert [pears.count(rank) for rank in (1, 2, 3)] == [10, 20, 0]


def test_preflib_with_ties(tmp_path):
    study = made(tmp_path, "fruit.toi")
    pears = list(answers(study, "Pear").values())
    # Second with 12, first with 10, and tied for the first place with 8.
    assert [pears.count(level) for level in (-1, -2, -3)] == [18, 12, 0]
    assert sorted(answers(study, "Apple").values()) == [-2] * 8 + [-1] * 12


def test_preflib_categories(tmp_path):
    (tmp_path / "c.cat").write_text(
        "# FILE NAME: 1.cat\n# DATA TYPE: cat\n# NUMBER CATEGORIES: 2\n# CATEGORY NAME 1: Yes\n"
        "# CATEGORY NAME 2: No\n# ALTERNATIVE NAME 1: A\n# ALTERNATIVE NAME 2: B\n"
        "3: {1,2},{}\n2: 1,2\n"
    )
    study = study_of_draft(draft_of_file(tmp_path / "c.cat"), "it")
    assert sorted(answers(study, "B").values()) == ["No"] * 2 + ["Yes"] * 3
    assert set(answers(study, "A").values()) == {"Yes"}


def test_prolific_tells_who_people_are(tmp_path):
    prolific(tmp_path / "p.csv")
    frame = wide().drop(columns=["age", "gender"])
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(CrowdError, match="without answers; which file holds the answers"):
        draft_of_file(tmp_path / "p.csv")
    asked = draft_of_file(tmp_path / "p.csv", Choices(questions=("Sex",)))
    assert [task.id for task in asked.tasks] == ["Sex"]
    study = study_of_draft(draft_of_file(tmp_path / "a.csv", people=tmp_path / "p.csv"), "it")
    ages = profile(study, "Age")
    known = {f"p{i:02d}": AGE[i] for i in range(N) if i not in (3, 4)}
    assert {k: v for k, v in ages.items() if not np.isnan(v)} == known
    assert profile(study, "Sex")["p03"] == "(missing)"  # returned


def test_a_questionnaire_alone_asks_for_the_answers(tmp_path):
    qsf(tmp_path / "s.qsf")
    with pytest.raises(CrowdError, match=r"--questionnaire s\.qsf"):
        draft_of_file(tmp_path / "s.qsf")


def test_decimal_commas_in_two_columns_and_points_between_thousands(tmp_path):
    rows = [(i, ["1,5", "2,25"][i % 2], ["999,00", "1.234,50"][i % 2]) for i in range(30)]
    text = "id;Zufrieden;Preis\n" + "".join(f"{i};{a};{b}\n" for i, a, b in rows)
    (tmp_path / "de.csv").write_text(text)
    draft = draft_of_file(tmp_path / "de.csv")
    assert [task.id for task in draft.tasks] == ["Zufrieden", "Preis"]
    assert {float(answer) for answer in draft.answers} == {1.5, 2.25, 999, 1234.5}


RECORDS = [
    {
        "worker": f"w{w}",
        "item": f"t{t}",
        "rating": 1 + (w + t) % 5,
        "tags": ["a", "b"],
        "at": {"x": t},
    }
    for w in range(12)
    for t in range(6)
]


@pytest.mark.parametrize("kind", ["list", "object", "lines"])
def test_records_in_json(kind, tmp_path):
    text = json.dumps({"data": RECORDS} if kind == "object" else RECORDS)
    if kind == "lines":
        text = "\n".join(map(json.dumps, RECORDS)) + "\n"
    (tmp_path / "a.json").write_text(text)
    draft = draft_of_file(tmp_path / "a.json")
    study = study_of_draft(draft, "it")
    assert answers(study, "t2") == {f"w{w}": 1 + (w + 2) % 5 for w in range(12)}
    assert "at.x" in " ".join(draft.reasons)


def test_a_line_that_is_no_json_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"a": \n')
    with pytest.raises(CrowdError, match=r"a\.jsonl: line 3 cannot be read as JSON"):
        draft_of_file(tmp_path / "a.jsonl")


@pytest.mark.parametrize("options", [True, False])
def test_prodigy(options, tmp_path):
    """A choice of options, or a label that is accepted or not; what is ignored is left out."""
    lines = []
    for a in range(4):
        for t in range(5):
            own = {"text": f"text {t}", "_input_hash": 100 + t, "_annotator_id": f"ann{a}"}
            ignored = (a, t) == (0, 2)
            told = {
                "answer": "ignore" if ignored else "accept" if options or (a + t) % 2 else "reject"
            }
            if options:
                told |= {"options": [{"id": "x"}, {"id": "y"}], "accept": ["xy"[(a + t) % 2]]}
            else:
                told |= {"label": "GOOD"}
            lines.append(json.dumps({**own, **told}))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    study = study_of_draft(draft_of_file(tmp_path / "a.jsonl"), "it")
    task, words = ("102", ("x", "y")) if options else ("102 GOOD", ("reject", "accept"))
    assert answers(study, task) == {f"ann{a}": words[a % 2] for a in range(1, 4)}
    assert study.tasks.text[study.tasks.ids.index(task)].startswith("text 2")


def test_zooniverse(tmp_path):
    """A choice and boxes about each subject; marks are left out, and a second classification."""
    header = ["classification_id", "user_name", "annotations", "subject_data", "subject_ids"]
    rows = []
    for u in range(6):
        for s in range(5):
            told = [
                {"task": "T0", "task_label": "Shape?", "value": ["round", "flat"][(u + s) % 2]},
                {"task": "T1", "task_label": "Seen?", "value": ["arm", "bar"][: 1 + u % 2]},
                {"task": "T2", "task_label": "Mark", "value": [{"x": 1.0}]},
            ]
            rows.append([100 * u + s, f"user{u}", json.dumps(told), "{}", 70 + s])
    other = json.dumps([{"task": "T0", "task_label": "Shape?", "value": "flat"}])
    rows.append([999, "user0", other, "{}", 70])
    pd.DataFrame(rows, columns=header).to_csv(tmp_path / "a.csv", index=False)
    draft = draft_of_file(tmp_path / "a.csv")
    study = study_of_draft(draft, "it")
    assert answers(study, "70 Shape?") == {f"user{u}": ["round", "flat"][u % 2] for u in range(6)}
    assert answers(study, "70 Seen? [bar]") == {
        f"user{u}": ["not chosen", "chosen"][u % 2] for u in range(6)
    }
    assert "once more: 1." in " ".join(draft.reasons)
    assert "no choices: 30." in " ".join(draft.reasons)


def test_figure_eight(tmp_path):
    """Judgments of units by workers; the program's own columns are no answers."""
    rows = [
        [500 + u, 9000 + 10 * u + w, 0.5 + w / 20, 70 + w, ["bad", "good"][(u + w) % 2], "good"]
        for u in range(8)
        for w in range(6)
    ]
    header = ["_unit_id", "_id", "_trust", "_worker_id", "mood", "mood_gold"]
    pd.DataFrame(rows, columns=header).to_csv(tmp_path / "a.csv", index=False)
    study = study_of_draft(draft_of_file(tmp_path / "a.csv"), "it")
    assert answers(study, "503") == {str(70 + w): ["bad", "good"][(3 + w) % 2] for w in range(6)}


@pytest.mark.parametrize("kind", ["columns", "lists", "split", "rows", "ids", "ids within"])
def test_objects_in_json(kind, tmp_path):
    """Columns as pandas writes them, and people by their ids."""
    good = [1 + i % 5 for i in range(N)]
    if kind == "columns":
        index = map(str, range(N))
        held = {"id": {i: f"p{i}" for i in index}}
        held["good"] = dict(zip(held["id"], good, strict=True))
    elif kind == "lists":
        held = {"id": [f"p{i}" for i in range(N)], "good": good}
    elif kind in ("split", "rows"):
        rows = [[f"p{i}", good[i]] for i in range(N)]
        names = ["id", "good"]
        held = [names, *rows] if kind == "rows" else {"columns": names, "data": rows}
    else:
        held = {f"p{i}": {"good": good[i]} for i in range(N)}
        held = {"sent": held} if kind == "ids within" else held
    (tmp_path / "a.json").write_text(json.dumps(held))
    study = study_of_draft(draft_of_file(tmp_path / "a.json"), "it")
    assert answers(study, "good") == {f"p{i}": good[i] for i in range(N)}


@pytest.mark.parametrize(("outside", "opened"), [("responseId", True), ("response", False)])
def test_lists_of_answers_under_the_id_of_what_was_sent(outside, opened, tmp_path):
    """An answer beside the list is one to be kept; an id is none."""
    records = [
        {
            "user": f"u{i}",
            outside: f"r{i % 3 if outside == 'response' else i}",
            "answers": [{"question": f"q{j}", "answer": 1 + (i + j) % 5} for j in range(4)],
        }
        for i in range(N)
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    draft = draft_of_file(tmp_path / "a.json")
    assert ("A row is one of the objects in answers." in draft.reasons) == opened
    assert len(draft.tasks) == (4 if opened else 1)


@pytest.mark.parametrize("within", ["ratings", "given.ratings"])
def test_lists_of_answers_in_json(within, tmp_path):
    """Each person's answers in a list: a row each; what marks a place in a text is no answer."""
    records = []
    for i in range(N):
        given = [{"item": f"t{j}", "stars": 1 + (i + j) % 5} for j in range(4)]
        about = {"user": f"u{i}", "age": 20 + i, "spans": [{"start": 0, "end": 3, "label": "x"}]}
        records.append(
            about | ({"ratings": given} if "." not in within else {"given": {"ratings": given}})
        )
    (tmp_path / "a.json").write_text(json.dumps(records))
    draft = draft_of_file(tmp_path / "a.json")
    assert f"A row is one of the objects in {within}." in draft.reasons
    study = study_of_draft(draft, "it")
    assert answers(study, "t2") == {f"u{i}": 1 + (i + 2) % 5 for i in range(N)}
    assert profile(study, "age") == {f"u{i}": 20 + i for i in range(N)}


def test_who_gave_no_answers_in_a_list_is_counted(tmp_path):
    given = [[{"item": f"t{j}", "stars": 1 + (i + j) % 5} for j in range(4)] for i in range(N)]
    records = [{"user": f"u{i}", "ratings": given[i] if i < N - 3 else []} for i in range(N)]
    (tmp_path / "a.json").write_text(json.dumps(records))
    reasons = draft_of_file(tmp_path / "a.json").reasons
    assert "Left out, since their ratings holds nothing: 3 records." in reasons


def test_options_beside_an_answer_in_json_are_no_answers(tmp_path):
    options = [{"id": 1, "text": "red"}, {"id": 2, "text": "blue"}]
    records = [
        {"worker": f"w{i}", "question": f"q{j}", "options": options, "answer": 1 + (i * j + i) % 2}
        for i in range(10)
        for j in range(6)
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    study = study_of_draft(draft_of_file(tmp_path / "a.json"), "it")
    assert (len(study.participants.ids), len(study.tasks.ids)) == (10, 6)
    assert answers(study, "q2") == {f"w{i}": 1 + (i * 3) % 2 for i in range(10)}


def test_annotations_of_doccano(tmp_path):
    label = {(text, user): (text * user) % 3 + 1 for text in range(9) for user in (1, 2, 3, 4)}
    lines = [
        {
            "id": 70 + text,
            "text": f"Sentence {text}",
            "annotations": [
                {"id": 9 * text + user, "label": label[text, user], "user": user}
                for user in (1, 2, 3, 4)
            ],
        }
        for text in range(9)
    ]
    path = tmp_path / "admin.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    made = study_of_draft(draft_of_file(path), "it")
    texts = [text.removeprefix("Sentence ") for text in made.tasks.text]
    answers = {
        (int(texts[t]), int(made.participants.ids[p])): int(value)
        for p, t, value in zip(made.person, made.task, made.value, strict=True)
    }
    assert answers == label


def test_children_in_json_are_no_answers(tmp_path):
    records = [
        {
            "q1": 1 + i % 5,
            "q2": 1 + i % 3,
            "children": [{"age": 3 + k, "sex": "mf"[k % 2]} for k in range(i % 3)],
        }
        for i in range(40)
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    draft = draft_of_file(tmp_path / "a.json")
    assert "The objects in children are not read: they are no answers to tasks." in draft.reasons
    study = study_of_draft(draft, "it")
    assert len(study.participants.ids) == 40
    assert set(study.tasks.ids) == {"q1", "q2"}


def test_two_lists_of_objects_in_json_are_not_paired(tmp_path):
    people = [{"id": f"p{i}", "age": 20 + i} for i in range(12)]
    given = [{"id": f"p{11 - i}", "good": 1 + i % 5} for i in range(12)]
    (tmp_path / "a.json").write_text(json.dumps({"people": people, "answers": given}))
    with pytest.raises(CrowdError, match="it has: people, answers"):
        draft_of_file(tmp_path / "a.json")


def test_toloka(tmp_path):
    """Rejected assignments and control tasks are left out."""
    header = ["INPUT:image", "OUTPUT:result", "GOLDEN:result", "HINT:text", "ASSIGNMENT:task_id"]
    header += ["ASSIGNMENT:assignment_id", "ASSIGNMENT:worker_id", "ASSIGNMENT:status"]
    rows: list[list[object]] = [header]
    for task in range(8):
        for worker in range(5):
            state = "REJECTED" if (task, worker) == (2, 4) else "APPROVED"
            label, gold = ["no", "yes"][(task + worker) % 2], "yes" if task == 7 else ""
            own = [
                f"{task}.jpg",
                label,
                gold,
                "",
                f"t{task}",
                f"a{task}{worker}",
                f"w{worker}",
                state,
            ]
            rows.append(own)
    text = "\n".join("\t".join(map(str, row)) for row in rows)
    (tmp_path / "a.tsv").write_text(text)
    draft = draft_of_file(tmp_path / "a.tsv")
    study = study_of_draft(draft, "it")
    assert study.tasks.ids == tuple(f"t{task}" for task in range(7))
    assert answers(study, "t2") == {f"w{w}": ["no", "yes"][w % 2] for w in range(4)}
    assert "rejected or skipped assignments: 1." in " ".join(draft.reasons)
    assert "control tasks: 5." in " ".join(draft.reasons)
