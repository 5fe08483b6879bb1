"""The order of answers by their words: never, sometimes, often; from strongly disagree on.

Two ways lead to an order. Some scales are lists of words (how often, how good); others join a
degree and a sense (`very unlikely`, `stimme eher zu`), which together are a number. Words are
compared
without case, accents and signs. An order is given only where no two answers come out alike.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import permutations

from crowdllm_jax.runtime.numerals import leading_number
from crowdllm_jax.study.draft.bands import ordered_bands
from crowdllm_jax.study.draft.rates import rates
from crowdllm_jax.study.draft.schooling import schooling
from crowdllm_jax.study.draft.units import mixed_units
from crowdllm_jax.study.draft.word_lists import LISTS, NUMBERS, folded


def _each(text: str) -> tuple[str, ...]:
    """Words that stand apart by bars."""
    return tuple(text.split("|"))


_DEGREES = {
    folded(word): degree
    for words, degree in {
        "slightly/slghtly/barely/minimally/kaum/légèrement/ligeramente/leggermente/"
        "ligeiramente": 0.6,
        "a little/a little bit": 0.8,
        "somewhat/rather/mildly/partly/partially/tend to/leaning/lean/"
        "probably/possibly/eher/etwas/teilweise/ein wenig/wahrscheinlich/plutôt/un peu/"
        "probablement/algo/un poco/más bien/parcialmente/probablemente/abbastanza/piuttosto/"
        "parzialmente/um pouco/een beetje/enigszins/raczej/trochę/spíše/spíš/not strongly/not very "
        "strong": 1.0,
        "moderately/moderat/mäßig/modérément/moderadamente/moderatamente/matig": 1.4,
        "fairly/quite/pretty/ziemlich/recht/assez/bastante/tamelijk/dość/mostly/generally/"
        "überwiegend/weitgehend": 1.7,
        "very/strongly/severely/highly/a lot/very much/really/sehr/stark/voll/fortement/très/muy/"
        "fuertemente/molto/fortemente/muito/fortemente/zeer/erg/sterk/bardzo/mocno": 3.0,
        "extremely/extrmly/completely/totally/fully/entirely/absolutely/definitely/certainly/"
        "exceptionally/overwhelmingly/at all/voll und ganz/völlig/vollkommen/ganz/äußerst/"
        "extrem/absolut/überhaupt/gar/bestimmt/auf jeden fall/tout à fait/complètement/"
        "totalement/entièrement/extrêmement/du tout/absolument/certainement/totalmente/"
        "completamente/extremadamente/en absoluto/definitivamente/del todo/pienamente/"
        "estremamente/assolutamente/del tutto/inteiramente/extremamente/helemaal/volledig/"
        "absoluut/zdecydowanie/całkowicie/w ogóle/rozhodně/určitě": 4.0,
    }.items()
    for word in words.split("/")
}

_CONTRARIES = {
    folded(contrary): folded(sense)
    for contrary, sense in (
        pair.split(">")
        for pair in _each(
            "disagree>agree|dissatisfied>satisfied|unsatisfied>satisfied|unlikely>likely|"
            "improbable>probable|unimportant>important|unfavorable>favorable|unfavourable>favourable|"
            "oppose>support|against>for|disapprove>approve|bad>good|poor>good|dislike>like|"
            "negative>positive|difficult>easy|hard>easy|uncomfortable>comfortable|decrease>increase|"
            "decreased>increased|worse>better|untrue>true|false>true|inaccurate>accurate|"
            "unhappy>happy|unsafe>safe|unacceptable>acceptable|unhelpful>helpful|unclear>clear|"
            "untrustworthy>trustworthy|distrust>trust|unfair>fair|unhealthy>healthy|"
            "conservative>liberal|right>left|weak>strong|unzufrieden>zufrieden|"
            "unwahrscheinlich>wahrscheinlich|unwichtig>wichtig|schlecht>gut|lehne ab>stimme zu|"
            "ablehnung>zustimmung|dagegen>dafür|negativ>positiv|schwierig>einfach|unsicher>sicher|"
            "unverständlich>verständlich|rechts>links|insatisfait>satisfait|mécontent>satisfait|"
            "improbable>probable|défavorable>favorable|en desacuerdo>de acuerdo|"
            "insatisfecho>satisfecho|insatisfecha>satisfecha|in disaccordo>d'accordo|"
            "insoddisfatto>soddisfatto|improbabile>probabile|discordo>concordo|"
            "insatisfeito>satisfeito|improvável>provável|mee oneens>mee eens|oneens>eens|"
            "ontevreden>tevreden|onbelangrijk>belangrijk|onwaarschijnlijk>waarschijnlijk|"
            "niezadowolony>zadowolony|disliked>liked|fewer>more|less>more|lower>higher|"
            "smaller>larger|slower>faster|weaker>stronger|reduced>increased|reduce>increase|"
            "decreasing>increasing|worsened>better|declined>better|unaware>aware|"
            "em desacordo>de acordo|mauvaise>bonne|mauvais>bon|gesunken>gestiegen|"
            "desaprueba>aprueba|desaprovo>aprovo|désapprouve>approuve|tegen>voor|falso>vero|"
            "falso>verdadero|falso>verdadeiro|faux>vrai|onwaar>waar|sad>happy|toxic>healthy|"
            "unpleasant>pleasant|boring>interesting|useless>useful|ineffective>effective|"
            "nesouhlasím>souhlasím|nespokojen>spokojen|unreliable>reliable|dangerous>safe|harmful>beneficial"
        )
    )
}

_NEGATIONS = _each("not|no|nicht|kein|keine|pas|non|niet|nao|nie|ne")
_BARELY = [
    folded(words)
    for words in _each(
        "not very|not so|not too|not particularly|not really|not much|not that|nicht sehr|nicht "
        "so|nicht besonders|weniger|wenig|pas très|pas vraiment|peu|no muy|poco|non molto|pouco|"
        "niet erg|niet zo|only a little"
    )
]
_NEUTRAL = re.compile(
    r"\b(might or might not|may or may not|not sure|unsure|"
    r"(stay|stayed|stays|keep|kept|remain|remained|remains) (about )?(the same|unchanged|as is|"
    r"as it is)|no change|unchanged|about right|just right|right amount|no difference|niet .* niet|"
    r"neither|neutral|neutraal|neutre|neutro|neutrale|weder|teils teils|unentschieden|"
    r"indifferent|undecided|indifferente|indiferente|in between|middle of the road|noch eens|ani "
    r"tak ani nie|mittel|both|ni .* ni|ne .* ne|nem .* nem|nao .* nem|noch .* noch|ani .* ani)\b"
)
_ALONE = {
    folded(word)
    for word in _each(
        "the same|about the same|same|moderate|center|centre|centrist|maybe|perhaps|vielleicht|"
        "peut être|quizás|tal vez|forse|talvez|misschien|może"
    )
}
"""What is a neutral middle if nothing else is said."""
_FILLERS = _each(
    "got|get|be|been|become|should|has|have|off|are|was|were|than|now|a|an|the|it|is|i|am|to|of|yes|ja|oui|si|sim|tak|ano|e|that|this|me|my|would|ich|es|das|ist"
)

NO_ANSWER = {
    folded(word)
    for word in _each(
        "don't know|dont know|do not know|dk|dk/na|dk/ref|don't know/refused|no answer|refused|"
        "refusal|refuse|refuse to answer|refused to answer|decline to answer|declined to "
        "answer|decline to state|ref|prefer not to say|prefer not to answer|i don't know|i prefer "
        "not to say|i prefer not to answer|rather not say|not applicable|does not apply|n/a|na|nan|"
        "null|none given|no opinion|no response|can't choose|cannot choose|can't say|skip|skipped|"
        "cannot tell|can't tell|i cannot tell|i can't tell|unable to tell|unable to judge|cannot "
        "judge|can't judge|cannot rate|can't rate|unable to rate|"
        "missing|nr|not rated|unrated|not answered|unanswered|blank|left blank|"
        "not asked|inapplicable|not ascertained|inap|iap|nap|dk na|cannot say|unknown|"
        "system missing|not available|no "
        "data|item nonresponse|nonresponse|weiß nicht|weiss nicht|keine angabe|keine angaben|k.a.|"
        "verweigert|antwort verweigert|weiß ich nicht|kann ich nicht beurteilen|keine antwort|"
        "nicht zutreffend|möchte ich nicht sagen|weiß nicht/keine angabe|trifft nicht auf mich zu|"
        "ne sait pas|je ne sais pas|nsp|sans réponse|refus|sans opinion|non concerné|no sabe|no "
        "contesta|no sé|ns/nc|no sabe/no contesta|prefiero no contestar|no aplica|non so|non "
        "risponde|preferisco non rispondere|não sabe|não sei|não respondeu|ns/nr|prefiro não "
        "responder|weet niet|weet ik niet|geen antwoord|geen mening|wil niet zeggen|nie wiem|"
        "absent|abwesend|undervote|overvote|blank vote|"
        "odmowa|odmowa odpowiedzi|brak odpowiedzi|trudno powiedzieć|vet ej|vet inte|vill ej svara|"
        "затрудняюсь ответить|не знаю|нет ответа|отказ от ответа|わからない|無回答|答えたくない|"
        "不知道|拒绝回答|不清楚|모르겠다|무응답|bilmiyorum|cevap yok|لا أعرف|"
        "ne se prononce pas|nspp|ne souhaite pas répondre|je ne souhaite pas répondre|je préfère "
        "ne pas répondre|pas de réponse|no responde|no opina|prefiero no decir|prefiero no "
        "responder|não responde|não se aplica|prefiro não dizer|sem opinião|sem resposta|non "
        "saprei|preferisco non dirlo|non applicabile|nessuna risposta|n.v.t.|niet van "
        "toepassing|zeg ik liever niet|wil ik niet zeggen|nie mam zdania|nie dotyczy|wolę nie "
        "odpowiadać|keine meinung|will ich nicht sagen|ingen åsikt|ingen uppfattning|vill inte "
        "svara|fikrim yok|cevap vermek istemiyorum|belirtmek istemiyorum|отказ|不愿意回答|"
        "nevím|neví|nechci odpovědět|bez odpovědi|важко сказати|відмова|nu știu|nu răspund|nu "
        "știu/nu răspund|nem tudom|nem válaszol|nem tudja|no ho sé|ns nc|ne znam|не знам|לא יודע|"
        "לא יודע/ת|en osaa sanoa|ei osaa sanoa|ved ikke|vet ikke|tidak tahu|không biết|δεν ξέρω|"
        "δεν γνωρίζω|"
        "说不清|不适用|回答しない|該当なし|잘 모르겠다|해당 없음|해당없음|لا ينطبق"
    )
}
_NOTHING = ("", "-", "--", "–", "—", ".", "..", "?", "/")
_FAULTS = ("#div/0!", "#ref!", "#value!", "#name?", "#num!", "#null!")
"""What a spreadsheet writes where a formula fails."""


_BRACKETED = re.compile(r"(?<=\w)\s*[(\[][^()\[\]\d]*[)\]]$")
_NOT_ASKED = re.compile(r"(?i)(n/a|not applicable|does not apply|nicht zutreffend)\s*[-–—:,;(].*")
_OR = re.compile(r"(?i)\s*/\s*|,\s*|\s+(?:or|oder|ou|o|of|lub)\s+")


def is_no_answer(text: str) -> bool:
    """Whether a text says that there is no answer, perhaps with why behind it (`Don't know
    (spontaneous)`, `N/A - did not use`), or in two ways (`Don't know / refused`)."""
    plain = _BRACKETED.sub("", text)
    bare = re.sub(r"^\W*-?\d+\W+", "", plain)
    return (
        text in _NOTHING
        or text.casefold() in _FAULTS
        or folded(text) in NO_ANSWER
        or any(map(_says_nothing, filter(None, (plain, bare))))
    )


def _says_nothing(text: str) -> bool:
    if folded(text) in NO_ANSWER or _NOT_ASKED.fullmatch(text):
        return True
    parts = _OR.split(text)
    return len(parts) > 1 and all(folded(part) in NO_ANSWER for part in parts)


_YES, _NO = (
    {folded(word) for word in _each(words)}
    for words in (
        "yes|y|yeah|yep|true|ja|oui|sí|si|sì|sim|tak|ano|igen|evet|да|так|ya|có|نعم|כן|예|네|はい|是|kyllä|"
        "ναι|da",
        "no|n|nope|false|nein|non|não|nee|nie|ne|nem|hayır|нет|ні|tidak|không|لا|לא|아니요|아니오|いいえ|否|ei|"
        "όχι|nu|nej|nei",
    )
)


def yes_in_several_ways(texts: Sequence[str]) -> bool:
    """Whether yes (or no) is written in several ways, or languages, and nothing else is said."""
    words = {folded(text) for text in texts}
    yes, no = words & _YES, words & _NO
    return words == yes | no and bool(yes and no) and len(words) > 2


def in_order(texts: Iterable[str]) -> tuple[str, ...] | None:
    """Texts from the lowest to the highest; None where their words do not tell."""
    several = tuple(texts)
    numbers = [leading_number(text) for text in several]
    apart = None not in numbers and len(set(numbers)) == len(several)
    if apart and not mixed_units(several) and not only_coded(several):
        return _sorted(several, [number or 0.0 for number in numbers])
    words = [folded(text) for text in several]
    if (ranked := _ranked(words) or _counted(several) or _balanced(several)) is not None:
        return _sorted(several, ranked)
    if (bare := _without_codes(several, *_CODES)) and (told_bare := in_order(bare)):
        return _sorted(several, [float(told_bare.index(word)) for word in bare])
    told = _listed(words, (*LISTS, *NUMBERS)) or _listed(_without_shared(words))
    told = told or schooling(words)
    told = told or _around_right(words) or _between_ends(several) or rates(several)
    if told is not None:
        return _sorted(several, told)
    parts = [_meaning(word) for word in words]
    senses = {sense for _, sense in parts if sense}
    degrees = [degree for degree, _ in parts]
    known = len(senses) <= 1 and not _strange(parts) and _tells(words)
    if known and len(set(degrees)) == len(degrees):
        return _sorted(several, degrees)
    apart_words = _apart(several)
    if apart_words != several and (spread := in_order(apart_words)):
        return _sorted(several, [float(spread.index(text)) for text in apart_words])
    return None


def _strange(parts: Sequence[tuple[float, str]]) -> bool:
    """Whether a text is nothing but a word that no other has, and of which nothing is known: beside
    degrees alone (`somewhat`, `very`) it may be anything."""
    often = Counter(sense for _, sense in parts)
    known = {"", *_CONTRARIES.values()}
    return any(
        part == (2.0, part[1]) and often[part[1]] == 1 for part in parts if part[1] not in known
    )


_RUN_ON = re.compile(
    r"(not|no|very|too|quite|fairly|somewhat|slightly|moderately|mostly|strongly|extremely|"
    r"completely|totally|definitely|probably)(\w+)"
)


def _apart(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts whose words run together (`StronglyAgree`; `notvery`, where what follows is a word that
    another text or a scale has), with blanks between them."""
    spread = [re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text) for text in texts]
    words = {*map(folded, spread), *_DEGREES, *_CONTRARIES, *_CONTRARIES.values()}

    def parted(text: str) -> str:
        found = _RUN_ON.fullmatch(folded(text))
        return f"{found[1]} {found[2]}" if found and found[2] in words else text

    return tuple(map(parted, spread))


def _listed(words: Sequence[str], lists: Sequence[dict[str, int]] = LISTS) -> list[float] | None:
    """The ranks of words in a list that has them all, each its own."""
    for ranks in lists:
        if all(word in ranks for word in words) and not _letters(words, ranks):
            found = [float(ranks[word]) for word in words]
            if len(set(found)) == len(found):
                return found
    return None


def _letters(words: Sequence[str], ranks: dict[str, int]) -> bool:
    """Whether all that a list has of several words are single letters: S, M and L are sizes beside
    XL, but else may be parties."""
    known = [word for word in words if word in ranks]
    return len(words) > 2 and all(len(word) == 1 and word.isascii() for word in known)


def _without_shared(words: Sequence[str]) -> list[str]:
    """Texts without the words that all of them have, or all but one (`a lot of trust`, `none`)."""
    often = Counter(token for word in words for token in set(word.split()))
    shared = {token for token, n in often.items() if n >= max(2, len(words) - 1)} - {"a", "not"}
    if not shared:
        return []
    kept = [" ".join(token for token in word.split() if token not in shared) for word in words]
    return [re.sub(r" of$", "", re.sub(r".*\bunable\b.*", "unable", word)) for word in kept]


_RIGHT = re.compile(r".*\b(about|just|exactly) right\b.*|.*\bthe right \w+|appropriate|adequate|ok")
_TOO = re.compile(
    r"(?:(?P<much>far|much|way)|(?P<bit>a bit|a little|slightly|somewhat))? ?too (.+)"
)
_SCANT = {
    folded(word)
    for word in _each(
        "little|few|small|short|slow|cheap|low|easy|weak|soft|early|cold|dark|quiet|thin|light|"
        "simple|narrow|young|lenient|lax|loose|sweet little|shallow|boring|conservative"
    )
}


def _around_right(words: Sequence[str]) -> list[float] | None:
    """Numbers of answers around `about right`: too little, too cheap, not strict enough, and their
    opposites; what of two is less, where no word tells, is the first by the alphabet."""
    senses, numbers = [], []
    for word in words:
        too, lacking = _TOO.fullmatch(word), re.fullmatch(r"not (.+) enough", word)
        if too is not None:
            senses.append(too[3])
            numbers.append(3.0 if too["much"] else 1.0 if too["bit"] else 2.0)
        elif lacking is not None:
            senses.append("")
            numbers.append(2.0)
        elif _RIGHT.fullmatch(word):
            senses.append("right")
            numbers.append(0.0)
        else:
            return None
    sides = sorted({*senses} - {"right"}, key=lambda sense: (sense not in _SCANT, sense))
    if len(sides) != 2 or "right" not in senses:
        return None
    found = [-n if s == sides[0] else n for n, s in zip(numbers, senses, strict=True)]
    return found if len(set(found)) == len(found) else None


MOST_ENDS = 2


def anchored(texts: Sequence[str]) -> bool:
    """Whether whole numbers in a row stand between two ends that have names."""
    numbers = sorted(float(text) for text in texts if re.fullmatch(r"\d{1,2}", text))
    ends = len(texts) - len(numbers)
    return (
        1 <= ends <= MOST_ENDS + 1 and len(numbers) >= 2 and numbers[-1] - numbers[0] <= len(texts)
    )


def _between_ends(texts: Sequence[str]) -> list[float] | None:
    """Numbers of answers of which the ends (and perhaps the middle) have names instead: `Not at all
    likely`, 2, 3, 4, `Extremely likely`."""
    if not anchored(texts):
        return None
    worded = [text for text in texts if not text.isdecimal()]
    numbers = [int(text) for text in texts if text.isdecimal()]
    low, high = min(numbers), max(numbers)
    place: dict[str, float] = {}
    middle = [text for text in worded if _meaning(folded(text)) == (0.0, "")]
    holes = [n for n in range(low, high) if n not in numbers]
    if len(middle) > 1 or (middle and len(holes) != 1):
        return None
    place |= dict(zip(middle, map(float, holes), strict=False))
    ends = [text for text in worded if text not in middle]
    if len(ends) == MOST_ENDS:
        if (order := in_order(ends)) is None:
            return None
        place |= {order[0]: low - 1.0, order[1]: high + 1.0}
    elif len(ends) == 1:
        word = folded(ends[0])
        against = _meaning(word)[0] < 0 or word in _FIRST
        known = against or _graded(word) or any(word in ranks for ranks in LISTS)
        if not known or low > 2 or (low == 2) != against:
            return None
        place[ends[0]] = low - 1.0 if against else high + 1.0
    else:
        return None
    return [place.get(text, float(text) if text.isdecimal() else 0.0) for text in texts]


_FIRST = {word for ranks in LISTS for word, rank in ranks.items() if rank == 0}


_RANK = re.compile(
    r"(?:[a-z] )?(?P<before>\D*?)(?P<number>\d+)(?:st|nd|rd|th|er|e|eme|o|a)?(?P<after>\D*)"
)
_RANKS = re.compile(
    r"\b(dec|quint|quart|terc|tert|percent)ile\b|dezil|quintil|quartil|decil|\b(level|grade|stufe|"
    r"niveau|nivel|livello|rank|rang|step|stage|tier|band|class|klasse)\b"
)


def _ranked(words: Sequence[str]) -> list[float] | None:
    """The numbers of deciles, levels, grades: `J - 1st decile`, `Level 2`; None for others."""
    found = [_RANK.fullmatch(word) for word in words]
    parts = {(m["before"], m["after"]) for m in found if m is not None}
    numbers = [float(m["number"]) for m in found if m is not None]
    if len(parts) != 1 or not len(set(numbers)) == len(numbers) == len(words) > 2:
        return None
    return numbers if _RANKS.search(" ".join(parts.pop())) else None


def _counted(texts: Sequence[str]) -> list[float] | None:
    """How often a sign stands in each text: `★★☆`, `$$`; where there are two, that which stands
    before the other."""
    signs = [re.sub("[\ufe0f\\s]", "", text) for text in texts]
    used = set("".join(signs))
    first = {text[0] for text in signs if len(set(text)) > 1} or used
    if len(used) > 2 or len(first) != 1 or any(map(str.isalnum, used)):
        return None
    often = [float(text.count(min(first))) for text in signs]
    return often if len(set(often)) == len(often) > 1 else None


PLUS_MINUS = re.compile(r"-+|−+|\++|0|o|\+/-|±")
"""Answers of a scale from `--` to `++`."""


def _balanced(texts: Sequence[str]) -> list[float] | None:
    """How many pluses, or (below 0) minuses a text has."""
    if len(texts) < 3 or not all(map(PLUS_MINUS.fullmatch, texts)):
        return None
    often = [float(text.count("+") - text.count("-") - text.count("−")) for text in texts]
    return often if len(set(often)) == len(often) else None


_BEFORE = re.compile(r"^[(\[]?\s*-?\d+\s*[.)\]=:–-]+\s*(?=[^\W\d_])")
_BEHIND = re.compile(r"(?<=[^\W\d_])\s*[(\[]\s*-?\d+\s*[)\]]$")
_CODES = (
    *(_BEFORE, _BEHIND, re.compile(r"^[(]?[A-Za-z][.)]\s+(?=[^\W\d_]{2})")),
    re.compile(r"(?<=[^\W\d_])(\s*[=:]|\s+[-–—])\s*-?\d{1,2}$"),
)
"""`1. Car`, `Car (1)`, `a) Car`; `Agree - 4`, which tells no order by itself (`Boeing - 74`)."""


def _without_codes(texts: Sequence[str], *codes: re.Pattern[str]) -> list[str]:
    """Words whose codes are left out; none if there are no codes."""
    for code in codes:
        if len(texts) > 1 and all(map(code.search, texts)):
            return [code.sub("", text, count=1) for text in texts]
    return []


def without_codes(texts: Sequence[str]) -> list[str]:
    """Words without the codes that stand at all of them; as they are, if there are none."""
    return _without_codes(texts, *_CODES) or [*texts]


def only_coded(texts: Sequence[str]) -> bool:
    """Whether numbers stand before or behind words that tell no order (`1. Car`, `2. Bus`), so that
    they may be nothing but codes."""
    words = _without_codes(texts, _BEFORE, _BEHIND)
    if not words:
        return False
    told = in_order(words) or ordered_bands(words) or seems_ordered(words)
    return not told and degrees_in(words) < 2


def seems_ordered(texts: Sequence[str]) -> bool:
    """Whether some of the texts have a degree or a rank, so that they are likely to be ordered."""
    words = [folded(text) for text in texts]
    several = len(words) > 2
    # Yes and no stand among answers that have no order, too.
    long = [ranks for ranks in LISTS if len(set(ranks.values())) > 3]
    listed = max(
        0 if _letters(own, ranks) else sum(word in ranks for word in own)
        for ranks in long
        for own in (words, _without_shared(words))
    )
    graded = 2 * sum(map(_graded, words)) >= len(words) or _qualified(words)
    return several and (2 * listed > len(words) or graded or _several_scales(words))


def _several_scales(words: Sequence[str]) -> bool:
    """Whether all answers are contraries of two senses, or stand in lists of which none has all, as
    answers of one scale in two languages do."""
    parts = [_meaning(word) for word in words]
    senses = {sense for _, sense in parts}
    both = [{number > 0 for number, own in parts if own == sense} for sense in senses]
    known = senses <= {*_CONTRARIES.values(), ""} and "" not in senses
    if known and len(senses) > 1 and all(len(signs) == 2 for signs in both):
        return True
    ends = [{word for word in words if word in ranks} for ranks in LISTS if len(ranks) > 3]
    held = [own for own in ends if len(own) > 1 and not _letters([*own], dict.fromkeys(own, 0))]
    apart = any(not one & other for one in held for other in held)
    return apart and {*words} <= {word for own in held for word in own}


def _qualified(words: Sequence[str]) -> bool:
    """Whether answers come back with a word more: one that is a degree (`cosy`, `very cosy`), or
    the same with two answers (`満足`, `やや満足`; `不満`, `やや不満`)."""
    again = set()
    for word, other in permutations([word for word in words if word], 2):
        if word.isascii() and f" {word} " not in f" {other} ":
            continue
        if other.startswith(word) or other.endswith(word):
            more = other.removeprefix(word) if other.startswith(word) else other.removesuffix(word)
            if more.strip() in _DEGREES:
                return True
            if not any(_has(more, own) for own in words):  # as in `cat and dog`
                again.add((more.strip(), word))
    return len({more for more, _ in again}) < len(again)


def degrees_in(texts: Iterable[str]) -> int:
    """How many of the texts speak of a degree: very, somewhat, extremely."""
    return sum(_graded(folded(text)) for text in texts)


def _sorted(texts: tuple[str, ...], numbers: Sequence[float]) -> tuple[str, ...]:
    return tuple(text for _, text in sorted(zip(numbers, texts, strict=True)))


def _tells(words: list[str]) -> bool:
    """Whether words hold a degree, a negation or a neutral middle at all."""
    return len(words) > 1 and any(
        _graded(word) or _NEUTRAL.search(word) or word in _ALONE or _meaning(word)[0] < 0
        for word in words
    )


def _graded(word: str) -> bool:
    return any(_has(word, degree) for degree in _DEGREES)


def _has(word: str, part: str) -> bool:
    return f" {part} " in f" {word} "


def _without(word: str, part: str) -> str:
    return " ".join(f" {word} ".replace(f" {part} ", " ", 1).split())


def _meaning(word: str) -> tuple[float, str]:
    """How strongly a text speaks for its sense (against it: below 0), and the sense."""
    word = re.sub(r"\b(per (niente|nulla)|para nada)\b", "non del tutto", word)
    if _NEUTRAL.search(word) or word in _ALONE:
        return 0.0, ""
    sign, degree = 1.0, 2.0
    barely = next((part for part in _BARELY if _has(word, part)), None)
    if barely is not None:
        word, sign, degree = _without(word, barely), -1.0, 1.0
    found = sorted((part for part in _DEGREES if _has(word, part)), key=len, reverse=True)
    if barely is None and found:
        degree = _DEGREES[found[0]]
    for part in found:
        word = _without(word, part)
    contrary = next((own for own in _CONTRARIES if _has(word, own)), None)
    if contrary is not None:
        word, sign = _without(word, contrary) + " " + _CONTRARIES[contrary], -sign
    word = re.sub(r"\bfavou?r\b", "support", re.sub(r"\bimproved?\b", "better", word))
    kept = []
    for token in word.split():
        if token in _NEGATIONS:
            # What is not difficult is easy.
            sign = sign if barely is not None else 1.0 if contrary else -1.0
        elif token not in _FILLERS:
            kept.append(token)
    return sign * degree, " ".join(kept)
