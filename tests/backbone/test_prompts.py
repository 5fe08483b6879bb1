"""Templates, and the tokenizer quirks that silently spoil a score."""

import pytest
import vocabularies as v

from crowdllm_jax.backbone.questions import DEFAULT, Prompt, Question
from crowdllm_jax.backbone.tokens import encode
from crowdllm_jax.errors import CrowdError

DIGITS = Question("How offensive is this comment ?", ("1", "2", "3"), (1, 2, 3))


def one(tokenizer, question=DIGITS, prompt=DEFAULT):
    return next(encode(tokenizer, prompt, [question]))


def test_a_space_and_a_digit_are_two_tokens_and_both_are_scored():
    tokenizer = v.wrap(v.sentencepiece())
    space = tokenizer.convert_tokens_to_ids("▁")
    options = one(tokenizer).options
    assert [o[0] for o in options] == [space] * 3  # the first token alone tells nothing
    assert len({o[1] for o in options}) == 3
    assert all(len(o) == 2 for o in options)


def test_one_bos_and_no_end_between_prompt_and_option():
    """This tokenizer puts <s> before and </s> behind whatever it encodes."""
    tokenizer = v.wrap(v.sentencepiece())
    prompt = one(tokenizer).prompt
    assert prompt[0] == tokenizer.bos_token_id
    assert prompt.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in prompt
    chat = one(v.wrap(v.sentencepiece(), v.CHAT)).prompt
    assert chat[0] == tokenizer.bos_token_id
    assert chat.count(tokenizer.bos_token_id) == 1


def test_chat_template_thinks_not_and_adds_no_space():
    tokenizer = v.wrap(v.bytelevel(), v.CHAT)
    encoded = one(tokenizer)
    assert encoded.text.endswith("<|assistant|>\n<think>\n\n</think>\n\n")
    assert encoded.text.startswith("<s><|user|>\nHow offensive")
    assert [tokenizer.decode(o) for o in encoded.options] == ["1", "2", "3"]


def test_a_template_that_ends_in_a_think_block_has_it_closed():
    encoded = one(v.wrap(v.bytelevel(), v.ALWAYS_THINKS))
    assert encoded.text.endswith("<|assistant|><think>\n\n</think>\n\n")


def test_a_template_that_writes_the_date_gets_a_fixed_one():
    chat = "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }} " + v.CHAT
    assert one(v.wrap(v.bytelevel(), chat)).text.startswith("26 Jul 2024 <s>")


def test_options_that_begin_others_get_an_end():
    question = Question("How many?", ("1", "10"), (1, 10))
    plain = v.wrap(v.bytelevel())
    assert [plain.decode(o) for o in one(plain, question).options] == [" 1\n", " 10\n"]
    chat = v.wrap(v.bytelevel(), v.CHAT)
    assert [chat.decode(o) for o in one(chat, question).options] == ["1<|end|>", "10<|end|>"]
    # Whole-number tokens need none.
    whole = v.wrap(v.bytelevel(digits=False, size=600))
    assert len({o[0] for o in one(whole, question).options}) == 2
    assert [whole.decode(o) for o in one(whole, question).options] == [" 1", " 10"]


def test_only_the_questions_that_need_it_get_an_end():
    questions = [DIGITS, Question("How many?", ("1", "10"), (1, 10))]
    sizes = [
        {len(o) for o in e.options} for e in encode(v.wrap(v.bytelevel()), Prompt(), questions)
    ]
    assert sizes[0] == {len(one(v.wrap(v.bytelevel())).options[0])}
    assert max(sizes[1]) > max(sizes[0])


def test_an_option_that_merges_with_the_prompt_is_refused():
    with pytest.raises(CrowdError, match=r"How offensive.*option '1' merges with the end"):
        one(v.wrap(v.greedy()), prompt=Prompt(user="{task}"))


def test_options_the_tokenizer_cannot_tell_apart_are_refused():
    question = Question("Which?", ("é", "ü"), (0, 1))  # both unknown to this vocabulary
    with pytest.raises(CrowdError, match="cannot tell the options"):
        one(v.wrap(v.sentencepiece()), question)


def test_control_tokens_in_a_text_are_refused():
    for question in (
        Question("Fine <|end|> really", ("1", "2"), (1, 2)),
        Question("Fine", ("1", "2"), (1, 2), persona="a <|user|>"),
    ):
        with pytest.raises(CrowdError, match=r"contains '<\|(end|user)\|>'.*control token"):
            one(v.wrap(v.bytelevel(), v.CHAT), question)


@pytest.mark.parametrize("chat", [None, v.CHAT])
@pytest.mark.parametrize("make", [v.sentencepiece, v.bytelevel])
def test_the_task_span_holds_the_task(make, chat):
    """Also when the same words stand in the instructions, the persona and the options."""
    tokenizer = v.wrap(make(), chat)
    question = Question("you are  all", ("you are  all", "not"), (0, 1), persona="you are  all")
    prompt = Prompt(user="you are  all : {persona} {task} . {options}", system="you are  all")
    if chat is not None:
        prompt = Prompt(user=prompt.user)
    encoded = one(tokenizer, question, prompt)
    begin, end = encoded.task
    assert tokenizer.decode(encoded.prompt[begin:end]).strip() == "you are  all"
    before = tokenizer.decode(encoded.prompt[:begin])
    assert before.count("you are  all") == (3 if chat is None else 2)


def test_options_and_persona_are_listed():
    text = one(v.wrap(v.bytelevel()), Question("T", ("1", "2"), (1, 2), persona="a {nurse}")).text
    assert text == (
        "T\n\nAnswer as this person would: a {nurse}\n\n"
        "Answer with exactly one of these options and nothing else:\n- 1\n- 2\nAnswer:"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user": "{text}"}, r"unknown placeholder \{text\}"),
        ({"user": "none"}, r"\{task\} must stand in it exactly once"),
        ({"user": "{task}{task}"}, r"\{task\} must stand in it exactly once"),
        ({"user": "{task!r}"}, "unknown placeholder"),
        ({"user": "{task} {"}, "write a literal brace twice"),
        ({"persona": "x"}, r"prompt\.persona"),
        ({"option": "- {label}"}, r"prompt\.option"),
    ],
)
def test_templates_are_checked(fields, message):
    with pytest.raises(CrowdError, match=message):
        Prompt(**fields)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((" ", ("a", "b"), (0, 1)), "empty text"),
        (("T", ("a",), (0,)), "two or more"),
        (("T", ("a", "a"), (0, 1)), "all different"),
        (("T", ("a", " b"), (0, 1)), "outer spaces"),
        (("T", ("a", "b"), (0,)), "as many finite values"),
        (("T", ("a", "b"), (0, float("nan"))), "as many finite values"),
    ],
)
def test_questions_are_checked(args, message):
    with pytest.raises(CrowdError, match=message):
        Question(*args)


def test_a_persona_needs_a_place():
    with pytest.raises(CrowdError, match=r"add \{persona\}"):
        one(v.wrap(v.bytelevel()), Question("T", ("1", "2"), (1, 2), "x"), Prompt(user="{task}"))


def test_a_failing_chat_template_names_the_remedy():
    chat = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + v.CHAT
    )
    with pytest.raises(CrowdError, match=r"no system.*set prompt\.system"):
        one(v.wrap(v.bytelevel(), chat), prompt=Prompt(system="Be brief."))
    with pytest.raises(CrowdError, match="drops or repeats"):
        one(v.wrap(v.bytelevel(), "{{ bos_token }}"))
