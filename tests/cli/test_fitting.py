"""Tables that fit the terminal, and what --json and a shell's completion print."""

import io
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from crowdllm_jax.cli.console import PlainConsole
from crowdllm_jax.cli.fitting import fitting
from crowdllm_jax.cli.main import main

words = st.text("abc de", min_size=1, max_size=60).map(str.strip).filter(bool)


def printed(table: Table, width: int) -> list[str]:
    out = io.StringIO()
    for part in fitting(table, width):
        Console(file=out, width=width).print(part)
    return out.getvalue().splitlines()


@given(texts=st.lists(words, min_size=1, max_size=4), columns=st.integers(1, 14))
def test_no_number_is_lost_and_no_line_is_longer(texts, columns):
    table = Table(title="x" * 200)
    table.add_column("what a row is about")
    for column in range(columns):
        table.add_column(f"measure {column}", justify="right", no_wrap=True)
    for row, text in enumerate(texts):
        table.add_row(text, *(f"{row}.{column:05d}" for column in range(columns)))
    lines = printed(table, 80)
    assert max(map(len, lines)) <= 80
    shown = "\n".join(lines)
    for row, text in enumerate(texts):
        assert all(f"{row}.{column:05d}" in shown for column in range(columns))
        # Broken into lines or not, each text stands there whole.
        assert "".join(text.split()) in "".join(
            line.split("│")[1] for line in lines if "│" in line
        ).replace(" ", "")
    assert "…" not in shown


def test_what_is_told_as_json(config_file, tmp_path, capsys):
    assert main(["study", "check", str(config_file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["participants"], told["tasks"]) == (24, 4)
    assert told["profile"] == {"age": "numeric", "city": "categorical"}
    table = tmp_path / "a.csv"
    table.write_text("id,q1,q2\n" + "".join(f"p{i},{i % 3},{i % 4}\n" for i in range(30)))
    out = tmp_path / "made.yaml"
    assert main(["init", str(table), "--out", str(out), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["study"] == str(out)
    assert told["is"] == "a CSV table"
    assert any("ids of column id" in why for why in told["why"])
    assert told["next"].startswith("crowdllm run")


def test_a_name_between_colons_is_no_picture(tmp_path, capsys):
    table, out = tmp_path / "a.csv", tmp_path / ":car:.yaml"
    table.write_text("id,q1,q2\n" + "".join(f"p{i},{i % 3},{i % 4}\n" for i in range(30)))
    assert main(["init", str(table), "--out", str(out), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["study"] == str(out)
    assert main(["study", "check", str(tmp_path / ":dog:.yaml")]) == 2
    assert ":dog:" in capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 24])
def test_names_between_colons_stand_whole_in_tables(width):
    table = Table(title=":car:")
    table.add_column(":dog:")
    table.add_column("n", justify="right")
    table.add_column("share", justify="right")
    table.add_row("[bold]:cat:[/bold]", "12345", "12345")
    out = io.StringIO()
    for part in fitting(table, width):
        PlainConsole(file=out, width=width).print(part)
    assert all(name in out.getvalue() for name in (":car:", ":dog:", ":cat:"))


def test_a_shell_is_told_how_a_command_may_go_on(tmp_path):
    pytest.importorskip("argcomplete")
    line, told = "crowdllm study ch", tmp_path / "told"
    shell = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(told)}
    shell |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    subprocess.run([sys.executable, "-m", "crowdllm_jax"], env=os.environ | shell, check=True)
    assert told.read_text().split() == ["check"]


def test_without_a_command_the_help_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert "COMMAND" in capsys.readouterr().out
