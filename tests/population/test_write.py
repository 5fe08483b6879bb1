"""Populations on disk: whole rows once each, whatever happens while they are written."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.model.crowd_file import save_crowd
from crowdllm_jax.population import parts as parts_in
from crowdllm_jax.population import sample as population
from crowdllm_jax.population import write as output
from crowdllm_jax.population.count import count as counted
from crowdllm_jax.population.write import told_whom, write_population
from crowdllm_jax.population.write_counts import write_counts
from crowdllm_jax.profiles.where import whom
from crowdllm_jax.runtime.files import write_whole
from crowdllm_jax.study.scales import Continuous

SEED = 5


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Blocks of 64 agents and parts of 128, so that 300 agents make three parts."""
    monkeypatch.setattr(population, "BLOCK", 64)
    monkeypatch.setattr(output, "BLOCK", 64)
    monkeypatch.setattr(output, "PART_ROWS", 128 * 4)
    monkeypatch.setattr(output, "GROUP_ROWS", 100)


def rows_of(folder: Path) -> pa.Table:
    parts = [pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))]
    return pa.concat_tables(parts)


def digest(folder: Path) -> str:
    """sha256 of the sorted rows."""
    table = rows_of(folder)
    rows = sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".tmp")]


def test_every_decision_is_written_once(tmp_path, rating_crowd: Crowd):
    write_population(rating_crowd, tmp_path / "p", 300, SEED)
    table = rows_of(tmp_path / "p")
    agents = population.sample(rating_crowd, 300, SEED)
    expected = numbers_of(rating_crowd, agents.answers)
    assert table.num_rows == 300 * 4
    np.testing.assert_array_equal(table["agent_id"], np.repeat(np.arange(300), 4))
    assert table["task_id"].to_pylist() == 300 * list(rating_crowd.task_ids)
    np.testing.assert_array_equal(table["decision"], expected.ravel())
    assert table["decision"].type == pa.int8()
    assert len(list((tmp_path / "p").glob("part-*.parquet"))) == 3


def test_the_wide_layout_holds_the_same(tmp_path, mixed_crowd: Crowd):
    for layout in ("long", "wide"):
        write_population(mixed_crowd, tmp_path / layout, 300, SEED, layout=layout)
    long, wide = rows_of(tmp_path / "long"), rows_of(tmp_path / "wide")
    assert wide.column_names == ["agent_id", *mixed_crowd.task_ids]
    np.testing.assert_array_equal(wide["agent_id"], np.arange(300))
    tasks = len(mixed_crowd.task_ids)
    # Some scale is written in words, so the long table holds texts.
    decisions = np.array(long["decision"].to_pylist()).reshape(300, tasks)
    for task, (name, scale) in enumerate(
        zip(mixed_crowd.task_ids, mixed_crowd.task_scales, strict=True)
    ):
        found = wide[name].to_pylist()
        if isinstance(scale, Continuous):
            np.testing.assert_array_equal(decisions[:, task].astype(np.float32), found)
        else:
            assert decisions[:, task].tolist() == [str(answer) for answer in found]
    tables = [decide(tmp_path / layout).to_pylist() for layout in ("long", "wide")]
    assert tables[0] == tables[1]
    assert main(["verify", str(tmp_path / "wide")]) == 0
    with pytest.raises(CrowdError, match="differs in layout"):
        write_population(mixed_crowd, tmp_path / "wide", 300, SEED)


def test_profiles_stand_beside(tmp_path, mixed_crowd: Crowd):
    write_population(mixed_crowd, tmp_path / "p", 70, SEED)
    files = sorted((tmp_path / "p").glob("agents-*.parquet"))
    people = pa.concat_tables([pq.read_table(path) for path in files])
    age, city = population.sample(mixed_crowd, 70, SEED).profile
    np.testing.assert_array_equal(people["agent_id"], np.arange(70))
    gaps = [None if np.isnan(cell) else cell for cell in age.cells]
    assert people["age"].to_pylist() == gaps
    assert people["city"].to_pylist() == [city.levels[cell] for cell in city.cells]


def test_every_ballot_adds_up_in_the_file(tmp_path, mixed_crowd: Crowd):
    write_population(mixed_crowd, tmp_path / "p", 64, SEED, layout="wide")
    table = rows_of(tmp_path / "p")
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())

    def of(name: str) -> np.ndarray:
        return np.stack([table[t] for t, scale in manifest["tasks"].items() if scale == name], 1)

    # Ranks are written as ranks: 1, 2, 3 once each, and 0 for the rest.
    assert (np.sort(of("rank"), axis=1) == [0, 1, 2, 3]).all()
    assert (of("share").sum(1) == 10).all()
    assert (of("pick").sum(1) == 2).all()
    assert set(np.unique(of("frequency"))) <= {"never", "sometimes", "always"}
    assert manifest["scales"]["rating"]["levels"] == {str(n): str(n) for n in range(1, 6)}


def test_the_manifest_says_what_is_there(tmp_path, rating_crowd: Crowd):
    folder = tmp_path / "p"
    write_population(rating_crowd, folder, 300, SEED)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["synthetic"] is True
    assert (manifest["rows"], manifest["agents"], manifest["seed"]) == (1200, 300, SEED)
    files = manifest["files"]
    assert set(files) == {path.name for path in folder.glob("*.parquet")}
    for name, entry in files.items():
        assert entry["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert entry["rows"] == pq.read_metadata(folder / name).num_rows
        assert pq.read_metadata(folder / name).metadata[b"crowdllm.synthetic"] == b"true"
    assert sum(entry["rows"] for name, entry in files.items() if name.startswith("part")) == 1200


@pytest.fixture(scope="module")
def whole(tmp_path_factory, rating_crowd: Crowd) -> tuple[Path, str]:
    """An uninterrupted population of 300 agents (in one part), and its digest."""
    folder = tmp_path_factory.mktemp("whole") / "p"
    write_population(rating_crowd, folder, 300, SEED)
    return folder, digest(folder)


@pytest.mark.parametrize("fatal", [1, 2, 3, 4])
def test_an_interrupted_population_is_continued(
    tmp_path, rating_crowd: Crowd, whole, monkeypatch, fatal
):
    """The run stops in the middle of a part (after `fatal` blocks); then again at once."""
    folder = tmp_path / "p"
    real = output._long_rows

    def break_after(count):
        left = iter(range(count))

        def rows(*arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(output, "_long_rows", rows)

    for count in (fatal, 0):
        break_after(count)
        with pytest.raises(KeyboardInterrupt):
            write_population(rating_crowd, folder, 300, SEED)
        assert not (folder / "manifest.json").exists()
    kept = {p.name: p.stat().st_mtime_ns for p in folder.glob("part-*")}
    assert len(kept) == fatal // 2
    monkeypatch.setattr(output, "_long_rows", real)
    write_population(rating_crowd, folder, 300, SEED)
    assert digest(folder) == whole[1]
    assert rows_of(folder).num_rows == 1200
    assert hidden(folder) == []
    for name, stamp in kept.items():
        assert (folder / name).stat().st_mtime_ns == stamp, "a finished part was written again"


def test_a_damaged_part_is_written_again(tmp_path, rating_crowd: Crowd, whole):
    folder = tmp_path / "p"
    write_population(rating_crowd, folder, 300, SEED)
    path = folder / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    (folder / "agents-00002.parquet").unlink()
    write_population(rating_crowd, folder, 300, SEED)
    assert digest(folder) == whole[1]


def test_a_part_in_another_parts_place_is_written_again(tmp_path, rating_crowd: Crowd, whole):
    folder = tmp_path / "p"
    write_population(rating_crowd, folder, 300, SEED)
    shutil.copy(folder / "part-00000.parquet", folder / "part-00001.parquet")
    write_population(rating_crowd, folder, 300, SEED)
    assert digest(folder) == whole[1]


def test_leftovers_are_cleared_away(tmp_path, rating_crowd: Crowd, whole):
    folder = tmp_path / "p"
    write_population(rating_crowd, folder, 300, SEED)
    (folder / ".tmp-part-00000.parquet").write_bytes(b"half")
    write_population(rating_crowd, folder, 300, SEED)
    assert hidden(folder) == []
    assert digest(folder) == whole[1]


KILLED = """
import sys, time
from pathlib import Path
from crowdllm_jax.population import write as output, sample as population
from crowdllm_jax.model.crowd_file import load_crowd
population.BLOCK = output.BLOCK = 64
output.PART_ROWS, output.GROUP_ROWS = 512, 100
real = output._long_rows
def slow(*arguments):
    time.sleep(0.2)
    return real(*arguments)
output._long_rows = slow
output.write_population(load_crowd(Path(sys.argv[1])), Path(sys.argv[2]), 300, 5)
"""


def test_a_killed_process_is_continued(tmp_path, rating_crowd: Crowd, whole):
    save_crowd(rating_crowd, tmp_path / "crowd")
    folder = tmp_path / "p"
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "crowd", folder])
    deadline = time.monotonic() + 60
    # In the middle of the second part.
    while not (folder / ".tmp-part-00001.parquet").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert hidden(folder)
    write_population(rating_crowd, folder, 300, SEED)
    assert digest(folder) == whole[1]
    assert hidden(folder) == []


@pytest.mark.parametrize(("agents", "seed"), [(301, SEED), (300, SEED + 1)])
def test_another_population_is_refused(tmp_path, rating_crowd: Crowd, agents, seed):
    folder = tmp_path / "p"
    write_population(rating_crowd, folder, 300, SEED)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CrowdError, match=r"holds another population \(differs in (agents|seed)\)"):
        write_population(rating_crowd, folder, agents, seed)
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_whom_the_agents_are_is_noted_and_compared(tmp_path, rating_crowd: Crowd):
    """Where it was not given nothing is said; a resumed one names what differs."""
    folder, where = tmp_path / "old", {"where": "age >= 30"}
    old = dataclasses.replace(rating_crowd, generator=whom(rating_crowd.generator, **where))
    write_population(old, folder, 10, SEED, among=told_whom(**where, margins=None))
    noted = json.loads((folder / "manifest.json").read_bytes())
    assert noted["where"] == "age >= 30"
    assert "margins" not in noted
    assert main(["verify", str(folder)]) == 0
    for crowd, other, what in (
        (rating_crowd, {}, "where"),
        (rating_crowd, {"where": "age >= 40"}, "where"),
        (old, {**where, "margins": {"city": {"A": 1.0}}}, "margins"),
    ):
        with pytest.raises(CrowdError, match=rf"another population \(differs in {what}\)"):
            write_population(crowd, folder, 10, SEED, among=other)
    counts = counted(old, 10, SEED)
    write_counts(old, counts, tmp_path / "counts", SEED, told_whom(**where, margins=None))
    assert json.loads((tmp_path / "counts" / "manifest.json").read_bytes())["where"] == "age >= 30"


def test_another_crowd_is_refused(tmp_path, rating_crowd: Crowd, mixed_crowd: Crowd):
    write_population(rating_crowd, tmp_path / "p", 10, SEED)
    with pytest.raises(CrowdError, match=r"differs in crowd"):
        write_population(mixed_crowd, tmp_path / "p", 10, SEED)


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda f: f.write_text("mine"), "is a file"),
        (lambda f: (f.mkdir(), (f / "mine.txt").write_text("mine")), "holds no population"),
        (lambda f: (f.mkdir(), (f / "plan.json").write_text("[1]")), r"plan\.json: cannot be read"),
        (lambda f: (f.mkdir(), (f / "plan.json").write_text("{")), r"plan\.json: cannot be read"),
        (lambda f: (f.mkdir(), (f / "plan.json").write_text("{}")), "holds another population"),
    ],
    ids=["file", "foreign", "list", "broken", "empty plan"],
)
def test_foreign_folders_are_refused(tmp_path, rating_crowd: Crowd, prepare, says):
    prepare(tmp_path / "p")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CrowdError, match=says):
        write_population(rating_crowd, tmp_path / "p", 10, SEED)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_run_killed_while_it_wrote_its_plan_begins_anew(tmp_path, rating_crowd: Crowd):
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / ".tmp-plan.json").write_text('{"half')
    write_population(rating_crowd, folder, 10, SEED)
    assert rows_of(folder).num_rows == 40
    assert hidden(folder) == []


def test_a_full_disk_is_told_and_what_is_whole_stays(tmp_path, rating_crowd: Crowd, monkeypatch):
    folder = tmp_path / "p"
    real, calls = output._long_rows, 0

    def full(*arguments):
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(output, "_long_rows", full)
    with pytest.raises(CrowdError, match="No space left on device; what is whole stays"):
        write_population(rating_crowd, folder, 300, SEED)
    assert (folder / "part-00000.parquet").exists()
    assert hidden(folder) == []


def test_progress_counts_agents(tmp_path, rating_crowd: Crowd):
    seen = []
    write_population(rating_crowd, tmp_path / "p", 300, SEED, lambda *step: seen.append(step))
    assert seen == [(128, 300), (256, 300), (300, 300)]


def test_a_slow_process_takes_fewer_parts(tmp_path, monkeypatch):
    """Each part once, by whoever comes to it first: one does three while another does one."""
    monkeypatch.setattr(output.processes, "size", lambda: 2)
    parts = [parts_in.Part(n, 1, (f"part-{n}", f"agents-{n}")) for n in range(12)]
    fast, slow = (parts_in.taken(tmp_path, parts, "plan") for _ in range(2))
    taken: dict[str, list[int]] = {"fast": [], "slow": []}
    for name, process in [("fast", fast), ("slow", slow), ("fast", fast), ("fast", fast)] * 4:
        taken[name] += [part.first for part in [next(process, None)] if part is not None]
    assert sorted(taken["fast"] + taken["slow"]) == list(range(12))
    assert len(taken["slow"]) == 3


def test_several_processes_leave_what_is_written(tmp_path, rating_crowd: Crowd, monkeypatch):
    monkeypatch.setattr(output.processes, "size", lambda: 2)
    monkeypatch.setattr(output.processes, "meet", lambda _: None)
    folder = tmp_path / "p"
    write_population(rating_crowd, folder, 300, SEED)
    assert hidden(folder) == []
    (folder / "part-00001.parquet").unlink()
    rest = {path.name: path.stat().st_mtime_ns for path in folder.glob("*-0000[02].parquet")}
    seen = []
    write_population(rating_crowd, folder, 300, SEED, lambda *step: seen.append(step))
    assert seen == [(300, 300)]
    assert hidden(folder) == []
    assert rest == {name: (folder / name).stat().st_mtime_ns for name in rest}


def test_small_files_appear_whole(tmp_path):
    write_whole(tmp_path / "a.json", b"1")
    write_whole(tmp_path / "a.json", b"2")
    assert (tmp_path / "a.json").read_bytes() == b"2"
    assert hidden(tmp_path) == []
    with pytest.raises(CrowdError, match="cannot be written"):
        write_whole(tmp_path / "absent" / "a.json", b"1")


DAMAGE = {
    "flipped": lambda path, data: path.write_bytes(
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "truncated": lambda path, data: path.write_bytes(data[: len(data) // 2]),
    "deleted": lambda path, _: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_verify_names_every_file_that_changed(tmp_path, rating_crowd: Crowd, damage, capsys):
    whole = tmp_path / "p"
    write_population(rating_crowd, whole, 300, SEED)
    assert main(["verify", str(whole)]) == 0
    for path in sorted(whole.iterdir()):
        data = path.read_bytes()
        damage(path, data)
        assert main(["verify", str(whole)]) == 2
        assert path.name in capsys.readouterr().err
        path.write_bytes(data)
    (whole / "part-00007.parquet").write_bytes(b"")
    assert main(["verify", str(whole)]) == 2
    assert "part-00007.parquet: is not in manifest.json" in capsys.readouterr().err


def test_verify_looks_at_a_whole_run(tmp_path, rating_crowd: Crowd, capsys):
    crowd = tmp_path / "run" / "seed-0" / "cvae" / "crowd"
    save_crowd(rating_crowd, crowd)
    (tmp_path / "run" / "config.yaml").write_text("")
    write_population(rating_crowd, tmp_path / "run" / "population", 300, SEED)
    assert main(["verify", str(tmp_path / "run")]) == 0
    # 3 parts of answers, 3 of profiles, and the crowd.
    assert "all 7 files" in capsys.readouterr().out
    text = (crowd / "crowd.json").read_text()
    (crowd / "crowd.json").write_text(text.replace('"smoothing": 0', '"smoothing": 1'))
    (tmp_path / "run" / "population" / "part-00001.parquet").unlink()
    assert main(["verify", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "crowd: is damaged" in told
    assert "part-00001.parquet: is missing" in told


def test_verify_reads_a_runs_figures(tmp_path, rating_crowd: Crowd, capsys):
    """Of which no sha256 is noted, as `evaluate` writes them anew."""
    save_crowd(rating_crowd, tmp_path / "seed-0" / "cvae" / "crowd")
    (tmp_path / "config.yaml").write_text("")
    figures = [tmp_path / name for name in ("run.json", "scores.json", "seed-0/scores.json")]
    for path in figures:
        path.write_text("[]")
    assert main(["verify", str(tmp_path)]) == 0
    assert "all 4 files" in capsys.readouterr().out
    for path in figures:
        path.write_text("[")
        assert main(["verify", str(tmp_path)]) == 2
        assert f"{path}: cannot be read" in capsys.readouterr().err
        path.write_text("[]")


def test_verify_refuses_what_is_not_finished(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no manifest.json" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
