"""How programs write what they export: titles, ticked options, codes, encodings, ids."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scales
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_file
from crowdllm_jax.study.draft.write import study_of_draft
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Ordinal

N = 30
OFTEN = ("never", "sometimes", "often")


def written(folder: Path, rows: list[list[object]], encoding="utf-8", name="a.csv") -> Path:
    path = folder / name
    lines = [";".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def made(path: Path, **given) -> Study:
    return study_of_draft(draft_of_file(path, Choices(**given)), "it")


def answers(study: Study, task: str) -> list[object]:
    """What people answered to a task, in the order of their numbers; None where they did not."""
    at = study.tasks.ids.index(task)
    levels = scales.written(study.scale_of(at))
    rows = np.flatnonzero(study.task == at)
    told = {int(study.person[row]): levels[int(study.answer[row])] for row in rows}
    numbers = [int(re.sub(r"\D", "", person)) for person in study.participants.ids]
    return [told.get(int(person)) for person in np.argsort(numbers)]


def rows_of(*columns: str) -> list[list[object]]:
    """A table of people who are 0, 1, 2, ..., each question answered by the rest of a division."""
    body = [[f"p{i}", *(OFTEN[(i + j) % 3] for j in range(len(columns)))] for i in range(N)]
    return [["id", *columns], *body]


def test_titles_above_the_names_of_columns_are_left_out(tmp_path):
    titles = [["Customer survey, 2024"], ["Exported", "2024-05-01"], [""]]
    draft = draft_of_file(written(tmp_path, [*titles, *rows_of("q1", "q2", "q3")]))
    assert "Customer survey, 2024 / Exported 2024-05-01" in " ".join(draft.reasons)
    study = study_of_draft(draft, "it")
    assert answers(study, "q2") == [OFTEN[(i + 1) % 3] for i in range(N)]


def test_the_sheet_of_answers_is_that_which_is_no_codebook(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Codebook"
    for row in (["Variable", "Label"], ["q1", "How often?"], ["q2", "And else?"]):
        book.active.append(row)
    sheet = book.create_sheet("Wave 1")
    for row in (["A title"], *rows_of("q1", "q2", "q3")):
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    assert answers(made(tmp_path / "a.xlsx"), "q1") == [OFTEN[i % 3] for i in range(N)]
    book.create_sheet("Wave 2")
    for row in rows_of("q1", "q2")[:9]:
        book["Wave 2"].append(row)
    book.save(tmp_path / "b.xlsx")
    with pytest.raises(CrowdError, match="--sheet 'Wave 1'"):
        made(tmp_path / "b.xlsx")


TICKS = {
    "codes": (("q7_1", "1"), ("q7_2", "1")),
    "texts": (("Use [Car]", "Car"), ("Use [Bike]", "Bike")),
    "names": (("Car", "Car"), ("Bike", "Bike")),
}


@pytest.mark.parametrize("kind", TICKS)
def test_a_column_per_option_is_chosen_or_not_of_those_who_ticked_any(kind, tmp_path):
    (first, one), (second, other) = TICKS[kind]
    rows = rows_of("q1", first, second)
    for i, row in enumerate(rows[1:]):
        row[2:] = [one if i % 3 == 1 else "", other if i % 3 else ""]
    study = made(written(tmp_path, rows))
    assert answers(study, first) == [(None, 1, 0)[i % 3] for i in range(N)]
    assert answers(study, second) == [(None, 1, 1)[i % 3] for i in range(N)]


def test_two_rows_of_headings_and_ticks(tmp_path):
    rows = [["ID", "How often?", "", "What?", ""], ["", "by bus", "by car", "TV", "web"]]
    rows += [[i + 1, OFTEN[i % 3], OFTEN[(i + 1) % 3], "X" if i % 2 else "", "X"] for i in range(N)]
    rows[-1][-2:] = ["X", ""]
    study = made(written(tmp_path, rows))
    assert answers(study, "How often? [by car]") == [OFTEN[(i + 1) % 3] for i in range(N)]
    assert answers(study, "What? [TV]") == [i % 2 for i in range(N)]
    assert answers(study, "What? [web]") == [1] * (N - 1) + [0]


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        (("никогда", "иногда", "часто"), "cp1251"),
        (("全く同意しない", "どちらともいえない", "強く同意する"), "shift_jis"),
        (("从不", "有时", "经常"), "gb18030"),
        (("rzadko łączę", "często pożądam", "zawsze żądłam"), "cp1250"),
        (("très peu à l’été", "déçu ça", "où être"), "cp1252"),
    ],
)
def test_an_encoding_is_told_by_its_letters(words, encoding, tmp_path):
    rows = [[row[0], *(words[OFTEN.index(w)] for w in row[1:])] for row in rows_of("q1", "q2")[1:]]
    study = made(written(tmp_path, [["id", "q1", "q2"], *rows], encoding), unordered=(words,))
    assert answers(study, "q2") == [words[(i + 1) % 3] for i in range(N)]


def test_numbers_among_words_are_codes_of_no_answer(tmp_path):
    rows = rows_of("q1", "q2")
    rows[4][1] = "-99"
    assert answers(made(written(tmp_path, rows)), "q1")[3] is None
    rows = [["id", "q1"], *([i, 2 + i % 4] for i in range(N))]
    study = made(written(tmp_path, rows))  # school grades, say: nothing tells of a 1
    assert study.scale_of(0) == Ordinal(levels=(2, 3, 4, 5))


def test_rarely_asked_questions_of_one_answer_are_no_ticked_options(tmp_path):
    """Neither questions that are numbered alike, nor a battery, nor years."""
    names = ["Q1", "Q2", "Q9", "Q12", "B_1", "B_2", "B_3", "vote_2016", "vote_2020"]
    rare = [["5", "5", "5", "5", "Trump", "Biden"], [""] * 6]
    rows = [["id", *names]]
    for i in range(N):
        q9, q12, *others = rare[i % 3 > 0]
        rows.append([i, 1 + i % 5, 1 + i % 4, q9, q12, 1 + i % 5, *others])
    study = made(written(tmp_path, rows))
    assert "chosen" not in str(study.scales)
    assert {"Q1", "Q2", "B_1"} <= set(study.tasks.ids)
    assert {"Q9", "Q12"}.isdisjoint(study.tasks.ids)


def test_a_row_of_numbers_is_no_header(tmp_path):
    rows = [["id", "q1", "", ""], *([i, 1 + i % 4, 1 + i % 3, 2] for i in range(N))]
    with contextlib.suppress(CrowdError):  # columns without a name may be refused
        assert len(made(written(tmp_path, rows)).participants.ids) == N


def test_ids_that_come_back_under_unknown_names_are_asked_for(tmp_path):
    rows = [["x", "was", "wert"]]
    rows += [[f"u{i}", f"f{j}", (i + j) % 3] for i in range(25) for j in range(22)]
    path = written(tmp_path, rows)
    with pytest.raises(CrowdError, match="--id 'x' --task 'was'"):
        made(path)
    study = made(path, person="x", task="was")
    assert (len(study.participants.ids), len(study.tasks.ids)) == (25, 22)


def test_limesurvey_codes_of_answers_are_ordered_and_ticks_are_no_constant(tmp_path):
    header = ["id", "submitdate", "lastpage", "startlanguage", "t[SQ1]", "t[SQ2]", "u[1]", "u[2]"]
    rows = [
        [
            i + 1,
            "2024-01-02",
            3,
            "en",
            f"AO0{1 + i % 4}",
            f"AO0{1 + i // 3 % 5}",
            "Y" if i % 2 else "",
            "Y" if i % 3 else "",
        ]
        for i in range(N)
    ]
    study = made(written(tmp_path, [header, *rows]))
    assert study.scale_of(0) == Ordinal(levels=tuple(f"AO0{i}" for i in range(1, 5)))
    assert answers(study, "u[1]") == [None if i % 6 == 0 else i % 2 for i in range(N)]


def test_qualtrics_codes_of_several_answers_take_their_labels_from_the_survey(tmp_path):
    header = ["StartDate", "RecordedDate", "ResponseId", "Q1", "Q2"]
    rows: list[list[object]] = [header, ["Start", "End", "Id", "Use? - Selected Choice", "Often?"]]
    rows.append([json.dumps({"ImportId": name}).replace('"', '""') for name in header])
    rows[2] = [f'"{cell}"' for cell in rows[2]]
    rows += [["d", "d", f"R_{i}", ("1", "2,3", "1,2,3")[i % 3], 1 + i % 2] for i in range(N)]
    path = written(tmp_path, rows)
    choices = {str(i): {"Display": name} for i, name in enumerate(("Bus", "Car", "Foot"), start=1)}
    payload = {
        "DataExportTag": "Q1",
        "QuestionType": "MC",
        "Selector": "MAVR",
        "QuestionText": "Use?",
        "Choices": choices,
        "ChoiceOrder": ["1", "2", "3"],
    }
    survey = {"SurveyEntry": {}, "SurveyElements": [{"Element": "SQ", "Payload": payload}]}
    (tmp_path / "a.qsf").write_text(json.dumps(survey))
    plain = made(path)
    assert answers(plain, "Q1 [2]") == [(0, 1, 1)[i % 3] for i in range(N)]
    told = study_of_draft(draft_of_file(path, questionnaire=tmp_path / "a.qsf"), "it")
    assert answers(told, "Q1 [Car]") == answers(plain, "Q1 [2]")


def task(number: int, choices: list[list[str]]) -> dict:
    """A task of Label Studio, one annotation for each of the choices."""
    return {
        "id": number,
        "data": {"text": f"text {number}"},
        "annotations": [
            {
                "completed_by": person,
                "result": [
                    {"type": "choices", "from_name": "kind", "value": {"choices": given}},
                    {
                        "type": "pairwise",
                        "from_name": "pair",
                        "value": {"selected": "left" if person % 2 else "right"},
                    },
                ],
            }
            for person, given in enumerate(choices)
        ],
    }


def test_label_studio_options_that_are_chosen_together_and_pairs(tmp_path):
    given = [["spam", "threat"], ["threat", "spam"], ["spam"], ["threat"]]
    (tmp_path / "a.json").write_text(json.dumps([task(i, given) for i in range(5)]))
    study = made(tmp_path / "a.json")
    assert answers(study, "2 kind [spam]") == ["chosen", "chosen", "chosen", "not chosen"]
    assert answers(study, "2 kind [threat]") == ["chosen", "chosen", "not chosen", "chosen"]
    assert answers(study, "2 pair") == ["right", "left", "right", "left"]


def test_mechanical_turk_boxes_radios_and_bars(tmp_path):
    header = "HITId,WorkerId,AssignmentStatus,Input.text,Answer.taskAnswers,Answer.why"
    lines = []
    for hit in range(4):
        for worker in range(4):
            radio = {"no": worker % 2 == 0, "yes": worker % 2 == 1}
            boxes = {"red": worker > 0, "blue": worker > 1}
            cell = json.dumps([{"good": radio, "colours": boxes}]).replace('"', '""')
            why = "cheap|near" if worker == 3 else "cheap"
            lines.append(f'H{hit},W{worker},Approved,text {hit},"{cell}",{why}')
    (tmp_path / "a.csv").write_text("\n".join([header, *lines]) + "\n")
    study = made(tmp_path / "a.csv")
    assert answers(study, "H1 good") == ["no", "yes", "no", "yes"]
    assert answers(study, "H1 colours [red]") == ["not chosen", "chosen", "chosen", "chosen"]
    assert answers(study, "H1 why [near]") == ["not chosen"] * 3 + ["chosen"]


def batch(folder: Path, columns: dict[str, list[object]]) -> Path:
    path = folder / "a.csv"
    rows = [[*columns], *zip(*columns.values(), strict=True)]
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return path


def test_mechanical_turk_buttons_in_columns_are_one_answer(tmp_path):
    pairs = [(hit, worker) for hit in range(4) for worker in range(4)]
    on = [OFTEN[(hit + worker) % 3] for hit, worker in pairs]
    columns = {"HITId": [f"H{h}" for h, _ in pairs], "WorkerId": [f"W{w}" for _, w in pairs]}
    columns["Input.text"] = [f"text {h}" for h, _ in pairs]
    columns |= {f"Answer.mood.{o}": [str(o == own).lower() for own in on] for o in OFTEN}
    study = made(batch(tmp_path, columns))
    assert answers(study, "H1") == ["sometimes", "often", "never", "sometimes"]
    # Of boxes some are all off.
    boxes = columns | {f"Answer.mood.{OFTEN[0]}": ["false"] * len(pairs)}
    assert len(made(batch(tmp_path, boxes)).tasks.ids) == 4 * 2


def test_a_survey_in_mechanical_turk_has_a_row_per_worker(tmp_path):
    columns = {"HITId": ["H0"] * N, "WorkerId": [f"W{i}" for i in range(N)]}
    columns |= {"Answer.age": [20 + i for i in range(N)], "Answer.q1": [i % 5 for i in range(N)]}
    study = made(batch(tmp_path, columns | {"Answer.q2": [i % 3 for i in range(N)]}))
    assert study.tasks.ids == ("q1", "q2")
    assert [attribute.name for attribute in study.participants.profile] == ["age"]
    assert len(study.participants.ids) == N
