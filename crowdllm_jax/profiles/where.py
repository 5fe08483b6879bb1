"""Whom: a condition on profiles, such as `age >= 60 and gender == 'woman'`, and exact recruiting
under it.

A condition is read, never run: names of attributes, numbers, texts, comparisons, `in`, `and`, `or`,
`not` and parentheses. A name that is no single word stands in quotes: `'household size' > 2`.
Whoever has no answer fulfils no comparison with it; `age is None` is who has none.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.profiles.profile_counts import possible
from crowdllm_jax.profiles.raking import kish, rake
from crowdllm_jax.runtime.names import as_shown, did_you_mean, tidy_name, tidy_names
from crowdllm_jax.runtime.yaml import parse, read_yaml
from crowdllm_jax.study.ids import MISSING
from crowdllm_jax.study.records import Attribute

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


@dataclass(frozen=True)
class Condition:
    """A condition on profiles, as it was written."""

    text: str
    tree: ast.expr

    def holds(self, profile: Sequence[Attribute], people: int) -> np.ndarray:
        """(N,) bool: who fulfils it.

        Args:
          profile: attributes of N people or agents. people: N.
        Raises:
          CrowdError: there is no such attribute, or no such value of it.
        """
        found: np.ndarray = _holds(self.tree, self.text, {a.name: a for a in profile}, people)
        return found


def condition_of(text: str) -> Condition:
    """Read a condition.

    Raises:
      CrowdError: it is none.
    """
    try:
        return Condition(text, ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CrowdError(
            f"--where {text}: cannot be read; write it as in "
            "\"age >= 60 and gender == 'woman'\", texts in quotes"
        ) from error


def people_among(
    profile: Sequence[Attribute], weight: np.ndarray, condition: Condition
) -> np.ndarray:
    """(N,) bool: which real people, of weights (N,), fulfil a condition.

    Raises:
      CrowdError: nobody does whose weight is above 0.
    """
    kept = condition.holds(profile, len(weight))
    if not (kept & (weight > 0)).any():
        light = " whose weight is above 0" if kept.any() else ""
        raise CrowdError(
            f"--where {condition.text}: none of the {len(weight):,} people is so{light}"
        )
    return kept


def whom(
    generator: ProfileGenerator,
    where: str | None = None,
    margins: Mapping[str, Mapping[str, float]] | None = None,
) -> ProfileGenerator:
    """The generator of those in a population with some margins who fulfil a condition; None leaves
    the population as it is, or takes all of it."""
    if margins is not None:
        generator = of_population(generator, margins)
    return generator if where is None else among(generator, condition_of(where))


def margins_of(text: str) -> dict[str, dict[str, float]]:
    """Margins as they are typed, `{gender: {f: 0.5, m: 0.5}}`, or in a YAML file of that name.

    Raises:
      CrowdError: there is no such file, or it holds no shares of levels.
    """
    key, path, example = "--margins", Path(text), "write {gender: {f: 0.5, m: 0.5}}"
    tree = read_yaml(path) if path.suffix in (".yaml", ".yml") else parse(text, key)
    for name, shares in tree.items():
        odd = shares if isinstance(shares, dict) else {"": shares}
        for level, share in odd.items():
            if not level or isinstance(share, bool) or not isinstance(share, int | float):
                place = f"{key}.{name}.{level}".removesuffix(".")
                raise CrowdError(f"{place}: '{share}' is no share; {example}")
    if not tree:
        raise CrowdError(f"{key}: gives no shares; {example}")
    try:
        margins: dict[str, dict[str, float]] = tidy_names(tree)
    except ValueError as error:
        raise CrowdError(f"{key}: {error}") from error
    return margins


def among(generator: ProfileGenerator, condition: Condition) -> ProfileGenerator:
    """The generator of the profiles that fulfil a condition, each as likely beside the others as
    before: agents are recruited under it, however rare it is.

    Raises:
      CrowdError: no profile fulfils it, or there are too many to look at.
    """
    profile, chance = _listed(generator, f"--where {condition.text}")
    kept = condition.holds(profile, len(chance)) & (chance > 0)
    if not kept.any():
        raise CrowdError(
            f"--where {condition.text}: nobody among the run's people is so, so no agent can be; "
            "widen the condition"
        )
    return _only(generator, profile, chance, kept)


def of_population(
    generator: ProfileGenerator, margins: Mapping[str, Mapping[str, float]]
) -> ProfileGenerator:
    """The generator of another population: every margin holds, and nothing else changes beyond
    what makes them hold (see `rake`).

    Args:
      margins: {attribute: {level: share}}.
    Raises:
      CrowdError: no weights of the profiles reach the margins, or there are too many to look at.
    """
    profile, chance = _listed(generator, "--margins")
    told = {name: dict(shares) for name, shares in margins.items()}
    raked = rake(profile, chance, told, key="--margins", nobody="nobody among the run's people")
    other = _only(generator, profile, raked, raked > 0)
    if generator.real_only:
        return other
    less = min(1.0, kish(raked) / kish(chance))
    return replace(other, effective=generator.effective * less)


def _listed(generator: ProfileGenerator, where: str) -> tuple[tuple[Attribute, ...], np.ndarray]:
    """The profiles that agents may have, and the chance of each."""
    if generator.real_only:
        return generator.attributes, generator.weight
    listed = possible(generator)
    if listed is None:
        raise CrowdError(
            f"{where}: the run's profiles are mixed anew (profiles.generator: "
            f"{generator.generator}, smoothing: {generator.smoothing:g}), and there are too "
            "many to look through; take a run with generator: joint and smoothing: 0"
        )
    return listed


def _only(
    generator: ProfileGenerator,
    profile: tuple[Attribute, ...],
    chance: np.ndarray,
    kept: np.ndarray,
) -> ProfileGenerator:
    """The generator of some of the profiles that `_listed` names."""
    rows = tuple(replace(a, cells=a.cells[kept]) for a in profile)
    share = chance[kept].sum()
    weight = chance[kept] / share
    distinct = [np.unique(a.cells, return_inverse=True) for a in rows]
    values = tuple(value for value, _ in distinct)
    shares = tuple(np.bincount(row, weight, len(value)) for value, row in distinct)
    effective = kish(chance[kept]) if generator.real_only else generator.effective * share
    return ProfileGenerator("joint", 0.0, rows, weight, values, shares, float(effective))


def groups_of(generator: ProfileGenerator, name: str) -> dict[str, ProfileGenerator]:
    """The generators of each value of a categorical or ordinal attribute that occurs.

    Raises:
      CrowdError: there is no such attribute, it is numeric, or there are too many profiles to look
        at.
    """
    attribute = _attribute(name, "--by", {a.name: a for a in generator.attributes})
    if attribute.kind == "numeric":
        raise CrowdError(
            f'--by {name}: is a number; ask of bands of it instead (--where "{name} >= 60")'
        )
    profile, chance = _listed(generator, f"--by {name}")
    cells = next(a.cells for a in profile if a.name == attribute.name)
    return {
        attribute.levels[level]: _only(generator, profile, chance, (cells == level) & (chance > 0))
        for level in np.unique(cells[chance > 0])
    }


def _holds(node: ast.expr, text: str, known: dict[str, Attribute], people: int) -> np.ndarray:
    match node:
        case ast.BoolOp(op=op, values=parts):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            found: np.ndarray = join.reduce([_holds(p, text, known, people) for p in parts])
            return found
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return ~_holds(part, text, known, people)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            sides = [left, *rights]
            every = [
                _compared(a, op, b, text, known)
                for a, op, b in zip(sides, ops, sides[1:], strict=False)
            ]
            both: np.ndarray = np.logical_and.reduce(every)
            return both
        case _:
            raise CrowdError(
                f"--where {text}: '{ast.unparse(node)}' is no comparison; write it as in "
                "\"age >= 60 and gender == 'woman'\""
            )


def _compared(
    left: ast.expr, op: ast.cmpop, right: ast.expr, text: str, known: dict[str, Attribute]
) -> np.ndarray:
    name = _name(left, known)
    if name is None and _name(right, known) is not None and type(op) in TURNED:
        left, right, op = right, left, TURNED[type(op)]()
        name = _name(left, known)
    if name is None:
        if isinstance(left, ast.Constant):
            name = str(left.value)
        else:
            raise CrowdError(
                f"--where {text}: '{ast.unparse(left)}' is no attribute; a comparison begins with "
                f"one of: {', '.join(map(as_shown, known)) or 'none (the run knows no profiles)'}"
            )
    attribute = _attribute(name, f"--where {text}", known)
    negated = isinstance(op, ast.NotIn | ast.IsNot)
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, ast.List | ast.Tuple | ast.Set):
            raise CrowdError(f"--where {text}: write a list behind `in`: {name} in ['a', 'b']")
        values = [_value(one, text) for one in right.elts]
        equal = [_is(attribute, ast.Eq(), value, text) for value in values]
        found = np.logical_or.reduce([np.zeros(len(attribute.cells), bool), *equal])
    else:
        same = ast.Eq() if isinstance(op, ast.Is | ast.IsNot) else op
        value = _value(right, text)
        if value is None and isinstance(op, ast.NotEq):
            return ~_missing(attribute)
        found = _is(attribute, same, value, text)
        if value is None:
            return ~found if negated else found
    return ~found & ~_missing(attribute) if negated else found


def _name(node: ast.expr, known: dict[str, Attribute]) -> str | None:
    """The attribute that a side of a comparison names: a word, or a text in quotes that is one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if tidy_name(node.value) in known else None
    return None


def _attribute(name: str, where: str, known: dict[str, Attribute]) -> Attribute:
    tidy = tidy_name(name)
    if tidy not in known:
        raise CrowdError(
            f"{where}: there is no attribute '{name}'; people are known by: "
            f"{', '.join(map(as_shown, known)) or 'nothing'}{_meant(tidy, list(known))}"
        )
    return known[tidy]


def _meant(text: str, names: Sequence[str]) -> str:
    close = get_close_matches(text.casefold(), [name.casefold() for name in names], 1, 0.75)
    like = [name for name in names if close and name.casefold() == close[0]]
    return did_you_mean(text, names) or (f"; did you mean '{like[0]}'?" if like else "")


def _value(node: ast.expr, text: str) -> Value:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError) as error:
        hint = f"; texts stand in quotes: '{node.id}'" if isinstance(node, ast.Name) else ""
        raise CrowdError(f"--where {text}: '{ast.unparse(node)}' is no value{hint}") from error
    if isinstance(value, str | int | float | bool | None):
        return value
    raise CrowdError(f"--where {text}: '{ast.unparse(node)}' is no number and no text")


def _missing(attribute: Attribute) -> np.ndarray:
    if attribute.kind == "numeric":
        return np.isnan(attribute.cells)
    if MISSING not in attribute.levels:
        return np.zeros(len(attribute.cells), bool)
    return np.asarray(attribute.cells == attribute.levels.index(MISSING))


def _is(attribute: Attribute, op: ast.cmpop, value: Value, text: str) -> np.ndarray:
    """(N,) bool: whose cell compares so with a value; nobody whose cell is missing."""
    name, missing = attribute.name, _missing(attribute)
    if value is None:
        return missing
    if type(op) not in ORDER:
        raise CrowdError(f"--where {text}: compare {name} with ==, !=, <, <=, >, >= or in")
    compare = ORDER[type(op)]
    if attribute.kind == "numeric":
        if isinstance(value, str):
            raise CrowdError(
                f"--where {text}: '{name}' is a number, so compare it with one, not with '{value}'"
            )
        with np.errstate(invalid="ignore"):
            return np.asarray(compare(attribute.cells, float(value)) & ~missing)
    levels = [level for level in attribute.levels if level != MISSING]
    wanted = (
        tidy_name(value)
        if isinstance(value, str)
        else f"{value:g}"
        if value is not True and value is not False
        else str(value)
    )
    if wanted not in levels:
        raise CrowdError(
            f"--where {text}: nobody's {name} is '{wanted}'; there are: "
            f"{', '.join(map(as_shown, levels[:20]))}{_meant(wanted, levels)}"
        )
    if attribute.kind == "categorical" and not isinstance(op, ast.Eq | ast.NotEq):
        raise CrowdError(
            f"--where {text}: the values of '{name}' have no order (nor do those that "
            f"stand in a written population); list them: {name} in ['"
            + "', '".join(levels[:2])
            + "']"
        )
    # Cells count all levels, and "(missing)" may stand before others.
    return np.asarray(compare(attribute.cells, attribute.levels.index(wanted)) & ~missing)
