"""The SQLite file: exact, readable, safe for two processes, and told apart from other files."""

import json
import sqlite3
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from crowdllm_jax.backbone.answers import Answer, assemble
from crowdllm_jax.backbone.cache import Cache, Key
from crowdllm_jax.backbone.questions import Question
from crowdllm_jax.errors import CrowdError

KEY = Key("m", "r", "Frage: größer?\nAnswer:", "größer?", ("1", "2"), '{"n": 1}')
ANSWER = Answer((1 / 3, 2 / 3), 0.1 + 0.2, "logprobs", np.array([0.1, -2.5], np.float32))


def test_what_comes_back_is_what_went_in(tmp_path):
    with Cache(tmp_path / "new" / "c.sqlite") as cache:
        cache.put([(KEY, ANSWER), (replace(KEY, prompt="x"), replace(ANSWER, embedding=None))])
    with Cache(tmp_path / "new" / "c.sqlite") as cache:
        found, missing, bare = cache.get([KEY, replace(KEY, model="n"), replace(KEY, prompt="x")])
    assert (found.probs, found.mass, found.method) == (ANSWER.probs, ANSWER.mass, "logprobs")
    np.testing.assert_array_equal(found.embedding, ANSWER.embedding)
    assert missing is None
    assert bare.embedding is None


@pytest.mark.parametrize("field", [f.name for f in fields(Key)])
def test_every_part_of_the_key_counts(tmp_path, field):
    value = ("1", "3") if field == "options" else "other"
    cache = Cache(tmp_path / "c.sqlite")
    cache.put([(KEY, ANSWER)])
    assert cache.get([replace(KEY, **{field: value})]) == [None]


def test_more_keys_than_sqlite_takes_at_once(tmp_path):
    keys = [replace(KEY, prompt=str(i)) for i in range(1201)]
    cache = Cache(tmp_path / "c.sqlite")
    cache.put([(k, replace(ANSWER, mass=float(i))) for i, k in enumerate(keys)])
    assert [a.mass for a in cache.get(keys[::-1])] == list(range(1200, -1, -1))


def test_people_can_read_it(tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache:
        cache.put([(KEY, ANSWER)])
    assert [p.name for p in tmp_path.iterdir()] == ["c.sqlite"]  # one file, no side files
    row = sqlite3.connect(tmp_path / "c.sqlite").execute(
        "select model, prompt, options, probs, mass from reference"
    )
    model, prompt, options, probs, mass = row.fetchone()
    assert (model, prompt, json.loads(options)) == ("m", KEY.prompt, ["1", "2"])
    assert (json.loads(probs), mass) == (list(ANSWER.probs), ANSWER.mass)


WRITER = """
import sys
from crowdllm_jax.backbone.answers import Answer; from crowdllm_jax.backbone.cache import Cache, Key
cache = Cache(sys.argv[1])
for i in range(150):
    key = Key("m", "r", str(i), "t", ("1", "2"), "{}")
    cache.put([(key, Answer((0.5, 0.5), float(sys.argv[2])))])
    assert cache.get([key])[0] is not None
"""


def test_two_processes_write_at_once(tmp_path):
    path = tmp_path / "c.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, n], stderr=subprocess.PIPE) for n in ("1", "2")]
    for writer in writers:
        _, error = writer.communicate(timeout=60)
        assert writer.returncode == 0, error
    with Cache(path) as cache:
        found = cache.get([Key("m", "r", str(i), "t", ("1", "2"), "{}") for i in range(150)])
    assert {a.mass for a in found} <= {1.0, 2.0}  # whole rows of either, none missing


def test_the_first_answer_stays(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    cache.put([(KEY, ANSWER)])
    cache.put([(KEY, replace(ANSWER, mass=0.9))])
    assert cache.get([KEY])[0].mass == ANSWER.mass


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no database, but long enough to look at " * 10)
    with pytest.raises(CrowdError, match="text: not usable as a reference cache"):
        Cache(tmp_path / "text")
    with pytest.raises(CrowdError, match="not usable"):
        Cache(tmp_path)
    sqlite3.connect(tmp_path / "new").execute("PRAGMA user_version = 99").connection.commit()
    with pytest.raises(CrowdError, match="version 99, this package reads 1"):
        Cache(tmp_path / "new")


def test_assemble_pads_and_leaves_gaps():
    questions = [Question("a", ("1", "2", "3"), (1, 2, 3)), Question("b", ("y", "n"), (10, 0))]
    scored = assemble([*questions, questions[0]], [Answer((0.2, 0.3, 0.5), 0.8), ANSWER, None])
    np.testing.assert_allclose(scored.probs[:2], [[0.2, 0.3, 0.5], [1 / 3, 2 / 3, 0]], rtol=1e-6)
    np.testing.assert_allclose(scored.mean, [2.3, 10 / 3, np.nan], rtol=1e-6)
    np.testing.assert_allclose(scored.mass, [0.8, 0.3, np.nan], rtol=1e-6)
    assert np.isnan(scored.probs[2]).all()
    np.testing.assert_array_equal(scored.embedding, [[np.nan] * 2, ANSWER.embedding, [np.nan] * 2])
    assert assemble(questions[:1], [Answer((0.2, 0.3, 0.5), 0.8)]).embedding is None
