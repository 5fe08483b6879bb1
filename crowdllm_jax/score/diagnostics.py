"""How crowds go wrong, and whether this one does: a measure, a threshold and advice for each.

Spread and fit of the task are the failure signatures that the CrowdLLM paper names (arXiv
2512.07890). A finding speaks where the data say so, not where they are too few to tell: thresholds
are compared with the end of an interval wherever the measure is noisy. People count by survey
weight.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import msgspec
import numpy as np
from flax import nnx
from scipy.stats import norm

from crowdllm_jax.model.crowd import Crowd, CvaeInputs
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import score_moments
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.model.persistent.belief import even_beliefs
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.draw import ready_to_draw
from crowdllm_jax.profiles.generator import distinct
from crowdllm_jax.score.advice import advice
from crowdllm_jax.score.asked import variances
from crowdllm_jax.score.bootstrap import Measures, bootstrap, enough
from crowdllm_jax.score.drift import drift, sessions
from crowdllm_jax.score.feature_gain import feature_gain
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.score.held_out import Humans, of_numbers
from crowdllm_jax.score.metrics import Score, answer_rps
from crowdllm_jax.score.persons import (
    AnswerTriples,
    compare_people,
    in_peoples_places,
    intra_class,
    personal,
)
from crowdllm_jax.score.reference_signal import reference_signal
from crowdllm_jax.score.undefined import no_interval, no_value
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import encode
from crowdllm_jax.study.records import Attribute, Study

SHUFFLES = 199
TOO_FEW = "too few to tell"
WIDEST, FEWEST_UNITS, FEWEST_ANSWERS = 0.5, 10, 30
"""The widest interval of skill that tells something; how many tasks (people) and answers it takes.
Of 10, a 95% percentile interval of a mean covers 90%."""
FEWEST_TOLD = 8
"""People (or tasks) from whom another diagnostic can be told."""


def diagnose(
    prepared: Prepared,
    crowd: Crowd,
    humans: Humans,
    values: np.ndarray,
    floor: np.ndarray,
    few: Finding,
) -> list[Finding]:
    """Look for every way in which a crowd may have gone wrong.

    Args:
      values: (N, T) the crowd's answers to all tasks of the study, in the scales' units.
      floor: (N, held-out tasks) those of a crowd that repeats the pooled training answers.
      few: what `too_few` says.
    """
    answers = values[:, humans.tasks]
    compared = [
        *spread(humans, answers),
        incompatible(humans, answers, floor),
        interchangeable(humans, answers),
        collapsed(crowd, humans),
    ]
    if _few(humans):
        said = "too few are held out to compare with"
        compared = [
            msgspec.structs.replace(finding, value=None, fires=False, detail=said)
            for finding in compared
        ]
    findings = [
        few,
        *compared,
        option_mass(prepared.reference.mass),
        reference_signal(prepared.study, prepared.split, prepared.reference),
        feature_gain(prepared.reference),
        silent_attributes(prepared),
        drift(sessions(prepared), values),
    ]
    return [
        msgspec.structs.replace(finding, advice=advice(finding.name, crowd.config, prepared))
        for finding in findings
    ]


def summary(findings: list[Finding]) -> str:
    """One line: how many speak, and which."""
    speaking = [finding.name for finding in findings if finding.fires]
    names = f": {', '.join(speaking)} (advice in the report)" if speaking else ""
    return f"{len(speaking)} of {len(findings)} speak{names}"


def too_few(humans: Humans, scores: list[Score], model: str) -> Finding:
    """Too little was held out to say how close the crowd comes.

    Args:
      humans: all that was held out. scores: of one seed; model: the crowd's name in them.
    """
    skills = [score for score in scores if (score.model, score.metric) == (model, "skill")]
    skill = next((score for score in skills if score.low <= score.high), None)
    width = None if skill is None else skill.high - skill.low
    told = "" if skill is None else f"; skill {skill.low:.2f} to {skill.high:.2f}"
    return Finding(
        TOO_FEW,
        "width of the 95% interval of skill",
        width,
        _few(humans) or (width or 0) > WIDEST,
        f"above {WIDEST}, half of the way from pooled answers to the ceiling; or fewer than "
        f"{FEWEST_UNITS} held-out {humans.by} or {FEWEST_ANSWERS} answers, of which an interval "
        "promises more than it holds",
        f"{_units(humans):,} {humans.by} with {len(humans.task):,} answers held out{told}",
    )


def _units(humans: Humans) -> int:
    return len(humans.tasks) if humans.by == "tasks" else humans.people


def _few(humans: Humans) -> bool:
    return _units(humans) < FEWEST_UNITS or len(humans.task) < FEWEST_ANSWERS


def spread(humans: Humans, values: np.ndarray) -> list[Finding]:
    """Homogeneous (too little variance within a task) and incoherent (too much) crowds."""
    tasks = np.arange(len(humans.tasks))
    crowd = np.zeros(len(tasks))
    t, answers = len(tasks), tuple(_coordinates(humans, humans.value, humans.task))
    for said in _coordinates(humans, values, tasks):
        crowd += variances(said)

    def measure(weight: np.ndarray) -> Measures:
        n = np.bincount(humans.task, weight, t)
        square = np.zeros(t)
        for answer in answers:
            total = np.bincount(humans.task, weight * answer, t)
            square += np.bincount(humans.task, weight * answer**2, t) - total**2 / n.clip(1e-300)
        # A response that was drawn twice is one response: its task has no more freedom for it.
        free = n - np.bincount(humans.task, humans.with_itself(weight), t) / n.clip(1e-300)
        # Beside the squares themselves, what is left over by rounding is nothing.
        least = 1e-12 * sum((weight * answer**2).sum() for answer in answers)
        return {"ratio": free @ crowd / square.sum() if square.sum() > least else float("nan")}

    point, low, high = (float(part["ratio"]) for part in bootstrap(humans, measure, times=200))
    if np.isfinite([point, low, high]).all():
        ratio, detail = point, f"95% interval {low:.2f} to {high:.2f}"
    elif not enough(humans):
        ratio, detail = None, _untold(no_interval(humans, "variance_ratio"))
    else:
        ratio, detail = None, _untold("the held-out people's answers to one task hardly differ")
    measure_of = "variance of the crowd's answers to the same task over the people's"
    return [
        Finding(
            "homogeneous crowd",
            measure_of,
            ratio,
            ratio is not None and high < 0.9,
            "the whole interval lies below 0.9: a tenth less is more than these people leave to "
            "chance",
            detail,
        ),
        Finding(
            "incoherent answers",
            measure_of,
            ratio,
            ratio is not None and low > 1.1,
            "the whole interval lies above 1.1: the beliefs add more than people differ by",
            detail,
        ),
    ]


def _coordinates(humans: Humans, value: np.ndarray, task: np.ndarray) -> Iterator[np.ndarray]:
    """Answers to some tasks as points whose squared distance is that of shares of the range, and
    without an order 1 between any two: (...,) each coordinate."""
    ordered = humans.ordered[task]
    skipped = np.isnan(value)
    yield np.where(ordered | skipped, humans.as_share(value, task), 0.0)
    most = max((len(humans.support[i]) for i in np.flatnonzero(humans.nominal)), default=0)
    for level in range(most if not ordered.all() else 0):
        at = np.where(ordered, 0.0, (value == level) / np.sqrt(2))
        yield np.where(skipped, np.nan, at)


def _untold(why: str) -> str:
    return f"cannot be told ({why})"


def incompatible(humans: Humans, values: np.ndarray, floor: np.ndarray) -> Finding:
    """Tasks on which the crowd does worse than the pooled training answers, beyond chance."""
    worse = answer_rps(humans, values) - answer_rps(humans, floor)
    n = np.bincount(humans.task, minlength=len(humans.tasks))
    enough = np.flatnonzero(n >= 30)
    blocks: list[tuple[str, np.ndarray]] = [
        (f"scale {i}", humans.scale[humans.task] == i) for i in np.unique(humans.scale)
    ]
    blocks += [(f"task {t}", humans.task == t) for t in enough]
    limit = norm.isf(0.05 / len(blocks))
    misfits, told = [], 0
    for name, rows in blocks:
        gap, weight = worse[rows], humans.answer_weight[rows]
        units = humans.person[rows] if name.startswith("task") else humans.task[rows]
        if humans.by == "people":
            units = humans.person[rows]
        _, unit = np.unique(units, return_inverse=True)
        if (m := int(unit.max()) + 1) < FEWEST_TOLD:
            continue
        # A person's (or task's) answers are not independent: their sum is one observation.
        mean = (weight * gap).sum() / weight.sum()
        sums = np.bincount(unit, weight * (gap - mean))
        error = np.sqrt((sums**2).sum() * m / (m - 1)) / weight.sum()
        # Where all answers are forecast alike, nothing says how sure to be.
        if error <= 1e-9 * np.abs(gap).max():
            continue
        told += 1
        if mean > limit * error and mean > 0:
            misfits.append(name)
    tasks = [int(name.split()[1]) for name in misfits if name.startswith("task")]
    return Finding(
        "belief and task do not fit",
        "scales, and tasks with 30 or more answers, on which the crowd forecasts people worse than "
        "the pooled training answers do (RPS)",
        float(len(misfits)) if told else None,
        bool(misfits),
        "any, at a level of 5% for all together (Bonferroni): a reference and belief that suit a "
        "task beat knowing nothing of it",
        f"of {len(blocks)}" + (f"; held-out tasks number {tasks}" if tasks else "")
        if told
        else _untold("too few held-out people or tasks, or all answers are forecast alike"),
    )


def interchangeable(humans: Humans, values: np.ndarray) -> Finding:
    """Agents that are nobody in particular, where people are somebody."""
    name = "interchangeable agents"
    measure_of = "intra-class correlation of agents' answers over the people's"
    threshold = (
        "below half of the lower end of the people's 95% interval, where that lies above 0.01: "
        "people who differ reliably, and agents who do not by half"
    )
    numbers = of_numbers(humans, values)
    if numbers is None:
        return Finding(name, measure_of, None, False, threshold, _untold(no_value(humans, "icc")))
    humans, values = numbers
    people = personal(humans, (humans.person, humans.task, humans.value))
    weight, rows = humans.weight, np.arange(humans.people)
    human = intra_class(*people, weight)
    if (why := _no_correlation(humans, human)) is not None:
        return Finding(name, measure_of, None, False, threshold, _untold(why))
    random = np.random.default_rng(0)
    draws = [_icc_of(people, weight, random.integers(0, len(rows), len(rows))) for _ in range(200)]
    low = float(np.nanquantile(draws, 0.025))
    rounds = [personal(humans, round_) for round_ in in_peoples_places(humans, values)]
    crowd = compare_people(people, rounds, weight, rows)["icc"]
    if not np.isfinite(crowd):
        why = "agents' answers never differ, from each other or from task to task"
        return Finding(name, measure_of, None, False, threshold, _untold(why))
    return Finding(
        name,
        measure_of,
        crowd / human if human > 0.01 else None,
        low > 0.01 and crowd < low / 2,
        threshold,
        f"agents {crowd:.3f}, people {human:.3f} (from {low:.3f})",
    )


def _no_correlation(humans: Humans, icc: float) -> str | None:
    """Why these people's intra-class correlation says nothing; None where it does."""
    if humans.people < FEWEST_TOLD:
        return f"only {humans.people} {'person' if humans.people == 1 else 'people'} held out"
    return None if np.isfinite(icc) else no_value(humans, "icc")


def _icc_of(people: AnswerTriples, weight: np.ndarray, rows: np.ndarray) -> float:
    n, square, mean = (of_person[rows] for of_person in people)
    return intra_class(n, square, mean, weight[rows])


def collapsed(crowd: Crowd, humans: Humans) -> Finding:
    """A latent belief that moves no answer although people differ."""
    name, measure_of = "collapsed latent", "share of an answer's variance that the belief makes"
    threshold = (
        "below 1%, where the people's intra-class correlation is above 2%: nobody could tell such "
        "agents from ones without a belief"
    )
    share = latent_share(crowd)
    numbers = of_numbers(humans, np.zeros((0, len(humans.tasks))))
    if share is None or numbers is None:
        return Finding(
            name, measure_of, None, False, threshold, "not told for this kind of model or scale"
        )
    humans, _ = numbers
    people = personal(humans, (humans.person, humans.task, humans.value))
    human = intra_class(*people, humans.weight)
    if (why := _no_correlation(humans, human)) is not None:
        return Finding(name, measure_of, None, False, threshold, _untold(why))
    return Finding(
        name,
        measure_of,
        share,
        share < 0.01 and human > 0.02,
        threshold,
        f"people's intra-class correlation {human:.3f}",
    )


def latent_share(crowd: Crowd) -> float | None:
    """The belief's part of the variance of the latent answer, averaged over tasks.

    Persistent: on ordered tasks, of location and logistic noise (variance pi**2 / 3). cvae: of the
    score on [0, 1], diversity included; None for the semi-implicit one, which has no closed form.
    """
    if isinstance(crowd.inputs, Design):
        ordered = np.array(crowd.inputs.layout.ordered, int)
        if not len(ordered):
            return None
        drawable = ready_to_draw(crowd.graph, crowd.params, crowd.inputs)
        z = even_beliefs(nnx.merge(drawable.graph, drawable.params), 4096)
        moved = np.var(z @ np.asarray(drawable.items.loading)[ordered].T, axis=0)
        usual = float(nnx.merge(crowd.graph, crowd.params).belief.usual_scale)
        return float((moved / (moved + usual**2 * np.pi**2 / 3)).mean())
    if not isinstance(crowd.config, CvaeConfig) or crowd.config.semi_implicit:
        return None
    assert isinstance(crowd.inputs, CvaeInputs)
    rows = crowd.generator.attributes
    people = len(rows[0].cells) if rows else 1
    first, _ = distinct(rows, people)
    profiles = tuple(Attribute(a.name, a.kind, a.levels, a.cells[first[:200]]) for a in rows)
    c = encode(crowd.codings, profiles) if rows else np.zeros((1, 0), np.float32)
    model = nnx.merge(crowd.graph, crowd.params)
    x, reference = jnp.asarray(crowd.inputs.x), jnp.asarray(crowd.inputs.reference)
    _, sd = score_moments(model, x, jnp.asarray(c), reference, crowd.config)
    total = np.asarray(sd, np.float64) ** 2
    return float((1 - crowd.config.diversity**2 / total.clip(1e-300)).clip(0).mean())


def option_mass(mass: np.ndarray | None) -> Finding:
    """A language model that would rather have said something else than one of the options."""
    middle = None if mass is None else float(np.median(mass))
    return Finding(
        "reference off the options",
        "median probability that the language model gave to the listed options at all",
        middle,
        middle is not None and middle < 0.5,
        "below 0.5: most of what the model would have said was none of the options, and the rest "
        "is what is left over",
        "the reference asks no language model"
        if mass is None
        else f"below 0.1 on {np.mean(mass < 0.1):.0%} of the tasks",
    )


def silent_attributes(prepared: Prepared) -> Finding:
    """Attributes along which the training people's answers differ no more than by chance.

    The sum over tasks of the variance between an attribute's levels (thirds of a number), in units
    of the task's own variance, against the same with profiles shuffled among people.
    """
    study = prepared.study
    seen = prepared.split.seen & (study.weight > 0)
    person, task, value, weight = _apart_by_level(study, seen)
    tasks, people = int(task.max()) + 1, len(study.participants.ids)
    n = np.bincount(task, weight, tasks)
    n = np.where(n > 0, n, 1.0)
    mean = np.bincount(task, weight * value, tasks) / n
    sd = np.sqrt(np.bincount(task, weight * (value - mean[task]) ** 2, tasks) / n)
    moved = np.where(sd[task] > 0, (value - mean[task]) / np.where(sd > 0, sd, 1)[task], 0)
    asked = np.unique(person)
    random = np.random.default_rng(0)
    orders = [random.permutation(len(asked)) for _ in range(SHUFFLES)]
    chances = {}
    for attribute in study.participants.profile:
        group = _grouped(attribute)
        k = int(group.max()) + 1
        if k < 2:
            chances[attribute.name] = 1.0
            continue

        def between(group: np.ndarray, k: int = k) -> float:
            cell = task * k + group[person]
            # The squared total of answers that differ by chance alone is expected to be this much.
            chance = np.bincount(cell, weight**2, tasks * k)
            total = np.bincount(cell, weight * moved, tasks * k)
            return float((total**2 / np.where(chance > 0, chance, 1.0)).sum())

        real = between(group)
        shuffled = np.zeros(people, int)
        beyond = 0
        for order in orders:
            shuffled[asked] = group[asked[order]]
            beyond += between(shuffled) >= real
        chances[attribute.name] = (1 + beyond) / (1 + SHUFFLES)
    quiet = [name for name, chance in chances.items() if chance > 0.05]
    told = bool(chances) and bool(moved.any()) and len(asked) >= FEWEST_TOLD
    detail = ", ".join(f"{name} p = {chance:.3g}" for name, chance in chances.items())
    if chances and not told:
        few = f"only {len(asked)} training people"
        detail = _untold("all training people answer alike" if len(asked) >= FEWEST_TOLD else few)
    return Finding(
        "attributes without a signal",
        "profile attributes along which training people's answers differ no more than when "
        "profiles are shuffled among them",
        float(len(quiet)) if told else None,
        told and bool(quiet),
        "a permutation test's p above .05: what cannot be told from chance cannot be learned",
        detail or "the study has no profile",
    )


def _apart_by_level(
    study: Study, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(person, task, value, weight) of some responses (R,) bool; each level of a task without an
    order is a task of its own, which a person gives (1) or not (0)."""
    rows = np.flatnonzero(seen)
    levels = np.array([scales.size(s) for s in study.scales.values()])
    levels[scales.which(scales.is_ordered, study.scales.values())] = 1
    scale = study.tasks.scale[study.task[rows]]
    most = int(levels.max())
    row, level = np.nonzero(np.arange(most) < levels[scale][:, None])
    of = rows[row]
    given = study.value[of]
    value = np.where(levels[scale[row]] > 1, given == level, given)
    return study.person[of], study.task[of] * most + level, value, study.weight[of]


def _grouped(attribute: Attribute) -> np.ndarray:
    """(N,) group of each person: the level, or the third of a number (missing ones apart)."""
    if attribute.kind != "numeric":
        return np.unique(attribute.cells, return_inverse=True)[1]
    known = ~np.isnan(attribute.cells)
    ends = np.quantile(attribute.cells[known], [1 / 3, 2 / 3]) if known.any() else np.zeros(0)
    third = np.searchsorted(np.unique(ends), attribute.cells, side="left")
    return np.unique(np.where(known, third, len(ends) + 1), return_inverse=True)[1]
