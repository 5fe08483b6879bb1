"""Several references of the same tasks, each trusted as far as it has proved right."""

import dataclasses

import msgspec
import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax
from synthetic import make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model import fit
from crowdllm_jax.model.crowd_file import crowd_fingerprint, load_crowd, save_crowd
from crowdllm_jax.model.persistent.asked import alone, arrays_of, lengthened
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import make_design
from crowdllm_jax.model.persistent.effects import items, mean_effects
from crowdllm_jax.model.persistent.layout import level_mask
from crowdllm_jax.population.sample import sample
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.runs import prepare
from crowdllm_jax.runs.config import Config, dump_config, load_config
from crowdllm_jax.runtime import progress
from crowdllm_jax.study.questions import Questions
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Nominal, Ordinal
from crowdllm_jax.study.split import SplitConfig

QUICK = PersistentConfig(latent=1, injected=0, nodes=16, steps=150, learning_rate=0.12)
KNOWN, NEW, PEOPLE = 40, 20, 100
CUTS = np.array([-2.0, -0.7, 0.5, 1.8])


def make_survey() -> tuple[Study, np.ndarray, np.ndarray]:
    """Ratings of tasks that stand where two halves (2, T) add up to; nobody answered the last."""
    random = np.random.default_rng(0)
    halves = 0.8 * random.normal(size=(2, KNOWN + NEW))
    place = halves.sum(0) + 0.6 * random.normal(size=PEOPLE)[:, None]
    level = np.searchsorted(CUTS, place + random.logistic(size=place.shape)).astype(float)
    scales = {"rating": Ordinal(levels=(1, 2, 3, 4, 5))}
    study = make_study(scales, tasks=KNOWN + NEW, people=PEOPLE)
    nobody = dataclasses.replace(study.participants, profile=())
    kept = study.task < KNOWN
    study = dataclasses.replace(
        study,
        participants=nobody,
        person=study.person[kept],
        task=study.task[kept],
        answer=level.ravel()[kept],
    )
    return study, halves, 1 + level.mean(0)


def fitted(study: Study, reference: Reference):
    config = Config(study="unused", model=QUICK, split=SplitConfig(by="tasks"))
    ready = prepare.prepare(study, config, 0)
    every = np.ones(len(study.task), bool)
    split = dataclasses.replace(ready.split, train=every, validation=~every, test=~every)
    ready = dataclasses.replace(ready, split=split, reference=reference)
    return fit.fit_model(ready, QUICK, config.train, 0, None, progress.silent, "crowd")[0]


def said(half: np.ndarray) -> Reference:
    """A reference that says one half of where tasks stand, on a scale of its own."""
    return Reference("column", (3.2 + 0.5 * half).clip(1, 5))


@pytest.mark.parametrize(
    ("kind", "sizes", "columns"),
    [("column", (5,), 2), ("fitted", (5,), 1), ("column", (2,), 1), ("column", (2, 5), 2)],
)
def test_how_sure_a_reference_is_counts_where_its_mean_does_not_say_it(kind, sizes, columns):
    """A second column of the location, which is 0 where a task has two levels."""
    by_name = {f"{k} levels": Ordinal(levels=tuple(range(1, k + 1))) for k in sizes}
    study = make_study(by_name, tasks=12)
    nobody = dataclasses.replace(study.participants, profile=())
    study = dataclasses.replace(study, participants=nobody)
    shares = np.zeros((len(study.tasks.ids), 5))
    for index, k in enumerate(sizes):
        on_scale = study.tasks.scale == index
        shares[on_scale, :k] = np.random.default_rng(0).dirichlet(np.ones(k), on_scale.sum())
    reference = from_levels(study, kind, shares)
    design = make_design(study, reference, (), np.ones(len(study.task), bool), QUICK, known=False)
    assert design.tasks.features.shape[1] == columns
    two = np.array(sizes)[study.tasks.scale] == 2
    np.testing.assert_allclose(design.tasks.features[two, 1:], 0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*agents answer new tasks:crowdllm_jax.errors.CrowdWarning")
def test_two_halves_of_the_truth_are_added_up(tmp_path):
    """Forecasts of new tasks: a half of the variance is an r of .71, with a standard error of .11
    over 20 tasks. A worthless third one changes little."""
    study, halves, mean = make_survey()
    random = np.random.default_rng(1)
    first, second = said(halves[0]), said(halves[1])
    noise = said(0.8 * random.normal(size=KNOWN + NEW))

    def r(*references: Reference) -> float:
        head, *others = references
        crowd = fitted(study, dataclasses.replace(head, others=tuple(others)))
        drawn = sample(crowd, 2000, 0).answers[:, KNOWN:].mean(0)
        return float(np.corrcoef(drawn, mean[KNOWN:])[0, 1])

    both = r(first, second)
    assert both > 0.93
    assert r(first) < both - 0.1
    assert r(noise, second, first) == pytest.approx(both, abs=0.04)


@pytest.mark.filterwarnings("ignore:.*agents answer new tasks:crowdllm_jax.errors.CrowdWarning")
def test_levels_are_told_by_both_and_kept(tmp_path, monkeypatch):
    """Of nominal tasks, whose levels' shares one reference knows and the other does not: trust is
    in the first; and a crowd is loaded as it was saved."""
    random = np.random.default_rng(0)
    share = random.dirichlet(np.ones(3), 40)
    study = make_study({"party": Nominal(levels=("a", "b", "c"))}, tasks=40, people=100)
    level = (random.random((100, 40, 1)) > share.cumsum(1)[None, :, :2]).sum(2)
    study = dataclasses.replace(
        study,
        answer=level.ravel().astype(float),
        participants=dataclasses.replace(study.participants, profile=()),
    )
    good = from_levels(study, "column", share)
    bad = from_levels(study, "column", random.dirichlet(np.ones(3), 40))
    crowd = fitted(study, dataclasses.replace(bad, others=(good,)))
    effects = arrays_of(crowd)
    together, *own = effects["effects.mean.trust_everywhere"]
    # What counts of each is its part of the average, and how far it is from that.
    trust = (together + effects["effects.mean.trust"][0]) / 2 + own - np.mean(own)
    assert abs(trust[0]) < 0.2
    assert trust[1] == pytest.approx(1, abs=0.25)
    save_crowd(crowd, tmp_path / "crowd")
    again = load_crowd(tmp_path / "crowd")
    assert crowd_fingerprint(again) == crowd_fingerprint(crowd)
    np.testing.assert_array_equal(sample(again, 50, 1).answers, sample(crowd, 50, 1).answers)
    # What is asked by itself keeps what both say of it.
    last = Questions(crowd.task_ids[-3:], ("",) * 3, crowd.scales, *np.zeros((2, 3), np.int32))
    asked = arrays_of(alone(crowd, last, {}))["effects.mean.task_level"]
    model = nnx.merge(crowd.graph, crowd.params)
    whole = items(model, mean_effects(model), crowd.inputs.tasks, level_mask(crowd.inputs.layout))
    np.testing.assert_allclose(softmax(asked, axis=1), np.exp(whole.base)[-3:], atol=1e-5)
    # One of an earlier version, which trusted nothing everywhere, is refused in words.
    earlier = {name: own for name, own in effects.items() if "everywhere" not in name}
    monkeypatch.setattr("crowdllm_jax.model.persistent.asked.arrays_of", lambda _: earlier)
    with pytest.raises(CrowdError, match="earlier version"):
        lengthened(crowd, crowd.inputs, crowd.task_ids)


def test_a_list_is_configured_and_written_back(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "study: anes96\nreference:\n  - {kind: column, path: a.csv, value: mean}\n"
        "  - {kind: column, path: b.csv, value: mean}\n"
    )
    config = load_config(path)
    assert [one.path for one in config.reference] == ["a.csv", "b.csv"]
    assert config.first_reference.path == "a.csv"
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config


def test_tables_of_a_list_are_read(tmp_path):
    for name, value in (("a", 2), ("b", 4)):
        rows = "".join(f"t{i:02d},{value}\n" for i in range(4))
        (tmp_path / f"{name}.csv").write_text(f"task,mean\n{rows}")
    path = tmp_path / "c.yaml"
    path.write_text(
        "study: anes96\nreference:\n"
        f"  - {{kind: column, path: {tmp_path}/a.csv, value: mean}}\n"
        f"  - {{kind: column, path: {tmp_path}/b.csv, value: mean}}\n"
    )
    reference = prepare.prepare(make_study(), load_config(path), 0).reference
    assert reference.mean.tolist() == [2] * 4
    assert [other.mean.tolist() for other in reference.others] == [[4] * 4]


def test_what_cannot_have_several_says_so():
    study = make_study()
    several = load_list("cvae", 2)
    with pytest.raises(CrowdError, match=r"a list of 2 needs model.kind: persistent"):
        prepare.check_model(study, several)
    with pytest.raises(CrowdError, match="reference: the list is empty"):
        prepare.prepare(study, load_list("persistent", 0), 0)


class Other(msgspec.Struct, frozen=True, tag="other"):
    """A model that is not the persistent one, nor the published one."""


def test_what_the_persistent_model_alone_can_is_refused_of_every_other():
    study, config = make_study(), load_list("persistent", 2)
    prepare.check_model(study, config)
    several = msgspec.structs.replace(config, model=Other())
    with pytest.raises(CrowdError, match=r"of 2 needs .* the other model has one reference"):
        prepare.check_model(study, several)
    single = msgspec.structs.replace(several, reference=several.reference[:1])
    prepare.check_model(study, single)
    answers = msgspec.structs.replace(single, split=SplitConfig(by="answers", known=0.8))
    with pytest.raises(CrowdError, match=r"split.by: answers needs .* of the other model are"):
        prepare.check_model(study, answers)


def load_list(kind: str, count: int) -> Config:
    tree = {
        "study": "anes96",
        "model": {"kind": kind},
        "reference": [{"kind": "column", "path": "a.csv", "value": "mean"}] * count,
    }
    return msgspec.convert(tree, Config)


def follows(kind: str, known: int, share: np.ndarray, true: np.ndarray) -> float:
    """How closely agents' answers to yes-no tasks that nobody answered follow a forecast of them
    (the slope of logits), after answers to `known` tasks with true shares of yes."""
    t = len(share)
    study = make_study({"yes": Ordinal(levels=(0, 1))}, tasks=t, people=PEOPLE)
    random = np.random.default_rng(5)
    # People of one mind: where a task is, is all that its answers tell.
    answer = (random.random((PEOPLE, t)) < true).astype(float)
    kept = study.task < known
    study = dataclasses.replace(
        study,
        participants=dataclasses.replace(study.participants, profile=()),
        person=study.person[kept],
        task=study.task[kept],
        answer=answer.ravel()[kept],
    )
    probs = np.stack([1 - share, share], axis=1)
    crowd = fitted(study, Reference(kind, share, probs))
    new = np.arange(known, t)
    gave = sample(crowd, 4000, 0).answers[:, new].mean(0)
    x, y = (np.log(p / (1 - p)) for p in (share[new], gave.clip(0.01, 0.99)))
    return float(np.polyfit(x, y, 1)[0])


@pytest.mark.filterwarnings("ignore:.*agents answer new tasks:crowdllm_jax.errors.CrowdWarning")
def test_a_fitted_forecast_need_not_be_proved_anew_by_a_few_tasks():
    """It says of tasks that it has not seen where they are, as well as it can, which a few others'
    answers can hardly tell. Many that went otherwise do."""
    random = np.random.default_rng(2)
    share = random.uniform(0.15, 0.85, 60)
    other = random.permutation(share)
    assert 0.8 < follows("fitted", 4, share, share) < 1.3
    few, doubted = (follows(kind, 4, share, other) for kind in ("fitted", "column"))
    assert few > doubted + 0.3
    assert abs(follows("fitted", 50, share, other)) < 0.25


@pytest.mark.filterwarnings("ignore:.*agents answer new tasks:crowdllm_jax.errors.CrowdWarning")
def test_a_forecast_that_says_next_to_nothing_of_known_tasks_is_not_made_to_say_much():
    """Without a signal a cross-fitted forecast lies near the average, a little on the wrong side of
    it: of what a task's own fold leaves out. That is no reason to turn around what it says, louder,
    of new tasks."""
    random = np.random.default_rng(3)
    true = random.uniform(0.15, 0.85, 60)
    share = random.uniform(0.3, 0.7, 60)
    share[:20] = 0.5 - 0.05 * (true[:20] - 0.5)
    assert 0 < follows("fitted", 20, share, true) < 1.5


@pytest.mark.parametrize("kind", [Nominal, Ordinal])
@pytest.mark.filterwarnings("ignore:.*has shown no signal:crowdllm_jax.errors.CrowdWarning")
@pytest.mark.filterwarnings("ignore:.*nobody answered:crowdllm_jax.errors.CrowdWarning")
def test_what_a_reference_deserves_is_learnt_over_scales(kind):
    """Two questions each have options of their own, of half of which nobody's answers are known:
    as of published surveys. The reference knows the shares, and says so by the trust it earned
    elsewhere. By the chance of 2,000 agents alone shares lie .012 from those they are drawn with,
    in half the sum of differences; .03 leaves as much again for the trust. Even shares, which all
    such questions were answered with, lie .26 off."""
    random = np.random.default_rng(0)
    by_name = {f"q{i}": kind(levels=("a", "b", "c")) for i in range(30)}
    study = make_study(by_name, tasks=2, people=400)
    share = random.dirichlet(np.full(3, 1.5), 60)
    level = (random.random((len(study.task), 1)) > share.cumsum(1)[study.task, :2]).sum(1)
    kept = study.task < 30
    study = dataclasses.replace(
        study,
        participants=dataclasses.replace(study.participants, profile=()),
        person=study.person[kept],
        task=study.task[kept],
        answer=level.astype(float)[kept],
    )
    crowd = fitted(study, from_levels(study, "column", share))
    drawn = sample(crowd, 2000, 0).answers[:, 30:].astype(int)
    found = np.stack([np.bincount(column, minlength=3) for column in drawn.T]) / 2000
    assert np.abs(found - share[30:]).sum(1).mean() / 2 < 0.03
