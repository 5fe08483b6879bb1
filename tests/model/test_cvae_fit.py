"""Training: resumed runs, best weights, early stopping, and what compiles how often."""

from typing import ClassVar

import jax
import msgspec
import numpy as np
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.cvae import epoch
from crowdllm_jax.model.cvae import fit as train
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import Data, TrainConfig, fit
from crowdllm_jax.runtime import pieces
from crowdllm_jax.runtime.checkpoints import Checkpoints
from crowdllm_jax.runtime.pieces import Verdict

MODEL = CvaeConfig(hidden=8, latent=2)
CONFIG = TrainConfig(epochs=5, batch_size=16, learning_rate=3e-3, blender_learning_rate=3e-3)


def data(responses: int, seed: int) -> Data:
    """Answers that follow the profile and the reference."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (6, 3)).astype(np.float32)
    c = random.normal(size=(10, 2)).astype(np.float32)
    reference = np.full(6, 0.4, np.float32)
    random = np.random.default_rng(seed)
    person = random.integers(0, 10, responses).astype(np.int32)
    task = random.integers(0, 6, responses).astype(np.int32)
    answer = np.clip(0.5 + 0.2 * c[person, 0], 0, 1).astype(np.float32)
    return Data(x, c, reference, person, task, answer)


TRAIN, VALIDATION = data(100, 1), data(30, 2)


def same(one, other) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.fixture(scope="module")
def whole():
    return fit(TRAIN, VALIDATION, MODEL, CONFIG, seed=1)


@pytest.mark.parametrize("after", [1, 3])
def test_a_resumed_fit_is_bitwise_that_of_an_uninterrupted_one(tmp_path, whole, after):
    def stop(epoch, losses):
        if epoch == after:
            raise KeyboardInterrupt

    with Checkpoints(tmp_path) as checkpoints, pytest.raises(KeyboardInterrupt):
        fit(TRAIN, VALIDATION, MODEL, CONFIG, 1, checkpoints=checkpoints, on_epoch=stop)
    seen = []
    with Checkpoints(tmp_path) as checkpoints:
        resumed = fit(
            TRAIN,
            VALIDATION,
            MODEL,
            CONFIG,
            1,
            checkpoints=checkpoints,
            on_epoch=lambda epoch, _: seen.append(epoch),
        )
    assert seen == list(range(after + 1, CONFIG.epochs + 1))
    assert same(resumed.params, whole.params)
    np.testing.assert_array_equal(resumed.history, whole.history)
    assert resumed.best_epoch == whole.best_epoch


MANY = data(1500, 2)
"""Validation responses in two batches: an epoch is 7 + 2 pieces."""


@pytest.fixture
def in_small_pieces(monkeypatch) -> list[int]:
    """A batch at a time; one entry for each."""
    unpatched, calls = train.advance, []

    def counted(*arguments):
        calls.append(int(arguments[-1].most))
        return unpatched(*arguments)

    monkeypatch.setattr(pieces, "PIECE", 0.0)
    monkeypatch.setattr(train, "advance", counted)
    return calls


@pytest.mark.parametrize("before", [1, 7, 8, 9, 12])
def test_a_fit_that_is_stopped_within_an_epoch_ends_in_the_same_bits(
    before, tmp_path, in_small_pieces, monkeypatch
):
    """After the first batch, the last of the training part, in the validation part, at the epoch's
    end, and within the second epoch."""
    config = msgspec.structs.replace(CONFIG, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "PIECE", 1e9)
        patch.setattr(pieces, "FASTER", 2**30)
        whole = fit(TRAIN, MANY, MODEL, config, seed=1)
    assert len(in_small_pieces) == 3, "the first batch, the rest of the epoch, the second epoch"
    in_small_pieces.clear()

    def stop(found, done):
        return Verdict(len(in_small_pieces) == before, False)

    with monkeypatch.context() as patch, Checkpoints(tmp_path) as checkpoints:
        patch.setattr(pieces.Pieces, "after", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(TRAIN, MANY, MODEL, config, 1, checkpoints=checkpoints)
    assert len(in_small_pieces) == before
    with Checkpoints(tmp_path) as checkpoints:
        resumed = fit(TRAIN, MANY, MODEL, config, 1, checkpoints=checkpoints)
    assert len(in_small_pieces) == 2 * 9, "a batch was done twice, or not at all"
    assert same(resumed.params, whole.params)
    np.testing.assert_array_equal(resumed.history, whole.history)


def test_a_long_epoch_is_saved_once_a_minute(tmp_path, in_small_pieces, monkeypatch):
    saved = []
    monkeypatch.setattr(pieces, "SAVED", -1.0)
    monkeypatch.setattr(Checkpoints, "save", lambda _, number, state: saved.append(number))
    with Checkpoints(tmp_path) as checkpoints:
        fit(
            TRAIN,
            MANY,
            MODEL,
            msgspec.structs.replace(CONFIG, epochs=1),
            1,
            checkpoints=checkpoints,
        )
    assert saved == list(range(1, 10))


def test_a_finished_fit_is_not_run_again(tmp_path, whole):
    for _ in range(2):
        seen = []
        with Checkpoints(tmp_path) as checkpoints:
            again = fit(
                TRAIN,
                VALIDATION,
                MODEL,
                CONFIG,
                1,
                checkpoints=checkpoints,
                on_epoch=lambda epoch, _, seen=seen: seen.append(epoch),
            )
    assert seen == []
    assert same(again.params, whole.params)


def test_seeds_differ_and_repeat(whole):
    assert same(fit(TRAIN, VALIDATION, MODEL, CONFIG, seed=1).params, whole.params)
    assert not same(fit(TRAIN, VALIDATION, MODEL, CONFIG, seed=2).params, whole.params)


def test_the_loss_falls_and_is_the_sum_of_its_terms(whole):
    assert whole.history.shape == (5, 2, 4)
    assert whole.history[-1, 0, 0] < whole.history[0, 0, 0]
    np.testing.assert_allclose(whole.history[..., 0], whole.history[..., 1:].sum(-1), rtol=1e-5)


def test_every_epoch_has_noise_of_its_own_but_validation_has_not():
    """With weights that stand still, losses differ by the noise alone."""
    still = msgspec.structs.replace(CONFIG, learning_rate=1e-30, blender_learning_rate=1e-30)
    training, validation = fit(TRAIN, VALIDATION, MODEL, still, seed=1).history[..., 0].T
    assert len(set(training)) == CONFIG.epochs
    # Biases start at 0 and take even so small a step: the last digit may move.
    np.testing.assert_allclose(validation, validation[0], rtol=1e-6)


def test_the_best_epoch_is_the_one_of_lowest_validation_loss(whole):
    assert whole.best_epoch == 1 + np.argmin(whole.history[:, 1, 0])


def test_without_validation_the_last_epoch_counts():
    none = Data(*TRAIN[:3], *(part[:0] for part in TRAIN[3:6]))
    fitted = fit(TRAIN, none, MODEL, CONFIG, seed=1)
    assert fitted.best_epoch == CONFIG.epochs
    assert np.isnan(fitted.history[:, 1]).all()
    assert np.isfinite(fitted.history[:, 0]).all()


def test_whole_weights_are_as_many_responses():
    """Without noise, in one batch: the losses before the first step, and after it (Adam's first
    step depends on the gradient's signs alone, up to its epsilon)."""
    model = msgspec.structs.replace(MODEL, noise_scale=0.0, training_diversity=0.0)
    config = msgspec.structs.replace(CONFIG, epochs=1, batch_size=512)

    def weighted(part: Data, seed: int) -> tuple[Data, Data]:
        times = np.random.default_rng(seed).integers(1, 4, len(part.answer))
        many = (np.repeat(column, times) for column in part[3:6])
        return part._replace(weight=times.astype(float)), Data(*part[:3], *many)

    one, many = zip(weighted(TRAIN, 1), weighted(VALIDATION, 2), strict=True)
    found, expected = (fit(*parts, model, config, seed=1).history for parts in (one, many))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    plain = fit(TRAIN, VALIDATION, model, config, seed=1).history
    assert (np.abs(found - plain) > 1e-3 * np.abs(plain)).any()
    equal = [part._replace(weight=np.ones(len(part.answer))) for part in (TRAIN, VALIDATION)]
    assert same(fit(*equal, MODEL, CONFIG, seed=1), fit(TRAIN, VALIDATION, MODEL, CONFIG, seed=1))


class Overfitting:
    """A fit whose training answers are the opposite of its validation answers."""

    validation: ClassVar[Data] = VALIDATION._replace(answer=1 - VALIDATION.answer)
    config: ClassVar[TrainConfig] = TrainConfig(
        epochs=60, batch_size=16, patience=4, learning_rate=1e-2, blender_learning_rate=1e-2
    )
    model: ClassVar[CvaeConfig] = msgspec.structs.replace(
        MODEL, loss=msgspec.structs.replace(MODEL.loss, reconstruction=0, kl=0), diversity=0
    )


def test_early_stopping_waits_as_many_epochs_as_told():
    case = Overfitting
    fitted = fit(TRAIN, case.validation, case.model, case.config, seed=0)
    ran = len(fitted.history)
    assert ran < case.config.epochs
    assert ran == fitted.best_epoch + case.config.patience
    short = msgspec.structs.replace(case.config, epochs=fitted.best_epoch)
    assert same(fit(TRAIN, case.validation, case.model, short, seed=0).params, fitted.params)


def test_a_diverged_loss_is_told_and_keeps_the_best(tmp_path, monkeypatch):
    """The weights turn into NaN in the third epoch; what is stored stays the second one's."""
    real = train.advance

    def poisoned(program, mesh, state, tables, runs, piece):
        if piece.epoch == 2:
            answer = runs.train.answer * np.float32(np.nan)
            runs = runs._replace(train=runs.train._replace(answer=answer))
        return real(program, mesh, state, tables, runs, piece)

    monkeypatch.setattr(train, "advance", poisoned)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CrowdError, match=r"nan in epoch 3; lower train\.learning_rate"),
    ):
        fit(TRAIN, VALIDATION, MODEL, CONFIG, 1, checkpoints=checkpoints)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["1", "2"]
    with Checkpoints(tmp_path) as checkpoints:
        resumed = fit(TRAIN, VALIDATION, MODEL, CONFIG, 1, checkpoints=checkpoints)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(resumed.params))


def test_absurd_learning_rates_are_told():
    config = msgspec.structs.replace(CONFIG, learning_rate=1000.0, blender_learning_rate=1000.0)
    with pytest.raises(CrowdError, match="the training loss is"):
        fit(TRAIN, VALIDATION, MODEL, config, seed=0)


@pytest.fixture
def traces(monkeypatch) -> list:
    """One entry for each time the epoch's program is traced from now on."""
    found, real = [], epoch._one

    def counted(*args):
        found.append(args[0])
        return real(*args)

    monkeypatch.setattr(epoch, "_one", counted)
    train.advance.clear_cache()
    yield found
    train.advance.clear_cache()


def test_epochs_compile_once(traces):
    """However many epochs, whatever the seed, the numbers and (up to the next power of two of
    batches) the responses."""
    fit(TRAIN, VALIDATION, MODEL, CONFIG, seed=5)
    few = Data(*TRAIN[:3], *(part[:70] for part in TRAIN[3:6]))
    other = msgspec.structs.replace(CONFIG, epochs=6, learning_rate=1e-4, patience=1)
    fit(few, VALIDATION, msgspec.structs.replace(MODEL, noise_scale=0.3), other, seed=6)
    assert len(traces) == 1
    fit(TRAIN, VALIDATION, msgspec.structs.replace(MODEL, hidden=9), CONFIG, seed=5)
    assert len(traces) == 2


def test_each_group_has_its_own_learning_rate():
    """With one rate so small that float32 does not move, only the other group does."""
    from flax import nnx

    from crowdllm_jax.model.cvae.decision import Cvae

    start = nnx.split(Cvae(3, 2, MODEL, rngs=nnx.Rngs(1)), nnx.Param)[1]
    for still, moving in (("blender", "belief"), ("belief", "blender")):
        rates = {"belief": "learning_rate", "blender": "blender_learning_rate"}
        config = msgspec.structs.replace(CONFIG, **{rates[still]: 1e-30, "epochs": 1})
        params = fit(TRAIN, VALIDATION, MODEL, config, seed=1).params
        # Biases start at 0 and can take even so small a step; kernels cannot.
        kernels = {
            jax.tree_util.keystr(path): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(params)
            if "kernel" in jax.tree_util.keystr(path)
        }
        for path, leaf in jax.tree_util.tree_leaves_with_path(start):
            name = jax.tree_util.keystr(path)
            if name in kernels:
                moved = not np.array_equal(kernels[name], np.asarray(leaf))
                assert moved == (moving in name), name


@pytest.mark.parametrize("responses", [1, 17])
def test_any_number_of_responses_fits(responses):
    few = Data(*TRAIN[:3], *(part[:responses] for part in TRAIN[3:6]))
    config = msgspec.structs.replace(CONFIG, epochs=1)
    assert np.isfinite(fit(few, VALIDATION, MODEL, config, seed=0).history[0]).all()


@pytest.mark.parametrize("count", [1, 2, 10, 16])
def test_an_epoch_holds_every_response_once_in_an_order_that_padding_does_not_change(count):
    key = jax.random.key(count)
    order = np.asarray(epoch.shuffled(key, 16, np.int32(count)))
    assert sorted(order[:count]) == list(range(count))
    np.testing.assert_array_equal(order[:count], epoch.shuffled(key, 64, np.int32(count))[:count])


def test_every_order_is_equally_likely():
    """Chi-square of the 24 orders of 4 over 4,800 keys: 23 degrees of freedom, p = 1e-4 at 57."""
    keys = jax.random.split(jax.random.key(0), 4800)
    orders = jax.vmap(lambda key: epoch.shuffled(key, 8, np.int32(4)))(keys)[:, :4]
    counts = np.unique(np.asarray(orders), axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 200) ** 2 / 200).sum() < 57
