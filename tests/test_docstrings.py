"""Every public name says what it takes and gives, with an example that runs."""

import contextlib
import doctest
import inspect
import re
from pathlib import Path

import matplotlib as mpl
import pytest
from few_drawings import few_drawings  # noqa: F401
from matplotlib import pyplot as plt

import crowdllm_jax as cl
from crowdllm_jax.infer.plan import Plan
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.population.twins import Twins
from crowdllm_jax.score.scores import Scores
from crowdllm_jax.study.draft.make import study as study_of
from crowdllm_jax.study.records import Study
from crowdllm_jax.workflow.asking import Answered

PUBLIC = {name: getattr(cl, name) for name in cl._PUBLIC} | {"study": study_of}
HANDED_OUT = {kind.__name__: kind for kind in (Study, Crowd, Agents, Twins, Scores, Answered, Plan)}
"""What public functions return, whose methods are public, too."""
EXAMPLES = [
    test
    for name, thing in (PUBLIC | HANDED_OUT).items()
    for test in doctest.DocTestFinder().find(thing, name)
    if test.examples
]


def methods_of(kind):
    return {name: part for name, part in vars(kind).items() if not name.startswith("_")}


@pytest.fixture(scope="module")
def names():
    """What the page that shows the examples says they share."""
    page = Path(__file__).parent.parent / "docs/functions.md"
    (code,) = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.S | re.M)
    shared: dict[str, object] = {}
    exec(compile(code, page.name, "exec"), shared)
    return shared


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs_as_it_stands(example, names, tmp_path):
    example.globs = dict(names)
    told = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    with contextlib.chdir(tmp_path), mpl.rc_context({"backend": "agg"}):
        failed, _ = runner.run(example, out=told.append)
        plt.close("all")
    assert not failed, "".join(told)


def test_every_public_name_has_an_example_and_says_what_it_raises():
    shown = {example.name for example in EXAMPLES}
    assert PUBLIC.keys() <= shown, PUBLIC.keys() - shown
    for name, kind in HANDED_OUT.items():
        methods = {f"{name}.{method}" for method in methods_of(kind) if method not in FIELDS[name]}
        assert methods <= shown, methods - shown
    for name, function in PUBLIC.items():
        if inspect.isfunction(function):
            doc = inspect.getdoc(function)
            assert "Returns:" in doc or inspect.signature(function).return_annotation is None, name
            assert "Raises:" in doc or name in NEVER_FAILS, name


FIELDS = {name: set(getattr(kind, "__dataclass_fields__", ())) for name, kind in HANDED_OUT.items()}
NEVER_FAILS = {"progress_bar"}
