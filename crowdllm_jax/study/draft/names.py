"""What columns are for by what they are called, in the languages of many survey programs."""

import re
from collections.abc import Sequence

from crowdllm_jax.study.draft.word_lists import folded


def _words(text: str) -> frozenset[str]:
    return frozenset(folded(word) for word in text.split())


_ID = _words("id ids no nr number num nummer code key uid uuid guid")
_PERSON = _words(
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
_RECORD = _words("response submission record entry session form")
"""With an id, what one person has sent."""
_TASK = _words(
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
_RESPONSE = _words(
    "response responses answer answers rating ratings stars score scores label value vote "
    "decision choice judgment judgement grade annotation antwort bewertung wertung note réponse "
    "respuesta calificación risposta voto resposta antwoord odpowiedź ocena oceny hodnocení "
    "odpověď valutazione avaliação puntuación puntaje cijfer beoordeling betyg svar arvosana "
    "évaluation оценка ответ 评分 回答 答案 評価"
)
_WEIGHT = _words(
    "weight weights wgt wt wts gewicht gewichtung poids peso pesos ponderación ponderazione "
    "weging waga wtssall wtssps wtssnr dweight pspwght pweight anweight finalwt nwgt weightvar "
    "surveyweight weighting gewichtungsfaktor ponderation pondération weightfactor "
    "perwt hhwt wtfinl hwtfinl asecwt earnwt pwgtp wgtp llcpwt finwt sampwt svywt indwt wtper wthh "
    "wtint2yr wtint4yr wtmec2yr wtmec4yr wtsupp"
)
_BODY = _words(
    "kg lb lbs pounds body birth height bmi körper bodyweight birthweight overweight underweight "
    "birth_weight lightweight heavyweight"
)
_OWN = _words(
    "timestamp zeitstempel startdate enddate date datetime time duration ip ipaddress latitude "
    "longitude email mail phone telefon url comment comments notes remarks kommentar bemerkung "
    "horodateur tijdstempel username firstname lastname vorname nachname created updated "
    "completed started submitted submitdate browser device useragent consent recaptcha "
    "completioncode qtime interviewtime totaltime "
    "zeit datum seed rt epoch unixtime rowid rownum rownumber lat lng lon zip gps deviceid "
    "zipcode postcode postalcode plz postleitzahl data fecha datum rownames"
)
_PROFILE = _words(
    "age agegroup agecat alter edad âge idade leeftijd wiek eta età birthyear yob geburtsjahr "
    "yearofbirth gender sex geschlecht sexo genre sexe sesso geslacht płeć genero gênero género "
    "genere region state country land bundesland province city county ort wohnort pays país paese "
    "nationality urban urbanicity residence région région región regione provincia provincie "
    "education educ edu bildung schulabschluss degree schooling educación éducation diplôme "
    "istruzione escolaridade opleiding wykształcenie bildungsabschluss income einkommen ingresos "
    "revenu reddito renda inkomen dochód hhincome occupation job employment beruf profession "
    "erwerb employed empstat profesión ocupación race ethnicity ethnic religion marital "
    "familienstand married children kids household hhsize language sprache cohort generation "
    "condition treatment department major ethnie hispanic neighborhood neighbourhood district "
    "stadtteil csp pcs agea gndr eisced eduyrs hinctnta domicil dvage birthyr faminc inputstate "
    "tenure seniority isocntry town stadt ville ciudad cond arm "
    "cinsiyet yaş eğitim gelir şehir meslek kön ålder utbildning inkomst alder køn utdanning "
    "sukupuoli ikä koulutus usia umur kelamin pendidikan الجنس العمر التعليم الدخل المدينة "
    "plec возраст пол образование регион город доход 年齢 性別 地域 年龄 性别 学历 地区 나이 "
    "성별"
)
_OF_PEOPLE = _words(
    "of respondent respondents r s the in years your his her participant group level highest "
    "calculated derived recode summary full time completed attained year born recoded "
    "categories category des der befragten in jahren du de del encuestado what is and year "
    "household households total net gross family all sources annual monthly before after taxes "
    "birth befragte befragter person personen kategorisiert kategorien gruppiert gruppe"
)
"""What may stand beside the name of a profile's attribute in a label, and nothing else."""
_ATTITUDE = _words(
    "satisfaction satisfied trust rating like score importance important support agree opinion "
    "view attitude feel think zufriedenheit vertrauen"
)
_ASKED = re.compile(
    r"\b(how old|wie alt|what is your (age|gender|sex|race|ethnicity|highest|current|marital|"
    r"annual|household|occupation|religion)|your (age|gender|sex|highest level)|highest (level|"
    r"degree|education)|which (state|region|country|city) do you|where do you live|ihr (alter|"
    r"geschlecht)|welches geschlecht|hochster (schul|bildungs)\w*|in welchem (bundesland|land|"
    r"jahr)|quel (age|est votre (age|sexe|genre))|cual es su (edad|sexo|genero)|que edad|year of "
    r"birth|year were you born|with which gender|which gender|gender identity|are you (male|"
    r"female|married|employed))\b|您的(性别|年龄|学历|职业|收入)|(性別|年齢|年代|職業)を"
)


def tokens(name: str) -> frozenset[str]:
    """The words of a column's name: `AgeGroup`, `age_group` and `D1. Age group` alike."""
    apart = re.sub(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])", " ", name)
    return frozenset(re.sub(r"(?<=[a-z])(?=\d)|_", " ", folded(apart)).split()) | {folded(name)}


def _plain(name: str) -> frozenset[str]:
    """The words without the name as a whole, numbers left out."""
    own = tokens(name)
    parts = own - {folded(name)} or own
    return frozenset(word for word in parts if not word.isdecimal()) or own


def _apart(words: frozenset[str]) -> frozenset[str]:
    """Words of which those that are people's and a word for ids are taken apart, as
    `respondentnummer` is."""
    cut = {word: re.sub(r"(nummer|number|nr|code|id)$", "", word) for word in words}
    return frozenset(cut[word] if cut[word] in _PERSON else word for word in words)


def is_person(name: str) -> bool:
    """Whether a name is that of people's ids."""
    words = _apart(_plain(name))
    record = bool(words & _ID) and words <= _ID | _RECORD
    called = bool(words & _PERSON) and words <= _PERSON | _ID | {"name"}
    return folded(name) in _PERSON or words <= _PERSON | _ID or called or record


def names_people(name: str) -> bool:
    """Whether a name says that ids are people's, and not of anything (`id`)."""
    return bool(_apart(_plain(name)) & _PERSON)


def numbers_somebody(name: str) -> bool:
    """Whether a name is that of one of several people (`Player 3`), and not of ids (`id 2`)."""
    words = _plain(name)
    ids = bool(words & _ID) or any(word.endswith("id") for word in words)
    return is_person(name) and bool(re.search(r"[^\W\d][\W_]*\d+$", name)) and not ids


_RATER = _words(
    "rater annotator coder judge evaluator reviewer labeler labeller juror assessor "
    "grader critic taster crowdworker évaluateur anotador annotateur codeur"
)


def is_condition(name: str) -> bool:
    """Whether a name is that of what was done to people: to all of them perhaps, one after
    another."""
    words = _plain(name)
    return bool(words & _words("condition treatment cond arm")) and not words & _words("id group")


def may_be_owned(name: str) -> bool:
    """Whether a name that may be a telephone's number may be what somebody has, too."""
    return folded(name) in ("phone", "telefon")


_CASES = _words("case serial interview lfd lfdn uniqid idnr rid qkey identifiant identificador")


def is_rater(name: str) -> bool:
    """Whether a name says that people answer about others (or about things)."""
    return bool(_plain(name) & _RATER)


def numbers_people(name: str) -> bool:
    """Whether a name, of ids that are all different, says that a row is a person: the rows of any
    table are numbered as cases."""
    return names_people(name) and not _plain(name) <= _CASES | _ID


_PARTY = re.compile(r"pid ?\d{1,2}x?|party ?id ?\d{0,2}x?")


def is_party(name: str) -> bool:
    """Whether a name is that of the party somebody is for, as American surveys have it: `pid3`."""
    return _PARTY.fullmatch(folded(name)) is not None


_TOGETHER = _words(
    "couple couples dyad pair household hh hhid family paar haushalt familie hogar pareja famille "
    "ménage famiglia coppia gezin huishouden"
)


def is_of_several(name: str) -> bool:
    """Whether a name is that of ids of people who belong together, as couples do."""
    words = _plain(name)
    parted = {*words, re.sub(r"id$", "", folded(name))}
    ids = bool(words & _ID) or folded(name).endswith("id") or folded(name) in ("couple", "dyad")
    return ids and bool(parted & _TOGETHER) and words <= _TOGETHER | _ID | {folded(name)}


def votes_on_bills(name: str) -> bool:
    """Whether a name is that of members of a parliament, who vote, or of whom people think."""
    words = _plain(name)
    return bool(words & _words("legislator senator")) and words <= _ID | _words(
        "legislator senator name"
    )


_MEMBER = _words(
    "role partner spouse member person actor line lineno pernum husband wife parent relation "
    "relationship position sex gender rolle geschlecht rôle conjoint sexe rol sexo pareja ruolo"
)


def tells_members(name: str) -> bool:
    """Whether a name is that of what tells people of one household or couple apart."""
    if is_rater(name) or is_task(name) or is_own(name):
        return False
    words = _plain(name)
    return is_person(name) or bool(words & _MEMBER and words <= _MEMBER | _ID | _TOGETHER)


_CONTACT = _words("email mail username login nickname nick handle")


def is_contact(name: str) -> bool:
    """Whether a name is that of addresses (or the like) that tell people apart."""
    words = _plain(name)
    return bool(words & _CONTACT) and words <= _CONTACT | _ID | _PERSON | _words("e address name")


_COUNTED = _words(
    "trial trials block order position index idx seq sequence counter row line versuch durchgang"
)


def counts_tasks(name: str) -> bool:
    """Whether a name says that tasks are only counted as they come: the first, second, third."""
    words = _plain(name)
    return bool(words & _COUNTED) and words <= _COUNTED | _ID | _words("this n num rep global")


_TIME = _words(
    "wave waves welle year years jahr time times week weeks woche day days tag tage month months "
    "monat round rounds runde visit visits phase period session "
    "date onda vague ronda"
)


def is_time(name: str) -> bool:
    """Whether a name says when the same people were asked again."""
    words = _plain(name)
    return bool(words & _TIME) and words <= _TIME | _ID | _words("point of survey study")


def names_tasks(name: str) -> bool:
    """Whether a name has a word for tasks, among others."""
    return bool(_plain(name) & (_TASK | {"title"}))


def is_task(name: str) -> bool:
    """Whether a name is that of tasks' ids (or texts)."""
    words = _plain(name)
    return bool(words & _TASK) and words <= _TASK | _ID | {"name", "title"}


def is_response(name: str) -> bool:
    """Whether a name is that of answers."""
    return bool(tokens(name) & _RESPONSE)


_AVERAGE = _words("mean average avg mittelwert durchschnitt moyenne promedio gemiddelde")
_MANY = re.compile(
    r"((number|no|num|n) (of )?)?(responses|respondents|ratings|raters|reviews|votes|answers)"
    r"( count)?|n|count|(response|rating|ratings|review|vote) count|anzahl (antworten|bewertungen)"
)


def is_average(name: str) -> bool:
    """Whether a name is that of averages of what several people said."""
    return bool(_plain(name) & _AVERAGE)


def counts_people(name: str) -> bool:
    """Whether a name says how many people gave an answer."""
    return _MANY.fullmatch(folded(name)) is not None


_COUNTS = _words(
    "freq freqs frequency frequencies count counts n cases häufigkeit häufigkeiten anzahl fälle "
    "effectif effectifs fréquence frecuencia frequenza aantal"
)


def counts_rows(name: str) -> bool:
    """Whether a name says how often what a row says was found."""
    return folded(name) in _COUNTS or counts_people(name)


def is_starred(name: str) -> bool:
    """Whether a name is that of ratings of things, as shops ask for them, and says no more."""
    return folded(name) in ("rating", "ratings", "stars", "book rating")


_OPTION = _words(
    "option options answer answers response category choice level antwort candidate candidates"
)
_SHARE = _words("share shares percent percentage pct proportion frequency count n anteil prozent")

_OF_SHARE = _words("of weighted unweighted total valid responses respondents answers people votes")
"""What may stand beside."""


def is_option(name: str) -> bool:
    """Whether a name is that of the answers that may be given."""
    return _plain(name) <= _OPTION | _ID


_ALTERNATIVE = _words(
    "alt alternative alternatives alternativa option options profile concept card"
)
_CHOSEN = _words(
    "choice choices chosen chose choose selected select picked pick preferred bought wahl auswahl "
    "gewählt ausgewählt gewaehlt entscheidung choix choisi elección elegido elegida scelta scelto "
    "escolha escolhido keuze gekozen wybór depvar buy purchase purchased saved spared"
)


def is_alternative(name: str) -> bool:
    """Whether a name is that of the options of a choice set."""
    words = _plain(name)
    return bool(words & _ALTERNATIVE) and words <= _ALTERNATIVE | _ID | _words("no number name")


_NOT_CHOSEN = _words("no none not prev previous last correct right")


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


_CLUSTER = _words("cluster clusters psu strata stratum ssu")


def is_cluster(name: str) -> bool:
    """Whether a name is that of what a sample was drawn from: clusters, strata."""
    words = _plain(name)
    whole = re.fullmatch(
        r"(sdmv|v|est|samp)?_?(psu|stra|strat|strata|stratum|cluster)", name.lower()
    )
    return whole is not None or bool(words & _CLUSTER and words <= _CLUSTER | _ID | {"sample"})


def is_share(name: str) -> bool:
    """Whether a name says how many people gave an answer, and of nothing else how many there
    are."""
    words = _plain(name)
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


_HEAVY = _words("weight gewicht poids peso")
_SURVEY = _words(
    "survey sample sampling final post design person base pop population calibrated raked rake "
    "analysis trimmed adult national panel cross wave factor probability inverse"
)


def may_be_heavy(name: str) -> bool:
    """Whether the name of a weight may be that of how heavy somebody is (`weight`, `goal_weight`),
    since nothing in it tells of a survey."""
    words = _plain(name)
    return bool(words & _HEAVY) and not words & _SURVEY


def is_weight(name: str, text: str) -> bool:
    """Whether a name (or text) is that of survey weights, not of how heavy somebody is."""
    words = tokens(name) | (tokens(text) if len(text.split()) < 6 else frozenset())
    whole = any(_JOINED_WEIGHT.fullmatch(word) for word in words)
    return bool(words & _WEIGHT or whole) and not words & _BODY


_BESIDE = _OWN | _words(
    "in seconds at secs ms s address sec first last page click submit start end completion taken "
    "to complete unix review "
    "total elapsed spent code postal row sum rsi deg gps altitude precision accuracy by"
)
_OWN_NAMES = (
    *("marca temporal", "carimbo de data hora", "informazioni cronologiche"),
    *("questnnr", "mailsent", "lastdata", "lastpage", "maxpage", "finished", "missing", "missrel"),
    *("提交答卷时间", "所用时间", "来源", "来源详情", "来自ip", "序号"),
    *("user full name", "user agent", "row names", "device type", "browser type"),
    *("n comments", "n votes", "n agree", "n disagree", "group id", "unnamed 0"),
)
_CHECKED = re.compile(
    r"\b(attention|attn|att|manipulation|manip|instructional|bot|imc) (check|chk|question)|"
    r"^(imc|bogus|catch|trap)( (item|question|trial))?( \d+)?$|^(mc|ac|att?n?) pass(ed)?$|"
    r"^(please )?(select|choose|click|mark|pick|tick|check|answer) (?!.*\ball\b).*\b((to|that) "
    r"(show|indicate|demonstrate|confirm|prove|verify)|for this (item|question|statement|row)|if "
    r"you (are|re) (reading|paying))\b|\bplease (select|choose|click|mark|pick|tick|answer) (the )?"
    r"(option |answer )?(strongly |somewhat )?(dis)?agree( here)?$|^"
    r"(passed|failed) (\w+ )?checks?$|\bcaptcha\b|^(do|did) you (consent|agree to "
    r"(take part|participate))|^i (hereby )?(consent|agree to (take part|participate))|\binformed "
    r"consent\b|\beinverstandniserklarung\b|\bconsentimiento informado\b"
)
"""What is asked to tell who may or should be heeded."""
_TIMED = re.compile(
    r"rts?\d*( m?s(ecs?)?)?|((total|mean|last|first|this|trials?|q?\d+) )?(response|reaction|"
    r"answer|rating|decision|choice|judge?ment|annotation|label|labell?ing|trial|task|reply|resp|click|"
    r"page) (times?|duration|latency) (in )?(m|milli)?s(ecs?|econds?)?|.* rt m?s(ecs?)?"
)
"""How long somebody took for an answer, by its unit: `answer_time_ms`, `rts3812`. Without one it
may be what was asked (`Response time`: poor)."""
_OTREE = re.compile(
    r"participant\.(id_in_session|_?is_bot|_index_in_pages|_max_page_index|_current_\w+_name|"
    r"time_started\w*|visited|label|mturk_\w+|payoff\w*)|session\.(?!config)\w+|"
    r"session\.config\.(participation_fee|real_world_currency_per_point)|"
    r"\w+\.\d+\.(player\.(payoff|id_in_group|role)|group\.id_in_subsession|"
    r"subsession\.round_number)"
)
"""What oTree notes of everybody: what players are paid follows from what they did."""


_CLICKED = re.compile(r"(.* )?(first click|last click|page submit|click count)")
"""What Qualtrics notes of a page."""
_PLACED = re.compile(r"(.* )?(latitude|longitude)|.*\b(gps|location|geopoint) (altitude|accuracy)")
_ASKER = _words(
    "submitter enumerator interviewer surveyor fieldworker intervieweur encuestador ankieter"
)


def is_check(text: str) -> bool:
    """Whether a name, or what was asked, only tells who takes part and who pays attention."""
    return _CHECKED.search(folded(text)) is not None


def is_own(name: str) -> bool:
    """Whether a name is that of what a program notes beside the answers, or of who asked."""
    words = _plain(name)
    asker = _plain(name.rpartition("/")[2])  # questions may stand in groups: `intro/interviewer`
    return (
        folded(name) in _OWN
        or folded(name) in _OWN_NAMES
        or is_check(name)
        or bool(_TIMED.fullmatch(folded(name)))
        or name.endswith(".rt")
        or name.casefold() == "filter_$"  # SPSS notes there which cases are looked at
        or _CLICKED.fullmatch(folded(name)) is not None
        or _PLACED.fullmatch(folded(name)) is not None
        or _OTREE.fullmatch(name) is not None
        or bool(words & _OWN and words <= _BESIDE)
        or bool(asker & _ASKER and asker <= _ASKER | _ID | {"name"})
    )


_WHEN = ("year", "jahr", "wave", "welle", "birth year", "year of birth")
_WHERE = (
    *("group", "gruppe", "groupe", "grupo", "gruppo", "groep", "grupa", "nation"),
    *("team", "site", "office", "branch", "unit", "location", "precinct", "precinct portion"),
    *("ward", "school", "schule", "class", "klasse", "cntry", "standort", "abteilung", "tenure"),
    *("precinctportion", "countinggroup", "counting group", "ballottype", "ballot type"),
)
"""Names that describe people if nothing else stands beside them."""


_BESIDE_PROFILE = (
    _PROFILE
    | _OF_PEOPLE
    | _ID
    | _PERSON
    | _words(
        "status cat category categories band bands bracket brackets range class lvl coded num "
        "numeric yrs months old size type self reported report current currently own resp subj "
        "parent parents parental mother father mothers fathers maternal paternal spouse partner "
        "husband wife husb hhld home native tongue origin identity identification rec new dummy "
        "bin binary demo demographic demographics dem prof ess std iso fips usa completed obtained "
        "eth pre post usd eur log sqrt centered affiliation denomination group groups grp grouped "
        "bucket final primary main present living residential permanent grade degree field study "
        "code codes label text name names short long other specify at interview survey wave "
        "baseline marriage married last next ses actual exact given estimated approximate combined "
        "source sources merged simple simplified detailed broad major sub census official assigned "
        "experimental random randomised randomized treatment survey sample version "
        "quartile quintile decile tertile percentile midpoint median mean index "
        "work working job current spoken interview questionnaire fluent "
        "bundesland wohn abschluss hochster stand jahre alters familien haushalts netto brutto "
        "höchster hochste höchste stellung klasse stufe tranche niveau classe catégorie catégories "
        "foyer naissance résidence actuelle professionnelle familiale socioprofessionnelle études "
        "nivel rango nacimiento residencia laboral situación estudios actual grupo tramo máximo "
        "fascia livello titolo studio stato nascita residenza professionale attuale faixa etária "
        "nascimento residência situação atual estado geboorte categorie hoogste huidige huishouden "
        "przedział wiekowy poziom stan zawodowy grupa wiekowa miejsce zamieszkania ålders grupp"
    )
)
"""What stands beside what describes people and says whose it is, or how it was written down; beside
other words (`job_stress`, `income inequality`) it is what somebody thinks about."""


def is_profile(name: str, text: str) -> bool:
    """Whether a column describes people, by its name or by a question that asks for it."""
    words = tokens(name)
    short = len(name.split()) <= 3 and bool(words & _PROFILE) and not words & _ATTITUDE
    short = short and all(len(word) < 3 for word in _plain(name) - _BESIDE_PROFILE)
    label = _plain(text or name)
    named = bool(label & _PROFILE) and label <= _PROFILE | _OF_PEOPLE
    when = folded(name) in (*_WHEN, *_WHERE)
    return (
        short or named or when or bool(_ASKED.search(folded(text)) or _ASKED.search(folded(name)))
    )


_WITHOUT_ORDER = _words(
    "gender sex geschlecht sexo genre sexe sesso geslacht plec genero gênero género gndr region "
    "state country land bundesland province provincie provincia city county ort pays país paese "
    "région région regione nationality occupation beruf profession profesión ocupación "
    "employment employed empstat race ethnicity ethnic ethnie hispanic religion marital "
    "familienstand language sprache condition treatment cond arm department major district "
    "neighborhood neighbourhood stadtteil group gruppe groupe grupo gruppo groep grupa team site "
    "office branch location school schule cntry standort abteilung party "
    "пол регион город 性別 地域 性别 地区 성별 cinsiyet الجنس kön køn sukupuoli kelamin "
    "şehir المدينة"
)

_FILLING = _words("what is your the of in do you live which code nr no cat category 1 2 current")
DENSE = 2
"""Codes lie this far apart at most, on average; doses and distances farther."""


def has_no_order(name: str, text: str, codes: Sequence[float]) -> bool:
    """Whether numbers are codes whose order says nothing, by what they are called after (gender and
    regions, not age groups) and by having few gaps."""
    words = _plain(name)
    if not words & _WITHOUT_ORDER and len(text.split()) < 8:
        words = _plain(text)
    whole = all(code == int(code) for code in codes)
    dense = whole and max(codes) - min(codes) <= DENSE * len(codes)
    return dense and bool(words & _WITHOUT_ORDER) and words <= _WITHOUT_ORDER | _ID | _FILLING


def is_age(name: str) -> bool:
    """Whether a column holds ages."""
    return bool(
        tokens(name)
        & _words(
            "age alter edad âge idade leeftijd wiek età agea yaş العمر ålder alder ikä "
            "usia umur возраст 年齢 年龄 나이"
        )
    )


def is_gender(name: str) -> bool:
    """Whether a column holds genders, whatever else it may be called (`genre` is one in French)."""
    return bool(tokens(name) & _words("gender sex geschlecht sexo sexe sesso geslacht gndr płeć"))


_GENDERS = _words("female male woman man weiblich männlich femme homme mujer hombre")


def is_one_gender(name: str) -> bool:
    """Whether a name is that of one gender: `female`."""
    return folded(name) in _GENDERS


def seems_reversed(name: str) -> bool:
    """Whether a name ends as those of reverse-keyed items do; `lang [R]` names an option."""
    return bool(re.search(r"(?i)[_. (](r|rev|reversed|recoded|rec|inv)\)?$|\d(r|rev)$", name))
