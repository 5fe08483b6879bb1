"""Bars below a notebook's cell, and nothing where there is no notebook."""

import sys
from types import SimpleNamespace

import pytest

from crowdllm_jax.runtime.notebook import EVERY, bars_of, progress_bar
from crowdllm_jax.runtime.progress import silent


@pytest.fixture
def pages(monkeypatch):
    """What a notebook would be shown, one page after the other, in the same place."""
    shown = []

    def display(page, display_id):
        shown.append(page)
        return SimpleNamespace(update=shown.append)

    ipython = SimpleNamespace(
        get_ipython=lambda: SimpleNamespace(kernel=object()),
        display=SimpleNamespace(HTML=str, display=display),
    )
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return shown


def test_nothing_is_shown_where_there_is_no_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert progress_bar() is silent
    plain = SimpleNamespace(get_ipython=lambda: None)
    monkeypatch.setitem(sys.modules, "IPython", plain)
    assert progress_bar() is silent


def test_a_stage_has_one_bar_whatever_its_loss(pages):
    progress = progress_bar()
    progress("fit", 0, 10)
    progress("fit (loss 1.5)", 10, 10)
    progress("score", 0, 2)
    assert pages[-1] == bars_of([("fit (loss 1.5)", 10, 10), ("score", 0, 2)])
    assert pages[-1].count("<progress") == 2


def test_a_stage_that_hurries_is_not_drawn_every_time(pages, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("crowdllm_jax.runtime.notebook.time.monotonic", lambda: now[0])
    progress = progress_bar()
    for step in range(1, 1000):
        now[0] += EVERY / 100
        progress("fit", step, 1000)
    progress("fit", 1000, 1000)
    # The first, one in a hundred of the rest, and the last.
    assert 10 <= len(pages) <= 12
    assert "1,000 of 1,000" in pages[-1]


def test_names_are_no_markup(pages):
    progress_bar()("<b>", 1, 1)
    assert "&lt;b&gt;" in pages[0]
