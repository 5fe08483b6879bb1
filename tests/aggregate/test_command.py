"""`crowdllm aggregate` as a user meets it."""

import json
import os

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from synthetic import EVERY_SCALE, make_study, write_config

from crowdllm_jax.aggregate.budgeting import fund
from crowdllm_jax.aggregate.decide import decide, read_costs
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.read import answers_of
from crowdllm_jax.runs.config import load_study

REAL = os.environ.get("CROWDLLM_TEST_DATA")


@pytest.fixture
def votes(tmp_path):
    """A study file of ballots, and the projects' costs."""
    config = write_config(tmp_path / "in", make_study({"rating": EVERY_SCALE["approve"]}))
    text = config.read_text().replace("kind: ordinal, levels: [1, 2, 3, 4, 5]", "kind: approval")
    config.write_text(text)
    (tmp_path / "costs.csv").write_text("project,price\nt00,100\nt01,250.5\nt02,3e2\nt03,40\nx,1\n")
    return config


def test_people_of_a_study_decide(votes, tmp_path, capsys):
    out = tmp_path / "table.csv"
    costs = ["--costs", str(tmp_path / "costs.csv"), "--columns", "project,price"]
    argv = ["aggregate", str(votes), "--rule", "equal-shares", *costs, "--budget", "350"]
    assert main([*argv, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "equal-shares" in shown
    assert f"table       {out}" in shown
    prices = read_costs(tmp_path / "costs.csv", "project,price")
    expected = fund(answers_of(load_study(votes)), prices, 350, "equal-shares")
    assert pyarrow.csv.read_csv(out).to_pylist() == expected.to_pylist()
    assert main([*argv, "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["aggregate", str(votes), "--out", str(tmp_path / "new" / "t.parquet")]) == 0
    assert pq.read_table(tmp_path / "new" / "t.parquet").num_rows == 4


def test_a_table_as_json(votes, tmp_path, capsys):
    out = tmp_path / "table.parquet"
    assert main(["aggregate", str(votes), "--json", "--quiet", "--out", str(out)]) == 0
    rows = json.loads(capsys.readouterr().out)
    written = pq.read_table(out).to_pylist()
    for row, other in zip(rows, written, strict=True):
        assert row == {k: None if v != v else v for k, v in other.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,price\nt00,1\n", "no column 'project' (it has: a, price); --columns TASK,COST names"),
        ("project,price\nt00,1\nt01,dear\n", "column 'price': row 3 ('t01') holds 'dear'"),
        ("project,price\nt00,0\n", "row 2 ('t00') holds '0'; a cost is a number above 0"),
        ("project,price\nt00,\n", "row 2 ('t00') is empty"),
        ("project,price\n,5\n", "column 'project': row 2 is empty"),
        ("project,price\nt00,5\nt00,6\n", "'t00' stands there twice, again in row 3"),
        ("project,price\nt00,5\n", "no cost of project 't01' and 2 more"),
    ],
)
def test_faulty_costs_are_told(votes, tmp_path, capsys, text, message):
    (tmp_path / "costs.csv").write_text(text)
    out = tmp_path / "table.csv"
    argv = [
        "aggregate",
        str(votes),
        "--rule",
        "greedy",
        "--costs",
        str(tmp_path / "costs.csv"),
        "--columns",
        "project,price",
        "--budget",
        "350",
        "--out",
        str(out),
    ]
    assert main(argv) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_costs_are_read_whatever_separates_them(tmp_path):
    """As spreadsheet programs of many countries save a table."""
    path = tmp_path / "costs.csv"
    expected = {"t00": 1250.5, "t01": 40.0}
    for text in (
        "project;price\nt00;1.250,5\nt01;40\n",
        "project;price\nt00;1250.5\nt01;40\n",
        "project\tprice\nt00\t1250,5\nt01\t40\n",
        'project,price\nt00,1250.5\nt01,"40"\n',
    ):
        path.write_text(text)
        assert read_costs(path, "project,price") == expected


def test_a_rule_that_is_none_is_told(votes):
    with pytest.raises(CrowdError, match="no rule 'nope'; give summary, dawid-skene, greedy"):
        decide(votes, "nope")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--rule", "greedy"], "give --costs FILE and --budget B, too"),
        (["--budget", "5"], "takes no --costs and no --budget"),
        (["--out", "table.xlsx"], "ends in .csv or .parquet"),
        (["--rule", "dawid-skene"], "and there is none"),
        (["--rule", "greedy", "--budget", "5", "--costs", "x.csv"], "x.csv: no such file"),
        (["--rule", "greedy", "--budget", "5", "--costs", "x", "--columns", "a"], "two column"),
    ],
)
def test_mistakes_are_told(votes, capsys, more, message):
    assert main(["aggregate", str(votes), *more]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not REAL, reason="CROWDLLM_TEST_DATA names no folder of real votes")
def test_zurich_is_funded(tmp_path):
    """135 voters, 24 projects, 60,000 francs: nobody is paid twice and the money is kept."""
    data = f"{REAL}/zurich_voting"
    out = tmp_path / "t.csv"
    argv = [
        "aggregate",
        "configs/zurich_voting.yaml",
        "--data",
        data,
        "--rule",
        "equal-shares",
        "--costs",
        f"{data}/projects.csv",
        "--columns",
        "project_id,cost",
        "--budget",
        "60000",
        "--out",
        str(out),
    ]
    assert main(argv) == 0
    rows = pyarrow.csv.read_csv(out).to_pylist()
    spent = sum(row["cost"] for row in rows if row["order"] is not None)
    assert 50_000 < spent <= 60_000
    assert sum(row["votes"] for row in rows) == 135 * 5
