"""One small file of each kind that people bring, made of a seed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

AGREE = (
    "Strongly disagree",
    "Disagree",
    "Neither agree nor disagree",
    "Agree",
    "Strongly agree",
)
ZUSTIMMUNG = (
    "Stimme überhaupt nicht zu",
    "Stimme eher nicht zu",
    "Teils/teils",
    "Stimme eher zu",
    "Stimme voll und ganz zu",
)
N = 40


def people(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) levels 0 to 4 of three items that hang together, and (n,) ages."""
    random = np.random.default_rng(seed)
    trait = random.normal(size=(n, 1))
    levels = np.clip(np.round(2 + trait + random.normal(size=(n, 3))), 0, 4).astype(int)
    # Every level of every item is given.
    levels[:5] = np.arange(5)[:, None]
    return levels, random.integers(18, 80, n)


def wide(words: tuple[str, ...] = AGREE) -> pd.DataFrame:
    """A column per question."""
    levels, age = people()
    random = np.random.default_rng(1)
    table = {"id": [f"p{i:02d}" for i in range(N)]}
    table |= {f"q{i + 1}": [words[level] for level in levels[:, i]] for i in range(3)}
    table["recommend"] = random.permutation(np.arange(N) % 11)
    table["drink"] = random.choice(["tea", "coffee", "water"], N)
    table["age"] = age
    table["gender"] = random.choice(["female", "male"], N)
    table["weight"] = random.uniform(0.5, 2, N).round(3)
    frame = pd.DataFrame(table)
    frame["q1"] = frame["q1"].astype(object)
    frame.loc[7, "q1"] = None
    return frame


def wide_csv(path: Path) -> None:
    wide().to_csv(path, index=False)


def german_csv(path: Path) -> None:
    """Semicolons, decimal commas, CP1252."""
    frame = wide(ZUSTIMMUNG).rename(columns={"age": "Alter", "gender": "Geschlecht"})
    frame.to_csv(path, index=False, sep=";", decimal=",", encoding="cp1252")


def long_csv(path: Path) -> None:
    levels, age = people()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "review", "stars", "timestamp", "age"])
        for person in range(N):
            for item in range(3):
                told = f"Review of the item, number {item}"
                row = [f"u{person}", f"i{item}", told, levels[person, item] + 1, 1700 + person]
                writer.writerow([*row, age[person]])


def excel(path: Path) -> None:
    wide().to_excel(path, index=False, sheet_name="Responses")


def labelled_frame() -> tuple[pd.DataFrame, dict, dict, dict]:
    """Codes, with their labels, the columns' labels, and user-missing codes."""
    frame = wide()
    levels, _ = people()
    for i in range(3):
        frame[f"q{i + 1}"] = levels[:, i] + 1.0
    frame.loc[7, "q1"] = 9
    frame.loc[8, "q1"] = np.nan
    frame["gender"] = frame["gender"].map({"female": 1.0, "male": 2.0})
    frame["drink"] = frame["drink"].map({"tea": 1.0, "coffee": 2.0, "water": 3.0})
    frame = frame.astype({"recommend": float, "age": float})
    labels: dict = {
        f"q{i}": {**{k + 1: w for k, w in enumerate(AGREE)}, 9: "Broken off"} for i in (1, 2, 3)
    }
    labels |= {"gender": {1: "Female", 2: "Male"}, "drink": {1: "Tea", 2: "Coffee", 3: "Water"}}
    texts = {
        "q1": "The city is clean",
        "q2": "The city is safe",
        "q3": "The city is green",
        "recommend": "Would you recommend the city?",
        "drink": "What do you drink?",
        "age": "Age of respondent",
    }
    return frame, labels, texts, {f"q{i}": [9] for i in (1, 2, 3)}


def spss(path: Path) -> None:
    import pyreadstat

    frame, labels, texts, missing = labelled_frame()
    pyreadstat.write_sav(
        frame,
        str(path),
        column_labels=texts,
        variable_value_labels=labels,
        missing_ranges=missing,
    )


def stata(path: Path) -> None:
    import pyreadstat

    frame, labels, texts, _ = labelled_frame()
    frame["q1"] = frame["q1"].astype(object)
    # Stata's own missing value .a, with a label.
    frame.loc[7, "q1"] = "a"
    for i in (1, 2, 3):
        labels[f"q{i}"] = {k: v for k, v in labels[f"q{i}"].items() if k != 9}
    pyreadstat.write_dta(
        frame,
        str(path),
        column_labels=[texts.get(c, "") for c in frame.columns],
        variable_value_labels=labels,
        missing_user_values={"q1": ["a"]},
    )


def _rows(path: Path, rows: list[list[object]], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def qualtrics(path: Path) -> None:
    levels, age = people()
    header = [
        "StartDate",
        "EndDate",
        "Status",
        "IPAddress",
        "Progress",
        "Duration (in seconds)",
        "Finished",
        "RecordedDate",
        "ResponseId",
        "Q1_1",
        "Q1_2",
        "Q1_3",
        "Q2",
        "Q3",
        "Q4",
        "Q4_5_TEXT",
    ]
    texts = [
        "Start Date",
        "End Date",
        "Response Type",
        "IP Address",
        "Progress",
        "Duration (in seconds)",
        "Finished",
        "Recorded Date",
        "Response ID",
        "How much do you agree? - The city is clean",
        "How much do you agree? - It is safe",
        "How much do you agree? - It is green",
        "How old are you?",
        "What is your gender?",
        "What do you use?",
        "What do you use? - Other - Text",
    ]
    ids = [json.dumps({"ImportId": f"QID{i}"}) for i in range(len(header))]
    rows: list[list[object]] = [header, texts, ids]
    uses = ["Bus,Train", "Bike", "Train", "Bike,Bus"]
    for i in range(N):
        own = [AGREE[level] for level in levels[i]]
        rows.append(
            [
                "2024-01-02 10:00:00",
                "2024-01-02 10:05:00",
                "IP Address",
                "1.2.3.4",
                100,
                200 + i,
                "True",
                "2024-01-02 10:05:01",
                f"R_{i:03d}",
                *own,
                age[i],
                "Female" if i % 2 else "Male",
                uses[i % 4],
                "",
            ]
        )
    rows.append([*rows[3][:2], "Survey Preview", *rows[3][3:8], "R_preview", *rows[3][9:]])
    _rows(path, rows)


def qsf(path: Path) -> None:
    """The survey of `qualtrics`, as far as it is read."""
    answers = {str(i + 1): {"Display": word} for i, word in enumerate(AGREE)}
    items = {str(i + 1): {"Display": t} for i, t in enumerate(("clean", "safe", "green"))}
    matrix = {
        "DataExportTag": "Q1",
        "QuestionType": "Matrix",
        "QuestionText": "How much do you <b>agree</b>?",
        "Choices": items,
        "ChoiceOrder": ["1", "2", "3"],
        "Answers": answers,
        "AnswerOrder": [1, 2, 3, 4, 5],
    }
    survey = {
        "SurveyEntry": {"SurveyID": "SV_1", "SurveyName": "City"},
        "SurveyElements": [{"Element": "SQ", "Payload": matrix}, {"Element": "BL", "Payload": []}],
    }
    path.write_text(json.dumps(survey))


def surveymonkey(path: Path) -> None:
    levels, age = people()
    rows: list[list[object]] = [
        [
            "Respondent ID",
            "Collector ID",
            "Start Date",
            "End Date",
            "IP Address",
            "Email Address",
            "First Name",
            "Last Name",
            "Custom Data 1",
            "How much do you agree?",
            "",
            "",
            "Which do you own?",
            "",
            "What is your age?",
        ],
        [
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "The city is clean",
            "It is safe",
            "It is green",
            "Car",
            "Bike",
            "Open-Ended Response",
        ],
    ]
    for i in range(N):
        own = [AGREE[level] for level in levels[i]]
        ticks = ["Car" if i % 2 else "", "Bike" if i % 3 else ""]
        meta = [1000 + i, 77, "01/02/2024 10:00:00 AM", "01/02/2024 10:09:00 AM", "1.2.3.4"]
        rows.append([*meta, "", "", "", "", *own, *ticks, age[i]])
    _rows(path, rows)


def limesurvey(path: Path) -> None:
    levels, age = people()
    header = [
        "id",
        "submitdate",
        "lastpage",
        "startlanguage",
        "seed",
        "G1[SQ001]",
        "G1[SQ002]",
        "G1[SQ003]",
        "own",
        "age",
        "remark",
    ]
    rows: list[list[object]] = [header]
    for i in range(N):
        own = [f"A{level + 1}" for level in levels[i]]
        meta = [i + 1, "2024-01-02 10:00:00", 3, "de", 12345 + i]
        rows.append([*meta, *own, "Y" if i % 3 else "N", age[i], f"words of person {i}"])
    _rows(path, rows)


def label_studio(path: Path) -> None:
    levels, _ = people(12)
    tasks = []
    for item in range(3):
        annotations = []
        for person in range(12):
            sense = "Positive" if levels[person, item] > 2 else "Negative"
            choice = {
                "from_name": "sentiment",
                "to_name": "text",
                "type": "choices",
                "value": {"choices": [sense]},
            }
            stars = {
                "from_name": "stars",
                "to_name": "text",
                "type": "rating",
                "value": {"rating": int(levels[person, item]) + 1},
            }
            span = {
                "from_name": "part",
                "to_name": "text",
                "type": "labels",
                "value": {"start": 0, "end": 3, "labels": ["X"]},
            }
            annotations.append({"completed_by": person + 1, "result": [choice, stars, span]})
        tasks.append(
            {"id": item + 1, "data": {"text": f"A text, number {item}"}, "annotations": annotations}
        )
    path.write_text(json.dumps(tasks))


def mturk(path: Path) -> None:
    levels, _ = people(12)
    rows: list[list[object]] = [
        [
            "HITId",
            "HITTypeId",
            "Title",
            "AssignmentId",
            "WorkerId",
            "AssignmentStatus",
            "WorkTimeInSeconds",
            "Input.text",
            "Answer.rating",
            "Answer.offensive",
        ]
    ]
    for item in range(3):
        for person in range(12):
            given = [int(levels[person, item]) + 1, "yes" if levels[person, item] > 2 else "no"]
            status = "Rejected" if (item, person) == (0, 0) else "Approved"
            meta = [f"H{item}", "T", "Rate", f"A{item}{person}", f"W{person}", status, 30 + person]
            rows.append([*meta, f"A text, number {item}", *given])
    _rows(path, rows)


def prolific(path: Path) -> None:
    _, age = people()
    rows: list[list[object]] = [
        [
            "Submission id",
            "Participant id",
            "Status",
            "Started at",
            "Completed at",
            "Time taken",
            "Completion code",
            "Total approvals",
            "Age",
            "Sex",
            "Country of birth",
        ]
    ]
    for i in range(N):
        status = "RETURNED" if i == 3 else "APPROVED"
        meta = [f"s{i}", f"p{i:02d}", status, "2024-01-02T10:00:00", "2024-01-02T10:09:00", 540]
        shown = "DATA_EXPIRED" if i == 4 else int(age[i])
        rows.append([*meta, "C1", 20 + i, shown, "Female" if i % 2 else "Male", "Peru"])
    _rows(path, rows)


def pabulib(path: Path) -> None:
    random = np.random.default_rng(3)
    lines = [
        "META",
        "key;value",
        "description;Budget",
        "country;Nowhere",
        "num_projects;4",
        f"num_votes;{N}",
        "budget;100",
        "vote_type;approval",
        "rule;greedy",
        "PROJECTS",
        "project_id;cost;votes;name;category",
    ]
    for p in range(4):
        lines.append(f"{p + 1};{10 * p + 10};0;Project {p + 1};{'green' if p % 2 else 'culture'}")
    lines += ["VOTES", "voter_id;age;sex;vote"]
    for i in range(N):
        chosen = [str(p + 1) for p in range(4) if random.random() < 0.5] or ["1"]
        lines.append(f"{i};{random.integers(18, 80)};{'MF'[i % 2]};{','.join(chosen)}")
    path.write_text("\n".join(lines) + "\n")


def preflib(path: Path) -> None:
    """Complete strict orders (.soc)."""
    path.write_text(
        "# FILE NAME: 1-1.soc\n# TITLE: Fruit\n# DATA TYPE: soc\n# NUMBER ALTERNATIVES: 3\n"
        "# NUMBER VOTERS: 30\n# ALTERNATIVE NAME 1: Apple\n# ALTERNATIVE NAME 2: Pear\n"
        "# ALTERNATIVE NAME 3: Plum\n12: 1,2,3\n10: 2,1,3\n8: 3,2,1\n"
    )


def preflib_ties(path: Path) -> None:
    """Orders with ties, not all of one length (.toi)."""
    path.write_text(
        "# FILE NAME: 1-2.toi\n# DATA TYPE: toi\n# NUMBER ALTERNATIVES: 3\n"
        "# ALTERNATIVE NAME 1: Apple\n# ALTERNATIVE NAME 2: Pear\n# ALTERNATIVE NAME 3: Plum\n"
        "12: 1,{2,3}\n10: 2\n8: {3,2},1\n"
    )


def parquet(path: Path) -> None:
    frame = wide()
    frame["q1"] = pd.Categorical(frame["q1"], categories=AGREE, ordered=True)
    frame.to_parquet(path, index=False)


SAMPLES: dict[str, Callable[[Path], None]] = {
    "wide.csv": wide_csv,
    "german.csv": german_csv,
    "long.csv": long_csv,
    "book.xlsx": excel,
    "survey.sav": spss,
    "survey.dta": stata,
    "qualtrics.csv": qualtrics,
    "monkey.csv": surveymonkey,
    "lime.csv": limesurvey,
    "labels.json": label_studio,
    "mturk.csv": mturk,
    "budget.pb": pabulib,
    "fruit.soc": preflib,
    "fruit.toi": preflib_ties,
    "wide.parquet": parquet,
}
"""Files from which a study can be made, without a question."""
