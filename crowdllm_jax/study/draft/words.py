"""The order of answers by their words: never, sometimes, often; from strongly disagree on.

Two ways lead to an order. Some scales are lists of words (how often, how good); others join a
degree and a sense (`very unlikely`, `stimme eher zu`), which together are a number. Words are
compared
without case, accents and signs. An order is given only where no two answers come out alike.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from crowdllm_jax.runtime.numerals import leading_number
from crowdllm_jax.study.draft.bands import ordered_bands
from crowdllm_jax.study.draft.units import mixed_units


def folded(text: str) -> str:
    """A text in lower case, without accents and signs; words apart by one space."""
    plain = unicodedata.normalize("NFD", text.casefold().replace("ł", "l").replace("’", "'"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", plain.replace("'", " ")).split())


def _each(text: str) -> tuple[str, ...]:
    """Words that stand apart by bars."""
    return tuple(text.split("|"))


def _list(text: str) -> dict[str, int]:
    """Words with their rank: apart by `<` from lowest to highest, by `/` where they mean one."""
    return {
        folded(word): rank
        for rank, words in enumerate(text.split("<"))
        for word in words.split("/")
    }


_LISTS = tuple(
    map(
        _list,
        (
            "never/not at all < almost never/hardly ever/very rarely/very seldom< rarely/seldom "
            "< once in a while < occasionally < sometimes/some of the time< about half the time/"
            "half of the time < often/frequently/fairly often< usually/most of the time/mostly < "
            "very often/very frequently< almost always/nearly always/almost all the time < "
            "always/all of the time/all the time/every time",
            "never < less than once a year/less than yearly/less often < once a year/yearly/"
            "annually< a few times a year/several times a year < less than once a month < once a "
            "month/monthly/about once a month < a few times a month/several times a month/2 3 "
            "times a month< once a week/weekly/about once a week < 2 3 times a week/a few times "
            "a week/several times a week/more than once a week < daily/every day/once a day/"
            "about once a day< several times a day/multiple times a day/more than once a day",
            "terrible/awful < very poor/very bad < poor/bad < fair/average/ok/okay/acceptable/so "
            "so< good < very good/great < excellent/outstanding < exceptional",
            "none/nothing/not at all/none at all < very little/hardly any < a little/little/a "
            "little bit< some/somewhat/a moderate amount/moderately < quite a bit/quite a lot/a "
            "good deal/much/a lot< very much/a great deal/extremely",
            "very low < low < medium/mid/middle/moderate/average < high < very high",
            "much worse < worse < somewhat worse < slightly worse/a little worse< about the same/"
            "the same/same/no change/unchanged< slightly better/a little better < somewhat "
            "better < better < much better",
            "much less/far less < less < somewhat less/a little less < about the same/the same/"
            "same< somewhat more/a little more < more < much more/far more",
            "too little < about right/just right/the right amount < too much",
            "nie/niemals/gar nie < fast nie/sehr selten < selten < gelegentlich/ab und zu/hin "
            "und wieder< manchmal < oft/häufig < meistens/sehr oft/sehr häufig < fast immer < "
            "immer/stets",
            "sehr schlecht/ungenügend < schlecht/mangelhaft < ausreichend < mittel/mittelmäßig/"
            "befriedigend/teils teils < gut < sehr gut < ausgezeichnet/hervorragend",
            "gar nicht/überhaupt nicht < kaum/wenig < etwas/ein wenig/ein bisschen < mittel/"
            "mittelmäßig/mäßig< ziemlich/stark < sehr/sehr stark < äußerst/extrem",
            "sehr niedrig < niedrig/gering < mittel < hoch < sehr hoch",
            "jamais < presque jamais/très rarement < rarement < parfois/quelquefois/de temps en "
            "temps< souvent < très souvent < presque toujours < toujours",
            "pas du tout < peu/un peu < moyennement/assez < beaucoup < énormément/extrêmement",
            "très mauvais < mauvais < moyen/passable < bon < très bon < excellent",
            "nunca/jamás < casi nunca/muy rara vez < rara vez/raramente < a veces/algunas veces/"
            "de vez en cuando< a menudo/frecuentemente/con frecuencia < muy a menudo < casi "
            "siempre < siempre",
            "nada < poco/un poco < algo/regular < bastante < mucho < muchísimo",
            "muy malo < malo < regular < bueno < muy bueno < excelente",
            "muy mala < mala < regular < buena < muy buena < excelente",
            "mai < quasi mai < raramente < qualche volta/a volte/talvolta < spesso < molto "
            "spesso< quasi sempre < sempre",
            "per niente < poco < abbastanza < molto < moltissimo",
            "nunca < quase nunca < raramente < às vezes < frequentemente/muitas vezes < quase "
            "sempre < sempre",
            "nooit < bijna nooit < zelden < soms < vaak/regelmatig < meestal < bijna altijd < "
            "altijd",
            "nigdy < prawie nigdy < rzadko < czasami/czasem < często < bardzo często < zawsze",
            "nie/niemals < seltener/seltener als einmal im monat/seltener als 1 mal im monat < "
            "einmal im monat/etwa einmal im monat/einmal pro monat/monatlich < mehrmals im monat/"
            "mehrmals pro monat/2 3 mal im monat < einmal pro woche/einmal die woche/einmal in der "
            "woche/etwa einmal pro woche/wöchentlich < mehrmals pro woche/mehrmals die woche/"
            "mehrmals in der woche/mehrmals wöchentlich < fast täglich/fast jeden tag < täglich/"
            "jeden tag < mehrmals täglich/mehrmals am tag",
            "jamais < moins souvent/moins d'une fois par mois < une fois par mois/environ une fois "
            "par mois < plusieurs fois par mois/2 à 3 fois par mois < une fois par semaine/environ "
            "une fois par semaine < plusieurs fois par semaine < tous les jours/chaque jour/"
            "quotidiennement < plusieurs fois par jour",
            "nunca < menos de una vez al mes/con menos frecuencia < una vez al mes < varias veces "
            "al mes < una vez a la semana/una vez por semana < varias veces a la semana/varias "
            "veces por semana < todos los días/a diario/diariamente < varias veces al día",
            "mai < meno di una volta al mese/più raramente < una volta al mese < più volte al mese "
            "< una volta alla settimana/una volta a settimana < più volte alla settimana/più volte "
            "a settimana < ogni giorno/tutti i giorni < più volte al giorno",
            "nunca < menos de uma vez por mês < uma vez por mês < várias vezes por mês < uma vez "
            "por semana < várias vezes por semana < todos os dias/diariamente < várias vezes por "
            "dia",
            "nooit < minder dan een keer per maand/minder vaak < een keer per maand/maandelijks < "
            "een paar keer per maand/meerdere keren per maand < een keer per week/wekelijks < een "
            "paar keer per week/meerdere keren per week < elke dag/dagelijks < meerdere keren per "
            "dag",
            "nigdy < rzadziej/rzadziej niż raz w miesiącu < raz w miesiącu < kilka razy w miesiącu "
            "< raz w tygodniu < kilka razy w tygodniu < codziennie < kilka razy dziennie",
            "not at all < several days < more than half the days/over half the days < nearly every "
            "day",
            "überhaupt nicht < an einzelnen tagen < an mehr als der hälfte der tage < beinahe "
            "jeden tag/fast jeden tag",
            "jamais/pas du tout < plusieurs jours < plus de la moitié du temps/plus de sept jours "
            "< presque tous les jours",
            "nunca/ningún día/para nada < varios días < más de la mitad de los días < casi todos "
            "los días",
            "sd < d < n/u < a < sa",
            "no < maybe/perhaps/not sure/unsure/possibly < yes",
            "no < somewhat/partly/to some extent < yes",
            "nein < vielleicht/teilweise/teils < ja",
            "non < peut être < oui",
            "no < quizás/tal vez < sí",
            "no < forse < sì",
            "não < talvez < sim",
            "nee < misschien < ja",
            "nie < może < tak",
            "false < true",
            "falsch < richtig",
            "incorrect < correct",
            "not selected < selected",
            "not quoted < quoted",
            "unchecked < checked",
            "not chosen < chosen",
            "not mentioned < mentioned",
            "nicht genannt < genannt",
            "not approved < approved",
            "negative < neutral/mixed < positive",
            "negativ < neutral < positiv",
            "small < medium < large",
            "easy < medium < hard",
        ),
    )
)

_DEGREES = {
    folded(word): degree
    for words, degree in {
        "slightly/barely/minimally/kaum/légèrement/ligeramente/leggermente/ligeiramente": 0.6,
        "somewhat/a little/a little bit/rather/mildly/partly/partially/tend to/leaning/lean/"
        "probably/possibly/eher/etwas/teilweise/ein wenig/wahrscheinlich/plutôt/un peu/"
        "probablement/algo/un poco/más bien/parcialmente/probablemente/abbastanza/piuttosto/"
        "parzialmente/um pouco/een beetje/enigszins/raczej/trochę/not strongly/not very "
        "strong": 1.0,
        "moderately/moderat/mäßig/modérément/moderadamente/moderatamente/matig": 1.4,
        "fairly/quite/pretty/ziemlich/recht/assez/bastante/tamelijk/dość/mostly/generally/"
        "überwiegend/weitgehend": 1.7,
        "very/strongly/highly/a lot/very much/really/sehr/stark/voll/fortement/très/muy/"
        "fuertemente/molto/fortemente/muito/fortemente/zeer/erg/sterk/bardzo/mocno": 3.0,
        "extremely/completely/totally/fully/entirely/absolutely/definitely/certainly/"
        "exceptionally/overwhelmingly/at all/voll und ganz/völlig/vollkommen/ganz/äußerst/"
        "extrem/absolut/überhaupt/gar/bestimmt/auf jeden fall/tout à fait/complètement/"
        "totalement/entièrement/extrêmement/du tout/absolument/certainement/totalmente/"
        "completamente/extremadamente/en absoluto/definitivamente/del todo/pienamente/"
        "estremamente/assolutamente/del tutto/inteiramente/extremamente/helemaal/volledig/"
        "absoluut/zdecydowanie/całkowicie/w ogóle": 4.0,
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
            "niezadowolony>zadowolony"
        )
    )
}

_NEGATIONS = _each("not|no|nicht|kein|keine|pas|non|niet|nao|nie")
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
    r"neither|neutral|neutraal|neutre|neutro|neutrale|weder|teils teils|unentschieden|"
    r"indifferent|undecided|indifferente|indiferente|in between|middle of the road|noch eens|ani "
    r"tak ani nie|mittel|both|ni .* ni|ne .* ne|nem .* nem|nao .* nem|noch .* noch|ani .* ani)\b"
)
_FILLERS = _each(
    "a|an|the|it|is|i|am|to|of|yes|ja|oui|si|sim|tak|that|this|me|my|would|ich|es|das|ist"
)

NO_ANSWER = {
    folded(word)
    for word in _each(
        "don't know|dont know|do not know|dk|dk/na|dk/ref|don't know/refused|no answer|refused|"
        "refusal|refuse|prefer not to say|prefer not to answer|i don't know|i prefer not to say|i "
        "prefer not to answer|rather not say|not applicable|does not apply|n/a|na|nan|null|none "
        "given|no opinion|no response|can't choose|cannot choose|can't say|skip|skipped|missing|"
        "not asked|inapplicable|not ascertained|inap|iap|nap|dk na|cannot say|unknown|"
        "system missing|not available|no "
        "data|item nonresponse|nonresponse|weiß nicht|weiss nicht|keine angabe|keine angaben|k.a.|"
        "verweigert|antwort verweigert|weiß ich nicht|kann ich nicht beurteilen|keine antwort|"
        "nicht zutreffend|möchte ich nicht sagen|weiß nicht/keine angabe|trifft nicht auf mich zu|"
        "ne sait pas|je ne sais pas|nsp|sans réponse|refus|sans opinion|non concerné|no sabe|no "
        "contesta|no sé|ns/nc|no sabe/no contesta|prefiero no contestar|no aplica|non so|non "
        "risponde|preferisco non rispondere|não sabe|não sei|não respondeu|ns/nr|prefiro não "
        "responder|weet niet|weet ik niet|geen antwoord|geen mening|wil niet zeggen|nie wiem|"
        "odmowa|odmowa odpowiedzi|brak odpowiedzi|trudno powiedzieć"
    )
}
_NOTHING = ("", "-", "--", ".", "..", "?", "/")
_FAULTS = ("#div/0!", "#ref!", "#value!", "#name?", "#num!", "#null!")
"""What a spreadsheet writes where a formula fails."""


def is_no_answer(text: str) -> bool:
    """Whether a text says that there is no answer."""
    bare = re.sub(r"^\W*-?\d+\W+", "", text)
    return (
        text in _NOTHING
        or text.casefold() in _FAULTS
        or folded(text) in NO_ANSWER
        or (bool(bare) and folded(bare) in NO_ANSWER)
    )


def in_order(texts: Iterable[str]) -> tuple[str, ...] | None:
    """Texts from the lowest to the highest; None where their words do not tell."""
    several = tuple(texts)
    numbers = [leading_number(text) for text in several]
    apart = None not in numbers and len(set(numbers)) == len(several)
    if apart and not mixed_units(several) and not only_coded(several):
        return _sorted(several, [number or 0.0 for number in numbers])
    words = [folded(text) for text in several]
    if (ranked := _ranked(words)) is not None:
        return _sorted(several, ranked)
    for ranks in _LISTS:
        if all(word in ranks for word in words):
            found = [float(ranks[word]) for word in words]
            if len(set(found)) == len(found):
                return _sorted(several, found)
    parts = [_meaning(word) for word in words]
    senses = {sense for _, sense in parts if sense}
    degrees = [degree for degree, _ in parts]
    if len(senses) <= 1 and len(set(degrees)) == len(degrees) and _tells(words):
        return _sorted(several, degrees)
    return None


_RANK = re.compile(
    r"(?:[a-z] )?(?P<before>\D*?)(?P<number>\d+)(?:st|nd|rd|th|er|e|eme|o|a)?(?P<after>\D*)"
)
_RANKS = re.compile(
    r"\b(dec|quint|quart|terc|tert|percent)ile\b|dezil|quintil|quartil|decil|\b(level|grade|stufe|"
    r"niveau|nivel|livello|rank|rang|step|band|class|klasse)\b"
)


def _ranked(words: Sequence[str]) -> list[float] | None:
    """The numbers of deciles, levels, grades: `J - 1st decile`, `Level 2`; None for others."""
    found = [_RANK.fullmatch(word) for word in words]
    parts = {(m["before"], m["after"]) for m in found if m is not None}
    numbers = [float(m["number"]) for m in found if m is not None]
    if len(parts) != 1 or not len(set(numbers)) == len(numbers) == len(words) > 2:
        return None
    return numbers if _RANKS.search(" ".join(parts.pop())) else None


_CODE = re.compile(r"[(\[]?\s*-?\d+\s*[.)\]=:–-]+\s*(?=[^\W\d_])")


def only_coded(texts: Sequence[str]) -> bool:
    """Whether numbers stand before words that tell no order (`1. Car`, `2. Bus`), so that they may
    be nothing but codes."""
    if not all(map(_CODE.match, texts)):
        return False
    words = [_CODE.sub("", text, count=1) for text in texts]
    told = in_order(words) or ordered_bands(words) or seems_ordered(words)
    return not told and degrees_in(words) < 2


def seems_ordered(texts: Sequence[str]) -> bool:
    """Whether some of the texts have a degree or a rank, so that they are likely to be ordered."""
    words = [folded(text) for text in texts]
    several = len(words) > 2
    # Yes and no stand among answers that have no order, too.
    long = [ranks for ranks in _LISTS if len(set(ranks.values())) > 3]
    listed = max(sum(word in ranks for word in words) for ranks in long)
    return several and (2 * listed > len(words) or 2 * sum(map(_graded, words)) >= len(words))


def degrees_in(texts: Iterable[str]) -> int:
    """How many of the texts speak of a degree: very, somewhat, extremely."""
    return sum(_graded(folded(text)) for text in texts)


def _sorted(texts: tuple[str, ...], numbers: Sequence[float]) -> tuple[str, ...]:
    return tuple(text for _, text in sorted(zip(numbers, texts, strict=True)))


def _tells(words: list[str]) -> bool:
    """Whether words hold a degree, a negation or a neutral middle at all."""
    return len(words) > 1 and any(
        _graded(word) or _NEUTRAL.search(word) or _meaning(word)[0] < 0 for word in words
    )


def _graded(word: str) -> bool:
    return any(_has(word, degree) for degree in _DEGREES)


def _has(word: str, part: str) -> bool:
    return f" {part} " in f" {word} "


def _without(word: str, part: str) -> str:
    return " ".join(f" {word} ".replace(f" {part} ", " ", 1).split())


def _meaning(word: str) -> tuple[float, str]:
    """How strongly a text speaks for its sense (against it: below 0), and the sense."""
    word = re.sub(r"\bper (niente|nulla)\b", "non del tutto", word)
    if _NEUTRAL.search(word):
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
    for contrary, sense in _CONTRARIES.items():
        if _has(word, contrary):
            word, sign = _without(word, contrary) + " " + sense, -sign
            break
    word = re.sub(r"\bfavou?r\b", "support", word)
    kept = []
    for token in word.split():
        if token in _NEGATIONS:
            sign = -abs(sign) if barely is None else sign
        elif token not in _FILLERS:
            kept.append(token)
    return sign * degree, " ".join(kept)
