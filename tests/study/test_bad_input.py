"""Whatever a user gets wrong ends in one message that names the place, with exit code 2.

No traceback, and nothing written. Each case edits the good input of `synthetic.write_config` (a
table responses.csv and a config.yaml beside it) in one way.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from synthetic import write_table

from crowdllm_jax.cli.main import main

Edit = Callable[[Path], None]


def cell(column: str, row: int, text: str) -> Edit:
    """Replace one cell; rows count as people do, the header being row 1."""

    def edit(folder: Path) -> None:
        with (folder / "responses.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        rows[row - 1][rows[0].index(column)] = text
        with (folder / "responses.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    return edit


def ages(text: str) -> Edit:
    """Replace the age of the first person in all four of their rows."""
    return also(*(cell("age", row, text) for row in range(2, 6)))


def table(change: Callable[[str], str | bytes]) -> Edit:
    """Replace the text of responses.csv."""

    def edit(folder: Path) -> None:
        path = folder / "responses.csv"
        text = change(path.read_text())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return edit


def config(old: str, new: str) -> Edit:
    """Replace a piece of config.yaml."""

    def edit(folder: Path) -> None:
        path = folder / "config.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


def also(*edits: Edit) -> Edit:
    def edit(folder: Path) -> None:
        for one in edits:
            one(folder)

    return edit


def parquet(make: Callable[[pa.Table], pa.Table]) -> Edit:
    """Give the study as Parquet instead."""

    def edit(folder: Path) -> None:
        good = pa.csv.read_csv(folder / "responses.csv")
        pq.write_table(make(good), folder / "responses.parquet", compression="zstd")
        config("responses.csv", "responses.parquet")(folder)

    return edit


def embedding(vectors: list | pa.Array, ids: list[str] | None = None) -> Edit:
    def edit(folder: Path) -> None:
        names = ids or [f"t{i:02d}" for i in range(len(vectors))]
        pq.write_table(pa.table({"task": names, "embedding": vectors}), folder / "emb.parquet")
        config("  participants:", "  tasks: {embedding: {path: emb.parquet}}\n  participants:")(
            folder
        )

    return edit


def reference(columns: dict[str, list[str]], keys: str) -> Edit:
    """Add reference decisions in a table of their own."""

    def edit(folder: Path) -> None:
        write_table(folder / "ref.csv", columns)
        config("split:", f"reference: {{kind: column, path: ref.csv, {keys}}}\nsplit:")(folder)

    return edit


def ballot(scale: str, rows: dict[str, list[str]]) -> Edit:
    """Make the study one of ballots: {voter: answers to projects a, b, c, ...}."""

    def edit(folder: Path) -> None:
        lines = ["participant,task,response,age,city"]
        for voter, answers in rows.items():
            lines += [
                f"{voter},{'abcdef'[i]},{answer},30,A" for i, answer in enumerate(answers) if answer
            ]
        (folder / "responses.csv").write_text("\n".join(lines) + "\n")
        config("{kind: ordinal, levels: [1, 2, 3, 4, 5]}", scale)(folder)

    return edit


def scale(text: str) -> Edit:
    return config("{kind: ordinal, levels: [1, 2, 3, 4, 5]}", text)


def claim_200_million_rows(folder: Path) -> None:
    """A Parquet of a few kilobytes: one null repeated, in many row groups."""
    names = ["participant", "task", "response", "age", "city"]
    rows = pa.table({name: pa.nulls(20_000_000) for name in names})
    with pq.ParquetWriter(folder / "responses.parquet", rows.schema) as writer:
        for _ in range(10):
            writer.write_table(rows, row_group_size=20_000_000)
    assert (folder / "responses.parquet").stat().st_size < 2_000_000
    config("responses.csv", "responses.parquet")(folder)


TASKS = ["t00", "t01", "t02", "t03"]
ONE_TABLE = "responses: {path: responses.csv}"

BAD_TABLE = {
    "answer 1e999": (
        cell("response", 5, "1e999"),
        "responses.csv: column 'response': '1e999' (row 5)",
    ),
    "answer nan": (cell("response", 5, "nan"), "'nan' (row 5) is no answer on scale 'rating'"),
    "answer inf": (cell("response", 7, "inf"), "'inf' (row 7)"),
    "answer off the scale": (cell("response", 2, "6"), "'6' (row 2)", "1, 2, 3, 4, 5"),
    "answer between levels": (cell("response", 2, "3.5"), "'3.5' (row 2)"),
    "answer in words": (cell("response", 4, "good"), "'good' (row 4)"),
    "answer in the data's own words": (
        cell("response", 4, "5 - very good"),
        "'5 - very good' (row 4) is no answer",
        'write level 5 as the data do, "5 - very good", under study.scales.rating.levels',
    ),
    "no answers at all": (
        table(lambda _: "participant,task,response,age,city\np,t,,20,A\n"),
        "no row holds an answer",
    ),
    "number 1e999 in a profile": (
        ages("1e999"),
        "column 'age': '1e999' (row 2",
        "no finite number",
    ),
    "number nan in a profile": (ages("nan"), "column 'age': 'nan' (row 2", "no finite number"),
    "person without id": (cell("participant", 9, ""), "column 'participant': no id in row 9"),
    "task without id": (cell("task", 9, ""), "column 'task': no id in row 9"),
    "person answers a task twice": (
        table(lambda s: s + s.splitlines()[1] + "\n"),
        "participant 'p000' answers task 't00' twice (row 2, 98",
    ),
    "profile contradicts itself": (
        cell("city", 4, "elsewhere"),
        "column 'city': participant 'p000' has",
        "in row 4",
    ),
    "column twice": (
        table(lambda s: s.replace("age,", "city,", 1).replace('"age"', '"city"', 1)),
        "column 'city' stands there twice",
    ),
    "column absent": (
        table(lambda s: s.replace("response", "answer", 1)),
        "no column 'response' (it has: participant, task, answer, age, city)",
    ),
    "semicolons": (table(lambda s: s.replace(",", ";")), "study.delimiter"),
    "empty file": (table(lambda _: ""), "responses.csv: is empty"),
    "header only": (table(lambda s: s.splitlines()[0] + "\n"), "has a header but no rows"),
    "blank lines only": (table(lambda _: "\n\n\n"), "responses.csv"),
    "not UTF-8": (table(lambda s: s.encode() + b"p\xff,t00,1,20,A\n"), "responses.csv", "UTF"),
    "UTF-16 without a mark": (table(lambda s: s.encode("utf-16-le")), "encoding: utf-16-le"),
    "NUL bytes": (table(lambda _: "\0" * 50), "responses.csv: is no text"),
    "a row too short": (
        table(lambda s: s + "p999,t00\n"),
        "responses.csv",
        "has 2 cells, the header 5",
    ),
    "a row too long": (table(lambda s: s + "p999,t00,1,20,A,B\n"), "has 6 cells, the header 5"),
    "an open quote": (table(lambda s: s + '"p999,t00,1,20,A\n'), "responses.csv"),
    "table absent": (lambda f: (f / "responses.csv").unlink(), "responses.csv: no such file"),
    "table is a folder": (
        also(lambda f: (f / "responses.csv").unlink(), lambda f: (f / "responses.csv").mkdir()),
        "is a folder, not a file",
    ),
    "CSV called Parquet": (
        also(
            lambda f: (f / "responses.csv").rename(f / "r.parquet"),
            config("responses.csv", "r.parquet"),
        ),
        "r.parquet: is no Parquet file; a CSV needs another name, such as r.csv",
    ),
    "Parquet cut short": (
        also(
            parquet(lambda t: t),
            lambda f: (f / "responses.parquet").write_bytes(
                (f / "responses.parquet").read_bytes()[:-30]
            ),
        ),
        "responses.parquet: cannot be read",
    ),
    "Parquet claims 200 million rows": (claim_200_million_rows, "200,000,000 rows; 100,000,000"),
    "Parquet of lists": (
        parquet(lambda t: t.set_column(2, "response", pa.array([[1]] * len(t)))),
        "column 'response': holds list",
    ),
    "Parquet of dates": (
        parquet(lambda t: t.set_column(4, "city", pa.array([0] * len(t), pa.date32()))),
        "column 'city': holds date32",
    ),
    "too many levels": (
        also(
            config("city: categorical", "participant_copy: categorical"),
            table(
                lambda _: "\n".join(
                    ["participant,task,response,age,participant_copy"]
                    + [f"p{i},t00,1,20,c{i}" for i in range(1200)]
                )
            ),
        ),
        "1,200 different levels",
        "numeric, or an id?",
    ),
    "numeric attribute in words": (
        config("city: categorical", "city: numeric"),
        "column 'city'",
        "categorical",
    ),
    "ordinal level unlisted": (
        config("city: categorical", "city: {kind: ordinal, levels: [A, B]}"),
        "column 'city': 'C'",
        "not among its levels: A, B",
    ),
    "ordinal level listed twice": (
        config("city: categorical", "city: {kind: ordinal, levels: [A, B, C, A]}"),
        "repeat one",
    ),
    "weight below 0": (
        also(
            table(
                lambda s: (
                    s.replace("city", "w", 1)
                    .replace('"A"', "-1")
                    .replace('"B"', "1")
                    .replace('"C"', "1")
                )
            ),
            config("city: categorical}", "age: numeric}\n    weight: w"),
            config("{age: numeric, age: numeric}", "{age: numeric}"),
        ),
        "column 'w': participant",
        "has no weight, or one below 0",
    ),
    "all weights 0": (
        also(
            table(
                lambda s: (
                    s.replace("city", "w", 1)
                    .replace('"A"', "0")
                    .replace('"B"', "0")
                    .replace('"C"', "0")
                )
            ),
            config("city: categorical}", "age: numeric}\n    weight: w"),
            config("{age: numeric, age: numeric}", "{age: numeric}"),
        ),
        "column 'w'",
        "all weights are 0",
    ),
    "a column in two roles": (
        config(ONE_TABLE, "responses: {path: responses.csv, task: participant}"),
        "is given two roles",
    ),
    "task not in its table": (
        also(
            lambda f: write_table(f / "tasks.csv", {"task": TASKS[:3]}),
            config("  participants:", "  tasks: {path: tasks.csv}\n  participants:"),
        ),
        "task 't03' (row 5",
        "is not in tasks.csv",
    ),
    "task twice in its table": (
        also(
            lambda f: write_table(f / "tasks.csv", {"task": [*TASKS, "t01"]}),
            config("  participants:", "  tasks: {path: tasks.csv}\n  participants:"),
        ),
        "tasks.csv: column 'task': id 't01' stands in row 3, 6",
    ),
    "task without text": (
        also(
            lambda f: write_table(f / "tasks.csv", {"task": TASKS, "text": ["a", "", "c", "d"]}),
            config("  participants:", "  tasks: {path: tasks.csv, text: text}\n  participants:"),
        ),
        "tasks.csv: column 'text': task 't01' has no text",
    ),
    "scale of a task unknown": (
        also(
            lambda f: write_table(
                f / "tasks.csv", {"task": TASKS, "s": ["rating", "x", "rating", "x"]}
            ),
            config("  participants:", "  tasks: {path: tasks.csv, scale: s}\n  participants:"),
        ),
        "scale 'x' (row 3, 5) is not under study.scales: rating",
    ),
    "several scales, no column": (
        config("  participants:", "    other: {kind: binary}\n  participants:"),
        "study.tasks.scale",
    ),
    "embedding of a task absent": (
        embedding([[1.0, 2.0]] * 3),
        "emb.parquet",
        "task 't03'",
        "no embedding",
    ),
    "embeddings of two lengths": (
        embedding([[1.0], [1.0, 2.0], [1.0], [1.0]]),
        "different lengths (1 to 2)",
    ),
    "embedding nan": (
        embedding([[1.0], [float("nan")], [1.0], [1.0]]),
        "row 3 holds a number that is not finite",
    ),
    "embedding null": (embedding([[1.0], None, [1.0], [1.0]]), "a row is null"),
    "null in an embedding": (embedding([[1.0], [None], [1.0], [1.0]]), "not finite"),
    "embedding of numbers": (embedding([1.0, 2.0, 3.0, 4.0]), "not a list of numbers"),
    "embedding of words": (embedding([["a"]] * 4), "emb.parquet"),
    "embedding twice": (embedding([[1.0]] * 5, [*TASKS, "t00"]), "id 't00' stands in row 2, 6"),
    "k-approval with too few": (
        ballot("{kind: k_approval, k: 2}", {"v1": ["1", "1", "0"], "v2": ["1", "0", "0"]}),
        "1 ballot(s) do not fit 'rating'",
        "exactly 2 approved",
        "v2",
    ),
    "ranking with a gap": (
        ballot("{kind: ranking, k: 2}", {"v1": ["1", "2", "0"], "v2": ["1", "", "1"]}),
        "ballot(s) do not fit",
        "v2",
    ),
    "rank beyond k": (
        ballot("{kind: ranking, k: 2}", {"v1": ["1", "3", "0"]}),
        "'3' (row 3) is no answer",
    ),
    "points left over": (
        ballot("{kind: points, budget: 10}", {"v1": ["5", "5", "0"], "v2": ["5", "4", "0"]}),
        "ballot(s) do not fit",
        "10 to share",
        "v2",
    ),
    "points overspent": (
        ballot("{kind: points, budget: 10}", {"v1": ["5", "5", "1"]}),
        "ballot(s) do not fit",
    ),
    "points negative": (
        ballot("{kind: points, budget: 10}", {"v1": ["11", "-1", "0"]}),
        "'11' (row 2)",
    ),
    "k above the ballot": (
        ballot("{kind: k_approval, k: 4}", {"v1": ["1", "1", "1"]}),
        "study.scales.rating: k is 4 but the ballot has 3 tasks",
    ),
}

BAD_CONFIG = {
    "unknown key": (
        config("epochs: 2", "epoch: 2"),
        "train.epoch: there is no such key",
        "'epochs'",
    ),
    "unknown key at the top": (config("split:", "splitt:"), "splitt: there is no such key"),
    "unknown kind of model": (config("kind: cvae", "kind: gan"), "model", "gan"),
    "text for a number": (
        config("epochs: 2", "epochs: many"),
        "train.epochs: expected `int`, got `str`",
    ),
    "fraction of an epoch": (config("epochs: 2", "epochs: 2.5"), "train.epochs"),
    "no epochs": (config("epochs: 2", "epochs: 0"), "train.epochs"),
    "learning rate infinite": (config("epochs: 2", "learning_rate: .inf"), "train.learning_rate"),
    "learning rate nan": (config("epochs: 2", "learning_rate: .nan"), "train.learning_rate"),
    "noise infinite": (config("latent: 2", "latent: 2, diversity: .inf"), "model.diversity"),
    "noise negative": (config("latent: 2", "latent: 2, diversity: -1"), "model.diversity"),
    "weights of the loss nan": (
        config("latent: 2", "latent: 2, loss: {kl: .nan}"),
        "model.loss.kl",
    ),
    "semi-implicit without noise": (
        config("latent: 2", "latent: 2, semi_implicit: true, noise_scale: 0"),
        "model: a semi-implicit",
        "noise_scale",
    ),
    "test share 1.5": (config("test: 0.25", "test: 1.5"), "split.test: 1.5"),
    "test share 0": (config("test: 0.25", "test: 0"), "split.test: 0"),
    "test share nan": (config("test: 0.25", "test: .nan"), "split.test: nan"),
    "shares leave nothing": (config("test: 0.25", "test: 0.9"), "leave nothing to train on"),
    "fraction 0": (config("test: 0.25", "test: 0.25, fraction: 0"), "split.fraction: 0"),
    "split by nothing known": (config("by: people", "by: colour"), "split.by"),
    "no agents": (config("agents: 50", "agents: 0"), "population.agents"),
    "seed below 0": (config("seed: 3", "seed: -3"), "population.seed"),
    "seed beyond 64 bits": (config("seed: 3", f"seed: {2**70}"), "population.seed"),
    "margin does not sum to 1": (
        config("split:", "profiles: {margins: {city: {A: .5, B: .4, C: .4}}}\nsplit:"),
        "profiles.margins.city",
        "sum to 1, not 1.3",
    ),
    "margin of nobody": (
        config("split:", "profiles: {margins: {town: {A: 1.0}}}\nsplit:"),
        "profiles.margins.town",
    ),
    "margin cannot be reached": (
        also(
            config("city: categorical", "city: {kind: ordinal, levels: [A, B, C, D]}"),
            config("split:", "profiles: {margins: {city: {A: .1, B: .1, C: .4, D: .4}}}\nsplit:"),
        ),
        "profiles.margins.city",
        "nobody in the study is 'D'",
    ),
    "temperature 0": (
        config("split:", "profiles: {temperature: 0}\nsplit:"),
        "profiles.temperature",
    ),
    "key twice": (
        config("split:", "split: {test: 0.5}\nsplit:"),
        "config.yaml",
        "line",
        "duplicate key",
    ),
    "an alias": (
        config("test: 0.25, validation: 0.2", "test: &a 0.25, validation: *a"),
        "line 9: anchors",
    ),
    "a Python tag": (config("seed: 3", "seed: !!python/object/apply:os.getcwd []"), "config.yaml"),
    "YAML cut short": (config("seed: 3}", "seed: 3"), "config.yaml: line"),
    "a list": (lambda f: (f / "config.yaml").write_text("- a\n- b\n"), "must be a mapping"),
    "an empty file": (lambda f: (f / "config.yaml").write_text(""), "must be a mapping"),
    "two documents": (
        lambda f: (f / "config.yaml").write_text("study: anes96\n---\nseeds: 2\n"),
        "config.yaml",
    ),
    "a number as key": (config("seed: 3", "3: 3"), "config.yaml", "population"),
    "deeply nested": (
        lambda f: (f / "config.yaml").write_text("a: " + "[" * 5000),
        "more than 50 levels deep",
    ),
    "not UTF-8": (
        lambda f: (f / "config.yaml").write_bytes(b"study: \xff"),
        "config.yaml: line 1: is not UTF-8",
    ),
    "huge": (lambda f: (f / "config.yaml").write_text("# " + "x" * 2_000_000), "larger than"),
    "absent": (lambda f: (f / "config.yaml").unlink(), "config.yaml: no such file"),
    "no study": (lambda f: (f / "config.yaml").write_text("seeds: 1\n"), "study"),
    "unknown study": (
        lambda f: (f / "config.yaml").write_text("study: anes97\n"),
        "study",
        "anes97",
    ),
    "no scales": (
        config("    rating: {kind: ordinal, levels: [1, 2, 3, 4, 5]}", "    {}"),
        "study.scales",
    ),
    "one level": (scale("{kind: ordinal, levels: [1]}"), "study.scales.rating: 1 levels"),
    "levels that fall": (scale("{kind: ordinal, levels: [5, 4, 3, 2, 1]}"), "must increase"),
    "levels twice": (scale("{kind: ordinal, levels: [1, 2, 2]}"), "stands there twice"),
    "numbers and words": (scale("{kind: ordinal, levels: [1, 2, many]}"), "mix numbers and words"),
    "numbers that fall, quoted": (
        scale("{kind: ordinal, levels: ['5', '4', '3', '2', '1']}"),
        "must increase",
    ),
    "labels that are other levels": (
        scale("{kind: ordinal, levels: [1, 2, 3, 4, 5], labels: ['5', '4', '3', '2', '1']}"),
        "study.scales.rating: '5' would be an answer of level '1' and of level '5'",
    ),
    "level nan": (scale("{kind: ordinal, levels: [1, .nan]}"), "finite"),
    "labels too few": (
        scale("{kind: ordinal, levels: [1, 2], labels: [a]}"),
        "1 labels for 2 levels",
    ),
    "continuous upside down": (
        scale("{kind: continuous, low: 5, high: 1}"),
        "low (5.0) must be below",
    ),
    "continuous without end": (scale("{kind: continuous, low: 1, high: .inf}"), "both finite"),
    "three binary levels": (scale("{kind: binary, levels: [1, 2, 3]}"), "2 levels, not 3"),
    "budget 0": (scale("{kind: points, budget: 0}"), "budget is 0"),
    "nominal": (scale("{kind: nominal, levels: [1, 2, 3, 4, 5]}"), "nominal scale"),
    "delimiter of two letters": (
        config("name: demo", "name: demo\n  delimiter: ab"),
        "study.delimiter",
    ),
    "delimiter a newline": (
        config("name: demo", 'name: demo\n  delimiter: "\\n"'),
        "study.delimiter",
    ),
    "an encoding that is none": (
        config("name: demo", "name: demo\n  encoding: klingon"),
        "study.encoding: 'klingon' is no encoding of text",
    ),
    "an encoding of bytes": (
        config("name: demo", "name: demo\n  encoding: base64"),
        "study.encoding: 'base64'",
    ),
    "a decimal sign that is none": (
        config("name: demo", "name: demo\n  decimal: ;"),
        "study.decimal",
    ),
    "missing codes of a column that is not read": (
        config(
            "profile: {age: numeric, city: categorical}",
            "profile: {age: numeric, city: categorical}\n    missing: {town: [9]}",
        ),
        "study.participants.missing.town: the study reads no such column here; it reads: "
        "participant, age, city",
    ),
    "two names that look the same": (
        config(
            "profile: {age: numeric, city: categorical}",
            'profile: {age: numeric, city: categorical, "city ": categorical}',
        ),
        "are one name",
    ),
    "folder absent": (config("folder: ", "folder: nowhere"), "study.folder: no folder"),
    "fitted without features": (
        config("split:", "reference: {kind: fitted}\nsplit:"),
        "reference.kind: fitted needs",
    ),
    "reference without a task": (
        reference({"task": TASKS[:3], "v": ["1", "2", "3"]}, "value: v"),
        "ref.csv",
        "no row for task 't03'",
    ),
    "reference off the scale": (
        reference({"task": TASKS, "v": ["1", "2", "3", "6"]}, "value: v"),
        "'6' (row 5) is no answer on scale 'rating'",
        "no mean of answers, which lies from 1 to 5",
    ),
    "reference nan": (
        reference({"task": TASKS, "v": ["1", "nan", "3", "4"]}, "value: v"),
        "'nan' (row 3) is no answer",
    ),
    "reference column absent": (
        reference({"task": TASKS, "v": ["1", "2", "3", "4"]}, "value: w"),
        "ref.csv: no column 'w'",
    ),
    "reference of two kinds": (
        reference({"task": TASKS, "v": ["1", "2", "3", "4"]}, "value: v, probabilities: [v]"),
        "name one of `answer`, `value`, `probabilities` and `probs`",
    ),
    "probabilities too few": (
        reference({"task": TASKS, "v": ["1", "1", "1", "1"]}, "probabilities: [v]"),
        "1 probabilities per task for scales of [5]",
    ),
    "probabilities that do not sum to 1": (
        reference(
            {"task": TASKS, **{n: [".3"] * 4 for n in "abcde"}}, "probabilities: [a, b, c, d, e]"
        ),
        "'t00' sum to 1.5",
    ),
    "reference filtered away": (
        reference({"task": TASKS, "v": ["1", "2", "3", "4"]}, "value: v, where: {v: 9}"),
        "no row left",
    ),
}

BAD_ARGUMENTS = {
    "unknown key to set": (("--set", "train.epochz=3"), "train.epochz: there is no such key"),
    "set without a value": (("--set", "train.epochs"), "--set train.epochs: write it as"),
    "set below a value": (("--set", "seeds.many=3"), "seeds"),
    "set below a list": (("--set", "split.by.x=3"), "'by' holds a value"),
    "set of no YAML": (("--set", "seeds=[1"), "--set seeds=[1"),
    "set of two lines": (("--set", "seeds=1\nsplit: {}"), "--set"),
    "set of an empty value": (("--set", "train.epochs="), "train.epochs"),
    "no seeds": (("--seeds", "0"), "seeds"),
    "seeds in words": (("--seeds", "five"), "--seeds", "five"),
    "unknown option": (("--nonsense",), "--nonsense"),
    "data folder absent": (("--data", "nowhere/at/all"), "study.folder", "nowhere/at/all"),
}


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refused(argv: list[str], says: tuple[str, ...], capsys) -> None:
    """Run a command that must fail as a user's mistake fails."""
    try:
        code = main(argv)
    except SystemExit as stopped:  # argparse
        code = stopped.code
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    message = [line for line in err.splitlines() if line.startswith("crowdllm")]
    assert len(message) == 1, err
    assert "Traceback" not in err
    for text in says:
        assert text in message[0], message[0]


@pytest.mark.parametrize("case", [*BAD_TABLE, *(f"config: {name}" for name in BAD_CONFIG)])
def test_bad_studies_and_configurations(case, config_file, tmp_path, capsys):
    edit, *says = BAD_CONFIG[case.removeprefix("config: ")] if ": " in case else BAD_TABLE[case]
    edit(config_file.parent)
    before = tree(tmp_path)
    refused(["run", str(config_file), "--out", str(tmp_path / "out")], tuple(says), capsys)
    assert tree(tmp_path) == before, "something was written"


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments(case, config_file, tmp_path, capsys):
    arguments, *says = BAD_ARGUMENTS[case]
    before = tree(tmp_path)
    argv = ["run", str(config_file), "--out", str(tmp_path / "out"), *arguments]
    refused(argv, tuple(says), capsys)
    assert tree(tmp_path) == before, "something was written"


def out_is_a_file(out: Path) -> None:
    out.write_text("mine")


def out_is_foreign(out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("mine")


def out_holds_a_foreign_config(out: Path) -> None:
    out.mkdir()
    (out / "config.yaml").write_text("logging: verbose\n")


def out_holds_broken_config(out: Path) -> None:
    out.mkdir()
    (out / "config.yaml").write_text("study: [")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (out_is_a_file, "is a file; give --out another folder"),
        (out_is_foreign, "is not empty and holds no run"),
        (out_holds_a_foreign_config, "config.yaml"),
        (out_holds_broken_config, "config.yaml: line 1"),
    ],
)
def test_bad_run_folders(prepare, says, config_file, tmp_path, capsys):
    out = tmp_path / "out"
    prepare(out)
    before = tree(out)
    refused(["run", str(config_file), "--out", str(out)], (says,), capsys)
    after = tree(out)
    after.pop(".lock", None)
    assert after == before, "something was written"


@pytest.mark.parametrize("place", ["/dev/null/x", "/proc/nothing/x"])
def test_a_run_folder_that_cannot_be_made(place, config_file, capsys):
    refused(["run", str(config_file), "--out", place], (place, "cannot be used"), capsys)


def test_a_run_folder_in_use(config_file, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"):
        refused(["run", str(config_file), "--out", str(out)], ("another crowdllm process",), capsys)
    assert tree(out) == {".lock": b""}


@pytest.mark.parametrize("command", ["sample", "evaluate", "report"])
def test_a_folder_that_is_no_run(command, tmp_path, capsys):
    refused([command, str(tmp_path)], ("is no run folder",), capsys)
    refused([command, str(tmp_path / "absent")], ("is no run folder",), capsys)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("argv", [["study"], ["fly"], ["run"]])
def test_incomplete_commands(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage: crowdllm" in capsys.readouterr().err


def test_study_check_refuses_alike(config_file, capsys):
    cell("response", 5, "1e999")(config_file.parent)
    for name in ("config.yaml", "study.yaml"):
        refused(["study", "check", str(config_file.with_name(name))], ("'1e999' (row 5)",), capsys)
