"""The benchmarks of language models, in small: what they compare is what they say."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("peft")

import backbone
import families
import language_model as bench
import transformers
import tuning
import vocabularies as v
from language_model_data import offensiveness, sources, twin2k
from table import Table

from crowdllm_jax.reference.record import from_levels
from crowdllm_jax.runs.config import load_study
from crowdllm_jax.runtime.files import vectors, write_parquet
from crowdllm_jax.runtime.progress import silent

RANDOM = np.random.default_rng(0)
TEXTS, PEOPLE = 40, 12


def write_offensiveness(folder):
    """Ratings that follow the first number of a text's embedding."""
    import pyarrow as pa

    x = RANDOM.normal(size=(TEXTS, 4)).astype(np.float32)
    person, task = np.divmod(np.arange(TEXTS * PEOPLE), TEXTS)
    rating = (3 + x[task, 0] + RANDOM.normal(size=len(task))).round().clip(1, 5).astype(int)
    profile = dict.fromkeys(("gender", "race", "age", "occupation", "education"), "same")
    pd.DataFrame(
        {
            "instance_id": task,
            "user_id": person,
            "text": [f"You are all fools {t} !" for t in task],
            "offensiveness": rating,
            **profile,
        }
    ).to_csv(folder / "ratings.csv", index=False)
    ids = pa.array([str(i) for i in range(TEXTS)])
    table = pa.table({"instance_id": ids, "embedding": vectors(x)})
    write_parquet(folder / "task_embeddings.parquet", table)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The made-up ratings, and the sources of a tiny language model."""
    folder = tmp_path_factory.mktemp("offensiveness")
    write_offensiveness(folder)
    model = folder / "model"
    families.make("llama3", model, vocab_size=160)
    v.save(v.sentencepiece(), model, None)
    with pytest.warns(match="probability"):  # the tiny model likes no option
        made = sources(offensiveness(folder), str(model), folder, silent)
    return folder, {name: bench.Source(name, c, load_study(c)) for name, c in made.items()}


def as_sampled(monkeypatch):
    """In place of a fit: answers drawn from the reference itself, and how often it was made."""
    fits = []

    def fit(ready, model, config, seed):
        fits.append(seed)
        return SimpleNamespace(ready=ready, seed=seed)

    def answers(crowd):
        ready = crowd.ready
        crowds = bench.baseline_crowds(ready.study, ready.split, ready.reference, 2000, crowd.seed)
        return crowds["reference_sampled"]

    monkeypatch.setattr(bench, "fit", fit)
    monkeypatch.setattr(bench, "answers_of", answers)
    return fits


def test_every_source_is_measured_once_on_the_same_splits(asked, tmp_path, monkeypatch):
    _, every = asked
    fits = as_sampled(monkeypatch)
    tables = []
    for _ in range(2):
        kept = bench.Kept(tmp_path / "rows.jsonl")
        tables.append(bench.by_source(bench.Bench("made up", kept, 10, 1, every)))
    assert len(fits) == 2 * len(every)  # persistent and cvae; nothing in the second round
    assert tables[0].markdown() == tables[1].markdown()
    rows = tables[0].rows
    assert len(rows) == 1 + 3 * len(every)
    # What the ratings follow is known to the embedding alone, and of use beside other sources.
    good, floor = rows["MiniLM: reference, sampled"][0], rows["training answers, pooled"][0]
    assert good["rps"] < floor["rps"]
    assert good["r"] > 0.5
    assert rows["all stacked: reference, sampled"][0]["rps"] < floor["rps"]
    tests = {tuple(np.flatnonzero(s.prepared(0).split.test)) for s in every.values()}
    assert len(tests) == 1


def test_a_useless_reference_is_told_and_its_cost_is_beside_the_marginal_one(
    asked, tmp_path, monkeypatch
):
    _, every = asked
    as_sampled(monkeypatch)
    table = bench.useless(bench.Bench("made up", bench.Kept(tmp_path / "r"), 10, 1, every))
    base = table.rows["marginal"][0]["rps"]
    for name in ("constant", "MiniLM, shuffled", "LLM answers, shuffled"):
        row = table.rows[name][0]
        assert row["cost"] == pytest.approx(row["rps"] - base)
    assert table.rows["constant"][0]["told"] == 1
    # A crowd that trusts the constant pays for it, or the measure could not see it.
    assert table.rows["constant"][0]["cost"] > 0.02


def test_shuffling_moves_whole_tasks_within_their_scale(asked):
    ready = asked[1]["MiniLM"].prepared(0)
    before, after = ready.reference.probs, bench.shuffled(ready, 0)
    np.testing.assert_array_equal(np.unique(before, axis=0), np.unique(after.probs, axis=0))
    assert (before != after.probs).any(1).mean() > 0.8
    np.testing.assert_allclose(after.mean, after.probs @ np.arange(1, 6))
    assert from_levels(ready.study, "column", bench.constant(ready).probs).mean.std() < 1e-12


def test_differences_are_from_the_best_part_of_each_seed():
    table = Table("", {"rps": "RPS"})
    for whole, one, other in ((0.50, 0.52, 0.51), (0.53, 0.50, 0.54)):
        for name, value in (("whole", whole), ("one", one), ("other", other)):
            table.add(name, {"rps": value})
    np.testing.assert_allclose(bench.gaps(table, "whole", ["one", "other"]), [-0.01, 0.03])


def test_twin2k_keeps_questions_whose_options_have_an_order(tmp_path):
    options = [{"1": "Yes, I would purchase the product", "2": "No"}, {"1": "A", "2": "B"}]
    pd.DataFrame(
        {
            "task": ["t0", "t1"],
            "text": ["Buy?", "Which?"],
            "options": list(map(json.dumps, options)),
        }
    ).to_csv(tmp_path / "tasks.csv", index=False)
    pd.DataFrame(
        {"participant": [1, 2, 1], "task": ["t0", "t0", "t1"], "response": ["1", "2", "1"]}
    ).to_parquet(tmp_path / "responses.parquet")
    people = pd.DataFrame({"participant": [1, 2], "sex": ["male", "female"], "weight": [1.0, 2.0]})
    people.to_csv(tmp_path / "participants.csv", index=False)
    keep = tmp_path / "keep"
    keep.mkdir()
    study = load_study(twin2k(tmp_path, keep).config)
    assert study.tasks.ids == ("t0",)
    assert study.value.tolist() == [1.0, 0.0]  # "Yes" is the upper of the two
    np.testing.assert_allclose(study.participants.weight, [2 / 3, 4 / 3])  # mean 1


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
def test_a_timed_tuning_step_is_the_same_in_torch(monkeypatch):
    """Three steps of each way, from the same adapters, have the same losses: the check is made
    before anything is timed, and does not let another learning rate through."""
    tiny = transformers.LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    monkeypatch.setitem(backbone.SHAPES, "tiny", lambda: tiny)
    monkeypatch.setattr(backbone, "WORDS", 300)
    monkeypatch.setattr(tuning, "WORDS", 300)
    fast = tuning.CONFIG.__class__(learning_rate=0.05)
    monkeypatch.setattr(tuning, "CONFIG", fast)
    ways, _ = tuning.contestants("tiny", 3, 16)
    tuning.check_equal(ways, 1e-5)
    monkeypatch.setattr(tuning, "WARMUP", 10)
    ways, _ = tuning.contestants("tiny", 3, 16)
    with pytest.raises(SystemExit, match="torch"):
        tuning.check_equal(ways, 1e-5)
