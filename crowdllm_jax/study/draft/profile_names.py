"""Names of what describes people, and whether the codes in such a column have an order."""

import re
from collections.abc import Sequence

from crowdllm_jax.study.draft.names import ID, PERSON, listed, plain, tokens
from crowdllm_jax.study.draft.word_lists import folded

_PROFILE = listed(
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

_OF_PEOPLE = listed(
    "of respondent respondents r s the in years your his her participant group level highest "
    "calculated derived recode summary full time completed attained year born recoded "
    "categories category des der befragten in jahren du de del encuestado what is and year "
    "household households total net gross family all sources annual monthly before after taxes "
    "birth befragte befragter person personen kategorisiert kategorien gruppiert gruppe"
)
"""What may stand beside the name of a profile's attribute in a label, and nothing else."""

_ATTITUDE = listed(
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

_WHEN = ("year", "jahr", "wave", "welle", "birth year", "year of birth")

_WHERE = (
    *("group", "gruppe", "groupe", "grupo", "gruppo", "groep", "grupa", "nation"),
    *("team", "site", "office", "branch", "unit", "location", "precinct", "precinct portion"),
    *("ward", "school", "schule", "class", "klasse", "cntry", "standort", "abteilung", "tenure"),
    *("segment", "customer segment", "market segment", "kundensegment"),
    *("precinctportion", "countinggroup", "counting group", "ballottype", "ballot type"),
)
"""Names that describe people if nothing else stands beside them."""

_BESIDE_PROFILE = (
    _PROFILE
    | _OF_PEOPLE
    | ID
    | PERSON
    | listed(
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


_OF_A_PAGE = re.compile(r"^\w+\.\d+\.player\.|^(player|participant)\.")
"""What oTree writes before the name of a question: `survey.1.player.age`."""


def is_profile(name: str, text: str) -> bool:
    """Whether a column describes people, by its name or by a question that asks for it."""
    name = _OF_A_PAGE.sub("", name)
    words = tokens(name)
    short = len(name.split()) <= 3 and bool(words & _PROFILE) and not words & _ATTITUDE
    short = short and all(len(word) < 3 for word in plain(name) - _BESIDE_PROFILE)
    label = plain(text or name)
    named = bool(label & _PROFILE) and label <= _PROFILE | _OF_PEOPLE
    when = folded(name) in (*_WHEN, *_WHERE)
    return (
        short or named or when or bool(_ASKED.search(folded(text)) or _ASKED.search(folded(name)))
    )


_WITHOUT_ORDER = listed(
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

_FILLING = listed("what is your the of in do you live which code nr no cat category 1 2 current")

DENSE = 2
"""Codes lie this far apart at most, on average; doses and distances farther."""


def has_no_order(name: str, text: str, codes: Sequence[float]) -> bool:
    """Whether numbers are codes whose order says nothing, by what they are called after (gender and
    regions, not age groups) and by having few gaps."""
    words = plain(name)
    if not words & _WITHOUT_ORDER and len(text.split()) < 8:
        words = plain(text)
    whole = all(code == int(code) for code in codes)
    dense = whole and max(codes) - min(codes) <= DENSE * len(codes)
    return dense and bool(words & _WITHOUT_ORDER) and words <= _WITHOUT_ORDER | ID | _FILLING


def is_age(name: str) -> bool:
    """Whether a column holds ages."""
    return bool(
        tokens(name)
        & listed(
            "age alter edad âge idade leeftijd wiek età agea yaş العمر ålder alder ikä "
            "usia umur возраст 年齢 年龄 나이"
        )
    )


def is_gender(name: str) -> bool:
    """Whether a column holds genders, whatever else it may be called (`genre` is one in French)."""
    return bool(tokens(name) & listed("gender sex geschlecht sexo sexe sesso geslacht gndr płeć"))


_GENDERS = listed("female male woman man weiblich männlich femme homme mujer hombre")


def is_one_gender(name: str) -> bool:
    """Whether a name is that of one gender: `female`."""
    return folded(name) in _GENDERS
