"""How crowds go wrong, and whether this one does: a measure, a threshold and advice for each.

The first three are the failure signatures that the CrowdLLM paper names (arXiv 2512.07890). A
finding speaks where the data say so, not where they are too few to tell: thresholds are compared
with the end of an interval wherever the measure is noisy. People count by survey weight.
"""

import jax.numpy as jnp
import msgspec
import numpy as np
from flax import nnx
from jax.scipy.special import ndtri
from scipy.stats import norm

from crowdllm_jax.bootstrap import Measures, bootstrap, enough
from crowdllm_jax.encode import encode
from crowdllm_jax.fitting import Prepared
from crowdllm_jax.humans import Humans
from crowdllm_jax.metrics import answer_rps
from crowdllm_jax.model.crowd import Crowd, CvaeInputs
from crowdllm_jax.model.cvae import CvaeConfig, score_moments
from crowdllm_jax.model.design import Design
from crowdllm_jax.model.draw_persistent import ready_to_draw
from crowdllm_jax.model.marginal import sobol
from crowdllm_jax.personal import Answers, compare_people, in_peoples_places, intra_class, personal
from crowdllm_jax.profiles import distinct
from crowdllm_jax.study import Attribute
from crowdllm_jax.undefined import no_interval, no_value

SHUFFLES = 199

FEWEST = 8
"""People (or tasks) from whom a diagnostic can be told."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that may be wrong.

    Attributes:
      value: of the measure; None where it cannot be taken here, and `detail` says why.
      fires: whether something is wrong. threshold: beyond which, and why there.
    """

    name: str
    measure: str
    value: float | None
    fires: bool
    threshold: str
    advice: str
    detail: str = ""


def diagnose(
    ready: Prepared, crowd: Crowd, humans: Humans, values: np.ndarray, floor: np.ndarray
) -> list[Finding]:
    """Look for every way in which a crowd may have gone wrong.

    Args:
      values: (N, T) the crowd's answers to all tasks of the study, in the scales' units.
      floor: (N, held-out tasks) those of a crowd that repeats the pooled training answers.
    """
    own = values[:, humans.tasks]
    return [
        *spread(humans, own),
        incompatible(humans, own, floor),
        interchangeable(humans, own),
        collapsed(crowd, humans),
        option_mass(ready.reference.mass),
        silent_attributes(ready),
        drift(standard(values)),
    ]


def summary(found: list[Finding]) -> str:
    """One line: how many speak, and which."""
    speaking = [one.name for one in found if one.fires]
    names = f": {', '.join(speaking)} (advice in the report)" if speaking else ""
    return f"{len(speaking)} of {len(found)} speak{names}"


def spread(humans: Humans, values: np.ndarray) -> list[Finding]:
    """Homogeneous (too little variance within a task) and incoherent (too much) crowds."""
    share = humans.as_share(values, np.arange(len(humans.tasks)))
    crowd = share.var(0)
    t, answer = len(humans.tasks), humans.share

    def measure(weight: np.ndarray) -> Measures:
        n = np.bincount(humans.task, weight, t)
        total = np.bincount(humans.task, weight * answer, t)
        square = np.bincount(humans.task, weight * answer**2, t) - total**2 / n.clip(1e-300)
        # A response that was drawn twice is one response: its task has no more freedom for it.
        free = n - np.bincount(humans.task, weight**2, t) / n.clip(1e-300)
        # Beside the squares themselves, what is left over by rounding is nothing.
        least = 1e-12 * (weight * answer**2).sum()
        return {"ratio": free @ crowd / square.sum() if square.sum() > least else float("nan")}

    point, low, high = (float(one["ratio"]) for one in bootstrap(humans, measure, times=200))
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
            "model.kind: persistent learns the spread from the data; for cvae raise model.diversity"
            " (validation answers choose it), and ask whether the reference is one number per task",
            detail,
        ),
        Finding(
            "incoherent answers",
            measure_of,
            ratio,
            ratio is not None and low > 1.1,
            "the whole interval lies above 1.1: the beliefs add more than people differ by",
            "lower model.diversity or model.noise_scale (cvae), or use model.kind: persistent",
            detail,
        ),
    ]


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
    found, told = [], 0
    for name, here in blocks:
        gap, weight = worse[here], humans.answer_weight[here]
        units = humans.person[here] if name.startswith("task") else humans.task[here]
        if humans.by == "people":
            units = humans.person[here]
        _, unit = np.unique(units, return_inverse=True)
        if (m := int(unit.max()) + 1) < FEWEST:
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
            found.append(name)
    tasks = [int(name.split()[1]) for name in found if name.startswith("task")]
    return Finding(
        "belief and task do not fit",
        "scales, and tasks with 30 or more answers, on which the crowd forecasts people worse than "
        "the pooled training answers do (RPS)",
        float(len(found)) if told else None,
        bool(found),
        "any, at a level of 5% for all together (Bonferroni): a reference and belief that suit a "
        "task beat knowing nothing of it",
        "look at these tasks in the report; give them a reference of their own, split the study by "
        "kind of task, or leave the attribute out that does not belong",
        f"of {len(blocks)}" + (f"; held-out tasks number {tasks}" if tasks else "")
        if told
        else _untold("too few held-out people or tasks, or all answers are forecast alike"),
    )


def interchangeable(humans: Humans, values: np.ndarray) -> Finding:
    """Agents that are nobody in particular, where people are somebody."""
    name = "interchangeable agents"
    measure_of = "intra-class correlation of agents' answers over the people's"
    advice = (
        "model.kind: persistent gives every agent one belief for all tasks; the published model "
        "draws a new one for every answer. Do not read correlations between tasks off this crowd"
    )
    threshold = (
        "below half of the lower end of the people's 95% interval, where that lies above 0.01: "
        "people who differ reliably, and agents who do not by half"
    )
    people = personal(humans, (humans.person, humans.task, humans.value))
    weight, rows = humans.weight, np.arange(humans.people)
    human = intra_class(*people, weight)
    if (why := _no_correlation(humans, human)) is not None:
        return Finding(name, measure_of, None, False, threshold, advice, _untold(why))
    random = np.random.default_rng(0)
    draws = [_icc_of(people, weight, random.integers(0, len(rows), len(rows))) for _ in range(200)]
    low = float(np.nanquantile(draws, 0.025))
    rounds = [personal(humans, one) for one in in_peoples_places(humans, values)]
    crowd = compare_people(people, rounds, weight, rows)["icc"]
    if not np.isfinite(crowd):
        why = "agents' answers never differ, from each other or from task to task"
        return Finding(name, measure_of, None, False, threshold, advice, _untold(why))
    return Finding(
        name,
        measure_of,
        crowd / human if human > 0.01 else None,
        low > 0.01 and crowd < low / 2,
        threshold,
        advice,
        f"agents {crowd:.3f}, people {human:.3f} (from {low:.3f})",
    )


def _no_correlation(humans: Humans, found: float) -> str | None:
    """Why these people's intra-class correlation says nothing; None where it does."""
    if humans.people < FEWEST:
        return f"only {humans.people} {'person' if humans.people == 1 else 'people'} held out"
    return None if np.isfinite(found) else no_value(humans, "icc")


def _icc_of(people: Answers, weight: np.ndarray, rows: np.ndarray) -> float:
    n, square, mean = (part[rows] for part in people)
    return intra_class(n, square, mean, weight[rows])


def collapsed(crowd: Crowd, humans: Humans) -> Finding:
    """A latent belief that moves no answer although people differ."""
    name, measure_of = "collapsed latent", "share of an answer's variance that the belief makes"
    threshold = (
        "below 1%, where the people's intra-class correlation is above 2%: nobody could tell such "
        "agents from ones without a belief"
    )
    advice = (
        "train longer, lower train.loss's weight of the KL term (cvae), or raise model.latent; if "
        "it stays, the answers do not show that people differ and model.latent can be smaller"
    )
    share = latent_share(crowd)
    if share is None:
        return Finding(name, measure_of, None, False, threshold, advice,
                       "not told for this kind of model or scale")  # fmt: skip
    people = personal(humans, (humans.person, humans.task, humans.value))
    human = intra_class(*people, humans.weight)
    if (why := _no_correlation(humans, human)) is not None:
        return Finding(name, measure_of, None, False, threshold, advice, _untold(why))
    return Finding(
        name,
        measure_of,
        share,
        share < 0.01 and human > 0.02,
        threshold,
        advice,
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
        model = nnx.merge(crowd.graph, crowd.params)
        ready = ready_to_draw(crowd.graph, crowd.params, crowd.inputs)
        z, _ = model.belief(ndtri(jnp.asarray(sobol(4096, model.belief.width))))
        moved = np.var(np.asarray(z @ ready.items.loading[ordered].T), axis=0)
        return float((moved / (moved + np.pi**2 / 3)).mean())
    assert isinstance(crowd.config, CvaeConfig)
    assert isinstance(crowd.inputs, CvaeInputs)
    if crowd.config.semi_implicit:
        return None
    rows = crowd.generator.attributes
    people = len(rows[0].cells) if rows else 1
    first, _ = distinct(rows, people)
    some = tuple(Attribute(a.name, a.kind, a.levels, a.cells[first[:200]]) for a in rows)
    c = encode(crowd.codings, some) if rows else np.zeros((1, 0), np.float32)
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
        "look at the prompts (`crowdllm reference --show 2`); use the model's own chat template, "
        "number the options, or take a model that follows instructions",
        "the reference asks no language model" if mass is None
        else f"below 0.1 on {np.mean(mass < 0.1):.0%} of the tasks",
    )  # fmt: skip


def silent_attributes(ready: Prepared) -> Finding:
    """Attributes along which the training people's answers differ no more than by chance.

    The sum over tasks of the variance between an attribute's levels (thirds of a number), in units
    of the task's own variance, against the same with profiles shuffled among people.
    """
    study, seen = ready.study, ready.split.seen & (ready.study.weight > 0)
    person, task = study.person[seen], study.task[seen]
    value, weight = study.value[seen], study.weight[seen]
    tasks, people = len(study.tasks.ids), len(study.participants.ids)
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
    told = bool(chances) and bool(moved.any()) and len(asked) >= FEWEST
    detail = ", ".join(f"{name} p = {chance:.3g}" for name, chance in chances.items())
    if chances and not told:
        few = f"only {len(asked)} training people"
        detail = _untold("all training people answer alike" if len(asked) >= FEWEST else few)
    return Finding(
        "attributes without a signal",
        "profile attributes along which training people's answers differ no more than when "
        "profiles are shuffled among them",
        float(len(quiet)) if told else None,
        told and bool(quiet),
        "a permutation test's p above .05: what cannot be told from chance cannot be learned",
        "leave them out of participants.profile, or keep them knowing that the crowd's groups will "
        "not differ along them; more people would tell smaller differences",
        detail or "the study has no profile",
    )


def _grouped(attribute: Attribute) -> np.ndarray:
    """(N,) group of each person: the level, or the third of a number (missing ones apart)."""
    if attribute.kind != "numeric":
        return np.unique(attribute.cells, return_inverse=True)[1]
    known = ~np.isnan(attribute.cells)
    ends = np.quantile(attribute.cells[known], [1 / 3, 2 / 3]) if known.any() else np.zeros(0)
    third = np.searchsorted(np.unique(ends), attribute.cells, side="left")
    return np.unique(np.where(known, third, len(ends) + 1), return_inverse=True)[1]


def standard(values: np.ndarray) -> np.ndarray:
    """(N, T) answers in units of each task's standard deviation, around its mean."""
    moved = values - values.mean(0)
    sd = moved.std(0)
    return moved / np.where(sd > 0, sd, 1.0)


def drift(moved: np.ndarray) -> Finding:
    """An agent who becomes somebody else over a long session.

    Args:
      moved: (N, T) the agents' deviations from the crowd, tasks in the order of the session.
    """
    name = "drift"
    measure_of = (
        "correlation of agents' mean deviations in the first and second half of the session, over "
        "that of two halves that alternate"
    )
    threshold = (
        "below 0.8: halves of one and the same person's answers correlate alike, however cut "
        "(tasks in a telling order can differ by some)"
    )
    advice = (
        "use model.kind: persistent, whose agents have one belief for the whole session; with an "
        "endpoint asked as personas, ask every task in a conversation of its own"
    )
    n, t = moved.shape
    if t < 16:
        return Finding(name, measure_of, None, False, threshold, advice,
                       f"a session of {t} tasks is too short to tell")  # fmt: skip

    def halves(first: np.ndarray) -> float:
        one, two = moved[:, first].mean(1), moved[:, ~first].mean(1)
        return float(np.corrcoef(one, two)[0, 1])

    alternating = halves(np.arange(t) % 2 == 0)
    session = halves(np.arange(t) < t // 2)
    # Two halves that do not correlate at all have nothing to lose.
    if not alternating > 4 / np.sqrt(n):
        return Finding(name, measure_of, None, False, threshold, advice,
                       "agents are nobody in particular to begin with")  # fmt: skip
    ratio = session / alternating
    return Finding(
        name, measure_of, ratio, ratio < 0.8, threshold, advice,
        f"{session:.3f} and {alternating:.3f} over {t} tasks",
    )  # fmt: skip
