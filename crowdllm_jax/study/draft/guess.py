"""Guess the scale of a question from its answers, from their labels, and from those beside it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import leading_number, number
from crowdllm_jax.study import scale_text
from crowdllm_jax.study.draft.amounts import refuse_mixed_amounts
from crowdllm_jax.study.draft.bands import ordered_bands
from crowdllm_jax.study.draft.draft import Choices, as_flag, shown
from crowdllm_jax.study.draft.grades import in_grades, of_a_test
from crowdllm_jax.study.draft.missing_codes import (
    CODES,
    MOST_LEVELS,
    NEGATIVE,
    digits_amid,
    missing_codes,
)
from crowdllm_jax.study.draft.spelling import refuse_misspelt
from crowdllm_jax.study.draft.units import mixed_units
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import (
    PLUS_MINUS,
    anchored,
    degrees_in,
    in_order,
    is_no_answer,
    only_coded,
    seems_ordered,
    without_codes,
    yes_in_several_ways,
)
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal, Scale

MOST_NAMES = 20
MOST_STRAYS = 10


@dataclass(frozen=True)
class Guess:
    """A question's scale; `dropped` are its texts that are no answer, `why` a sentence's end."""

    scale: Scale
    dropped: frozenset[str]
    why: str


@dataclass(frozen=True)
class Answered:
    """What is known of the answers to a question.

    Attributes:
      name: of the question. texts: the different answers, often: how often each is given.
      labels, missing, ordered: see `formats.sheet.Field`.
      alike: how many questions are answered in the same texts.
    """

    name: str
    texts: tuple[str, ...]
    often: tuple[int, ...]
    labels: tuple[tuple[str, str], ...] = ()
    missing: frozenset[str] = frozenset()
    ordered: bool | None = None
    alike: int = 1


def guess(question: Answered, choices: Choices) -> Guess | str:
    """The scale of a question, or why it is none.

    Raises:
      CrowdError: its answers have an order that their words do not tell; how to say it.
    """
    label_of = dict(question.labels)
    listed = {number(code) for code in choices.missing} - {None}
    amid = set() if question.labels else digits_amid(question.texts, listed)
    balance = "++" in question.texts and all(map(PLUS_MINUS.fullmatch, question.texts))
    dropped = {
        text
        for text in question.texts
        if text in question.missing
        or ((text in choices.missing or number(text) in listed) and number(text) not in amid)
        or (is_no_answer(label_of.get(text, text)) and not balance)
    }
    texts = tuple(text for text in question.texts if text not in dropped)
    if not any(_within(texts, said) for said in (*choices.orders, *choices.unordered)):
        dropped |= _aside(question, texts)
        texts = tuple(text for text in texts if text not in dropped)
        question = replace(question, missing=question.missing | dropped)
    worded = [text for text in texts if not _numeric(text)]
    if len(worded) > 1 and not question.labels and not listed:
        # Where answers are words, numbers such as -99 are a program's codes of no answer.
        numbers = {text for text in texts if _numeric(text)}
        if all(float(text) in CODES | NEGATIVE for text in numbers):
            dropped |= numbers
            texts = tuple(worded)
    if not texts:
        return "nobody answers it"
    if question.labels:
        result = _labelled(question, texts, choices)
        if result is not None:
            return _checked(question, result, dropped)
    if all(map(_numeric, texts)):
        result = _numbers(question, texts, choices)
    else:
        result = _words(question, texts, choices)
    return _checked(question, result, dropped)


_UNSURE = re.compile(r"(\d+ )?(i am |i m )?(not sure|unsure|not certain|uncertain)( yet)?")
_NOT_MET = re.compile(
    r"(i )?(have not|haven t|has not|did not|didn t|don t|do not) (used?|tried|try|seen|see|"
    r"watch(ed)?|read|heard|hear|visit(ed)?|thought|think|had|attend(ed)?|experienced?|taken|take)\b.*"
)
"""Who has not met what is asked about cannot say how good it is."""
_YEA = {"yea", "yay", "aye", "nay"}


def says_unsure(text: str) -> bool:
    """Whether somebody says no more than not to be sure."""
    return _UNSURE.fullmatch(folded(text)) is not None


def _aside(question: Answered, texts: Sequence[str]) -> set[str]:
    """Answers that stand aside from the others and are none: who is not sure, where that is no
    middle, as the codes or the others' order tell; who does not vote beside `Yea` and `Nay`."""
    label_of = {code: label for code, label in question.labels if not is_no_answer(label)}
    texts = [*dict.fromkeys([*texts, *label_of])]
    words = {text: folded(label_of.get(text, text)) for text in texts}
    if not _YEA.isdisjoint(words.values()):
        return {text for text, word in words.items() if word == "not voting"}
    apart = [text for text, word in words.items() if _NOT_MET.fullmatch(word)]
    met = [label_of.get(text, text) for text in texts if text not in apart]
    if apart and len(met) > 2 and in_order([label_of.get(t, t) for t in texts]) is None:
        return {*apart} if in_order(met) is not None else set()
    unsure = [text for text, word in words.items() if says_unsure(word)]
    others = [text for text in texts if text not in unsure]
    # Where it is asked how sure somebody is, that is the lowest answer.
    asked = any(re.search(r"\b(sure|certain|confident)\b", words[text]) for text in others)
    if len(unsure) != 1 or len(others) < 3 or asked:
        return set()
    codes = {text: number(text) if label_of else leading_number(text) for text in texts}
    known = [code for text in others if (code := codes[text]) is not None]
    own = codes[unsure[0]]
    if own is not None and len(known) == len(others):
        outside = own > max(known)
    else:
        # Beside an even number of others it may be the middle.
        odd = len(others) % 2 == 1
        outside = odd and in_order([label_of.get(text, text) for text in texts]) is None
    spoken = without_codes([label_of.get(text, text) for text in others])
    return {*unsure} if outside and in_order(spoken) is not None else set()


def _checked(question: Answered, result: Guess | str, dropped: set[str]) -> Guess | str:
    if isinstance(result, str):
        return result
    try:
        scale_text.check(result.scale, question.name)
    except CrowdError:
        if not isinstance(result.scale, Ordinal | Nominal | Binary) or not result.scale.labels:
            raise
        kind = type(result.scale)
        result = Guess(kind(levels=result.scale.levels), result.dropped, result.why)
    return Guess(result.scale, result.dropped | dropped, result.why)


def _numeric(text: str) -> bool:
    return number(text) is not None


def _level(code: str) -> int | float | str:
    """A code as a study file writes it."""
    value = number(code)
    if value is None or code not in (str(int(value)), str(value)):
        return code
    return int(value) if value.is_integer() else value


def _labelled(question: Answered, texts: tuple[str, ...], choices: Choices) -> Guess | str | None:
    """A scale by the labels of codes; None where labels say nothing of the answers."""
    known = {
        code: label
        for code, label in question.labels
        if code not in question.missing and code not in choices.missing and not is_no_answer(label)
    }
    strange = [text for text in texts if text not in known]
    codes = _codes(known, strange)
    if codes is None:
        return None
    labels = tuple(known.get(code, code) for code in codes)
    ordered = question.ordered or strange or in_order(labels) or _ordered_codes(codes, labels)
    free = any(_within(labels, names) for names in choices.unordered)
    if len(codes) > 2 and ordered and not free:
        return _ordered(codes, labels, by_file=question.ordered is True)
    if len(codes) > MOST_NAMES:
        return f"it has {len(codes)} answers without an order"
    levels, named = tuple(map(_level, codes)), _named(codes, labels)
    if len(codes) == 2:
        two = Binary(levels=levels, labels=named)
        return Guess(two, _NONE, "two answers, by the file's labels")
    return Guess(Nominal(levels=levels, labels=named), _NONE, "choices without an order")


def _ordered_codes(codes: tuple[str, ...], labels: tuple[str, ...]) -> bool:
    """Whether labels tell that the codes' order is theirs: some stand for themselves between two
    ends that have names, or several speak of degrees."""
    if not all(map(_numeric, codes)):
        return False
    plain = sum(code == label for code, label in zip(codes, labels, strict=True))
    return plain > 0 or seems_ordered(labels) or degrees_in(labels) > 1


def _codes(known: dict[str, str], strange: list[str]) -> tuple[str, ...] | None:
    """The codes of a scale of which some have a label (`known`) and some that are given have none;
    None where these cannot be codes of one scale."""
    if not strange:
        return tuple(known) if len(known) > 1 else None
    if not known or not all(map(_numeric, [*strange, *known])):
        return None
    numbers = [float(code) for code in known]
    inside = len(known) > 1 and all(min(numbers) <= float(t) <= max(numbers) for t in strange)
    if inside and all(n.is_integer() for n in numbers) and np.ptp(numbers) < MOST_LEVELS:
        # Numbers of which the ends (and perhaps the middle) have a label.
        return tuple(str(i) for i in range(int(min(numbers)), int(max(numbers)) + 1))
    few = len(strange) < len(known) and len(strange) + len(known) <= MOST_LEVELS
    return tuple(sorted({*strange, *known}, key=float)) if few else None


def _ordered(codes: tuple[str, ...], labels: tuple[str, ...], *, by_file: bool) -> Guess:
    """An ordinal scale in the order of its codes, of the file, or of its words."""
    if by_file and codes == labels:
        # A data frame's levels stand in their order; codes with labels may not.
        levels = tuple(map(_level, codes))
        numbers = [number(code) for code in codes]
        if None not in numbers and numbers != sorted(numbers, key=lambda n: n or 0.0):
            # Levels that are numbers have to increase; below all of them none is another's name.
            first = int(min(0.0, *(n for n in numbers if n is not None))) - 1 - len(codes)
            levels = tuple(range(first, first + len(codes)))
        named = _named(tuple(map(str, levels)), labels) if levels[0] != _level(codes[0]) else ()
        return Guess(Ordinal(levels=levels, labels=named), _NONE, "ordered by the file")
    if all(map(_numeric, codes)):
        order = sorted(range(len(codes)), key=lambda i: float(codes[i]))
        why = "ordered by the codes of the file's labels"
    elif by_file:
        order, why = [*range(len(codes))], "ordered by the file"
    else:
        words = in_order(labels)
        if words is None:
            return Guess(
                Nominal(levels=tuple(map(_level, codes)), labels=_named(codes, labels)),
                _NONE,
                "choices whose order is not known",
            )
        order, why = [labels.index(word) for word in words], "ordered by their words"
    codes, labels = tuple(codes[i] for i in order), tuple(labels[i] for i in order)
    return Guess(
        Ordinal(levels=tuple(map(_level, codes)), labels=_named(codes, labels)), _NONE, why
    )


def _named(codes: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels, if they say more than the codes."""
    return () if labels == codes else labels


_NONE: frozenset[str] = frozenset()


def _numbers(question: Answered, texts: tuple[str, ...], choices: Choices) -> Guess | str:
    name = question.name
    by_text = {text: float(text) for text in texts}
    numbers = sorted(set(by_text.values()))
    codes = set() if "none" in choices.missing else missing_codes(name, numbers)
    dropped = frozenset(text for text, value in by_text.items() if value in codes)
    numbers = [value for value in numbers if value not in codes]
    why = "numbers"
    if len(numbers) < 2:
        return "everybody gives one answer"
    _ask_of_slip(question, numbers, choices)
    low, high = numbers[0], numbers[-1]
    step = next((s for s in (1.0, 0.5) if all((n / s).is_integer() for n in numbers)), None)
    if step and (high - low) / step < MOST_LEVELS:
        count = round((high - low) / step) + 1
        levels = tuple(_level(f"{low + i * step:g}") for i in range(count))
        if len(numbers) == 2 and high - low > step:
            levels = tuple(_level(f"{n:g}") for n in numbers)
        if len(levels) == 2:
            return Guess(Binary(levels=levels), dropped, why)
        return Guess(Ordinal(levels=levels), dropped, why)
    if len(numbers) <= 7 and len(texts) >= 3:
        return Guess(Ordinal(levels=tuple(_level(f"{n:.15g}") for n in numbers)), dropped, why)
    if low >= 0 and 50 < high <= 100:
        low, high = 0.0, 100.0
    return Guess(Continuous(low=low, high=high), dropped, why)


FEWEST_SLIPS, MOST_SLIPS, AFTER_GAP = 50, 0.03, 4


def _ask_of_slip(question: Answered, numbers: list[float], choices: Choices) -> None:
    """Raise CrowdError if hardly anybody gives a number far above a scale of 1, 2, 3 and so on, as
    whoever types 55 for 5."""
    *scale, top = numbers
    often = {
        float(t): n for t, n in zip(question.texts, question.often, strict=True) if _numeric(t)
    }
    whole = len(scale) > 2 and scale == [1.0 + i for i in range(len(scale))]
    if not whole or top < max(2 * len(scale), len(scale) + AFTER_GAP) or "none" in choices.missing:
        return
    answers = sum(often.values())
    rare = often[top] <= MOST_SLIPS * answers and often[top] < min(often[n] for n in scale)
    if rare and answers >= FEWEST_SLIPS and top < MOST_LEVELS * AFTER_GAP:
        times = "once" if often[top] == 1 else f"{often[top]:,} times"
        raise CrowdError(
            f"'{question.name}': is {top:g} an answer (given {times}; the others are 1 to "
            f"{len(scale)})? Correct it in the file, or say --missing {top:g}; --missing none "
            "takes it for an answer"
        )


def _words(question: Answered, texts: tuple[str, ...], choices: Choices) -> Guess | str:
    bare = _bare(texts)
    texts = tuple(text for text in texts if text not in bare)
    known = _given(texts, choices) or _graded(question.name, texts, choices)
    found = known or _worded(question, texts, choices)
    for text in bare:
        if isinstance(found, Guess) and scale_text.parse(found.scale, text) is None:
            whole = next(other for other in texts if leading_number(other) == float(text))
            raise CrowdError(
                f"'{question.name}': '{text}' is an answer beside '{whole}', but the numbers are "
                "not in the order of the answers; write both alike in the file"
            )
    return found


def _given(texts: tuple[str, ...], choices: Choices) -> Guess | None:
    """A scale in the order that the user gives; None where none is given."""
    given = next((order for order in choices.orders if _within(texts, order)), None)
    if given is None:
        return None
    by_fold = {folded(text): text for text in texts}
    # Signs are no part of a word, but of grades: A+, A, A-.
    levels = tuple(word if word in texts else by_fold.get(folded(word), word) for word in given)
    one = Binary(levels=levels) if len(levels) == 2 else _ordinal(levels)
    return Guess(one, _NONE, "in the order that was given")


def _graded(name: str, texts: tuple[str, ...], choices: Choices) -> Guess | None:
    """A scale of grades, or of the letters of choices; None where the answers are neither, or are
    said to have no order."""
    grades = in_grades(name, texts)
    if grades is None and len(texts) > 2 and of_a_test(name, texts):
        why = "letters of choices, whose order says nothing; --order says otherwise"
        return Guess(Nominal(levels=tuple(sorted(texts))), _NONE, why)
    if grades is None or any(_within(texts, names) for names in choices.unordered):
        return None
    return Guess(_ordinal(grades[0]), _NONE, grades[1])


def _worded(question: Answered, texts: tuple[str, ...], choices: Choices) -> Guess | str:
    if len(texts) < 2:
        return "everybody gives one answer"
    if (other := _other_things(texts)) is not None:
        return other
    free = any(_within(texts, names) for names in choices.unordered)
    answers = sum(question.often)
    typed = len(texts) > 7 and len(texts) * 2 > answers
    open_question = _OPEN.search(folded(question.name)) is not None
    order = None
    if len(texts) <= MOST_LEVELS and not typed:
        order = in_order(texts) or ordered_bands(texts)
    if order is None and open_question and not free:
        return "it asks for a text of one's own"
    if not free:
        _refuse_made_dates(question.name, texts)
        if order is None:
            refuse_mixed_amounts(question.name, texts)
            refuse_misspelt(question.name, dict(zip(question.texts, question.often, strict=True)))
            _ask_of_yes(question.name, texts)
            _ask_of_strays(question, texts)
    if len(texts) == 2:
        if answers < 4 and order is None:
            return "it holds texts"
        return Guess(Binary(levels=order or tuple(sorted(texts))), _NONE, "two answers")
    if order:
        return Guess(_ordinal(order), _NONE, "ordered by their words")
    long = sum(map(len, texts)) / len(texts) > 80
    if len(texts) > MOST_NAMES or len(texts) * 2 > answers or long:
        return f"it holds {len(texts):,} different texts"
    if not free:
        _ask_of_order(question, texts)
    return Guess(Nominal(levels=tuple(sorted(texts))), _NONE, "choices without an order")


def _ask_of_order(question: Answered, texts: tuple[str, ...]) -> None:
    """Raise CrowdError if choices seem to have an order, or are numbers and a few other texts."""
    told = seems_ordered(texts) or only_coded(texts) or mixed_units(texts) or anchored(texts)
    told = told or (len(texts) > 2 and not any(map(str.isalnum, "".join(texts))))  # faces
    if told or (question.alike >= 3 and len(texts) <= 11):
        words = as_flag(texts)
        raise CrowdError(
            f"'{question.name}': in which order are its answers, from the lowest to the highest: "
            f"{shown(texts, 11)}? Say it with --order {words} (in the right order); or, if they "
            f"have none, --no-order {words}{_strange_word(texts)}"
        )
    _ask_of_strays(question, texts, least=HALF)


def _strange_word(texts: Sequence[str]) -> str:
    """A hint at the only word among numbers."""
    words = [text for text in texts if not _numeric(text)]
    if len(words) != 1 or len(texts) < 4:
        return ""
    return f"; or, if {words[0]} is no answer, --missing {as_flag(words)}"


def _ask_of_yes(name: str, texts: Sequence[str]) -> None:
    """Raise CrowdError if yes and no are all that is said, but in several languages or ways."""
    if yes_in_several_ways(texts):
        raise CrowdError(
            f"'{name}': yes and no are written in several ways ({shown(texts, 8)}); write each of "
            f"them alike in the file, or, if these are choices, say --no-order {as_flag(texts)}"
        )


def _ordinal(order: tuple[str, ...]) -> Ordinal:
    """An ordinal scale of texts in order; names that stand for numbers (`Not at all`, 2, 3, `Very
    much`) become labels of these."""
    plain = [number(text) for text in order]
    whole = [value for value in plain if value is not None and value.is_integer()]
    if not whole or None not in map(leading_number, order):
        return Ordinal(levels=order)
    values: list[int] = []
    for place, value in enumerate(plain):
        before = values[-1] + 1 if values else int(whole[0]) - plain.index(whole[0]) + place
        values.append(before if value is None else int(value))
    if values != sorted(set(values)) or values[-1] - values[0] >= MOST_LEVELS:
        return Ordinal(levels=order)
    levels = tuple(range(values[0], values[-1] + 1))
    named = dict(zip(values, order, strict=True))
    return Ordinal(levels=levels, labels=tuple(named.get(level, str(level)) for level in levels))


HALF, NEARLY, FEWEST_NUMBERS = 0.5, 0.9, 3


def _ask_of_strays(question: Answered, texts: tuple[str, ...], least: float = NEARLY) -> None:
    """Raise CrowdError if nearly all answers are numbers (or at least a share, and several differ),
    and a few texts are not."""
    often = dict(zip(question.texts, question.often, strict=True))
    strays = [text for text in texts if not _numeric(text)]
    numbers = sum(often[text] for text in texts if _numeric(text))
    answers = sum(often[text] for text in texts)
    several = least == NEARLY or len(texts) - len(strays) >= FEWEST_NUMBERS
    if len(strays) > MOST_STRAYS or numbers < least * answers or not several:
        return
    raise CrowdError(
        f"'{question.name}': {numbers:,} of {answers:,} answers are numbers, but not "
        f"{shown(strays, MOST_STRAYS)}; correct them in the file, or, if they are no answers, say "
        f"--missing {as_flag(strays)}"
        + (f"; if all are choices, --no-order {as_flag(texts)}" if least == HALF else "")
    )


def _bare(texts: tuple[str, ...]) -> list[str]:
    """Numbers that one of the other texts begins with: `5` beside `5 - Excellent`, as which it is
    read; none unless all texts that are no numbers begin with different ones."""
    begins = [leading_number(text) for text in texts if not _numeric(text)]
    if None in begins or len(set(begins)) < len(begins):
        return []
    return [text for text in texts if _numeric(text) and float(text) in begins]


_GERMAN = (
    r"(jan|jän|feb|mrz|mär|apr|mai|jun|jul|aug|sept?|okt|nov|dez|januar|jänner|februar|märz|april|"
    r"juni|juli|august|september|oktober|november|dezember)"
)
_MONTH = (
    rf"({_GERMAN}|mar|may|oct|dec|january|february|march|june|july|october|december|janv|févr|mars|"
    r"avr|avril|juin|juil|août|déc|ene|abr|ago|dic|gen|mag|giu|lug|ott|fev|out|set|mrt|mei)\b"
)
"""How spreadsheets write months: in German `2. Jan`, elsewhere `2-Jan`."""
_MADE_DATE = re.compile(
    rf"(?i)\d{{1,2}}(-{_MONTH}|\. ?{_GERMAN}\b)\.?|{_MONTH}\.?[- ]\d\d|"
    r"\d{4}-\d\d-\d\d([T ]00:00:00)?"
)


def _refuse_made_dates(name: str, texts: Sequence[str]) -> None:
    """Raise CrowdError if some answers are days of a year, as a spreadsheet makes them of `1-2`."""
    made = [text for text in texts if _MADE_DATE.fullmatch(text)]
    others = [text for text in texts if text not in made]
    if made and len(texts) <= MOST_NAMES and any(re.match(r"\W?\d", text) for text in others):
        raise CrowdError(
            f"'{name}': a spreadsheet seems to have made dates of its answers ({shown(made)}, "
            f"beside {shown(others)}); write in the file what was answered, such as 1-2, or leave "
            f"the question out: --leave-out {as_flag([name])}"
        )


_OPEN = re.compile(
    r"\b(suggestions?|(any|other|further|additional) (comments?|feedback|remarks?|thoughts)|"
    r"anything else|please (explain|specify|describe|elaborate)|why (do|did|is|are|not|or)|in your "
    r"own words|open ended|freitext|anmerkungen|anregungen|weitere bemerkungen|commentaires?|"
    r"remarques|comentarios?|sugerencias|commenti|suggerimenti|opmerkingen|uwagi)\b|\bcomments?$"
)
"""What asks for a typed text."""


def _within(texts: Sequence[str], order: Sequence[str]) -> bool:
    words = {folded(word) for word in order}
    return all(folded(text) in words for text in texts)


_DATE = re.compile(
    r"\d{4}-\d\d?-\d\d?.*|\d{1,2}[./]\d{1,2}[./]\d{2,4}.*|\d{1,2}:\d\d(:\d\d)?( [AP]M)?"
)


def _other_things(texts: Sequence[str]) -> str | None:
    """Why texts are no answers by how they are written; None where they may be."""
    if all(text.startswith("{") and text.endswith("}") for text in texts):
        return "it holds objects in JSON, whose parts need columns of their own"
    return "it holds dates or times" if dates(texts) else None


def dates(texts: Sequence[str]) -> bool:
    """Whether all texts are dates or times."""
    return all(_DATE.fullmatch(text) for text in texts)
