"""YAML that a person wrote: read it, refuse what is ambiguous, explain what is wrong."""

import difflib
import re
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.tag import Tag

from crowdllm_jax.errors import CrowdError, first_line

MAX_BYTES = 1_000_000
MAX_DEPTH = 50


_TABLE = re.compile(
    r"(?i)\.(csv|tsv|tab|xlsx?|ods|sav|zsav|por|dta|parquet|jsonl|pb|so[ci]|to[ci]|cat|rds|"
    r"sas7bdat)(\.(gz|bz2|xz|zst|zip))?$"
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping; a key that stands there twice, an alias or a tag is an error."""
    if path.is_dir():
        raise CrowdError(f"{path}: is a folder; give a YAML file (a run's is config.yaml in it)")
    if not path.is_file():
        raise CrowdError(f"{path}: no such file")
    if _TABLE.search(path.name):
        raise CrowdError(
            f"{path}: is a table, and a YAML file is needed; `crowdllm init {path.name}` makes one "
            "of a table of answers"
        )
    if path.stat().st_size > MAX_BYTES:
        raise CrowdError(f"{path}: is larger than a configuration can be ({MAX_BYTES:,} bytes)")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CrowdError(f"{path}: line {line}: is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise CrowdError(f"{path}: cannot be read: {error}") from error
    return parse(text, str(path))


class _NamesAsWritten(SafeConstructor):
    """Keys are names, and names are texts as they stand there: 1, 1.0 and true, too."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> Any:
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                key.ctag = Tag(suffix="tag:yaml.org,2002:str")
        return super().construct_mapping(node, deep=deep)


def parse(text: str, where: str) -> dict[str, Any]:
    """Read YAML 1.2 from a text as `read_yaml` does from a file; `where` names it in errors.

    Raises:
      CrowdError: the line and what is wrong there.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        depth = 0
        for event in yaml.parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise CrowdError(f"{where}: more than {MAX_DEPTH} levels deep")
            # A few lines of nested aliases unfold into gigabytes.
            if getattr(event, "anchor", None):
                raise CrowdError(
                    f"{where}: line {event.start_mark.line + 1}: anchors and aliases "
                    "are not taken; write the value out"
                )
        yaml = YAML(typ="safe", pure=True)
        yaml.Constructor = _NamesAsWritten
        tree = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        problem = (error.problem or error.context or "").splitlines()[0]
        raise CrowdError(f"{where}: {line}{problem}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise CrowdError(f"{where}: no YAML: {first_line(error)}") from error
    if not isinstance(tree, dict):
        raise CrowdError(f"{where}: must be a mapping of keys, not {type(tree).__name__}")
    return tree


def convert(tree: dict[str, Any], kind: type, where: str) -> Any:
    """What was read as a record of a kind (a msgspec structure, or a union of them).

    Raises:
      CrowdError: the key that is wrong, and a hint at what may be meant.
    """
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        key = path.strip("`").removeprefix("$").lstrip(".").replace("[...]", ".*")
        hint = ""
        if "unknown field" in message:
            wrong = message.split("`")[1]
            places = _places(kind)
            close = difflib.get_close_matches(wrong, sorted(places), 1)
            key = f"{key}.{wrong}".lstrip(".")
            message = "there is no such key"
            if wrong in places:
                hint = f"; it belongs to {' or '.join(places[wrong][:2])}"
            elif close:
                hint = f"; did you mean '{close[0]}'?"
        elif "missing required field" in message and "`kind`" not in message:
            hint = "; add it, or the whole of the file if it was cut short"
        elif choices := _choices(kind, _path(key, message)):
            hint = f"; give one of: {', '.join(choices)}"
        elif "Expected `array`" in message:
            hint = "; write a list: [..., ...]"
        elif re.match("Expected `object[^`]*`, got ", message):
            hint = _keys_wanted(kind, _path(key, ""))
        elif "Expected `float`, got `str`" in message or "Expected `int`, got `str`" in message:
            hint = "; write a number, without quotes or a unit"
        elif re.search(r"\bstr( \| null)?`, got `(bool|null|int|float|date|datetime)`", message):
            hint = "; write it in quotes if it is a name or a word"
        shown = f" {key}:" if key else ""
        raise CrowdError(f"{where}:{shown} {message[0].lower()}{message[1:]}{hint}") from error


def _path(key: str, message: str) -> list[str]:
    """The keys that lead to a fault: to a kind that is missing, if it is one."""
    lacking = [".kind"] if "missing required field `kind`" in message else []
    return re.sub(r"\[\d+\]", "", "".join([key, *lacking])).lstrip(".").split(".")


def _choices(kind: Any, path: list[str]) -> list[str]:
    """What may stand at a key that names one of several kinds, or one of several words."""
    infos = _at(kind, path[:-1])
    if tags := [str(info.tag) for info in infos if getattr(info, "tag_field", None) == path[-1]]:
        return sorted(set(tags))
    infos = _below(infos, path[-1])
    words = [info.values for info in infos if isinstance(info, msgspec.inspect.LiteralType)]
    return sorted({str(word) for values in words for word in values})


def _keys_wanted(kind: Any, path: list[str]) -> str:
    """A hint at the keys that are to be below a key which holds something else."""
    of_section = [f for info in _at(kind, path[:-1]) for f in getattr(info, "fields", ())]
    own = [field.type for field in of_section if field.encode_name == path[-1]]
    if any(isinstance(one, msgspec.inspect.DictType) for one in own):
        return "; write a name and what belongs to it on each line below it"
    if kinds := _choices(kind, [*path, "kind"]):
        return f"; write keys below it, first of all kind: {' or '.join(kinds)}"
    fields = [field for info in _at(kind, path) for field in getattr(info, "fields", ())]
    names = ", ".join(dict.fromkeys(field.encode_name for field in fields))
    return f"; write keys below it; there are: {names}" if names else ""


def _at(kind: Any, path: list[str]) -> list[Any]:
    """The kinds of value that may stand where keys lead."""
    infos = _parts(msgspec.inspect.type_info(kind))
    for name in path:
        infos = _below(infos, name)
    return infos


def _below(infos: list[Any], name: str) -> list[Any]:
    if name in ("", "*"):  # the whole, or the values of a mapping, which `_parts` has taken out
        return infos
    fields = [field for info in infos for field in getattr(info, "fields", ())]
    return [p for field in fields if field.encode_name == name for p in _parts(field.type)]


def _places(kind: Any) -> dict[str, list[str]]:
    """Where each key of a struct and of the structs below it stands, with the kind that has it, the
    least deep first."""
    places: dict[str, list[str]] = {}
    waiting = [("", info) for info in _parts(msgspec.inspect.type_info(kind))]
    seen = set()
    while waiting:
        above, info = waiting.pop(0)
        if isinstance(info, msgspec.inspect.StructType) and (above, info.cls) not in seen:
            seen.add((above, info.cls))
            of_kind = f" of {info.tag_field}: {info.tag}" if info.tag else ""
            for field in info.fields:
                place = f"{above}{field.encode_name}"
                places.setdefault(field.encode_name, []).append(f"'{place}'{of_kind}")
                if above.count(".") < 3:  # a record may hold its own kind
                    waiting += [(f"{place}.", inner) for inner in _parts(field.type)]
    return places


def _parts(info: Any) -> list[Any]:
    """The kinds of value that a type allows; of a mapping or a list, those of its values."""
    if isinstance(info, msgspec.inspect.UnionType):
        return [inner for option in info.types for inner in _parts(option)]
    if isinstance(info, msgspec.inspect.DictType):
        return _parts(info.value_type)
    if isinstance(info, msgspec.inspect.VarTupleType):
        return _parts(info.item_type)
    return [info]
