"""Many runs in one program: each is what it is alone, whoever is beside it."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
from flax import nnx
from test_cvae_fit import CONFIG, MODEL, VALIDATION, data, traces  # noqa: F401

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.cvae import epoch
from crowdllm_jax.model.cvae import fit as train
from crowdllm_jax.model.cvae.belief import KnownTasks
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Cvae
from crowdllm_jax.model.cvae.fit import Data, Run, fit, fit_many
from crowdllm_jax.runtime.checkpoints import Checkpoints

NOTHING = data(0, 0)
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}
"""Batched products sum in another order: float32 rounding over some 50 Adam steps of 3e-3."""


def change(struct, **values):
    return msgspec.structs.replace(struct, **values)


def several(model: CvaeConfig = MODEL) -> list[Run]:
    """Runs that differ in everything a program takes as an argument."""
    other = data(40, 3)
    return [
        Run(data(100, 1), VALIDATION, model, CONFIG, 1),
        Run(data(100, 1), VALIDATION, model, CONFIG, 2),
        Run(data(3, 1), VALIDATION, model, change(CONFIG, epochs=9), 1),
        # Another reference, other tables, no validation.
        Run(
            other._replace(reference=np.full(6, 0.5, np.float32), x=-other.x, c=2 * other.c),
            NOTHING,
            model,
            change(CONFIG, learning_rate=1e-2),
            1,
        ),
        Run(
            data(70, 1),
            data(5, 2),
            change(
                model,
                noise_scale=0.5,
                training_diversity=0.1,
                loss=change(model.loss, reconstruction=0.5, kl=0.0, decision=16.0),
            ),
            change(CONFIG, blender_learning_rate=1e-2),
            4,
        ),
        # Validation answers that are the opposite: stops early.
        Run(
            data(100, 1),
            VALIDATION._replace(answer=1 - VALIDATION.answer),
            change(model, loss=change(model.loss, reconstruction=0.0, kl=0.0)),
            change(CONFIG, epochs=12, patience=1, learning_rate=1e-2, blender_learning_rate=1e-2),
            5,
        ),
    ]


def alone(run: Run) -> train.Fitted:
    return fit(*run)


def check_equal(one: train.Fitted, other: train.Fitted) -> None:
    np.testing.assert_allclose(one.history, other.history, **TOLERANCE)
    assert one.best_epoch == other.best_epoch
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(a, b, **TOLERANCE)


@pytest.mark.parametrize(
    "model", [MODEL, change(MODEL, semi_implicit=True)], ids=["plain", "semi-implicit"]
)
def test_each_run_ends_as_it_does_alone(model):
    runs = several(model)
    together = fit_many(runs)
    lengths = {len(fitted.history) for fitted in together}
    assert len(lengths) > 2, "the runs end together: nothing is frozen"
    for run, fitted in zip(runs, together, strict=True):
        check_equal(fitted, alone(run))


def test_who_a_task_is_is_looked_up_as_it_would_be_multiplied(monkeypatch):
    """Two runs whose other features differ, so that their tables lie one below the other."""
    own = np.eye(6, dtype=np.float32)
    runs = [
        Run(
            *(
                part._replace(x=np.hstack([sign * part.x, own]))
                for part in (data(100, 1), VALIDATION)
            ),
            MODEL,
            CONFIG,
            1,
        )
        for sign in (1, -1)
    ]
    assert train.begin(runs)[3].x.shape == (12, 3)
    looked_up = fit_many(runs)
    monkeypatch.setattr(train, "known_tasks", lambda x: 0)
    assert train.begin(runs)[3].x.shape == (12, 9)
    for one, other in zip(looked_up, fit_many(runs), strict=True):
        check_equal(one, other)


def test_the_mixing_layer_looks_up_who_a_task_is_too():
    belief = Cvae(9, 2, change(MODEL, semi_implicit=True), rngs=nnx.Rngs(0)).belief
    task, case = np.array([5, 0, 5]), data(3, 1)
    own = np.hstack([case.x, np.eye(6, dtype=np.float32)])[task]
    rest = case.c[:3], np.ones((3, MODEL.injected), np.float32)
    found = belief.encode(KnownTasks(jnp.asarray(case.x[task]), jnp.asarray(task)), *rest)
    for one, other in zip(found, belief.encode(own, *rest), strict=True):
        np.testing.assert_allclose(one, other, **TOLERANCE)


@pytest.mark.parametrize(
    ("x", "known"),
    [
        (np.eye(3), 3),
        (np.hstack([np.ones((3, 2)), np.eye(3)]), 3),
        (np.eye(3)[[1, 0, 2]], 0),
        (np.eye(3) * 2, 0),
        (np.eye(3) + np.eye(3, k=1), 0),
        (np.ones((3, 1)), 0),
        (np.hstack([np.eye(3), np.ones((3, 1))]), 0),
    ],
)
def test_columns_that_say_who_a_task_is_are_found(x, known):
    assert train.known_tasks(x.astype(np.float32)) == known


def test_the_order_of_the_runs_does_not_matter():
    runs = several()
    order = [3, 0, 5, 2, 1, 4]
    permuted = fit_many([runs[i] for i in order])
    whole = fit_many(runs)
    for i, fitted in zip(order, permuted, strict=True):
        check_equal(fitted, whole[i])


def test_runs_that_step_together_are_runs_alone():
    """`vmap`, the accelerator's way through, on the CPU: lanes that are shorter, or have ended,
    must keep their weights bit for bit while others go on."""
    runs = several()
    program = train._program(runs)
    tables, inputs = train._inputs(runs)
    mesh = train.begin(runs[:1])[1]
    step = jax.jit(jax.vmap(partial(epoch._one, program, mesh), (0, None, 0, epoch.PIECE_AXES)))
    state, before, number = epoch.start(program, inputs.key), None, np.int32(0)
    done = np.asarray(epoch.ended(state, inputs))
    while not done.all():
        before = jax.device_get(state)
        order = epoch.order_of(mesh, number, inputs)
        state, info = step(state, tables, inputs, epoch.Piece(number, order, np.int32(2**30)))
        number += np.int32(1)
        for run in np.flatnonzero(done):
            for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(state), strict=True):
                np.testing.assert_array_equal(old[run], np.asarray(new)[run])
            assert np.isnan(info.losses[run]).all()
        done = np.asarray(info.ended)
    for run, one in enumerate(fit_many(runs)):
        best = jax.tree.map(lambda leaf, run=run: np.asarray(leaf[run]), state.best_params)
        history = np.asarray(state.history[run, : state.epoch[run]])
        check_equal(one._replace(params=best, history=history), one)


def test_new_runs_do_not_compile_anew(traces):  # noqa: F811
    runs = several()
    fit_many(runs)
    fit_many([run._replace(seed=run.seed + 7) for run in reversed(runs)])
    assert len(traces) == 1


def test_tables_that_runs_share_are_there_once():
    runs = several()
    tables, _ = train._inputs(runs)
    assert tables.x.shape == (12, 3)
    assert tables.c.shape == (20, 2)


def test_interrupted_runs_end_alike(tmp_path):
    runs = several()

    def stop(number, losses):
        assert losses.shape == (len(runs), 2, 4)
        if number == 6:
            raise KeyboardInterrupt

    with Checkpoints(tmp_path) as checkpoints, pytest.raises(KeyboardInterrupt):
        fit_many(runs, checkpoints=checkpoints, on_epoch=stop)
    with Checkpoints(tmp_path) as checkpoints:
        resumed = fit_many(runs, checkpoints=checkpoints)
    for one, whole in zip(resumed, fit_many(runs), strict=True):
        np.testing.assert_array_equal(one.history, whole.history)
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(whole.params), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_run_that_diverges_is_named():
    runs = several()[:2]
    wild = change(CONFIG, learning_rate=1000.0, blender_learning_rate=1000.0)
    with pytest.raises(CrowdError, match="run 1: the training loss is"):
        fit_many([runs[0], runs[1]._replace(config=wild)])


@pytest.mark.parametrize(
    "other",
    [
        {"model": change(MODEL, latent=3)},
        {"config": change(CONFIG, batch_size=8)},
        {"train": Data(np.zeros((6, 5), np.float32), *data(10, 0)[1:])},
    ],
    ids=["latent", "batch", "features"],
)
def test_runs_of_other_shapes_are_refused(other):
    run = several()[0]
    with pytest.raises(ValueError, match="run 1 differs in shape"):
        fit_many([run, run._replace(**other)])


ON_ONE_DEVICE = """
import jax, sys
assert jax.device_count() == 1
import numpy as np
from test_many_runs import several, check_equal, fit_many
runs = several()[:5]
np.savez(sys.argv[1], *(fitted.history for fitted in fit_many(runs)))
"""


def test_runs_on_two_devices_are_the_same(tmp_path):
    """Five runs on this process's two devices, so that one is filled up, beside one device."""
    assert jax.device_count() == 2
    folder = Path(__file__).parent
    paths = os.pathsep.join([str(folder), str(folder.parent), os.environ.get("PYTHONPATH", "")])
    flags = {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("count=2", "count=1")}
    subprocess.run(
        [sys.executable, "-c", ON_ONE_DEVICE, str(tmp_path / "one.npz")],
        check=True,
        env={**os.environ, **flags, "PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"},
    )
    with np.load(tmp_path / "one.npz") as stored:
        for two, name in zip(fit_many(several()[:5]), stored.files, strict=True):
            np.testing.assert_allclose(two.history, stored[name], **TOLERANCE)


def test_two_devices_that_share_every_batch_make_the_same_runs():
    """Each takes half of the rows and their gradients are added up, once a step."""
    runs = several()[:3]
    shared = [run._replace(config=change(run.config, devices=2)) for run in runs]
    for one, two in zip(fit_many(runs), fit_many(shared), strict=True):
        check_equal(one, two)
    program, mesh, state, tables, inputs = train.begin(shared)
    piece = epoch.Piece(jnp.int32(0), epoch.order_of(mesh, jnp.int32(0), inputs), jnp.int32(64))
    text = epoch.advance.lower(program, mesh, state, tables, inputs, piece).compile().as_text()
    assert "all-reduce(" in text
    assert "all-gather(" not in text
    products = {int(rows) for rows in re.findall(r"= f32\[(\d+),\d+\]\S* dot\(", text)}
    assert CONFIG.batch_size // 2 in products
    assert CONFIG.batch_size not in products


@pytest.mark.parametrize(
    ("batch", "devices", "told"),
    [(16, 3, "do not divide train.batch_size"), (64, 32, "32, but there are 2")],
)
def test_batches_that_cannot_be_shared_are_told(batch, devices, told):
    run = several()[0]
    config = change(CONFIG, batch_size=batch, devices=devices)
    with pytest.raises(CrowdError, match=f"train.devices: .*{told}"):
        fit(*run._replace(config=config))


def test_padding_keeps_the_noise_of_a_run():
    """Rows of noise do not depend on how many there are: what makes padded batches equal."""
    from crowdllm_jax.model.cvae.decision import draw_noise

    for config in (MODEL, change(MODEL, semi_implicit=True)):
        few, many = (draw_noise(jax.random.key(0), n, config) for n in (5, 64))
        np.testing.assert_array_equal(few.latent, many.latent[:5])
        np.testing.assert_array_equal(few.decision, many.decision[:5])
        if few.injected is not None:
            np.testing.assert_array_equal(few.injected, jnp.asarray(many.injected)[:, :5])
