"""What a model is asked: questions and editable prompt templates."""

import string
from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from crowdllm_jax.errors import CrowdError


@dataclass(frozen=True)
class Question:
    """One task put to the model: its text, the options' labels and their numeric values (for the
    expected value), optionally the persona who answers, and where they differ from the labels the
    options' codes, which are not shown but understood.

    `frame` is what of the text stands before and behind what the task is about (a ballot asks the
    same of each project). A `blank` question has no content in that place, and may have no text.

    Raises CrowdError for fewer than two, empty or repeated options and for values or codes that do
    not fit.
    """

    text: str
    options: tuple[str, ...]
    values: tuple[float, ...]
    persona: str = ""
    codes: tuple[str, ...] = ()
    frame: tuple[str, str] = ("", "")
    blank: bool = False

    def __post_init__(self) -> None:
        where = f"question {shorten(self.text)!r}"
        if not (self.text.strip() or self.blank):
            raise CrowdError("a question has an empty text; give each task a text")
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise CrowdError(f"{where}: options {self.options} must be two or more, all different")
        for option in self.options:
            if not option or option != option.strip():
                raise CrowdError(f"{where}: option {option!r} is empty or has outer spaces")
        if len(self.values) != len(self.options) or not np.isfinite(self.values).all():
            raise CrowdError(
                f"{where}: {len(self.options)} options need as many finite values, "
                f"got {self.values}"
            )
        if self.codes and len(self.codes) != len(self.options):
            raise CrowdError(f"{where}: {len(self.options)} options, {len(self.codes)} codes")


@dataclass(frozen=True)
class Prompt:
    """An editable template. `user` holds {task} once and may hold {options} and {persona}.

    The task stands before the persona so that all personas share one computed prefix. `persona`
    is the sentence that stands for {persona} (nothing does when a question has none), `option` a
    line of {options}. `cue` ends the prompt of a model without a chat template; a chat template
    brings its own. Raises CrowdError for placeholders that are unknown, missing or repeated.
    """

    user: str = (
        "{task}\n\n{persona}Answer with exactly one of these options and nothing else:\n{options}"
    )
    system: str = ""
    persona: str = "Answer as this person would: {persona}\n\n"
    option: str = "- {option}"
    cue: str = "\nAnswer:"

    def __post_init__(self) -> None:
        check_fields("user", self.user, required={"task"}, allowed={"persona", "options"})
        check_fields("persona", self.persona, required={"persona"})
        check_fields("option", self.option, required={"option"})

    def message(self, question: Question) -> tuple[str, int]:
        """The user message for `question`, and where in it the task's text begins."""
        if question.persona and "{persona}" not in self.user:
            raise CrowdError(
                "a question has a persona but the template has no place for it; "
                "add {persona} to prompt.user, after {task}"
            )
        filled = {
            "task": question.text.strip(),
            "persona": self.persona.format(persona=question.persona) if question.persona else "",
            "options": "\n".join(self.option.format(option=o) for o in question.options),
        }
        text, start = "", 0
        for literal, field, _, _ in string.Formatter().parse(self.user):
            text = (text + literal).lstrip() if not text else text + literal
            if field == "task":
                start = len(text)
            text += filled[field] if field else ""
        return text.rstrip(), start


def shorten(text: str, size: int = 40) -> str:
    """`text` on one line, cut for a message."""
    line = " ".join(text.split())
    return line if len(line) <= size else line[: size - 1] + "…"


def check_fields(
    name: str, template: str, required: Set[str] = frozenset(), allowed: Set[str] = frozenset()
) -> None:
    """Raise CrowdError unless `template` holds each required placeholder once, and no other than
    these and the allowed ones."""
    try:
        parsed = [p[1:] for p in string.Formatter().parse(template) if p[1] is not None]
    except ValueError as error:
        raise CrowdError(f"prompt.{name}: {error}; write a literal brace twice") from None
    for field, spec, conversion in parsed:
        if field not in required | allowed or spec or conversion:
            raise CrowdError(
                f"prompt.{name}: unknown placeholder {{{field}}}; "
                f"known are {', '.join(sorted(required | allowed))}"
            )
    fields = [p[0] for p in parsed]
    for field in required:
        if fields.count(field) != 1:
            raise CrowdError(f"prompt.{name}: {{{field}}} must stand in it exactly once")


DEFAULT = Prompt()
