"""A batch that is cut into shares makes the same fit on any number of devices, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, PartitionSpec
from known_people import Known, make_known
from test_cvae_fit import CONFIG, MODEL, VALIDATION, data

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.cvae import fit as published
from crowdllm_jax.model.persistent import fit as persistent
from crowdllm_jax.model.persistent.answers import AnswerTable, gather_answers
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.runtime import shares
from crowdllm_jax.runtime.checkpoints import Checkpoints

SHARES = 8
TRAIN = data(100, 1)
"""The last batch of an epoch has but 4 of its 16 answers, so that some of its shares are empty."""


def people() -> tuple[Known, AnswerTable]:
    known = make_known(latent=1)
    everything = np.ones(len(known.study.task), bool)
    return known, gather_answers(known.study, known.codings, known.design, everything)[1]


def fit_published(devices: int, shares: int = SHARES, model=MODEL, **more) -> list[np.ndarray]:
    config = msgspec.structs.replace(CONFIG, devices=devices, shares=shares)
    fitted = published.fit(TRAIN, VALIDATION, model, config, 1, **more)
    return [*map(np.asarray, jax.tree.leaves(fitted.params)), fitted.history]


def fit_persistent(devices: int, shares: int = SHARES, **more) -> list[np.ndarray]:
    known, answers = people()
    config = PersistentConfig(
        latent=1, injected=1, steps=20, people=16, devices=devices, shares=shares
    )
    _, params, losses = persistent.fit_marginal(known.design, answers, config, 0, **more)
    return [*map(np.asarray, jax.tree.leaves(params)), losses]


FITS = {"published": fit_published, "persistent": fit_persistent}


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def stopped(folder: Path, devices: int) -> None:
    """Leave a published fit's checkpoint behind, in its middle."""

    def stop(done: int, _: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with Checkpoints(folder) as kept, pytest.raises(KeyboardInterrupt):
        fit_published(devices, checkpoints=kept, on_epoch=stop)


def resumed(folder: Path, devices: int) -> list[np.ndarray]:
    with Checkpoints(folder) as kept:
        assert kept.newest(), "nothing was saved"
        return fit_published(devices, checkpoints=kept)


ON_EIGHT = """
import sys
from pathlib import Path
import jax
import numpy as np
import test_shared_fits as t
folder = Path(sys.argv[1])
assert jax.device_count() == 8
np.savez(folder / "persistent.npz", *t.fit_persistent(8))
np.savez(folder / "published.npz", *t.fit_published(8))
np.savez(folder / "four.npz", *t.resumed(folder / "left", 4))
"""


def test_a_fit_has_the_same_bits_on_2_4_and_8_devices(tmp_path):
    """This process has two devices, another one eight; and four go on from what two have left."""
    stopped(tmp_path / "left", 2)
    folder = Path(__file__).parent
    paths = [folder, folder.parent, os.environ.get("PYTHONPATH", "")]
    flags = os.environ["XLA_FLAGS"].replace("count=2", "count=8")
    subprocess.run(
        [sys.executable, "-c", ON_EIGHT, str(tmp_path)],
        check=True,
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(map(str, paths))},
    )
    made = {path.stem: np.load(path) for path in tmp_path.glob("*.npz")}
    found = {name: [stored[n] for n in stored.files] for name, stored in made.items()}
    of_two = {kind: fit(2) for kind, fit in FITS.items()}
    assert same(of_two["published"], found["published"])
    assert same(of_two["published"], found["four"])
    assert same(of_two["persistent"], found["persistent"])


def test_shares_change_nothing_but_the_noise():
    """Without noise the published fit is that of whole batches, to float rounding: also where an
    epoch's last batch leaves shares empty, and people have weights."""
    weight = np.random.default_rng(5).uniform(0.2, 3, len(TRAIN.answer))
    train = TRAIN._replace(weight=weight)
    quiet = msgspec.structs.replace(MODEL, noise_scale=0.0, training_diversity=0.0)

    def fit(**more) -> published.Fitted:
        return published.fit(
            train, VALIDATION, quiet, msgspec.structs.replace(CONFIG, **more), seed=1
        )

    whole, cut = fit(), fit(devices=2, shares=4)
    np.testing.assert_allclose(cut.history, whole.history, rtol=2e-5, atol=2e-6)
    for a, b in zip(jax.tree.leaves(cut.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_a_share_of_people_is_a_smaller_step():
    """With the same points for everybody the persistent fit is that of whole steps, to rounding."""
    unshifted, persistent.shifted = (
        persistent.shifted,
        lambda points, key, people: unshifted(points, jax.random.key(0), 1).repeat(people, axis=0),
    )
    persistent._steps.clear_cache()
    try:
        whole, cut = fit_persistent(1, 1), fit_persistent(2, 4)
    finally:
        persistent.shifted = unshifted
        persistent._steps.clear_cache()
    for a, b in zip(cut, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_what_all_shares_came_to_is_gathered_once_and_added_in_order():
    """Numbers whose sum in float32 tells the order; one collective in the compiled program."""
    mesh = Mesh(np.array(jax.devices()), ("a",), axis_types=(AxisType.Auto,))
    numbers = jnp.asarray([1e8, 1.0, -1e8, 1.0, 3e-8, 1e8, 1.0, -1e8], jnp.float32)

    def total(stretch: jax.Array) -> dict[str, jax.Array]:
        def one(share: jax.Array) -> dict[str, jax.Array]:
            return {"sum": numbers[share], "twice": 2 * numbers[share]}

        return shares.sum_in_order(shares.of_every_share(one, 8, stretch, mesh))

    own, whole = PartitionSpec("a"), PartitionSpec()
    program = jax.jit(
        jax.shard_map(total, mesh=mesh, in_specs=own, out_specs=whole, check_vma=False)
    )
    stretch = shares.stretches(8, 2)
    in_order = np.float32(0)
    for number in np.asarray(numbers):
        in_order = np.float32(in_order + number)
    assert float(program(stretch)["sum"]) == in_order
    assert float(program(stretch)["twice"]) == 2 * in_order
    text = program.lower(stretch).compile().as_text()
    assert text.count("all-gather(") == 1
    assert "all-reduce(" not in text


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize(
    ("devices", "shares", "told"),
    [
        (1, 8, r"\.shares: 8 are for 2 or more devices"),
        (2, 7, r"\.shares: 7 do not divide .*\(16\)"),
        (3, 4, r"\.devices: 3 do not divide .*\.shares \(4\)"),
    ],
)
def test_shares_that_cannot_be_are_told(kind, devices, shares, told):
    with pytest.raises(CrowdError, match=told):
        FITS[kind](devices, shares)


def test_fewer_people_than_shares_are_told():
    known, answers = people()
    config = PersistentConfig(latent=1, people=64, devices=2, shares=32)
    with pytest.raises(CrowdError, match=r"model\.shares: 32, but a step has 24 of the 24 people"):
        persistent.fit_marginal(known.design, answers, config, 0)
