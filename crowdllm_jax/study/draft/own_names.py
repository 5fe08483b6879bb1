"""Names of what a program notes beside the answers, of who asked, and of checks of attention."""

import re

from crowdllm_jax.study.draft.names import ID, listed, plain
from crowdllm_jax.study.draft.word_lists import folded

_OWN = listed(
    "timestamp zeitstempel startdate enddate date datetime time duration ip ipaddress latitude "
    "longitude email mail phone telefon url comment comments notes remarks kommentar bemerkung "
    "horodateur tijdstempel username firstname lastname vorname nachname created updated "
    "completed started submitted submitdate browser device useragent consent recaptcha "
    "completioncode qtime interviewtime totaltime "
    "zeit datum seed rt epoch unixtime rowid rownum rownumber lat lng lon zip gps deviceid "
    "tstamp unixreviewtime reviewtime "
    "zipcode postcode postalcode plz postleitzahl data fecha datum rownames"
)

_BESIDE = _OWN | listed(
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

_ASKER = listed(
    "submitter enumerator interviewer surveyor fieldworker intervieweur encuestador ankieter"
)


def is_check(text: str) -> bool:
    """Whether a name, or what was asked, only tells who takes part and who pays attention."""
    return _CHECKED.search(folded(text)) is not None


def is_own(name: str) -> bool:
    """Whether a name is that of what a program notes beside the answers, or of who asked."""
    words = plain(name)
    asker = plain(name.rpartition("/")[2])  # questions may stand in groups: `intro/interviewer`
    return (
        folded(name) in _OWN
        or folded(name) in _OWN_NAMES
        or is_check(name)
        or bool(_TIMED.fullmatch(folded(name)))
        or name.endswith(".rt")
        or name == "ts"  # `TS` may be somebody
        or name.casefold() == "filter_$"  # SPSS notes there which cases are looked at
        or _CLICKED.fullmatch(folded(name)) is not None
        or _PLACED.fullmatch(folded(name)) is not None
        or _OTREE.fullmatch(name) is not None
        or bool(words & _OWN and words <= _BESIDE)
        or bool(asker & _ASKER and asker <= _ASKER | ID | {"name"})
    )
