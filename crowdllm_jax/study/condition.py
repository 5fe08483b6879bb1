"""A condition on people, such as `age >= 60 and gender == 'woman'`.

A condition is read, never run: names of attributes (and, of a question that is asked of some alone,
of questions before it), numbers, texts, comparisons, `in`, `and`, `or`, `not` and parentheses. A
name that is no single word stands in quotes: `'household size' > 2`. Whoever has no answer fulfils
no comparison with it; `age is None` is who has none.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.given import told
from crowdllm_jax.runtime.names import as_shown, did_you_mean, tidy_name
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.ids import MISSING
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Scale

ORDER: dict[type[ast.cmpop], Callable[[np.ndarray, float], np.ndarray]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
}
Value = str | float | bool | None
MOST_SHOWN = 20
"""Names that an error lists."""


@dataclass(frozen=True)
class TaskAnswers:
    """What N people (or agents) answered to a question.

    Attributes:
      cells: (N,) levels, -1 where there is none; values and NaN where the scale is continuous.
    """

    name: str
    scale: Scale
    cells: np.ndarray


Known = Mapping[str, Attribute | TaskAnswers]
"""What conditions may be on, by name."""
Named = TypeVar("Named")


@dataclass(frozen=True)
class Condition:
    """A condition, as it was written.

    Attributes:
      head: what an error begins with: where it was written.
    """

    text: str
    tree: ast.expr
    head: str

    def holds(
        self, profile: Sequence[Attribute], people: int, answers: Sequence[TaskAnswers] = ()
    ) -> np.ndarray:
        """(N,) bool: who fulfils it.

        Args:
          profile: attributes of N people or agents. people: N. answers: of the same, to the
            questions that it may be on.
        Raises:
          CrowdError: there is no such attribute or question, or no such value of it.
        """
        known: dict[str, Attribute | TaskAnswers] = {a.name: a for a in profile}
        known |= {answered.name: answered for answered in answers}
        found: np.ndarray = _holds(self.tree, self.head, known, people)
        return found

    @property
    def is_on_none(self) -> bool:
        """Whether it says what holds of who has no answer."""
        nodes = ast.walk(self.tree)
        return any(isinstance(node, ast.Constant) and node.value is None for node in nodes)

    def reads(self, names: Iterable[str]) -> set[str]:
        """The names that it is on, among them some that are none of `names`."""
        known, found = dict.fromkeys(names), set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
                    side = _turned(left, op, right, known)[0]
                    name = str(side.value) if isinstance(side, ast.Constant) else _name(side, known)
                    found |= set() if name is None else {tidy_name(name)}
        return found


def condition_of(text: str, head: str | None = None) -> Condition:
    """Read a condition.

    Args:
      head: what errors begin with; None is that of `--where`.
    Raises:
      CrowdError: it is none.
    """
    head = f"--where {text}" if head is None else head
    if not isinstance(text, str):
        raise CrowdError(f'{head}: {told(text)} is no text; write it as in "age >= 60"')
    try:
        return Condition(text, ast.parse(text.strip(), mode="eval").body, head)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CrowdError(
            f"{head}: cannot be read; write it as in "
            "\"age >= 60 and gender == 'woman'\", texts in quotes"
        ) from error


def _holds(node: ast.expr, head: str, known: Known, people: int) -> np.ndarray:
    match node:
        case ast.BoolOp(op=op, values=parts):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            found: np.ndarray = join.reduce([_holds(p, head, known, people) for p in parts])
            return found
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return ~_holds(part, head, known, people)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            sides = [left, *rights]
            every = [
                _compared(a, op, b, head, known)
                for a, op, b in zip(sides, ops, sides[1:], strict=False)
            ]
            both: np.ndarray = np.logical_and.reduce(every)
            return both
        case _:
            raise CrowdError(
                f"{head}: '{ast.unparse(node)}' is no comparison; write it as in "
                "\"age >= 60 and gender == 'woman'\""
            )


def _compared(
    left: ast.expr, op: ast.cmpop, right: ast.expr, head: str, known: Known
) -> np.ndarray:
    left, op, right = _turned(left, op, right, known)
    name = _name(left, known)
    if name is None:
        if isinstance(left, ast.Constant):
            name = str(left.value)
        else:
            raise CrowdError(
                f"{head}: '{ast.unparse(left)}' is no attribute; a comparison begins with "
                f"one of: {', '.join(map(as_shown, known)) or 'none (the run knows no profiles)'}"
            )
    compared = attribute_named(name, head, known)
    negated = isinstance(op, ast.NotIn | ast.IsNot)
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, ast.List | ast.Tuple | ast.Set):
            raise CrowdError(f"{head}: write a list behind `in`: {name} in ['a', 'b']")
        values = [_value(one, head) for one in right.elts]
        equal = [_is(compared, ast.Eq(), value, head) for value in values]
        found = np.logical_or.reduce([np.zeros(len(compared.cells), bool), *equal])
    else:
        same = ast.Eq() if isinstance(op, ast.Is | ast.IsNot) else op
        value = _value(right, head)
        if value is None and isinstance(op, ast.NotEq):
            return ~missing(compared)
        found = _is(compared, same, value, head)
        if value is None:
            return ~found if negated else found
    return ~found & ~missing(compared) if negated else found


def _turned(
    left: ast.expr, op: ast.cmpop, right: ast.expr, known: Mapping[str, object]
) -> tuple[ast.expr, ast.cmpop, ast.expr]:
    """A comparison with the name that it is on before the value."""
    if _name(left, known) is None and _name(right, known) is not None and type(op) in TURNED:
        return right, TURNED[type(op)](), left
    return left, op, right


def _name(node: ast.expr, known: Mapping[str, object]) -> str | None:
    """The attribute that a side of a comparison names: a word, or a text in quotes that is one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if tidy_name(node.value) in known else None
    return None


def attribute_named(
    name: str, head: str, known: Mapping[str, Named], what: str = "attribute"
) -> Named:
    """What has a name.

    Raises:
      CrowdError: nothing has; `what` says what there might be.
    """
    tidy = tidy_name(name)
    if tidy not in known:
        shown = [*map(as_shown, list(known)[:MOST_SHOWN]), *["..."][: len(known) > MOST_SHOWN]]
        raise CrowdError(
            f"{head}: there is no {what} '{name}'; people are known by: "
            f"{', '.join(shown) or 'nothing'}{_meant(tidy, list(known))}"
        )
    return known[tidy]


def _meant(text: str, names: Sequence[str]) -> str:
    close = get_close_matches(text.casefold(), [name.casefold() for name in names], 1, 0.75)
    like = [name for name in names if close and name.casefold() == close[0]]
    return did_you_mean(text, names) or (f"; did you mean '{like[0]}'?" if like else "")


def _value(node: ast.expr, head: str) -> Value:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError) as error:
        hint = f"; texts stand in quotes: '{node.id}'" if isinstance(node, ast.Name) else ""
        raise CrowdError(f"{head}: '{ast.unparse(node)}' is no value{hint}") from error
    if isinstance(value, str | int | float | bool | None):
        return value
    raise CrowdError(f"{head}: '{ast.unparse(node)}' is no number and no text")


def missing(compared: Attribute | TaskAnswers) -> np.ndarray:
    """(N,) bool: of whom there is no value (or answer)."""
    if isinstance(compared, TaskAnswers):
        none = np.isnan(compared.cells) if scales.is_continuous(compared.scale) else None
        return np.asarray(compared.cells < 0) if none is None else none
    if compared.kind == "numeric":
        return np.isnan(compared.cells)
    if MISSING not in compared.levels:
        return np.zeros(len(compared.cells), bool)
    return np.asarray(compared.cells == compared.levels.index(MISSING))


def _is(compared: Attribute | TaskAnswers, op: ast.cmpop, value: Value, head: str) -> np.ndarray:
    """(N,) bool: whose cell compares so with a value; nobody whose cell is missing."""
    none = missing(compared)
    if value is None:
        return none
    if type(op) not in ORDER:
        raise CrowdError(f"{head}: compare {compared.name} with ==, !=, <, <=, >, >= or in")
    if isinstance(compared, TaskAnswers):
        return _answered(compared, op, value, head) & ~none
    return _has(compared, op, value, head) & ~none


def _answered(task: TaskAnswers, op: ast.cmpop, value: str | float | bool, head: str) -> np.ndarray:
    """(N,) bool: whose answer compares so with one that the scale has."""
    written = tidy_name(value) if isinstance(value, str) else str(value)
    wanted = scale_text.reader(task.scale)(written)
    if wanted is None:
        raise CrowdError(
            f"{head}: '{written}' is no answer to '{task.name}' "
            f"({scale_text.describe(task.scale)}){_meant(written, scales.labels(task.scale))}"
        )
    if not scales.is_ordered(task.scale) and not isinstance(op, ast.Eq | ast.NotEq):
        raise CrowdError(
            f"{head}: the answers to '{task.name}' have no order; list them: {task.name} in "
            f"['{written}', ...]"
        )
    with np.errstate(invalid="ignore"):
        return np.asarray(ORDER[type(op)](task.cells, wanted))


def _has(attribute: Attribute, op: ast.cmpop, value: str | float | bool, head: str) -> np.ndarray:
    """(N,) bool: whose cell compares so with a value that the attribute has."""
    name, compare = attribute.name, ORDER[type(op)]
    if attribute.kind == "numeric":
        if isinstance(value, str):
            raise CrowdError(
                f"{head}: '{name}' is a number, so compare it with one, not with '{value}'"
            )
        with np.errstate(invalid="ignore"):
            return np.asarray(compare(attribute.cells, float(value)))
    levels = [level for level in attribute.levels if level != MISSING]
    wanted = tidy_name(value) if isinstance(value, str) else str(value).removesuffix(".0")
    if wanted not in levels:
        raise CrowdError(
            f"{head}: nobody's {name} is '{wanted}'; there are: "
            f"{', '.join(map(as_shown, levels[:MOST_SHOWN]))}{_meant(wanted, levels)}"
        )
    if attribute.kind == "categorical" and not isinstance(op, ast.Eq | ast.NotEq):
        raise CrowdError(
            f"{head}: the values of '{name}' have no order (nor do those that "
            f"stand in a written population); list them: {name} in ['"
            + "', '".join(levels[:2])
            + "']"
        )
    # Cells count all levels, and "(missing)" may stand before others.
    return np.asarray(compare(attribute.cells, attribute.levels.index(wanted)))
