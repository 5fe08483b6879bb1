"""Conditions under which tasks are asked, made by hypothesis, and read person by person."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

Node = tuple[Any, ...]
"""("is", name, op, value), ("not", node), ("and" or "or", node, node)."""
COMPARE = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def conditions(ordered: Mapping[str, Sequence[Any]], named: Mapping[str, Sequence[Any]]):
    """Conditions on names with ordered values, and on names whose values have no order."""
    leaves = [
        st.tuples(st.just("is"), st.just(name), st.sampled_from(ops), st.sampled_from(list(values)))
        for several, ops in ((ordered, list(COMPARE)), (named, ["==", "!="]))
        for name, values in several.items()
    ]
    leaves += [
        st.tuples(st.just("is"), st.sampled_from([*ordered, *named]), st.just("=="), st.none())
    ]
    return st.recursive(
        st.one_of(leaves),
        lambda inner: st.one_of(
            st.tuples(st.just("not"), inner),
            st.tuples(st.sampled_from(["and", "or"]), inner, inner),
        ),
        max_leaves=3,
    )


def text(node: Node) -> str:
    """As a user writes it."""
    match node:
        case ("is", name, _, None):
            return f"{name} is None"
        case ("is", name, op, value):
            return f"{name} {op} {value!r}"
        case ("not", inner):
            return f"not ({text(inner)})"
        case (word, one, other):
            return f"({text(one)}) {word} ({text(other)})"
    raise AssertionError(node)


def holds(node: Node, known: Mapping[str, Any]) -> bool:
    """Whether one person, of whom the values are known (None: there is none), fulfils it."""
    match node:
        case ("is", name, _, None):
            return known[name] is None
        case ("is", name, op, value):
            return known[name] is not None and COMPARE[op](known[name], value)
        case ("not", inner):
            return not holds(inner, known)
        case ("and", one, other):
            return holds(one, known) and holds(other, known)
        case ("or", one, other):
            return holds(one, known) or holds(other, known)
    raise AssertionError(node)


def names_in(node: Node) -> set[str]:
    """What it is on."""
    return {node[1]} if node[0] == "is" else set().union(*map(names_in, node[1:]))
