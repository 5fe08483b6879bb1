"""What columns are for by what they are called, in the languages of many survey programs."""

import re

from crowdllm_jax.study.draft.word_lists import folded


def listed(text: str) -> frozenset[str]:
    """The words of a list, as `tokens` of names are compared with them."""
    return frozenset(folded(word) for word in text.split())


ID = listed("id ids no nr number num nummer code key uid uuid guid")
PERSON = listed(
    "participant participants respondent resp user worker annotator rater subject subj voter "
    "person judge reviewer customer coder evaluator labeler labeller teilnehmer teilnehmerin "
    "nutzer "
    "befragter befragte vp vpn vpnr caseid case pid respid respnr lfdn lfd idno member student "
    "patient employee panelist prolific interview serial userid workerid participantid "
    "respondentid subjectid participante encuestado usuario participante répondant utilisateur "
    "sujet rispondente utente deelnemer respondente uczestnik uzytkownik uživatel felhasználó "
    "användare bruker kullanıcı client clients customer kunde kunden klient cliente membre "
    "who wer qui quien quién quem pp ppt ppts ppid ppn partid assessor grader critic taster "
    "tester expert player crowdworker "
    "proband pseudonym évaluateur anotador annotateur codeur reader viewer listener juror "
    "identifiant identificador uniqid idnr rid icpsr qkey "
    "пользователь респондент участник 用户 用户id 参与者 회원 回答者 ユーザー"
)
_RECORD = listed("response submission record entry session form")
"""With an id, what one person has sent."""
_TASK = listed(
    "task item items question instance movie film product project stimulus sentence comment tweet "
    "doc document image photo example sample hit trial story post statement article book song "
    "video restaurant recipe joke frage aufgabe textid itemid taskid questionid movieid productid "
    "projectid instanceid vignette scenario prompt case_text text variable aspect película "
    "pelicula produit producto prodotto produto produkt artículo artikel livre libro livro buch "
    "książka "
    "tâche tarea tarefa taak zadanie úloha pregunta domanda pergunta vraag pytanie otázka "
    "stim stimuli picture pic clip audio sound word essay abstract hotel claim headline query "
    "passage summary translation segment face proposal policy motion topic logo advert concept "
    "object thing business place venue app anime seller shop asin isbn sku ratee bill "
    "énoncé imagen bild texte testo tekst serie episode track game dish wine beer brand "
    "фильм вопрос задание 电影 题目 问题 項目"
)
_RESPONSE = listed(
    "response responses answer answers rating ratings stars score scores label value vote "
    "decision choice judgment judgement grade annotation antwort bewertung wertung note réponse "
    "respuesta calificación risposta voto resposta antwoord odpowiedź ocena oceny hodnocení "
    "odpověď valutazione avaliação puntuación puntaje cijfer beoordeling betyg svar arvosana "
    "évaluation оценка ответ 评分 回答 答案 評価"
)
_WEIGHT = listed(
    "weight weights wgt wt wts gewicht gewichtung poids peso pesos ponderación ponderazione "
    "weging waga wtssall wtssps wtssnr dweight pspwght pweight anweight finalwt nwgt weightvar "
    "surveyweight weighting gewichtungsfaktor ponderation pondération weightfactor "
    "perwt hhwt wtfinl hwtfinl asecwt earnwt pwgtp wgtp llcpwt finwt sampwt svywt indwt wtper wthh "
    "wtint2yr wtint4yr wtmec2yr wtmec4yr wtsupp"
)
_BODY = listed(
    "kg lb lbs pounds body birth height bmi körper bodyweight birthweight overweight underweight "
    "birth_weight lightweight heavyweight"
)


def tokens(name: str) -> frozenset[str]:
    """The words of a column's name: `AgeGroup`, `age_group` and `D1. Age group` alike."""
    apart = re.sub(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])", " ", name)
    return frozenset(re.sub(r"(?<=[a-z])(?=\d)|_", " ", folded(apart)).split()) | {folded(name)}


def plain(name: str) -> frozenset[str]:
    """The words without the name as a whole, numbers left out."""
    own = tokens(name)
    parts = own - {folded(name)} or own
    return frozenset(word for word in parts if not word.isdecimal()) or own


def _apart(words: frozenset[str]) -> frozenset[str]:
    """Words of which those that are people's and a word for ids are taken apart, as
    `respondentnummer` is."""
    cut = {word: re.sub(r"(nummer|number|nr|code|id)$", "", word) for word in words}
    return frozenset(cut[word] if cut[word] in PERSON else word for word in words)


def is_person(name: str) -> bool:
    """Whether a name is that of people's ids."""
    words = _apart(plain(name))
    record = bool(words & ID) and words <= ID | _RECORD
    called = bool(words & PERSON) and words <= PERSON | ID | {"name"}
    return folded(name) in PERSON or words <= PERSON | ID or called or record


def names_people(name: str) -> bool:
    """Whether a name says that ids are people's, and not of anything (`id`)."""
    return bool(_apart(plain(name)) & PERSON)


def numbers_somebody(name: str) -> bool:
    """Whether a name is that of one of several people (`Player 3`), and not of ids (`id 2`)."""
    words = plain(name)
    ids = bool(words & ID) or any(word.endswith("id") for word in words)
    return is_person(name) and bool(re.search(r"[^\W\d][\W_]*\d+$", name)) and not ids


_RATER = listed(
    "rater annotator coder judge evaluator reviewer labeler labeller juror assessor "
    "grader critic taster crowdworker évaluateur anotador annotateur codeur"
)


def is_condition(name: str) -> bool:
    """Whether a name is that of what was done to people: to all of them perhaps, one after
    another."""
    words = plain(name)
    return bool(words & listed("condition treatment cond arm")) and not words & listed("id group")


def may_be_owned(name: str) -> bool:
    """Whether a name that may be a telephone's number may be what somebody has, too."""
    return folded(name) in ("phone", "telefon")


_CASES = listed("case serial interview lfd lfdn uniqid idnr rid qkey identifiant identificador")


def is_rater(name: str) -> bool:
    """Whether a name says that people answer about others (or about things)."""
    return bool(plain(name) & _RATER)


def numbers_people(name: str) -> bool:
    """Whether a name, of ids that are all different, says that a row is a person: the rows of any
    table are numbered as cases."""
    return names_people(name) and not plain(name) <= _CASES | ID


_PARTY = re.compile(r"pid ?\d{1,2}x?|party ?id ?\d{0,2}x?")


def is_party(name: str) -> bool:
    """Whether a name is that of the party somebody is for, as American surveys have it: `pid3`."""
    return _PARTY.fullmatch(folded(name)) is not None


_TOGETHER = listed(
    "couple couples dyad pair household hh hhid family paar haushalt familie hogar pareja famille "
    "ménage famiglia coppia gezin huishouden"
)


def is_of_several(name: str) -> bool:
    """Whether a name is that of ids of people who belong together, as couples do."""
    words = plain(name)
    parted = {*words, re.sub(r"id$", "", folded(name))}
    called = folded(name) in ("couple", "dyad", "hidp")
    ids = bool(words & ID) or folded(name).endswith("id") or called
    return called or (ids and bool(parted & _TOGETHER) and words <= _TOGETHER | ID | {folded(name)})


def may_be_household(name: str) -> bool:
    """Whether a name is that of households, whose ids a column may hold (or what they earn)."""
    return folded(name) in ("household", "hh", "haushalt", "menage", "hogar", "gezin")


def votes_on_bills(name: str) -> bool:
    """Whether a name is that of members of a parliament, who vote, or of whom people think."""
    words = plain(name)
    return bool(words & listed("legislator senator")) and words <= ID | listed(
        "legislator senator name"
    )


_MEMBER = listed(
    "role partner spouse member person actor line lineno pernum husband wife parent relation "
    "relationship position sex gender rolle geschlecht rôle conjoint sexe rol sexo pareja ruolo "
    "indid mid memid memberid pno personennummer hvidx miembro membro mitglied"
)


def tells_members(name: str) -> bool:
    """Whether a name is that of what tells people of one household or couple apart."""
    if is_rater(name) or is_task(name):
        return False
    words = plain(name)
    return is_person(name) or bool(words & _MEMBER and words <= _MEMBER | ID | _TOGETHER)


_CONTACT = listed("email mail username login nickname nick handle")


def is_contact(name: str) -> bool:
    """Whether a name is that of addresses (or the like) that tell people apart."""
    words = plain(name)
    return bool(words & _CONTACT) and words <= _CONTACT | ID | PERSON | listed("e address name")


_COUNTED = listed(
    "trial trials block order position index idx seq sequence counter row line versuch durchgang"
)


def counts_tasks(name: str) -> bool:
    """Whether a name says that tasks are only counted as they come: the first, second, third."""
    words = plain(name)
    return bool(words & _COUNTED) and words <= _COUNTED | ID | listed("this n num rep global")


_TIME = listed(
    "wave waves welle year years jahr time times week weeks woche day days tag tage month months "
    "monat round rounds runde visit visits phase period session "
    "date onda vague ronda"
)


def is_time(name: str) -> bool:
    """Whether a name says when the same people were asked again."""
    words = plain(name)
    return bool(words & _TIME) and words <= _TIME | ID | listed("point of survey study")


def names_tasks(name: str) -> bool:
    """Whether a name has a word for tasks, among others."""
    return bool(plain(name) & (_TASK | {"title"}))


def is_task(name: str) -> bool:
    """Whether a name is that of tasks' ids (or texts)."""
    words = plain(name)
    return bool(words & _TASK) and words <= _TASK | ID | {"name", "title"}


def is_response(name: str) -> bool:
    """Whether a name is that of answers."""
    return bool(tokens(name) & _RESPONSE)


_AVERAGE = listed("mean average avg mittelwert durchschnitt moyenne promedio gemiddelde")
_MANY = re.compile(
    r"((number|no|num|n) (of )?)?(responses|respondents|ratings|raters|reviews|votes|answers)"
    r"( count)?|n|count|(response|rating|ratings|review|vote) count|anzahl (antworten|bewertungen)"
)


def is_average(name: str) -> bool:
    """Whether a name is that of averages of what several people said."""
    return bool(plain(name) & _AVERAGE)


def counts_people(name: str) -> bool:
    """Whether a name says how many people gave an answer."""
    return _MANY.fullmatch(folded(name)) is not None


_COUNTS = listed(
    "freq freqs frequency frequencies count counts n cases häufigkeit häufigkeiten anzahl fälle "
    "effectif effectifs fréquence frecuencia frequenza aantal"
)


def counts_rows(name: str) -> bool:
    """Whether a name says how often what a row says was found."""
    return folded(name) in _COUNTS or counts_people(name)


def is_starred(name: str) -> bool:
    """Whether a name is that of ratings of things, as shops ask for them, and says no more."""
    return folded(name) in ("rating", "ratings", "stars", "book rating")


_OPTION = listed(
    "option options answer answers response category choice level antwort candidate candidates"
)
_SHARE = listed("share shares percent percentage pct proportion frequency count n anteil prozent")

_OF_SHARE = listed("of weighted unweighted total valid responses respondents answers people votes")
"""What may stand beside."""


def is_option(name: str) -> bool:
    """Whether a name is that of the answers that may be given."""
    return plain(name) <= _OPTION | ID


_ALTERNATIVE = listed(
    "alt alternative alternatives alternativa option options profile concept card"
)
_CHOSEN = listed(
    "choice choices chosen chose choose selected select picked pick preferred bought wahl auswahl "
    "gewählt ausgewählt gewaehlt entscheidung choix choisi elección elegido elegida scelta scelto "
    "escolha escolhido keuze gekozen wybór depvar buy purchase purchased saved spared"
)


def is_alternative(name: str) -> bool:
    """Whether a name is that of the options of a choice set."""
    words = plain(name)
    return bool(words & _ALTERNATIVE) and words <= _ALTERNATIVE | ID | listed("no number name")


_NOT_CHOSEN = listed("no none not prev previous last correct right")


def says_chosen(name: str) -> bool:
    """Whether a name says that something was chosen now, and not that nothing was (`no_choice`)."""
    return bool(tokens(name) & _CHOSEN) and not tokens(name) & _NOT_CHOSEN


def has_id(name: str) -> bool:
    """Whether a name says, among other things, that these are ids (`profileID`)."""
    return "id" in tokens(name)


def ends_in_id(name: str) -> bool:
    """Whether a short name ends as those of ids do: `school_id`, `SCH_ID`, `teacherID`."""
    apart = folded(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).split()
    return 1 < len(apart) <= 3 and apart[-1] == "id"


_CLUSTER = listed("cluster clusters psu strata stratum ssu")


def is_cluster(name: str) -> bool:
    """Whether a name is that of what a sample was drawn from: clusters, strata."""
    words = plain(name)
    whole = re.fullmatch(
        r"(sdmv|v|est|samp)?_?(psu|stra|strat|strata|stratum|cluster)", name.lower()
    )
    return whole is not None or bool(words & _CLUSTER and words <= _CLUSTER | ID | {"sample"})


def is_share(name: str) -> bool:
    """Whether a name says how many people gave an answer, and of nothing else how many there
    are."""
    words = plain(name)
    return bool(words & _SHARE) and words <= _SHARE | _OF_SHARE


def is_plain_response(name: str) -> bool:
    """Whether a name is a word for answers, and nothing else."""
    return folded(name) in _RESPONSE


_JOINED_WEIGHT = re.compile(
    r"(survey|sample|sampling|samp|svy|person|people|per|pers|post|design|final|base|pop|population|case|resp|"
    r"common|commonpost|commonvv|commonvvpost|panel|cross|national|state|calibrated|trimmed|adult|"
    r"ind|indiv|individual|expansion|respondent|team|analysis|house|household|hh|std|norm|rake|raked|raking|"
    r"wave|total|pooled|longitudinal|cross|xs|selection|nonresponse|attrition|ipw)(weights?|wgts?|wts?)"
)


_HEAVY = listed("weight gewicht poids peso")
_SURVEY = listed(
    "survey sample sampling final post design person base pop population calibrated raked rake "
    "analysis trimmed adult national panel cross wave factor probability inverse"
)


def may_be_heavy(name: str) -> bool:
    """Whether the name of a weight may be that of how heavy somebody is (`weight`, `goal_weight`),
    since nothing in it tells of a survey."""
    words = plain(name)
    return bool(words & _HEAVY) and not words & _SURVEY


def is_weight(name: str, text: str) -> bool:
    """Whether a name (or text) is that of survey weights, not of how heavy somebody is."""
    words = tokens(name) | (tokens(text) if len(text.split()) < 6 else frozenset())
    whole = any(_JOINED_WEIGHT.fullmatch(word) for word in words)
    return bool(words & _WEIGHT or whole) and not words & _BODY


def seems_reversed(name: str) -> bool:
    """Whether a name ends as those of reverse-keyed items do; `lang [R]` names an option."""
    return bool(re.search(r"(?i)[_. (](r|rev|reversed|recoded|rec|inv)\)?$|\d(r|rev)$", name))
