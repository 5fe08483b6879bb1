"""A file to a report in two commands."""

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from few_drawings import few_drawings  # noqa: F401

from crowdllm_jax.cli.main import main


def survey(path):
    random = np.random.default_rng(0)
    trait = random.normal(size=(40, 1))
    levels = np.clip(np.round(3 + trait + random.normal(size=(40, 3))), 1, 5).astype(int)
    frame = pd.DataFrame(levels, columns=["clean", "safe", "green"])
    frame.insert(0, "id", [f"p{i}" for i in range(40)])
    frame["age"] = random.integers(18, 80, 40)
    frame.to_csv(path, index=False)


def test_a_wide_table_to_a_report_in_two_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    survey(tmp_path / "answers.csv")
    assert main(["init", "answers.csv", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "answers.csv is a CSV table." in shown
    assert "People: one per row, with ids of column id." in shown
    assert "Profile: age." in shown
    assert "crowdllm run answers.yaml" in shown
    # From another folder, since the study says where its tables are.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    quick = ["--set", "model.steps=20", "--set", "models=[]", "--set", "population.agents=50"]
    folds = ["--set", "split.test=0.3", "--set", "profiles.smoothing=0.1"]
    assert main(["run", "../answers.yaml", "--quiet", *quick, *folds]) == 0
    assert (tmp_path / "elsewhere" / "runs" / "answers" / "report.html").is_file()


def test_a_study_of_a_compressed_table_is_called_after_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    survey(tmp_path / "answers.csv.gz")
    assert main(["init", "answers.csv.gz", "--quiet"]) == 0
    assert "crowdllm run answers.yaml" in capsys.readouterr().out
    assert main(["study", "check", "answers.yaml", "--quiet"]) == 0
    assert "participants  40, each" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--out", "folder"], "is to be a YAML file"),
        (["--id", "nobody"], "--id: answers.csv has no column 'nobody'"),
        (["--reverse", "nothing"], "--reverse: 'nothing' is no question"),
        (["--encoding", "rot13"], "is no encoding of text"),
        (["--questions", "nowhere"], "--questions: answers.csv has no column 'nowhere'"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(
    arguments, told, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    survey(tmp_path / "answers.csv")
    assert main(["init", "answers.csv", "--quiet", *arguments]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]


def test_names_and_answers_with_commas_and_blanks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    answers = ["Oh, well", "Hm", "So, so"]
    table = {"id": range(30), "Q1 [Yes, I do]": [1, 2, 3] * 10}
    table |= {f"q{i}": answers * 10 for i in range(3)}
    pd.DataFrame(table).to_csv("my answers.csv", index=False)
    assert main(["init", "my answers.csv", "--quiet"]) == 2
    asked = capsys.readouterr().err
    # What the message says can be pasted.
    flags = shlex.split(asked[asked.index("--order ") :])[:2]
    assert flags[0] == "--order"
    assert main(["init", "my answers.csv", "--quiet", *flags, "--leave-out", "Q1 [Yes"]) == 2
    asked = " ".join(capsys.readouterr().err.split())
    assert """--leave-out '"Q1 [Yes, I do]"'""" in asked
    assert main(["init", "my answers.csv", *flags, "--leave-out", '"Q1 [Yes, I do]"']) == 0
    assert "crowdllm run 'my answers.yaml'" in capsys.readouterr().out
    from crowdllm_jax.study.load import load_study_file

    study = load_study_file(tmp_path / "my answers.yaml")
    assert study.tasks.ids == ("q0", "q1", "q2")
    assert set(study.scale_of(0).levels) == set(answers)
    assert "crowdllm run 'my answers.yaml'" in Path("my answers.yaml").read_text()


def test_a_folder_is_no_file_of_answers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", ".", "--quiet"]) == 2
    assert "is a folder, not a file" in capsys.readouterr().err


def test_flags_reach_the_study(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    survey(tmp_path / "answers.csv")
    flags = ["--reverse", "safe", "--leave-out", "green", "--missing", "5", "--profile", "age"]
    assert main(["init", "answers.csv", "--quiet", "--out", "x/s.yaml", *flags]) == 0
    from crowdllm_jax.study.load import load_study_file

    study = load_study_file(tmp_path / "x" / "s.yaml")
    assert study.tasks.ids == ("clean", "safe")
    frame = pd.read_csv("answers.csv").set_index("id")
    place = study.tasks.ids.index("safe")
    rows = np.flatnonzero(study.task == place)
    given = {study.participants.ids[study.person[r]]: study.value[r] for r in rows}
    # On 1 to 4, once 5 means that there is no answer: mirrored, 1 is 4.
    expected = frame["safe"][frame["safe"] < 5]
    assert given == (5 - expected).to_dict()
