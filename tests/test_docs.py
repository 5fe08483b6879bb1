"""The code in the documentation runs, and its links lead somewhere."""

import contextlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from few_drawings import few_drawings  # noqa: F401

import crowdllm_jax as cl
from crowdllm_jax.cli.main import main

ROOT = Path(__file__).parent.parent
PAGES = {str(page.relative_to(ROOT)): page.read_text() for page in [*ROOT.glob("docs/*.md")]}
PAGES["README.md"] = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.S | re.M)
SAYS = {
    "docs/api.md": ["944 people 6 tasks", "model.stepz"],
    "docs/twins.md": ["vote: r", "tv_news: r"],
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the configurations, which train for a moment here, and the run of the pages."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(ROOT / "configs", folder / "configs")
    config = folder / "configs" / "anes96.yaml"
    short = "population: {agents: 2000}\nmodel: {kind: persistent, steps: 20}\nmodels: []"
    text, changed = re.subn(r"^population: .*", short, config.read_text(), flags=re.M)
    assert changed == 1
    config.write_text(text)
    with contextlib.chdir(folder):
        assert main(["fit", "configs/anes96.yaml", "--quiet"]) == 0
    return folder


WITH_CODE = [name for name, text in PAGES.items() if "```python" in text]
WITH_CODE.remove("docs/functions.md")  # runs in test_docstrings.py, with the examples it is for


def test_what_pages_show_is_looked_for():
    assert SAYS.keys() <= set(WITH_CODE)


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs_as_it_stands(page, workplace, monkeypatch, capsys):
    """Its Python and the commands marked as sh, from the first to the last, in one namespace."""
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    for language, block in BLOCK.findall(PAGES[page]):
        if language == "python":
            exec(compile(block, page, "exec"), names)
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            # A script of the page has run where it stands.
            assert program in ("crowdllm", "python")
            assert program == "python" or main(arguments) == 0
    shown = capsys.readouterr().out
    for text in SAYS.get(page, ()):
        assert text in shown


def test_no_python_block_is_overlooked():
    """Each has its fences at the start of a line, and says its language."""
    for page, text in PAGES.items():
        python = [block for language, block in BLOCK.findall(text) if language == "python"]
        assert len(python) == text.count("```python"), page
        others = re.sub(r"^```\w+\n.*?^```$", "", text, flags=re.S | re.M)
        bare = re.findall(r"^```\n(.*?)^```$", others, re.S | re.M)
        assert not any(re.search(r"^(import|from) ", block, re.M) for block in bare), page


NOTEBOOKS = {
    str(path.relative_to(ROOT)): "".join(
        "".join(cell["source"]) + "\n\n"
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "markdown"
    )
    for path in ROOT.glob("docs/notebooks/*.ipynb")
}
OTHER = {name: (ROOT / name).read_text() for name in ("CHANGELOG.md", "CONTRIBUTING.md")}
LINKED = PAGES | NOTEBOOKS | OTHER
FENCED = re.compile(r"^```.*?^```$", re.S | re.M)


def anchors(text):
    """What the headings of a page are called in links, as on GitHub and on the site."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {
        re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading)).strip("-") for heading in plain
    }


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page):
    """To a file, and to a heading of it."""
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)", FENCED.sub("", LINKED[page])):
        path, _, heading = target.partition("#")
        file = (ROOT / page).parent.joinpath(path) if path else ROOT / page
        assert file.exists(), target
        if heading:
            text = LINKED[str(file.resolve().relative_to(ROOT.resolve()))]
            assert heading in anchors(text), target


def test_the_site_leads_to_every_page():
    """Each page and notebook stands in the navigation once, and nothing else does."""
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    led_to = re.findall(r": (\S+\.(?:md|ipynb))$", nav, re.M)
    own = {name.removeprefix("docs/") for name in (PAGES | NOTEBOOKS) if name != "README.md"}
    assert sorted(led_to) == sorted(own | {"index.md", "changelog.md", "contributing.md"})


def test_the_site_shows_every_public_name():
    shown = {name.split(".")[-1] for name in re.findall(r"^::: (\S+)$", FUNCTIONS, re.M)}
    assert set(cl.__all__) - {"__version__"} <= shown


FUNCTIONS = PAGES["docs/functions.md"]
