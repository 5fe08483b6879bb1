"""Reading which option an answer is.

Servers put the same answer in many ways: as a text or as parts, with a model's thoughts beside it
or in it, bare or after a few words. It counts only where it can mean one option and no other.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from crowdllm_jax.backbone.questions import DEFAULT, Prompt, Question, shorten
from crowdllm_jax.runtime import numerals
from crowdllm_jax.runtime.numerals import numbers_of

_TAGS = "think|thinking|thought|thoughts|reasoning|reflection"
_THOUGHT = re.compile(
    rf"<({_TAGS})>.*?(?:</\1>|\Z)|\[think\].*?(?:\[/think\]|\Z)", re.DOTALL | re.IGNORECASE
)
# A chat template may open the block of thought, so that the answer only closes it.
_CLOSED = re.compile(rf"\A.*(?:</(?:{_TAGS})>|\[/think\])", re.DOTALL | re.IGNORECASE)
_LEAD = re.compile(
    r"[:：]|\b(?:answer|rating|response|choice|score|option|selection)\s+(?:is|would be)\s",
    re.IGNORECASE,
)
_AROUND = 20  # so many characters of quotes, stars and blanks may stand around an option
_BETWEEN = re.compile(r"\s*[-–—:.)(=]\s*")  # of "4 - agree", "4. agree", "agree (4)"


@dataclass(frozen=True)
class Said:
    """What a model answered: its text (with the thoughts that stand in it), why it ended there as
    the server says it ("stop", "length"), and the thoughts that the server gives apart."""

    text: str
    finish: str | None = None
    thoughts: str = ""

    @property
    def spoken(self) -> str:
        """The text without thoughts."""
        return _spoken(self.text)

    @property
    def thought(self) -> str:
        """The thoughts, wherever they stood."""
        return self.thoughts or ("" if self.spoken == self.text.strip() else self.text)

    def __str__(self) -> str:
        """The text where there is one; else what there is in its place."""
        if self.spoken:
            return shorten(self.spoken, 80)
        thought = f", after the thoughts {shorten(self.thought, 60)!r}" if self.thought else ""
        return f"no text (finish_reason {self.finish}{thought})"


def said(answer: dict[str, Any]) -> Said:
    """What a chat completion says. Raises TypeError, KeyError or IndexError if it is none."""
    choice = answer["choices"][0]
    message = choice["message"]
    content = message.get("content")
    text, thoughts = _joined(content, "text"), _joined(content, "thinking")
    for name in ("reasoning_content", "reasoning"):
        thoughts = thoughts or _joined(message.get(name), "text")
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str):
        text = refusal
    finish = choice.get("finish_reason")
    return Said(text, finish if isinstance(finish, str) else None, thoughts)


def _joined(content: Any, kind: str) -> str:
    """The text of a content; of its parts, those of one kind."""
    if isinstance(content, str | None):
        return (content or "") if kind == "text" else ""
    if not isinstance(content, list):
        raise TypeError("the message's content is no text")
    texts = []
    for part in content:
        if isinstance(part, str) and kind == "text":
            texts.append(part)
        elif isinstance(part, dict) and kind in part:
            texts.append(_joined(part[kind], "text"))
    return "".join(texts)


def _spoken(text: str) -> str:
    return _CLOSED.sub("", _THOUGHT.sub("", text)).strip()


def chosen(said: Said, question: Question, prompt: Prompt = DEFAULT) -> int | None:
    """`parse` of what was said; None also where it was cut off and may have meant a longer one."""
    option = parse(said.text, question, prompt)
    if option is not None and said.finish == "length":
        mine = question.options[option]
        begun = (mine, said.spoken)
        if any(other != mine and other.startswith(begun) for other in question.options):
            return None
    return option


def parse(text: str, question: Question, prompt: Prompt = DEFAULT) -> int | None:
    """Which option `text` is, or None.

    An option is its label, as it was listed, the number its label begins with ("0" of "0 - never")
    or its code, give or take case, quotes and a full stop; where a label, or its number, is also
    another option's code, it is the label, for labels are what the model was shown. It may follow
    or precede other words ("My answer: 4") if these name no other.
    """
    of_all = _option(text, question, prompt)
    if of_all is not None:
        return of_all
    text = _spoken(text)
    hits = set()
    longest = max(map(len, (*question.options, *question.codes))) + _AROUND
    for part, rest in _parts(text, longest):
        option = _option(part, question, prompt)
        if option is not None and not _named(rest, question, option):
            hits.add(option)
    if len(text) <= 2 * longest:
        hits |= set(_twice(text, question, prompt))
    return hits.pop() if len(hits) == 1 else None


def _option(text: str, question: Question, prompt: Prompt) -> int | None:
    """Which option `text` is and nothing else."""
    if text.strip() not in question.options:
        begun = _beginning(text, question.options)
        if begun is not None:
            return begun
    listed = tuple(prompt.option.format(option=label) for label in question.options)
    readings: tuple[Callable[[str], Any], ...] = (str.strip, _bare, _loose, _number)
    for reading in readings:
        mine = reading(text)
        for names in (question.options, question.codes, listed):
            hits = [k for k, name in enumerate(names) if mine == reading(name)]
            if mine is not None and len(hits) == 1:
                return hits[0]
    return _beginning(text, question.codes)


def _beginning(text: str, names: tuple[str, ...]) -> int | None:
    """Which of the names begins with the number that `text` is."""
    number = _number(text)
    begun = numbers_of(names, ordered=False)
    return begun.index(number) if number is not None and begun.count(number) == 1 else None


def _bare(text: str) -> str:
    quotes = "\"'`*“”‘’«»"
    return text.strip().strip(quotes).strip().removesuffix(".").strip(quotes).strip()


def _loose(text: str) -> str:
    return unicodedata.normalize("NFKC", _bare(text)).replace("’", "'").casefold()


def _number(text: str) -> float | None:
    """4 is 4.0."""
    bare = _bare(text)
    return None if bare.startswith("+") else numerals.number(bare)


def _parts(text: str, longest: int) -> Iterator[tuple[str, str]]:
    """Where an option may stand beside other words (the whole text, its first line, its last), as
    it is and after a lead ("My answer:"); and the rest of the text."""
    lines = [line for line in text.splitlines() if line.strip()]
    for first, last in ((0, len(lines)), (0, 1), (len(lines) - 1, len(lines))):
        part = "\n".join(lines[first:last])
        around = "\n".join(lines[:first] + lines[last:])
        for begin in (0, *(lead.end() for lead in _LEAD.finditer(part))):
            if len(part) - begin <= longest:
                yield part[begin:], f"{around}\n{part[:begin]}"


def _named(text: str, question: Question, but: int) -> bool:
    """Whether `text` names an option other than one."""
    names = {question.options[but], *question.codes[but : but + 1]}
    others = {*question.options, *question.codes} - names
    return any(
        re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) for name in others
    )


def _twice(text: str, question: Question, prompt: Prompt) -> Iterator[int]:
    """The option that is given as its code and its label: "4 - agree", "agree (4)"."""
    if not question.codes:
        return
    for between in _BETWEEN.finditer(text):
        left = _option(text[: between.start()], question, prompt)
        right = _option(text[between.end() :].removesuffix(")"), question, prompt)
        if left is not None and left == right:
            yield left


def first_token(
    answer: dict[str, Any], question: Question
) -> tuple[list[float], float, str] | None:
    """What log-probabilities say of an answer's first token; None without them.

    Returns:
        The probability of each option that is listed as the whole token (0 if not listed); what
        the others may hold at most, all together; and the likeliest tokens, for a message.
    """
    given = (answer["choices"][0].get("logprobs") or {}).get("content")
    if not given or not given[0].get("top_logprobs"):
        return None
    tokens = _tokens(question)
    probs, seen = [0.0] * len(question.options), []
    listed, least = 0.0, 1.0
    for entry in given[0]["top_logprobs"]:
        token, logp = entry["token"], float(entry["logprob"])
        if math.isnan(logp) or logp > 1e-3:
            raise ValueError(f"{logp} is no log-probability")
        seen.append(token)
        p = math.exp(min(logp, 0.0))
        listed, least = listed + p, min(least, p)
        option = tokens.get(token.strip())  # "1" and " 1" are one answer
        if option is not None:
            probs[option] += p
    if math.fsum(probs) > 1.001:
        raise ValueError("the probabilities of the first token sum to more than one")
    # The list is of the likeliest: what is left out is no likelier, and the sum is at most one.
    hidden = min(max(1.0 - listed, 0.0), least * probs.count(0.0))
    return probs, hidden, ", ".join(repr(t) for t in seen[:5])


def _tokens(question: Question) -> dict[str, int]:
    """The option that a first token names, as its label or, where that is certain, its code."""
    tokens = {label: k for k, label in enumerate(question.options)}
    if not begins_another(tuple({*question.options, *question.codes})):
        tokens = {code: k for k, code in enumerate(question.codes)} | tokens
    return tokens


def begins_another(options: Sequence[str]) -> bool:
    """Whether an option is how another one begins, which a first token does not tell apart."""
    return any(long.startswith(short) for short, long in permutations(options, 2))
