"""What an answer's text means: an option or nothing, however a server or a model puts it."""

import pytest
from fake_server import says
from hypothesis import assume, example, given
from hypothesis import strategies as st
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.reading import Said, chosen, parse, said
from crowdllm_jax.reference.questions import PromptConfig, prompt_and_questions
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Nominal, Ordinal

WORDS = ("strongly disagree", "disagree", "agree", "strongly agree")
CODED = Question("t", WORDS, (1, 2, 3, 4), codes=("1", "2", "3", "9"))
DIGITS = Question("t", ("1", "2", "3", "4", "5"), (1, 2, 3, 4, 5))

label = st.text(min_size=1, max_size=12).map(str.strip).filter(bool)
labels = st.lists(label, min_size=2, max_size=6, unique=True)


@given(labels, st.data())
@example(["-1", "- 1", "1"], None)
@example(["<think>", "No: yes", "yes"], None)
@example(["agree", "Agree", "agree."], None)
def test_a_label_or_code_is_read_as_itself(names, data):
    """On every scale; where a label is another option's code, the label is meant, for it is what
    the model was shown."""
    codes = names[::-1] if data is None else data.draw(st.permutations(range(len(names))))
    question = Question("t", tuple(names), tuple(range(len(names))), codes=tuple(map(str, codes)))
    for k, (name, code) in enumerate(zip(question.options, question.codes, strict=True)):
        assert parse(name, question) == k
        if code in names:
            assert parse(code, question) == names.index(code)
        else:
            assert parse(code, question) == k


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=8, unique=True), st.booleans())
def test_numbers_and_their_labels_are_read_through_a_study(levels, named):
    """From the scale of a study file to the option: by label, code and as a decimal number."""
    levels = tuple(sorted(levels))
    own = tuple(f"word {chr(97 + i)}" for i in range(len(levels))) if named else ()
    for kind in (Ordinal, Nominal):
        study = make_study({"it": kind(levels=levels, labels=own)}, tasks=1)
        question = prompt_and_questions(study, PromptConfig())[1][0]
        for k, level in enumerate(levels):
            for way in (str(level), f"{level}.0", f" **{level}** ", f"My answer: {level}"):
                assert parse(way, question) == k, (way, question)
            assert parse(scales.labels(study.scale_of(0))[k], question) == k


def test_every_kind_of_scale_reads_what_it_offers():
    study = make_study(EVERY_SCALE)
    for question in prompt_and_questions(study, PromptConfig())[1]:
        for k, option in enumerate(question.options):
            assert parse(option, question) == k
        for k, code in enumerate(question.codes):
            assert parse(code, question) == k
    approve = prompt_and_questions(make_study({"b": EVERY_SCALE["approve"]}), PromptConfig())[1][0]
    assert (parse("1", approve), parse("yes", approve), parse("No.", approve)) == (1, 1, 0)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("My answer: 4", 3),
        ("**4**", 3),
        ("4.", 3),
        ("4.0", 3),
        ("４", 3),
        ("**Answer:** 4", 3),
        ("The answer is 4.", 3),
        ("Réponse : 4", 3),
        ("答案：4", 3),
        ("4\n\nThe comment is rude, though it names nobody.", 3),
        ("The comment is rude.\n\nRating: **4**", 3),
        ("<think>\n1? No, 2.\n</think>\n\n4", 3),
        ("<thinking>so</thinking>4", 3),
        ("so it is 2</think>4", 3),  # the chat template opened the block
        ("[THINK]2[/THINK]4", 3),
        ("4<think>2", 3),
        # Anything else names several, or none.
        ("<think>\nit is 4", None),
        ("<think>4", None),
        ("I would say 4", None),
        ("4/5", None),
        ("Rating (1-5): 4", None),
        ("Not 3: 4", None),
        ("4\n\nOr rather 2", None),
        ("1\n2\n3\n4\n5", None),
        ("2\n4", None),
        ("My answer: 40", None),
        ("My answer: 4 or so", None),
        ("14", None),
        ("", None),
    ],
)
def test_a_number_among_words(answer, wanted):
    assert parse(answer, DIGITS) == wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("My answer: strongly agree", 3),
        ("Strongly Agree.", 3),
        ("9", 3),
        ("9 - strongly agree", 3),
        ("9. Strongly agree", 3),
        ("strongly agree (9)", 3),
        ("3: agree", 2),
        ("- agree", 2),
        ("4", None),  # a position, which no code is
        ("9 - agree", None),
        ("My answer: strongly", None),
        ("agree, strongly", None),
        ("disagree: agree", None),
    ],
)
def test_labels_and_codes_together(answer, wanted):
    assert parse(answer, CODED) == wanted


def test_the_listed_line_may_hold_more_than_the_option():
    assert parse("(2) so", DIGITS, Prompt(option="({option}) so")) == 1


def test_an_answer_cut_off_may_have_meant_a_longer_one():
    options = Question("t", ("agree", "agree strongly"), (1, 2))
    assert chosen(Said("My answer: agree", "stop"), options) == 0
    assert chosen(Said("My answer: agree", "length"), options) is None
    assert chosen(Said("My answer: agree strongly", "length"), options) == 1


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text):
    for question in (DIGITS, CODED):
        assert parse(text, question) in (None, 0, 1, 2, 3, 4)


@given(st.text(alphabet="xyz ,!", max_size=60), st.integers(0, 3), st.integers(0, 3))
def test_two_options_are_none(between, one, other):
    assume(one != other)
    assert parse(f"My answer: {WORDS[one]} {between}\nNo: {WORDS[other]}", CODED) is None


PARTS = {
    "a text": (says("4"), "4", ""),
    "parts": (
        says([{"type": "text", "text": "My answer: "}, {"type": "text", "text": "4"}]),
        "My answer: 4",
        "",
    ),
    "parts of thought": (
        says(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "2?"}]},
                {"type": "text", "text": "4"},
            ]
        ),
        "4",
        "2?",
    ),
    "bare parts": (says(["4"]), "4", ""),
    "nothing": (says(None), "", ""),
    "reasoning": (says(None, reasoning="Okay"), "", "Okay"),
    "reasoning_content": (says("", reasoning_content="Okay"), "", "Okay"),
    "tags": (says("<think>Okay</think>4"), "4", "<think>Okay</think>4"),
    "a refusal": (says(None, refusal="I cannot"), "I cannot", ""),
}


@pytest.mark.parametrize("name", PARTS)
def test_contents_in_every_form(name):
    answer, spoken, thought = PARTS[name]
    found = said(answer)
    assert (found.spoken, found.thought) == (spoken, thought)


@pytest.mark.parametrize("content", [7, {"text": "4"}, [{"type": "text", "text": 4}]])
def test_what_is_no_text(content):
    with pytest.raises(TypeError, match="no text"):
        said(says(content))
