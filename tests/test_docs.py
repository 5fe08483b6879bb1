"""The code in the documentation runs, and its links lead somewhere."""

import contextlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

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
    short = "population: {agents: 2000}\nmodel: {kind: persistent, steps: 20}\ntrain: {epochs: 1}"
    text, changed = re.subn(r"^population: .*", short, config.read_text(), flags=re.M)
    assert changed == 1
    config.write_text(text)
    with contextlib.chdir(folder):
        assert main(["fit", "configs/anes96.yaml", "--quiet"]) == 0
    return folder


WITH_CODE = [name for name, text in PAGES.items() if "```python" in text]


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
        bare = re.findall(r"^```\n(.*?)^```$", text, re.S | re.M)
        assert not any(re.search(r"^(import|from) ", block, re.M) for block in bare), page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), target
