"""Checkpoints come back as they went, or say why not."""

import gc
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.model.crowd_file import crowd_fingerprint, load_crowd, save_crowd
from crowdllm_jax.population.sample import sample
from crowdllm_jax.runtime.checkpoints import (
    Checkpoints,
    flatten,
    load_arrays,
    save_arrays,
    unflatten,
)


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


def flip(path):
    data = bytearray(path.read_bytes() or b"\0")
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


DAMAGE = {
    "flipped": flip,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "deleted": lambda path: path.unlink(),
}


ABANDONED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Where an array cannot be read, orbax drops its reading of the others without waiting for them."""


@pytest.fixture(autouse=True)
def collected():
    """What a test dropped is found before another test is blamed for it."""
    yield
    gc.collect()


def files_of(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


@ABANDONED
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_is_never_taken_for_a_whole_one(tmp_path, damage):
    """Every file of the newest state in turn: the same state, or the one before and a warning."""
    with Checkpoints(tmp_path / "c") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step))
    fell_back = 0
    for name in files_of(tmp_path / "c" / "2"):
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "c", copy)
        damage(copy / "2" / name)
        with Checkpoints(copy) as checkpoints, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", CrowdWarning)
            found = checkpoints.latest(state(0))
            told = [str(w.message) for w in told if issubclass(w.category, CrowdWarning)]
            assert equal(found, state(1 if told else 2)), name
            assert all("step 2 is damaged" in message for message in told)
            fell_back += bool(told)
            # Training goes on from there and saves that step anew.
            checkpoints.save(2, state(2))
        with Checkpoints(copy) as checkpoints:
            assert equal(checkpoints.latest(state(0)), state(2)), name
        shutil.rmtree(copy)
    assert fell_back


def test_where_no_state_is_whole_it_says_what_to_do(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, state(1))
    for path in (tmp_path / "c").rglob("*"):
        if path.is_file() and path.stat().st_size > 200:
            path.write_bytes(b"\0" * 10)
    with (
        Checkpoints(tmp_path / "c") as checkpoints,
        pytest.warns(CrowdWarning, match="step 1 is damaged"),
        pytest.raises(CrowdError, match="delete the folder to train anew"),
    ):
        checkpoints.latest(state(1))


@ABANDONED
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_crowd_is_never_taken_for_a_whole_one(tmp_path, rating_crowd, damage):
    save_crowd(rating_crowd, tmp_path / "crowd")
    wanted, refused = crowd_fingerprint(rating_crowd), 0
    for name in files_of(tmp_path / "crowd"):
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "crowd", copy)
        damage(copy / name)
        try:
            found = crowd_fingerprint(load_crowd(copy))
        except CrowdError:
            refused += 1
        else:
            assert found == wanted, name
        shutil.rmtree(copy)
    assert refused


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


AGAIN = "delete this crowd's folder and fit again"


def cut_arrays(folder):
    for path in (folder / "arrays").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:9])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "crowd.json").unlink(), rf"no crowd.json\); {AGAIN}"),
        (
            lambda f: (f / "crowd.json").write_text((f / "crowd.json").read_text()[:-9]),
            rf"crowd.json: cannot be read \(.*\); {AGAIN}",
        ),
        (
            lambda f: (f / "crowd.json").write_text(
                (f / "crowd.json").read_text().replace('"format": 1', '"format": 99')
            ),
            f"has format 99, this version reads 1; {AGAIN}",
        ),
        (
            lambda f: (f / "arrays").rename(f / "elsewhere"),
            rf"arrays: cannot be read \(.*\); {AGAIN}",
        ),
        (cut_arrays, rf"arrays: cannot be read \(.*\); {AGAIN}"),
    ],
    ids=["absent", "cut short", "newer", "no arrays", "arrays cut short"],
)
def test_a_damaged_crowd_is_named(tmp_path, rating_crowd, damage, says):
    save_crowd(rating_crowd, tmp_path / "crowd")
    damage(tmp_path / "crowd")
    with pytest.raises(CrowdError, match=says):
        load_crowd(tmp_path / "crowd")
