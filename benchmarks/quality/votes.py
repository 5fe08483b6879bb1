"""Votes (Zurich): an electorate from a few voters, on three kinds of ballot.

    python benchmarks/quality/votes.py FOLDER [--ballots five approval points] [--splits 20]
        [--reference llm] [--json FILE]

FOLDER holds the four tables of configs/zurich_voting.yaml. Crowds are made from 7, 27 or 108 of 135
voters and compared with all the others:

    shares      mean absolute error of the projects' vote shares (of the points, for points)
    spread      mean Jaccard distance of two ballots (for points: share of points that differ)
    together    mean absolute error of the correlations between two projects' votes
    district    what being from the project's own district adds to the chance of a vote (points)
    topic       slope of the share of votes given to a topic on the voter's points for the topic

The last two and `spread` are shown as differences from the held-out voters'. Rows: the training
voters' own ballots; their shares shrunk towards the ballots' average share with the best weight
*in hindsight* (no one could know it); two halves of the held-out voters (halved errors, where
errors are measured).
"""

import argparse
import sys
from pathlib import Path

import jax
import msgspec
import numpy as np
from table import Row, Table, write

from crowdllm_jax.model.crowd import numbers_of
from crowdllm_jax.model.fit import fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.sample import sample
from crowdllm_jax.runs.config import Config, load_config, load_study
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.score.baselines import baseline_crowds
from crowdllm_jax.study.records import Attribute, Study

AGENTS = 4_000
SIZES = (7, 27, 108)
COLUMNS = {
    "shares": "Shares",
    "spread": "Spread",
    "together": "Co-votes",
    "district": "District",
    "topic": "Topic",
}
BALLOTS = {
    "five": (),
    "approval": ("study.responses.response=approval", "study.scales={vote: {kind: approval}}"),
    "points": (
        "study.responses.response=points",
        "study.scales={vote: {kind: points, budget: 10}}",
    ),
}
TOPICS = {"Transportation": "transport", "Culture": "culture", "Nature": "nature"}


def ballots_of(study: Study, people: np.ndarray) -> np.ndarray:
    """(people, T) votes."""
    votes = np.zeros((len(study.participants.ids), len(study.tasks.ids)))
    votes[study.person, study.task] = study.value
    return votes[people]


def described(study: Study, votes: np.ndarray, profile: tuple[Attribute, ...]) -> Row:
    """Ballot-level measures of one electorate."""
    by_name = {a.name: a for a in profile}
    task = {a.name: a for a in study.tasks.attributes}
    total = votes.sum(1, keepdims=True)
    share = votes / np.where(total > 0, total, 1)
    random = np.random.default_rng(0)
    one, two = random.integers(0, len(votes), (2, 20_000))
    one, two = one[one != two], two[one != two]
    both, any_ = (
        np.minimum(votes[one], votes[two]).sum(1),
        np.maximum(votes[one], votes[two]).sum(1),
    )
    home = np.array(by_name["district"].levels)[by_name["district"].cells]
    place = np.array(task["district"].levels)[task["district"].cells]
    own = home[:, None] == place
    # Against the project's own average, so that popular districts do not count as loyal ones.
    above = votes - votes.mean(0)
    loyal = own.any(1)
    topics, slopes = np.array(task["category"].levels)[task["category"].cells], []
    for topic, name in TOPICS.items():
        cells, given = by_name[name].cells, share[:, topics == topic].sum(1)
        known = ~np.isnan(cells)
        slopes.append(np.polyfit(cells[known] / 100, given[known], 1)[0])
    return {
        "spread": float(np.mean(1 - both / np.where(any_ > 0, any_, 1))),
        "district": float(above[own].mean()) if loyal.any() else float("nan"),
        "topic": float(np.mean(slopes)),
    }


def compared(
    study: Study,
    humans: np.ndarray,
    own: Row,
    votes: np.ndarray,
    profile: tuple[Attribute, ...] | None,
) -> Row:
    """Errors of one electorate against held-out voters."""
    upper = np.triu_indices(humans.shape[1], 1)
    row = {
        "shares": float(np.abs(votes.mean(0) - humans.mean(0)).mean()),
        "together": float(np.abs((_correlations(votes) - _correlations(humans))[upper]).mean()),
    }
    if profile is not None:
        found = described(study, votes, profile)
        row |= {name: found[name] - own[name] for name in found}
    return row


def _correlations(votes: np.ndarray) -> np.ndarray:
    sd = votes.std(0)
    gap = (votes - votes.mean(0)) / np.where(sd > 0, sd, 1)
    return gap.T @ gap / len(votes)


def hindsight(training: np.ndarray, humans: np.ndarray) -> float:
    share, real = training.mean(0), humans.mean(0)
    weights = np.linspace(0, 1, 101)[:, None]
    return float(np.abs(weights * share + (1 - weights) * share.mean() - real).mean(1).min())


def rows_of(profile: tuple[Attribute, ...], rows: np.ndarray) -> tuple[Attribute, ...]:
    return tuple(Attribute(a.name, a.kind, a.levels, a.cells[rows]) for a in profile)


def one_split(table: Table, study: Study, config: Config, size: int, seed: int) -> None:
    split = msgspec.structs.replace(
        config.split, test=1 - size / len(study.participants.ids), validation=0.0
    )
    config = msgspec.structs.replace(config, split=split)
    ready = prepare(study, config, seed)
    people, profile = ready.split.people, study.participants.profile
    test, train = people(study, ready.split.test), people(study, ready.split.seen)
    assert len(train) == size, (len(train), size)
    humans, voters = ballots_of(study, test), ballots_of(study, train)
    own = described(study, humans, rows_of(profile, test))
    halves = np.array_split(np.random.default_rng(seed).permutation(len(test)), 2)
    (one, two), (their, other) = (
        [humans[h] for h in halves],
        [rows_of(profile, test[h]) for h in halves],
    )
    half = compared(study, one, described(study, one, their), two, other)
    table.add("humans, two halves", {name: value / 2 for name, value in half.items()})
    models = {"**persistent**": PersistentConfig()}
    if size == SIZES[-1]:
        models["cvae"] = config.published
    for name, model in models.items():
        crowd = fit_model(ready, model, config.train, seed, None, silent, name)[0]
        agents = sample(crowd, AGENTS, 0)
        votes = numbers_of(crowd, agents.answers)
        table.add(name, compared(study, humans, own, votes, agents.profile))
    table.add("training voters", compared(study, humans, own, voters, rows_of(profile, train)))
    table.add("shrunk, best in hindsight", {"shares": hindsight(voters, humans)})
    crowds = baseline_crowds(ready.study, ready.split, ready.reference, AGENTS, seed)
    for name in ("reference_sampled", "uniform"):
        if name in crowds:
            table.add(name.replace("_", ", "), compared(study, humans, own, crowds[name], None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--ballots", nargs="+", choices=BALLOTS, default=list(BALLOTS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument(
        "--reference",
        choices=("none", "llm"),
        default="none",
        help="llm: LLaMA-2-70B's recorded votes",
    )
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    tables = []
    for ballot in args.ballots:
        overrides = BALLOTS[ballot]
        if args.reference == "none":
            overrides += ("reference={kind: marginal}",)
        path = Path(__file__).parents[2] / "configs" / "zurich_voting.yaml"
        config = load_config(path, overrides, data=args.folder)
        study = load_study(config)
        for size in args.sizes:
            jax.clear_caches()  # the splits share their programs, the sizes do not
            table = Table(f"Zurich, {ballot}, {size} voters, reference: {args.reference}", COLUMNS)
            for seed in range(args.splits):
                print(f"{table.title}, split {seed} ...", file=sys.stderr, flush=True)
                one_split(table, study, config, size, seed)
            print(table.markdown(), flush=True)
            tables.append(table)
    write(tables, args.json)


if __name__ == "__main__":
    main()
