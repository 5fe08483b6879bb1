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
Rozhodně ne|Spíše ne|Spíše ano|Rozhodně ano
Nikdy|Zřídka|Někdy|Často|Vždy
Soha|Ritkán|Néha|Gyakran|Mindig
Egyáltalán nem|Inkább nem|Inkább igen|Teljes mértékben
Rozhodně nesouhlasím|Spíše nesouhlasím|Spíše souhlasím|Rozhodně souhlasím
Never|Rarely|Sometimes|Often|Always
one|two|three|four|five
VD|D|N|S|VS
Cheap|OK|Expensive
VP|P|F|G|VG|E
Much less likely|Somewhat less likely|No difference|Somewhat more likely|Much more likely
None at all|Not much|A fair amount|A great amount
not trusted at all|not trusted much|trusted somewhat|trusted completely
Never|More than a year ago|Within the past year|Within the past month|Within the past week
Reject|Poor|Acceptable|Good|Very Good|Excellent
À rejeter|Insuffisant|Passable|Assez bien|Bien|Très bien|Excellent
zero|one|two|three or more
Keine|Eins|Zwei|Drei oder mehr
aucun|un|deux|trois
uno|dos|tres|cuatro
Dislike|Live with|Neutral|Must-be|Like
I dislike it that way|I can live with it that way|I am neutral|It must be that way|I like it that way
Das würde mich sehr stören|Das ist mir egal|Das setze ich voraus|Das würde mich sehr freuen
Nie|Selten|Manchmal|Oft|Immer
jamais|rarement|parfois|souvent|toujours
Less than once a month|Once a month|Once a week|Daily
No|Yes
nein|ja
No|Maybe|Yes
Definitely not|Probably not|Maybe|Probably|Definitely
not|notvery|somewhat|very
veryunlikely|unlikely|likely|verylikely
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
not at all concerned|not too concerned|somewhat concerned|very concerned
too little|about right|too much
Too cheap|About right|Too expensive
too slow|just right|too fast
Much too short|A bit too short|About right|A bit too long|Much too long
not strict enough|about right|too strict
Not at all likely|2|3|4|Extremely likely
1|2|3|4|Extremely satisfied
Strongly disagree|2|3|Neutral|5|6|Strongly agree
Not at all|1|2|3|4|5|Very much
0 = not at all|1|2|3|4 = extremely
Never|2|3|4|Always
very bad|2|3|4|very good
never heard of|heard of|used
Never heard of it|Heard of it, but never used it|Used it
not aware|aware|use regularly
worse|same|better
decrease|stay the same|increase
decreased a lot|decreased a little|no change|increased a little|increased a lot
should be decreased|kept the same|should be increased
got worse|stayed the same|improved
less|same|more
fewer|the same|more
lower|about the same|higher
strongly oppose|somewhat oppose|neither favor nor oppose|somewhat favor|strongly favor
strongly oppose|oppose|neutral|favor|strongly favor
never|yearly|monthly|weekly|daily
Never|Once or twice|A few times|Many times
Not at all|Some days|Most days|Every day
None at all|Not very much|A fair amount|A great deal
hardly any|only some|a great deal
No confidence at all|Not much confidence|Some confidence|A great deal of confidence
Not a problem|Minor problem|Moderate problem|Serious problem
none|mild|moderate|severe
none|a few|some|most|all
none of them|some of them|most of them|all of them
Poorly|Fairly|Well
not well at all|not very well|fairly well|very well
disliked|neutral|liked
conservative|moderate|liberal
very conservative|conservative|moderate|liberal|very liberal
right|center|left
No|Yes, to some extent|Yes, definitely
Not confident|Somewhat confident|Confident|Very confident
Definitely would not buy|Probably would not buy|Might or might not buy|Probably would buy|Definitely would buy
beginner|intermediate|advanced|expert
Less than high school|High school diploma|Some college|Bachelor's degree|Master's degree|Doctorate
No formal education|Primary school|High school|College degree|Graduate degree
Less than high school|High school graduate|Some college, no degree|Associate degree|Bachelor's degree|Graduate or professional degree
Hauptschulabschluss|Mittlere Reife|Fachhochschulreife|Abitur|Hochschulabschluss
Sin estudios|Primaria|Secundaria|Bachillerato|Universitarios
Sans diplôme|Brevet|CAP ou BEP|Bac|Bac+2|Bac+5
Stimme überhaupt nicht zu|Stimme nicht zu|Weder noch|Stimme zu|Stimme voll und ganz zu
lehne stark ab|lehne eher ab|teils/teils|stimme eher zu|stimme stark zu
zu wenig|genau richtig|zu viel
trop peu|juste ce qu'il faut|trop
demasiado poco|lo justo|demasiado
schlechter|gleich|besser
weniger|gleich viel|mehr
moins|pareil|plus
menos|igual|más
Pas du tout d'accord|Pas d'accord|Ni d'accord ni pas d'accord|D'accord|Tout à fait d'accord
Muy en desacuerdo|En desacuerdo|Ni de acuerdo ni en desacuerdo|De acuerdo|Muy de acuerdo
Totalmente em desacordo|Em desacordo|Nem de acordo nem em desacordo|De acordo|Totalmente de acordo
Discordo totalmente|Discordo|Não concordo nem discordo|Concordo|Concordo totalmente
Discordo totalmente|Discordo|Neutro|Concordo|Concordo totalmente
Completamente in disaccordo|In disaccordo|Né d'accordo né in disaccordo|D'accordo|Completamente d'accordo
Per niente|Poco|Abbastanza|Molto
Helemaal mee oneens|Mee oneens|Niet mee eens, niet mee oneens|Mee eens|Helemaal mee eens
zeer oneens|oneens|neutraal|eens|zeer eens
sehr unwichtig|unwichtig|wichtig|sehr wichtig
gar nicht zufrieden|wenig zufrieden|ziemlich zufrieden|sehr zufrieden
muy insatisfecho|insatisfecho|ni satisfecho ni insatisfecho|satisfecho|muy satisfecho
très insatisfait|plutôt insatisfait|plutôt satisfait|très satisfait
très mauvaise|mauvaise|moyenne|bonne|très bonne
strongly disapprove|somewhat disapprove|somewhat approve|strongly approve
very unfavorable|somewhat unfavorable|somewhat favorable|very favorable
definitely false|probably false|probably true|definitely true
Very uncomfortable|Somewhat uncomfortable|Somewhat comfortable|Very comfortable
Not a threat|Minor threat|Major threat
Not at all interested|Not too interested|Somewhat interested|Very interested
Much worse off|A little worse off|About the same|A little better off|Much better off
полностью не согласен|скорее не согласен|скорее согласен|полностью согласен
никогда|редко|иногда|часто|всегда
まったくそう思わない|あまりそう思わない|どちらともいえない|ややそう思う|とてもそう思う
非常不同意|不同意|中立|同意|非常同意
Very sad|Sad|Neutral|Happy|Very happy
Strongly disagree (1)|Disagree (2)|Neutral (3)|Agree (4)|Strongly agree (5)
a) Never|b) Rarely|c) Often|d) Always
★☆☆☆☆|★★☆☆☆|★★★☆☆|★★★★★
⭐|⭐⭐|⭐⭐⭐
Stage 1|Stage 2|Stage 3
--|-|0|+|++
Très insatisfait(e)|Plutôt insatisfait(e)|Plutôt satisfait(e)|Très satisfait(e)
Nada satisfecho|Poco satisfecho|Algo satisfecho|Bastante satisfecho|Muy satisfecho
不満|やや不満|どちらともいえない|やや満足|満足
전혀 그렇지 않다|그렇지 않다|보통이다|그렇다|매우 그렇다
very difficult|difficult|neither easy nor difficult|easy|very easy
EXTRMLY CONSERVATIVE|CONSERVATIVE|SLGHTLY CONSERVATIVE|MODERATE|SLIGHTLY LIBERAL|LIBERAL|EXTREMELY LIBERAL
NEVER|LT ONCE A YEAR|ONCE A YEAR|SEVRL TIMES A YR|ONCE A MONTH|2-3X A MONTH|NRLY EVERY WEEK|EVERY WEEK|MORE THN ONCE WK
STRONG DEMOCRAT|NOT STR DEMOCRAT|IND,NEAR DEM|INDEPENDENT|IND,NEAR REP|NOT STR REPUBLICAN|STRONG REPUBLICAN
LT HIGH SCHOOL|HIGH SCHOOL|JUNIOR COLLEGE|BACHELOR|GRADUATE
Detractor|Passive|Promoter
Hiçbir zaman|Nadiren|Bazen|Sık sık|Her zaman
أبدا|نادرا|أحيانا|غالبا|دائما
غير موافق بشدة|غير موافق|محايد|موافق|موافق بشدة
Instämmer inte alls|Instämmer inte|Varken eller|Instämmer|Instämmer helt
Instämmer inte alls|Instämmer delvis|Instämmer till stor del|Instämmer helt
Helt uenig|Uenig|Verken enig eller uenig|Enig|Helt enig
Täysin eri mieltä|Jokseenkin eri mieltä|En samaa enkä eri mieltä|Jokseenkin samaa mieltä|Täysin samaa mieltä
Διαφωνώ απόλυτα|Διαφωνώ|Ούτε συμφωνώ ούτε διαφωνώ|Συμφωνώ|Συμφωνώ απόλυτα
Sangat Tidak Setuju|Tidak Setuju|Netral|Setuju|Sangat Setuju
Hoàn toàn không đồng ý|Không đồng ý|Bình thường|Đồng ý|Hoàn toàn đồng ý
全く当てはまらない|あまり当てはまらない|どちらともいえない|やや当てはまる|とても当てはまる
全くない|ほとんどない|時々ある|よくある|いつもある
從不|很少|有時|經常|總是
Hardly at all|Only now and then|Some of the time|Most of the time
Always illegal|Illegal in most cases|Legal in most cases|Always legal
Not important at all|Not very important|Fairly important|Very important|Essential
Never|At least once a week|Several times a week|Every day or nearly every day
I have no problems in walking about|I have slight problems in walking about|I have moderate problems in walking about|I have severe problems in walking about|I am unable to walk about
I am not anxious or depressed|I am slightly anxious or depressed|I am moderately anxious or depressed|I am severely anxious or depressed|I am extremely anxious or depressed
Very slightly or not at all|A little|Moderately|Quite a bit|Extremely
None|Minimal|Mild|Moderate|Moderately severe|Severe
Not at all|Not too much|A fair amount|A great deal
Never|Just once or twice|Several times|Many times|Always
Never|Less than monthly|Monthly|Weekly|Daily or almost daily
Far below average|Below average|Average|Above average|Far above average
Needs improvement|Meets expectations|Exceeds expectations
Not like me at all|Not like me|A little like me|Somewhat like me|Like me|Very much like me
None of the time|A little of the time|Some of the time|Most of the time|All of the time
Did not apply to me at all|Applied to me to some degree|Applied to me very much
No - no difficulty|Yes - some difficulty|Yes - a lot of difficulty|Cannot do at all
Extremely difficult|Very difficult|Somewhat difficult|Not difficult at all
Low|Normal|High|Urgent
Hate it|Dislike it|Neutral|Like it|Love it
Strong reject|Reject|Weak reject|Borderline|Weak accept|Accept|Strong accept
A is much better|A is slightly better|About the same|B is slightly better|B is much better
No pain|Mild pain|Moderate pain|Severe pain|Worst pain imaginable
Para nada satisfecho|No muy satisfecho|Bastante satisfecho|Muy satisfecho
Ninguna|Poca|Algo|Mucha
Strongly disagree=5|Disagree=4|Neutral=3|Agree=2|Strongly agree=1
Disagree - 1|Neutral - 2|Agree - 3
Nem|Igen
Hayır|Evet
Нет|Да
Tidak|Ya
Không|Có
لا|نعم
아니요|예
Nej|Ja
Ei|Kyllä
いいえ|はい
XS|S|M|L|XL
not at all|a little|somewhat|very
not anxious at all|a little anxious|somewhat anxious|very anxious
Never|Occas|Regul|Heavy
None|Some|Freq
Low|Med|High
Fail|Pass|Merit|Distinction
Freshman|Sophomore|Junior|Senior
Gen Z|Millennial|Gen X|Baby Boomer
Junior|Mid|Senior|Lead
Pants on fire|Mostly false|Half true|Mostly true|True
Definitely will not|Probably will not|Might|Probably will|Definitely will
I would not buy|I might buy|I would definitely buy
Almost none|Less than half|About half|More than half|Almost all
very unlikely|unlikely|possible|likely|very likely
sehr schlecht|schlecht|geht so|gut|sehr gut
Never|Once a week|2-3 times a week|4-6 times a week|Daily
Less than once a month|1-3 times a month|1-2 times a week|3-5 times a week|Every day
Never|Every few months|Twice a month|Every other day|More than once a day
Less than monthly|Monthly|Weekly|Several times a week|More than 5 times a week
Never|Up to 3 times a year|4 times per month|2 or more times each day
Gens d'acord|Poc d'acord|Bastant d'acord|Molt d'acord
Deloc|Puțin|Moderat|Mult|Foarte mult
Niciodată|Rar|Uneori|Deseori|Întotdeauna
Зовсім не довіряю|Скоріше не довіряю|Скоріше довіряю|Повністю довіряю
Ніколи|Рідко|Іноді|Часто|Завжди
כלל לא מסכים|לא מסכים|מסכים|מסכים מאוד
पूरी तरह असहमत|असहमत|सहमत|पूरी तरह सहमत
ไม่เห็นด้วยอย่างยิ่ง|ไม่เห็นด้วย|เห็นด้วย|เห็นด้วยอย่างยิ่ง
Uopće se ne slažem|Ne slažem se|Slažem se|U potpunosti se slažem
Nikad|Rijetko|Ponekad|Često|Uvijek""".splitlines()  # noqa: E501


@pytest.mark.parametrize("scale", SCALES)
def test_from_the_lowest_to_the_highest(scale):
    levels = scale.split("|")
    for seed in range(3):
        shuffled = random.Random(seed).sample(levels, len(levels))
        assert in_order(shuffled) == tuple(levels)
        assert in_order([level.upper() for level in shuffled]) is not None


@pytest.mark.parametrize(
    "words",
    [
        *("tea|coffee|water", "bronze|silver|gold", "north|south", "+|-", "😀|😐|🙁"),
        *("man|woman|neither", "employed|student|retired", "cat owner|dog owner|other"),
        *("left wins|same|right wins", "too hot|too wet|fine", "A|2|3|B", "1|2|3|Amsterdam"),
        *("high school|museum|library", "less sugar|more milk|same"),
        *("a) car|b) bus|c) bike", "coffee|iced coffee|tea", "man|woman|human"),
        *(
            "S|M|L",
            "C|S|M|L|V",
            "BBC One|BBC Two|Channel 4",
            "Plan one|Plan two|Plan three",
            "Democrat|Independent|Republican",
        ),
        *("cat|dog|cat and dog", "tea|green tea|coffee|iced coffee"),
        *("Boeing - 74|Airbus - 38|Fokker - 10", "tea=3|coffee=1|water=2", "hate|ok|spam"),
        *("like|share|comment", "cool|red|loud", "normal|express|overnight", "love|money|work"),
        *("net|tv|radio|tv; net|radio; net", "cat|dog|bird|cat and bird|dog and bird"),
    ],
)
def test_words_that_tell_no_order(words):
    assert in_order(words.split("|")) is None
    assert not seems_ordered(words.split("|"))


@pytest.mark.parametrize(
    "texts",
    [
        "StronglyDisagree|Disagree|Neutral|Agree|StronglyAgree",
        "NotAtAll|NotVery|Somewhat|Very",
        "TooLittle|AboutRight|TooMuch",
    ],
)
def test_words_that_capitals_tell_apart(texts):
    assert in_order(texts.split("|")[::-1]) == tuple(texts.split("|"))


@pytest.mark.parametrize("texts", ["hardly|somewhat|very", "not much|some|quite|very"])
def test_a_word_of_which_nothing_is_known_has_no_place_among_degrees(texts):
    assert in_order(texts.split("|")) is None
    assert seems_ordered(texts.split("|"))


def test_two_answers_of_one_rank_have_no_order():
    assert in_order(["often", "frequently", "never"]) is None
    assert seems_ordered(["often", "frequently", "never"])


def test_a_scale_with_a_word_of_its_own_seems_ordered():
    assert in_order(["very chilly", "somewhat chilly", "toasty"]) is None
    assert seems_ordered(["very chilly", "somewhat chilly", "toasty"])


@pytest.mark.parametrize("texts", ["cosy|very cosy|chilly", "静か|やや静か|賑やか|やや賑やか"])
def test_an_answer_with_a_word_more_seems_ordered(texts):
    assert in_order(texts.split("|")) is None
    assert seems_ordered(texts.split("|"))


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
        "Don't know (SPONTANEOUS)",
        "8. Refused (spont.)",
        "N/A - did not use",
        "I cannot tell",
        "Unable to judge",
        "Not applicable: no children",
        "Don't know / refused",
        "Weiß nicht oder keine Angabe",
        "Ne se prononce pas",
    ],
)
def test_texts_that_are_no_answer(text):
    assert is_no_answer(text)


@pytest.mark.parametrize(
    "text",
    [
        *("0", "no", "None", "name", "value", "#1", "Neutral", "😀", "+", "-1", "Don't agree"),
        *("NA - Namibia", "No / don't know", "Unknown person", "(refused)ly", "or"),
    ],
)
def test_texts_that_are_answers(text):
    assert not is_no_answer(text)


@pytest.mark.parametrize(
    "texts",
    [
        "1. Car|2. Bus|3. Bike",
        "Car (1)|Bus (2)|Bike (3)",
        "(1) Liberal|(2) Moderate|(3) Other",
        "1=SPD|2=CDU",
    ],
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


def test_words_around_what_is_right_have_an_order_though_none_is_known_to_be_less():
    assert in_order(("too zesty", "about right", "too abrupt")) == (
        "too abrupt",
        "about right",
        "too zesty",
    )


def test_an_end_that_nobody_chose_is_known_by_the_other():
    assert in_order(("3", "2", "Very likely", "1")) == ("1", "2", "3", "Very likely")
    assert in_order(("3", "2", "4", "Very unlikely")) == ("Very unlikely", "2", "3", "4")
    assert in_order(("3", "2", "4", "Very likely")) is None  # is it 1, or 5?


def test_numbered_names_have_no_order_of_their_numbers():
    assert in_order(("Candidate 1", "Candidate 2", "Candidate 3")) is None
