"""LimeSurvey's exported CSV: a row per response; headings are question codes, or codes and texts.

Items of arrays are headed `code[item]` or `Text [item]`
(https://www.limesurvey.org/manual/Exporting_results).
"""

import re

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.sheet import Field, Sheet, Use, check_size, column_of, unique_names

_OWN = frozenset(
    [
        "submitdate",
        "date submitted",
        "datum abgeschickt",
        "lastpage",
        "last page",
        "letzte seite",
        "startlanguage",
        "start language",
        "start-sprache",
        "startsprache",
        "seed",
        "token",
        "zugangscode",
        "access code",
        "startdate",
        "date started",
        "datum gestartet",
        "datestamp",
        "date last action",
        "datum letzte aktivität",
        "ipaddr",
        "ip address",
        "ip-adresse",
        "refurl",
        "referrer url",
        "weiterleitungs-url",
        "interviewtime",
        "total time",
        "gesamtzeit",
        "zufallsstartwert",
        "date de soumission",
        "dernière page",
        "langue de départ",
        "tête de série",
        "date de lancement",
        "date de la dernière action",
        "adresse ip",
        "temps total",
        "code",
        "fecha de envío",
        "última página",
        "lenguaje inicial",
        "idioma inicial",
        "semilla",
        "fecha de inicio",
        "fecha de la última acción",
        "dirección ip",
        "tiempo total",
        "contraseña",
        "data di invio",
        "ultima pagina",
        "lingua iniziale",
        "seme",
        "data di inizio",
        "data dell'ultima azione",
        "indirizzo ip",
        "tempo totale",
        "datum indiening",
        "laatste pagina",
        "starttaal",
        "data de envio",
        "semente",
        "data wysłania",
        "ostatnia strona",
        "język początkowy",
        "ziarno",
    ]
)
_IDS = (
    "id",
    "response id",
    "antwort id",
    "antwort-id",
    "id de la réponse",
    "id de respuesta",
    "id risposta",
    "id da resposta",
    "antwoord id",
    "id odpowiedzi",
)
_CODED = re.compile(r"(AO?)(\d+)")
_ITEM = re.compile(r"(.+?)\s*\[([^\]]+)\](?:\[([^\]]+)\])?")
_HEADED = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(\[[^\]]*\])?\.\s+(.*)", re.DOTALL)
_TIMING = re.compile(
    r"(groupTime|interviewtime|.+Time)\d*|(question|group|frage[n]?|gruppen?)\s?(time|zeit): .*",
    re.IGNORECASE,
)


_OTHERS = {"date submitted", "ip address", "referrer url"}


def is_limesurvey(rows: Rows) -> bool:
    """Whether the header names LimeSurvey's own columns."""
    names = [_code(name).casefold() for name in (rows.rows or [[]])[0]]
    own = _OWN & set(names[1:])
    # Alchemer notes the latter, too.
    return bool(names) and names[0] in _IDS and len(own) >= 2 and bool(own - _OTHERS)


def _code(name: str) -> str:
    """The code of a heading with code and text."""
    headed = _HEADED.fullmatch(tidy_name(name))
    return headed[1] + (headed[2] or "") if headed else tidy_name(name)


def read_limesurvey(rows: Rows) -> Sheet:
    """Read an export, with codes or with full answers; `Y` and `N` are yes and no."""
    header, *body = rows.rows
    check_size(rows.path, len(body), len(header))
    notes = list(rows.notes)
    names = unique_names([_code(name) for name in header])
    lower = [name.casefold() for name in names]
    submitted = next((i for i, n in enumerate(lower) if n in _SUBMITTED), None)
    if submitted is not None and any(row[submitted] for row in body):
        done = [row for row in body if row[submitted] not in ("", "NULL")]
        if len(done) < len(body):
            notes.append(f"Not submitted, but kept: {len(body) - len(done)} responses.")
    fields = []
    for place, name in enumerate(names):
        cells = [row[place] for row in body]
        headed, item = _HEADED.fullmatch(tidy_name(header[place])), _ITEM.fullmatch(name)
        use: Use | None = "person" if place == 0 else None
        why = "LimeSurvey's own" if lower[place] in _OWN or _TIMING.fullmatch(name) else ""
        if item and item[2].casefold() in ("other", "comment"):
            why = "typed text"
        labels = _labels(set(cells) - {"", "N/A", "-oth-"})
        if "-oth-" in cells:
            labels = ()
        fields.append(
            Field(
                name,
                column_of(rows.path, name, cells),
                text=headed[3] if headed else "",
                labels=labels,
                missing=frozenset({"N/A"}),
                use="out" if why else use,
                ordered=True if item and labels and labels[0][0].startswith("A") else None,
                grid=item[1] if item else "",
                why=why,
            )
        )
    return Sheet(rows.path, "an export of LimeSurvey", len(body), tuple(fields), tuple(notes))


_SUBMITTED = ("submitdate", "date submitted", "datum abgeschickt")


def _labels(texts: set[str]) -> tuple[tuple[str, str], ...]:
    """What codes mean: Y and N; A1, A2, ... (or AO01, AO02, ...) of an array, in their order."""
    if texts and texts <= {"Y", "N"}:
        return (("N", "no"), ("Y", "yes"))
    found = [_CODED.fullmatch(text) for text in texts]
    coded = [code for code in found if code is not None]
    if len(texts) > 1 and len(coded) == len(texts) and len({code[1] for code in coded}) == 1:
        start, most = coded[0][1], max(int(code[2]) for code in coded)
        width = max(len(code[2]) for code in coded)
        return (
            tuple((f"{start}{i:0{width}}",) * 2 for i in range(1, most + 1)) if most <= 20 else ()
        )
    return ()
