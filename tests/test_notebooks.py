"""The notebooks run from the first cell to the last, and what a cell ends with can be shown."""

import ast
import json
from pathlib import Path

import matplotlib as mpl
import pytest
from few_drawings import few_drawings  # noqa: F401
from matplotlib import pyplot as plt

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs/notebooks").glob("*.ipynb"))
STEPS = '"steps": 300'


def code_of(path):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def shown(names, source):
    """Run a cell as a notebook does: the value of a last expression is what it shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is None:
        return ""
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    """With a fit that is cut short: what it shows is not judged here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cells = ["".join(cell["source"]) for cell in code_of(path)]
    assert sum(STEPS in cell for cell in cells) == 1
    names: dict[str, object] = {}
    told, drawn = [], 0
    with mpl.rc_context({"backend": "agg"}):
        for cell in cells:
            told.append(shown(names, cell.replace(STEPS, '"steps": 20')))
            drawn += len(plt.get_fignums())
            plt.close("all")
    assert drawn >= 2
    assert any(text.startswith("<div><p>") for text in told)


def test_notebooks_are_kept_without_what_they_show():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        assert all(cell["outputs"] == [] for cell in code_of(path)), path.name
