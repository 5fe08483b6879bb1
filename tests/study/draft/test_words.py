"""Words of answers in order, whatever order they come in."""

import random

import pytest

from crowdllm_jax.study.draft.words import in_order, is_no_answer, only_coded, seems_ordered

SCALES = """\
Strongly disagree|Disagree|Neither agree nor disagree|Agree|Strongly agree
Strongly disagree|Somewhat disagree|Neutral|Somewhat agree|Strongly agree
Disagree strongly|Disagree a little|Neither agree nor disagree|Agree a little|Agree strongly
Very dissatisfied|Dissatisfied|Neutral|Satisfied|Very satisfied
Not at all important|Slightly important|Moderately important|Very important|Extremely important
Not important|Somewhat important|Important|Very important
not at all likely|not very likely|somewhat likely|very likely
Very unlikely|Unlikely|Likely|Very likely
Stimme überhaupt nicht zu|Stimme eher nicht zu|Teils/teils|Stimme eher zu|Stimme voll und ganz zu
Stimme gar nicht zu|Stimme nicht zu|Neutral|Stimme zu|Stimme voll zu
trifft nicht zu|trifft eher nicht zu|trifft eher zu|trifft zu
lehne völlig ab|lehne eher ab|weder noch|stimme eher zu|stimme völlig zu
sehr unzufrieden|eher unzufrieden|weder zufrieden noch unzufrieden|eher zufrieden|sehr zufrieden
Pas du tout d'accord|Plutôt pas d'accord|Ni d'accord ni pas d'accord|Plutôt d'accord|Tout à fait d'accord
Totalmente en desacuerdo|En desacuerdo|Ni de acuerdo ni en desacuerdo|De acuerdo|Totalmente de acuerdo
Discordo totalmente|Discordo parcialmente|Não concordo nem discordo|Concordo parcialmente|Concordo totalmente
Helemaal mee oneens|Mee oneens|Neutraal|Mee eens|Helemaal mee eens
Per niente d'accordo|Poco d'accordo|Abbastanza d'accordo|Molto d'accordo
Zdecydowanie nie|Raczej nie|Raczej tak|Zdecydowanie tak
Never|Rarely|Sometimes|Often|Always
Nie|Selten|Manchmal|Oft|Immer
jamais|rarement|parfois|souvent|toujours
Less than once a month|Once a month|Once a week|Daily
No|Yes
nein|ja
No|Maybe|Yes
Definitely not|Probably not|Probably|Definitely
1 - low|2|3|4|5 - high
Definitely not|Probably not|Might or might not|Probably yes|Definitely yes
Very unlikely|Somewhat unlikely|Not sure|Somewhat likely|Very likely
Definitely will not|Probably will not|May or may not|Probably will|Definitely will
1. Strongly agree|2. Agree|3. Disagree
1: never|2: some days|3: always
1. under 18|2. 18-24|3. 25 or older
1 star|2 stars|3 stars
Poor|Fair|Good|Very good|Excellent
strongly oppose|somewhat oppose|somewhat support|strongly support
Not at all|A little|Moderately|Quite a bit|Extremely
not at all concerned|not too concerned|somewhat concerned|very concerned""".splitlines()  # noqa: E501


@pytest.mark.parametrize("scale", SCALES)
def test_from_the_lowest_to_the_highest(scale):
    levels = scale.split("|")
    for seed in range(3):
        shuffled = random.Random(seed).sample(levels, len(levels))
        assert in_order(shuffled) == tuple(levels)
        assert in_order([level.upper() for level in shuffled]) is not None


@pytest.mark.parametrize(
    "words", ["tea|coffee|water", "bronze|silver|gold", "north|south", "+|-", "😀|😐|🙁"]
)
def test_words_that_tell_no_order(words):
    assert in_order(words.split("|")) is None
    assert not seems_ordered(words.split("|"))


def test_two_answers_of_one_rank_have_no_order():
    assert in_order(["often", "frequently", "never"]) is None
    assert seems_ordered(["often", "frequently", "never"])


def test_a_scale_with_a_word_of_its_own_seems_ordered():
    assert in_order(["very chilly", "somewhat chilly", "toasty"]) is None
    assert seems_ordered(["very chilly", "somewhat chilly", "toasty"])


@pytest.mark.parametrize(
    "text",
    [
        "Don't know",
        "don’t know",
        "DK",
        "N/A",
        "Refused",
        "-9 - No answer",
        "#DIV/0!",
        "#ref!",
        "keine Angabe",
        "ns/nc",
    ],
)
def test_texts_that_are_no_answer(text):
    assert is_no_answer(text)


@pytest.mark.parametrize(
    "text", ["0", "no", "None", "name", "value", "#1", "Neutral", "😀", "+", "-1", "Don't agree"]
)
def test_texts_that_are_answers(text):
    assert not is_no_answer(text)


@pytest.mark.parametrize(
    "texts", ["1. Car|2. Bus|3. Bike", "(1) Liberal|(2) Moderate|(3) Conservative", "1=SPD|2=CDU"]
)
def test_numbers_before_words_without_an_order_are_codes(texts):
    assert in_order(texts.split("|")) is None
    assert only_coded(texts.split("|"))


@pytest.mark.parametrize(
    "texts", ["30 minutes|1 hour|2 hours", "3 times a month|1 time a week", "2 days|1 week"]
)
def test_numbers_in_several_units_tell_no_order(texts):
    assert in_order(texts.split("|")) is None


@pytest.mark.parametrize(
    "words",
    [
        ("Not at all", "Several days", "More than half the days", "Nearly every day"),
        ("Nie", "Seltener", "Etwa einmal pro Woche", "Mehrmals pro Woche", "Täglich"),
        ("Jamais", "Une fois par mois", "Plusieurs fois par semaine", "Tous les jours"),
        ("Nunca", "Una vez al mes", "Varias veces a la semana", "Todos los días"),
        ("nigdy", "raz w miesiącu", "kilka razy w tygodniu", "codziennie"),
        ("SD", "D", "N", "A", "SA"),
        ("J - 1st decile", "R - 2nd decile", "C - 3rd decile"),
        ("Level 1", "Level 2", "Level 10"),
        ("strongly_disagree", "disagree", "agree", "strongly_agree"),
    ],
)
def test_how_often_in_several_languages_and_ranks(words):
    assert in_order(words[::-1]) == words


def test_numbered_names_have_no_order_of_their_numbers():
    assert in_order(("Candidate 1", "Candidate 2", "Candidate 3")) is None
