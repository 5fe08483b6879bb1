"""How many instruction bundles a TPU takes for a program, from what its compiler writes down.

A TPU core issues one bundle of instructions per cycle. With `dump_flags` in LIBTPU_INIT_ARGS the
compiler leaves the final bundles of every kernel in a folder; a kernel's are those outside its
loops and those inside, times their turns. Memory that keeps a kernel waiting is not in it, nor is
what lies between kernels: the rates that follow are upper bounds.
"""

import math
import re
from pathlib import Path

BUNDLE = re.compile(r"\s*0x[0-9a-f]+\s+(?:[A-Z]{2})?\s*:\s*((?:> ?)*)\{")
TURNS = re.compile(r"iteration_bounds: \(([\d, ]+)\)")
LIMIT = re.compile(r"scmp\.ge\.s32\.totalorder %s\w+, (\d+) /\* loop exit test \*/")
ENTRY = re.compile(r"^ENTRY .*?^\}", re.S | re.M)


def dump_flags(folder: Path) -> str:
    """What LIBTPU_INIT_ARGS must hold before libtpu is loaded."""
    return f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"


BETWEEN = "TLP"
"""The top-level program, which calls the kernels: how often its loops turn is not written down."""


def kernels(folder: Path) -> dict[str, int]:
    """Bundles of each kernel, by the name of its instruction in the program; empties the folder."""
    found = {}
    for path in folder.iterdir():
        name = re.match(r"\d+-([\w.\-]+?)-\d+-final_bundles\.txt$", path.name)
        if name and name[1] != BETWEEN:
            found[name[1]] = _count(path.read_text(errors="replace"))
        path.unlink()
    return found


def _count(text: str) -> int:
    """Bundles outside of loops, and those of each loop times its turns."""
    depths = [0, 0]
    bounds = [math.prod(map(int, found.split(","))) for found in TURNS.findall(text)]
    limits = [int(found) for found in LIMIT.findall(text)]
    for line in text.splitlines():
        if bundle := BUNDLE.match(line):
            depth = len(bundle[1].replace(" ", ""))
            depths[min(depth, 1)] += 1
    # Where loops are not counted out, the test at their end says when they do.
    turns = max(bounds or limits, default=1)
    return depths[0] + depths[1] * turns


def looking_up(hlo: str, word: str = "gather") -> set[str]:
    """Names of the instructions of a compiled program that gather (or scatter) rows."""
    inside = {name for name, body in _computations(hlo).items() if re.search(rf"\s{word}\(", body)}
    found = set()
    for line in hlo.splitlines():
        name = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = ", line)
        called = re.search(r"calls=%?([\w.\-]+)", line)
        if name and ((called and called[1] in inside) or re.search(rf"\s{word}\(", line)):
            found.add(name[1])
    return found


def loop_turns(hlo: str) -> dict[str, int]:
    """How often the instructions inside a program's loops run, where that is known beforehand."""
    bodies = _computations(hlo)
    turns = {}
    for body, count in re.findall(r"body=%?([\w.\-]+).*?known_trip_count.{0,6}n.{0,4}?(\d+)", hlo):
        for name in re.findall(r"^\s*(?:ROOT )?%?([\w.\-]+) = ", bodies.get(body, ""), re.M):
            turns[name] = int(count)
    return turns


def _computations(hlo: str) -> dict[str, str]:
    parts = re.findall(r"^%?([\w.\-]+) \([^\n]*\{\n(.*?)^\}", hlo, re.S | re.M)
    return {name: body for name, body in parts if name != "ENTRY"}


WIDTH = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}


def written(hlo: str) -> int:
    """Bytes that the instructions of a program write to the device's main memory, each once.

    Not those in loops more than once, and nothing that is kept in the core's own memory, S(1).
    """
    entry = ENTRY.search(hlo)
    assert entry is not None
    total = 0
    for line in entry[0].splitlines()[1:]:
        made = re.match(r"\s*(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][\w\-]*)\(", line)
        if made is None or made[2] in FREE:
            continue
        for kind, shape, layout in re.findall(r"([a-z]+\d*)\[([\d,]*)\](\{[^}]*\})?", made[1]):
            if "S(" not in layout:
                total += WIDTH.get(kind, 4) * math.prod(int(n) for n in shape.split(",") if n)
    return total


FREE = {
    "parameter",
    "constant",
    "bitcast",
    "tuple",
    "get-tuple-element",
    "copy-start",
    "copy-done",
    "async-start",
    "async-done",
    "after-all",
}
