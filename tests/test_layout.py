"""The house: a room imports the rooms below it, and nothing above.

The folders' names from the roof down are the pipeline read backwards. Rooms on one floor do not
import each other, and no files do so in a circle.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "crowdllm_jax"
FLOORS = (
    ("cli",),
    ("workflow", "experiments", "explore"),
    ("runs", "report", "aggregate", "infer"),
    ("score", "population"),
    ("model",),
    ("reference", "profiles"),
    ("study", "backbone"),
    ("runtime",),
    ("errors",),
)
LEVEL = {room: len(FLOORS) - down for down, floor in enumerate(FLOORS) for room in floor}
DOORS = ("__init__", "__main__")
"""They name what is inside, and load it when it is asked for."""

Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module by its name inside the package: "study.read"."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports(path: Path, package: set[str]) -> set[str]:
    """The package's own modules that a file imports, wherever in it the import stands."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                # `from a.b import c` imports a.b.c where that is a module, else c of a.b.
                inner = f"{node.module}.{alias.name}".removeprefix("crowdllm_jax.")
                imported.add(f"crowdllm_jax.{inner}" if inner in package else str(node.module))
    return {name.removeprefix("crowdllm_jax.") for name in imported if "crowdllm_jax." in name}


def room(module: str) -> str:
    return module.split(".")[0]


def faults(graph: Graph) -> list[str]:
    """What breaks the rule in a graph of modules and what they import."""
    broken = []
    for module, others in graph.items():
        if module in DOORS:
            continue
        if room(module) not in LEVEL:
            broken.append(f"{module}: stands in no room")
            continue
        for other in sorted(others):
            level = LEVEL.get(room(other), len(LEVEL))
            if room(module) != room(other) and level >= LEVEL[room(module)]:
                broken.append(f"{module} imports {other}, which is not below it")
    return broken


def circle(graph: Graph) -> list[str]:
    """The modules in or between circles: what is left after taking away what imports none left."""
    left = {module: set(others) for module, others in graph.items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


@pytest.fixture(scope="module")
def graph() -> Graph:
    paths = modules()
    return {name: imports(path, set(paths)) for name, path in paths.items()}


def test_every_room_imports_only_the_rooms_below_it(graph):
    assert len(graph) > 80
    assert faults(graph) == []
    assert circle(graph) == []


def test_a_module_in_the_wrong_place_is_found(graph):
    wrong = graph | {"study.read": graph["study.read"] | {"model.crowd"}}
    assert faults(wrong) == ["study.read imports model.crowd, which is not below it"]
    beside = {"score.metrics": {"aggregate.decide"}, "aggregate.decide": set()}
    assert faults(beside) == ["score.metrics imports aggregate.decide, which is not below it"]
    assert faults({"utils": set()}) == ["utils: stands in no room"]
    assert circle({"a.x": {"a.y"}, "a.y": {"a.x"}, "a.z": set()}) == ["a.x", "a.y"]


REASONS = {
    "model.cvae.draw.draw_plain",
    "model.cvae.epoch._one",
    "population.grouped.count_block",
    "infer.infer.infer",
    "cli.served.ask",
}
"""Functions beyond 60 lines or 8 arguments; each says why where it stands."""


def test_functions_are_short_and_the_formatter_formats():
    long = set()
    for name, path in modules().items():
        text = path.read_text(encoding="utf-8")
        assert "fmt: skip" not in text, name
        assert "fmt: off" not in text, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                lines = node.end_lineno - node.lineno + 1
                if lines > 60 or len(given) > 8:
                    long.add(f"{name}.{node.name}")
    assert long == REASONS
