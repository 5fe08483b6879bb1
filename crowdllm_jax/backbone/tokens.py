"""Questions, editable prompt templates, and their tokens.

What a model is asked and how its answer is read are decided here, and checked: a prompt and an
option are encoded together, because " 1" is two tokens in some vocabularies and "1" one in others,
and the prompt's own tokens must come out unchanged in front of the option's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from crowdllm_jax.backbone.questions import Prompt, Question, shorten
from crowdllm_jax.errors import CrowdError

_MARK, _REPLY = "\ue000message\ue000", "\ue000reply\ue000"  # private-use characters: no one's text
# Some templates (Llama 3.2) write today's date into the prompt unless they are given one; then
# tomorrow's answers would differ and no cached one be found. This is their own fallback.
_DATE = "26 Jul 2024"
_CHUNK = 256  # questions encoded at once: the tokenizer's threads stay busy, memory stays small


@dataclass(frozen=True)
class Encoded:
    """A question's tokens: the prompt's, the span of them that is the task's own text (empty where
    it has none), and each option's (with a terminator where one option would be the beginning of
    another). `text` is the whole prompt as the model sees it."""

    text: str
    prompt: tuple[int, ...]
    task: tuple[int, int]
    options: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Frame:
    """What a model puts around a message: text before and after it, what joins an option to it,
    what ends an answer, and the token that starts a text if the tokenizer adds one."""

    before: str
    after: str
    join: str
    end: str
    start: tuple[int, ...]


def encode(tokenizer: Any, prompt: Prompt, questions: Sequence[Question]) -> Iterator[Encoded]:
    """Encode questions for a decoder, through its chat template when it has one.

    Raises CrowdError naming the question when its text holds a special token, when an option
    merges with the end of the prompt, or when two options cannot be told apart.
    """
    frame = _frame(tokenizer, prompt)
    special = _special(tokenizer)
    for begin in range(0, len(questions), _CHUNK):
        chunk = questions[begin : begin + _CHUNK]
        messages = [prompt.message(q) for q in chunk]
        for question in chunk:
            _refuse_special(question.text, (question.persona, *question.options), special)
        texts = [frame.before + message + frame.after for message, _ in messages]
        prompts = _tokens(tokenizer, texts, offsets=True)
        options = _option_tokens(tokenizer, frame, chunk, texts, prompts["input_ids"])
        for i, question in enumerate(chunk):
            begins = len(frame.before) + messages[i][1]
            first, last = 0, 0
            if question.text.strip():
                first, last = _own_tokens(prompts["offset_mapping"][i], begins, question.text)
            shift = len(frame.start)
            yield Encoded(
                text=texts[i],
                prompt=frame.start + tuple(prompts["input_ids"][i]),
                task=(first + shift, last + shift),
                options=options[i],
            )


def encode_texts(
    tokenizer: Any, texts: Sequence[str], before: str = ""
) -> Iterator[tuple[tuple[int, ...], tuple[int, int]]]:
    """Each text as the beginning of a user's message, or what follows `before` in it: all tokens up
    to its end, and the span of them that is the text itself. Raises CrowdError as `encode` does."""
    frame = _frame(tokenizer, Prompt(user="{task}"))
    ahead = frame.before + before
    special = _special(tokenizer)
    shift = len(frame.start)
    for begin in range(0, len(texts), _CHUNK):
        chunk = [text.strip() for text in texts[begin : begin + _CHUNK]]
        for text in chunk:
            _refuse_special(text, (before,), special)
        with_question = _tokens(tokenizer, [ahead + text for text in chunk], offsets=True)
        for text, tokens, offsets in zip(
            chunk, with_question["input_ids"], with_question["offset_mapping"], strict=True
        ):
            first, last = _own_tokens(offsets, len(ahead), text)
            yield frame.start + tuple(tokens), (first + shift, last + shift)


def _own_tokens(offsets: Sequence[tuple[int, int]], begins: int, text: str) -> tuple[int, int]:
    """The span of the tokens that are a text's own, which begins so many characters in."""
    ends = begins + len(text.strip())
    inside = [
        j
        for j, (left, right) in enumerate(offsets)
        if left < ends and right > begins and right > left
    ]
    if not inside:
        raise CrowdError(
            f"question {shorten(text)!r}: this model's tokenizer drops the whole text; give the "
            "task a text it can read"
        )
    return inside[0], inside[-1] + 1


def _special(tokenizer: Any) -> set[str]:
    return {str(t.content) for t in tokenizer.added_tokens_decoder.values() if t.special}


def _frame(tokenizer: Any, prompt: Prompt) -> _Frame:
    if not tokenizer.chat_template:
        # Special tokens are added by hand: some tokenizers also append an end, which would come
        # between prompt and option.
        bos = tokenizer.bos_token_id
        start = (bos,) if bos is not None and tokenizer("a")["input_ids"][:1] == [bos] else ()
        before = f"{prompt.system}\n\n" if prompt.system else ""
        return _Frame(before, prompt.cue, join=" ", end="\n", start=start)

    messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
    messages.append({"role": "user", "content": _MARK})
    before, after = _split(_render(tokenizer, messages, cue=True), _MARK)
    if after.rstrip().endswith("<think>"):
        # The template opens a block of thought whatever it is told; an option is no thought.
        after = after.rstrip() + "\n\n</think>\n\n"
    messages.append({"role": "assistant", "content": _REPLY})
    end = _split(_render(tokenizer, messages, cue=False), _REPLY)[1]
    added = [str(t.content) for t in tokenizer.added_tokens_decoder.values() if t.special]
    stops = [end.index(t) + len(t) for t in added if t in end]
    return _Frame(before, after, join="", end=end[: min(stops)] if stops else "\n", start=())


def _render(tokenizer: Any, messages: list[dict[str, str]], cue: bool) -> str:
    try:
        return str(
            tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=cue,
                enable_thinking=False,
                date_string=_DATE,
            )
        )
    except Exception as error:  # jinja's errors, and those that templates raise themselves
        hint = '; this model may take no system message, so set prompt.system to ""'
        where = f"{tokenizer.name_or_path}: " if tokenizer.name_or_path else ""
        raise CrowdError(
            f"{where}the tokenizer's chat template fails ({error})"
            f"{hint if len(messages) > 1 else ''}"
        ) from None


def _split(text: str, mark: str) -> tuple[str, str]:
    if text.count(mark) != 1:
        raise CrowdError("the tokenizer's chat template drops or repeats the message put into it")
    before, after = text.split(mark)
    return before, after


def _tokens(tokenizer: Any, texts: list[str], offsets: bool = False) -> dict[str, Any]:
    # The texts already hold the special tokens that the chat template writes: no second BOS.
    return dict(
        tokenizer(
            texts,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=offsets,
        )
    )


def _option_tokens(
    tokenizer: Any,
    frame: _Frame,
    questions: Sequence[Question],
    texts: list[str],
    prompts: list[list[int]],
) -> list[tuple[tuple[int, ...], ...]]:
    """Each question's options as tokens after its prompt."""

    def encode_with(end: Callable[[int], str]) -> list[tuple[tuple[int, ...], ...]]:
        joined = [
            text + frame.join + option + end(i)
            for i, (text, question) in enumerate(zip(texts, questions, strict=True))
            for option in question.options
        ]
        encoded = iter(_tokens(tokenizer, joined)["input_ids"])
        return [
            tuple(_after(next(encoded), p, q, o) for o in q.options)
            for p, q in zip(prompts, questions, strict=True)
        ]

    plain = encode_with(lambda _: "")
    # "1" also begins "10": without an end its probability would contain the other's.
    nested = [_nested(options) for options in plain]
    if not any(nested):
        return plain
    ended = encode_with(lambda i: frame.end if nested[i] else "")
    for options, question in zip(ended, questions, strict=True):
        if _nested(options):
            raise CrowdError(
                f"question {shorten(question.text)!r}: the tokenizer cannot tell the options "
                f"{question.options} apart; word them differently"
            )
    return ended


def _after(
    joined: list[int], prompt: list[int], question: Question, option: str
) -> tuple[int, ...]:
    if joined[: len(prompt)] != prompt or len(joined) == len(prompt):
        raise CrowdError(
            f"question {shorten(question.text)!r}: option {option!r} merges with the end of the "
            "prompt into one token, so it cannot be scored by itself; change the end of the "
            "template (prompt.cue, or prompt.user) or the option's label"
        )
    return tuple(joined[len(prompt) :])


def _nested(options: Sequence[tuple[int, ...]]) -> bool:
    return any(long[: len(short)] == short for short, long in permutations(options, 2))


def _refuse_special(text: str, parts: Sequence[str], special: set[str]) -> None:
    for part in (text, *parts):
        control = next((s for s in special if s in part), None)
        if control is not None:
            raise CrowdError(
                f"question {shorten(text)!r}: {shorten(part)!r} contains {control!r}, which this "
                "model reads as a control token; remove or rewrite it"
            )
