"""Checkpoints come back as they went, or say why not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crowdllm_jax.checkpoint import Checkpoints, flatten, load_arrays, save_arrays, unflatten
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import load_crowd, save_crowd
from crowdllm_jax.output import crowd_fingerprint
from crowdllm_jax.population import sample


def state(seed: int):
    random = np.random.default_rng(seed)
    return {
        "w": jnp.asarray(random.normal(size=(3, 2)), jnp.float32),
        "nested": [jnp.int32(seed), jnp.full(2, np.nan)],
    }


def equal(one, other) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(
        np.asarray(a).dtype == np.asarray(b).dtype
        and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in pairs
    )


def test_the_newest_state_comes_back_bit_for_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.latest(state(0)) is None
    for step in (1, 2, 3):
        checkpoints.save(step, state(step))
    checkpoints.close()
    again = Checkpoints(tmp_path / "c")
    assert equal(again.latest(state(0)), state(3))
    assert len([p for p in (tmp_path / "c").iterdir() if p.is_dir()]) == 2
    again.close()


@pytest.mark.parametrize(
    "like",
    [
        {**state(0), "w": jnp.zeros((4, 2))},
        {**state(0), "w": jnp.zeros((3, 2), jnp.bfloat16)},
        {**state(0), "more": jnp.zeros(1)},
    ],
    ids=["shape", "dtype", "leaf"],
)
def test_the_state_of_another_model_is_refused(tmp_path, like):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, state(1))
        with pytest.raises(CrowdError, match="c: "):
            checkpoints.latest(like)


def test_a_damaged_state_is_named(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, state(1))
    for path in (tmp_path / "c").rglob("*"):
        if path.is_file() and path.stat().st_size > 200:
            path.write_bytes(b"\0" * 10)
    with (
        Checkpoints(tmp_path / "c") as checkpoints,
        pytest.raises(CrowdError, match="delete the folder to train anew"),
    ):
        checkpoints.latest(state(1))


def test_arrays_come_back(tmp_path):
    arrays = flatten(state(4))
    save_arrays(tmp_path / "a", arrays)
    loaded = load_arrays(tmp_path / "a")
    assert equal(unflatten(loaded, state(0), tmp_path), state(4))
    with pytest.raises(CrowdError, match="absent: cannot be read"):
        load_arrays(tmp_path / "absent")


def test_a_crowd_comes_back_and_answers_alike(tmp_path, mixed_crowd):
    save_crowd(mixed_crowd, tmp_path / "crowd")
    loaded = load_crowd(tmp_path / "crowd")
    assert crowd_fingerprint(loaded) == crowd_fingerprint(mixed_crowd)
    one, other = (sample(crowd, 100, seed=4) for crowd in (mixed_crowd, loaded))
    np.testing.assert_array_equal(one.answers, other.answers)


def test_a_crowd_holds_no_ids_and_no_answers(tmp_path, mixed_crowd, mixed_study):
    save_crowd(mixed_crowd, tmp_path / "crowd")
    text = (tmp_path / "crowd" / "crowd.json").read_text()
    assert not any(name in text for name in mixed_study.participants.ids)
    sizes = {array.size for array in load_arrays(tmp_path / "crowd" / "arrays").values()}
    assert len(mixed_study.answer) not in sizes


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "crowd.json").unlink(), "no crowd.json"),
        (lambda f: (f / "crowd.json").write_text("{"), "crowd.json: cannot be read"),
        (
            lambda f: (f / "crowd.json").write_text(
                (f / "crowd.json").read_text().replace('"format": 1', '"format": 99')
            ),
            "has format 99",
        ),
        (lambda f: (f / "arrays").rename(f / "elsewhere"), "arrays: cannot be read"),
    ],
    ids=["absent", "not JSON", "newer", "no arrays"],
)
def test_a_damaged_crowd_is_named(tmp_path, rating_crowd, damage, says):
    save_crowd(rating_crowd, tmp_path / "crowd")
    damage(tmp_path / "crowd")
    with pytest.raises(CrowdError, match=says):
        load_crowd(tmp_path / "crowd")
