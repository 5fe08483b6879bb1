"""What a table says of people: their ids, profiles and weights."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.bands import ordered_bands
from crowdllm_jax.study.draft.draft import Choices, shown
from crowdllm_jax.study.draft.missing_codes import CODES, FAR, digits_amid
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.spec import AttributeSpec, OrdinalAttribute
from crowdllm_jax.study.tables import rows as named_rows

MOST_LEVELS = 40
_NO_NUMBER = {-1, -7, -8, -9, *range(-99, -94), -77, -88, -999, *FAR}
"""Codes of no answer far from the numbers of an attribute, or below 0 where these are not."""
_NO_AGE = {*range(-6, -1)}
"""Further ones below numbers that begin above 0, as ages do."""
FEWEST_WEIGHTS, OFF_ONE, MOSTLY = 20, 0.05, 0.9
Profile = dict[str, tuple[AttributeSpec, list[str]]]


def one_of(what: str, flag: str, candidates: Sequence[Field]) -> Field:
    """The only candidate.

    Raises:
      CrowdError: there are several; which flag says the right one.
    """
    if len(candidates) > 1:
        found = shown((field.name for field in candidates), 8)
        raise CrowdError(
            f"which column holds {what}: {found}? Say it with {flag} '{candidates[0].name}' (or "
            "another)"
        )
    return candidates[0]


def weight_of(sheet: Sheet, choices: Choices) -> Field | None:
    """The column of survey weights, if there is one.

    Raises:
      CrowdError: there are several, it may be how heavy people are, or somebody has none.
    """
    if choices.weight == "none":
        return None
    if choices.weight is not None:
        return _complete(sheet.field(choices.weight, "--weight"))
    # With a unit (`70 kg`) a weight is how heavy something is.
    fields = [f for f in sheet.fields if f.use is None and not f.amount]
    fields = [f for f in fields if f.name not in choices.out]
    named = [f for f in fields if names.is_weight(f.name, f.text)]
    found = [f for f in named if _weighs(f)]
    if not found:
        for field in named:
            _refuse_odd_weights(field)
        _ask_of_weight(fields)
        return None
    if len(found) > 1:
        listed = shown((field.name for field in found), 8)
        raise CrowdError(
            f"which column holds people's weights: {listed}? Say it with --weight "
            f"'{found[0].name}' (or another), or --weight none"
        )
    field = found[0]
    numbers = _weights(field)
    mean = float(np.mean(numbers))
    if names.may_be_heavy(field.name) and 30 < mean < 250 and max(numbers) < 400:
        raise CrowdError(
            f"is '{field.name}' a survey weight (how many people somebody stands for), or how "
            f"heavy people are (its average is {mean:.0f})? Say --weight '{field.name}', or "
            "--weight none"
        )
    return _complete(field)


def _ask_of_weight(fields: Sequence[Field]) -> None:
    """Raise CrowdError if a column that is called `w` or `w1` holds decimals that are 1 on average,
    as weights are."""
    for field in fields:
        numbers = _weights(field) if re.fullmatch(r"(?i)w_?\d{0,2}", field.name) else []
        texts = field.column.distinct
        if len(numbers) < FEWEST_WEIGHTS or len(numbers) < len(texts) or min(numbers) <= 0:
            continue
        held = np.array(numbers)[field.column.codes[field.column.codes >= 0]]
        if abs(np.mean(held) - 1) < OFF_ONE and np.mean(held != np.round(held)) > MOSTLY:
            raise CrowdError(
                f"is '{field.name}' a survey weight (its average is {np.mean(held):.2f})? Say "
                f"--weight '{field.name}', or --weight none"
            )


def _refuse_odd_weights(field: Field) -> None:
    """Raise CrowdError if nearly all cells of a column called after weights are such, and others
    cannot be: left out, they would take the weights of everybody along."""
    often = np.bincount(field.column.codes[field.column.codes >= 0])
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    numbers = {text: numerals.number(text) for text in texts}
    odd = [text for text, value in numbers.items() if value is None or value < 0]
    bad = [field.column.distinct.index(text) for text in odd]
    if not odd or np.sum(often[bad]) > (1 - MOSTLY) * np.sum(often):
        return
    told = named_rows(field.column.in_file(np.flatnonzero(np.isin(field.column.codes, bad))))
    raise CrowdError(
        f"{field.cells.where}: {shown(odd, 4)} in {told} is no weight, which is a number of 0 or "
        "more; correct it in the file, or say --weight none"
    )


def _complete(field: Field) -> Field:
    """The column of weights; raises CrowdError if a row has none."""
    silent = [code for code, text in enumerate(field.column.distinct) if is_no_answer(text)]
    rows = np.flatnonzero(np.isin(field.column.codes, [-1, *silent]))
    if len(rows):
        told = named_rows(field.column.in_file(rows))
        raise CrowdError(
            f"{field.cells.where}: no weight in {told}; give every row one, take those "
            "rows out, or say --weight none"
        )
    return field


def _weights(field: Field) -> list[float]:
    """The different numbers of a column."""
    numbers = [numerals.number(text) for text in field.column.distinct]
    return [number for number in numbers if number is not None]


def _weighs(field: Field) -> bool:
    """Whether all cells with an answer are numbers of 0 or more, and these are not all alike."""
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    known = _weights(field)
    return len(known) == len(texts) > 1 and min(known) >= 0


def cells_of(field: Field, first_rows: np.ndarray) -> list[str]:
    """The texts of some rows; "" where there is none."""
    texts = (*field.column.distinct, "")
    return [texts[code] for code in field.column.codes[first_rows]]


def profile_of(
    fields: Sequence[Field],
    first_rows: np.ndarray,
    reasons: list[str],
    missing: Sequence[str] = (),
) -> Profile:
    """Columns that describe people as a profile; `reasons` gets a sentence on each left out, and on
    what is taken for no answer.

    Args:
      first_rows: (N,) a row of each person. missing: what the user says is no answer.
    """
    profile: Profile = {}
    silent: dict[str, list[str]] = defaultdict(list)
    for field in fields:
        cells = cells_of(field, first_rows)
        found = _attribute(field, _known(field, cells, missing), coded="none" not in missing)
        if isinstance(found, str):
            reasons.append(f"Left out: {field.name}, since {found}.")
            continue
        profile[field.name] = found
        for text in sorted({c for c, kept in zip(cells, found[1], strict=True) if c and not kept}):
            silent[text].append(field.name)
        reasons += _no_ages(field.name, found[1])
    if silent:
        told = [f"{text} in {shown(own, 4)}" for text, own in silent.items()]
        reasons.append(f"Taken for no answer in the profile: {shown(told, 8)}.")
    return profile


FEW_PEOPLE = 8


def no_profile(person: Field, field: Field) -> bool:
    """Whether a column tells of people what a program notes, or is another id of theirs."""
    if own_names.is_own(field.name) or names.is_of_several(field.name):
        return True
    if person.name.startswith(f"{field.name} and "):
        return names.may_be_household(field.name)
    texts = field.column.distinct
    apart = len(texts) == len(person.column.distinct) > FEW_PEOPLE
    return apart and (
        names.is_person(field.name)
        or names.has_id(field.name)
        or any(numerals.number(text) is None for text in texts)
    )


OLDEST = 130


def _no_ages(name: str, cells: Sequence[str]) -> list[str]:
    """A sentence on numbers that nobody is old; years of birth are above all of them."""
    if not profile_names.is_age(name):
        return []
    ages = {cell: numerals.number(cell) for cell in cells if cell}
    odd = [cell for cell, age in ages.items() if age is not None and age > OLDEST]
    if not odd or 10 * len(odd) > len(ages):
        return []
    return [
        f"Nobody is as old as {name} says ({shown(odd)}), which blurs what ages say; correct it in "
        f"the file, or say --missing {','.join(odd)}."
    ]


def _known(field: Field, cells: list[str], missing: Sequence[str]) -> list[str]:
    """Cells without what the file declares, or the user says, to be no answer."""
    listed = {numerals.number(text) for text in missing} - {None}
    amid = digits_amid(field.column.distinct, listed) if not field.labels else set()

    def gone(cell: str) -> bool:
        value = numerals.number(cell)
        said = cell in missing or value in listed
        return cell in field.missing or (said and value not in amid)

    silent = {cell for cell in set(cells) if gone(cell)}
    return ["" if cell in silent else cell for cell in cells]


def _attribute(
    field: Field, cells: list[str], *, coded: bool
) -> tuple[AttributeSpec, list[str]] | str:
    """What a column says of people, or why nothing; `coded`: numbers far from the others may be
    codes of no answer."""
    label_of = dict(field.labels)
    known = {cell for cell in cells if cell}
    if field.labels and any(cell in label_of for cell in known):
        silent = {c for c in known if c in label_of and is_no_answer(label_of[c])}
        numeric = {
            c for c in known - silent if c not in label_of and numerals.number(c) is not None
        }
        if len(numeric) <= len(known) / 2:
            cells = [label_of.get(cell, cell) for cell in cells]
            return _levels(cells, _file_order(field, set(cells)))
        cells = ["" if cell in silent else cell for cell in cells]
    cells = _with_typed_numbers(cells)
    numbers = {
        cell: value
        for cell in set(cells)
        if cell and not is_no_answer(cell) and (value := numerals.number(cell)) is not None
    }
    if not numbers or any(
        cell and cell not in numbers and not is_no_answer(cell) for cell in cells
    ):
        return _levels(cells, None)
    odd = _odd(set(numbers.values())) if coded else set()
    values = {*numbers.values()} - odd
    free = profile_names.is_gender(field.name) or (
        len(values) > 0 and profile_names.has_no_order(field.name, field.text, sorted(values))
    )
    if not free and (len(values) > 10 or (profile_names.is_age(field.name) and len(values) > 1)):
        return "numeric", [
            cell if cell in numbers and numbers[cell] not in odd else "" for cell in cells
        ]
    # A code of no answer is a level of its own where levels have no order.
    kept = ["" if not free and numbers.get(cell) in odd else _plain(cell) for cell in cells]
    return _levels(kept, None, free=free)


def _odd(values: Set[float]) -> set[float]:
    """Numbers far from the others, or below 0 where these are not, which are codes of no answer."""
    above = sorted(v for v in values if v not in _NO_NUMBER | _NO_AGE)
    codes = _NO_NUMBER | _NO_AGE if above and above[0] > 0 else _NO_NUMBER
    inside = sorted(v for v in values if v not in codes | CODES)
    if not inside:
        return set()
    low, high = inside[0], inside[-1]
    odd = {v for v in {*values} & codes if v < 0 <= low or v > 2 * high}
    # Somebody may be 99 years old, but not among pupils, nor have been at school as long.
    return odd | {v for v in {*values} & CODES if v > 3 * high}


MOST_TYPED, FEWEST_NUMBERS = 10, 10


def _with_typed_numbers(cells: list[str]) -> list[str]:
    """Cells of which nearly all are numbers, as people type their age, without the few texts beside
    them (`thirty`); what begins with a number (`89 or older`) is that number."""
    often = Counter(cell for cell in cells if cell and not is_no_answer(cell))
    typed = [cell for cell in often if numerals.number(cell) is None]
    numbers = sum(n for cell, n in often.items() if cell not in typed)
    few = 0 < len(typed) <= MOST_TYPED and len(often) - len(typed) > FEWEST_NUMBERS
    if not few or numbers < MOSTLY * sum(often.values()):
        return cells
    meant = {cell: numerals.leading_number(cell) for cell in typed}
    plain = {cell: "" if value is None else f"{value:g}" for cell, value in meant.items()}
    return [plain.get(cell, cell) for cell in cells]


def _plain(cell: str) -> str:
    """A whole number without the `.0` that a program gave it, as a column with gaps was of
    decimals."""
    return cell.removesuffix(".0") if numerals.number(cell) is not None else cell


def _file_order(field: Field, present: set[str]) -> tuple[str, ...] | None:
    """The levels in the file's order, where it says that they have one."""
    levels = tuple(dict.fromkeys(label for _, label in field.labels if label in present))
    spoken = tuple(level for level in levels if not is_no_answer(level))
    if (field.ordered or ordered_bands(spoken) or in_order(spoken)) and len(spoken) > 2:
        return spoken if present - {""} <= set(levels) else None
    return None


def _levels(
    cells: list[str], order: tuple[str, ...] | None, *, free: bool = False
) -> tuple[AttributeSpec, list[str]] | str:
    """Cells as a categorical attribute, or as an ordinal one if they have an order; `free`: their
    order says nothing, as codes stand for them."""
    present = {cell for cell in cells if cell}
    if len(present) < 2:
        return "it is the same for everybody"
    if len(present) > MOST_LEVELS:
        return f"it has {len(present):,} different texts"
    spoken = tuple(sorted(level for level in present if not is_no_answer(level)))
    order = order or (ordered_bands(spoken) or in_order(spoken) if len(spoken) > 2 else None)
    if order is None or free:
        return "categorical", cells
    cells = ["" if cell and cell not in order else cell for cell in cells]
    return OrdinalAttribute(levels=order), cells


def joined(sheet: Sheet, people: Sheet, person: Field) -> Sheet:
    """A sheet of answers with the columns of a table of people, joined by their ids.

    Raises:
      CrowdError: no id of one stands in the other.
    """
    keys = [f for f in people.fields if f.use == "person"]
    keys = keys or [f for f in people.fields if names.is_person(f.name)]
    wanted = set(person.column.distinct)
    keys = sorted(keys, key=lambda f: -len(wanted & set(f.column.distinct)))
    if not keys or not wanted & set(keys[0].column.distinct):
        raise CrowdError(
            f"{people.path}: holds none of the people of {sheet.path} (column '{person.name}'); "
            "name the column of their ids with --id"
        )
    key = keys[0]
    row_of: dict[str, int] = {}
    for row, code in enumerate(key.column.codes):
        if code >= 0 and row_of.setdefault(key.column.distinct[code], row) != row:
            raise CrowdError(f"{key.cells.where}: '{key.column.distinct[code]}' stands there twice")
    rows = np.array([row_of.get(text, -1) for text in person.column.distinct] + [-1])
    of_row = rows[person.column.codes]
    taken = {field.name for field in sheet.fields}
    fields = []
    for field in people.fields:
        if field is key or field.use == "out":
            continue
        codes = np.where(of_row >= 0, field.cells.codes[of_row], -1).astype(np.int32)
        name = field.name if field.name not in taken else f"{field.name}_people"
        use = field.use or (None if names.is_weight(field.name, field.text) else "profile")
        fields.append(replace(field, name=name, cells=replace(field.cells, codes=codes), use=use))
    known = sum(text in row_of for text in wanted)
    note = f"{people.path.name} tells the profile of {known:,} of {len(wanted):,} people."
    return replace(
        sheet, fields=(*sheet.fields, *fields), notes=(*sheet.notes, *people.notes, note)
    )
