"""A fit that is asked to stop ends soon, with all that it has done, and goes on to the same end."""

import signal
import threading
import time

import jax
import numpy as np
import pytest
from synthetic import write_config

from crowdllm_jax.cli.main import main
from crowdllm_jax.model.crowd_file import load_crowd
from crowdllm_jax.model.cvae import fit as cvae
from crowdllm_jax.runs.folder import crowd_folder
from crowdllm_jax.runtime import pieces, processes
from crowdllm_jax.runtime.checkpoints import flatten

CVAE = "model={kind: cvae, hidden: 8, latent: 2}"
TRAIN = "train={epochs: 2, batch_size: 16}"


def weights(run) -> dict[str, np.ndarray]:
    (kind,) = (path.name for path in (run / "seed-0").iterdir())
    return flatten(load_crowd(crowd_folder(run, 0, kind)).params)


def fit(tmp_path, name: str, model: str) -> int:
    config = tmp_path / "input" / "config.yaml"
    if not config.exists():
        write_config(config.parent)
    command = ["fit", str(config), "--set", model, "--set", TRAIN]
    return main([*command, "--out", str(tmp_path / name), "--quiet"])


def in_the_smallest(monkeypatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 0.0)


def terminated_in(monkeypatch, module, name: str, call: int) -> list[int]:
    """SIGTERM comes while a piece is computed; returns what counts the calls."""
    unpatched, calls = getattr(module, name), []

    def terminated(*arguments):
        calls.append(len(calls) + 1)
        after = unpatched(*arguments)
        if len(calls) == call:
            signal.raise_signal(signal.SIGTERM)
        return after

    monkeypatch.setattr(module, name, terminated)
    return calls


def test_sigterm_ends_a_fit_after_a_piece_and_nothing_is_lost(tmp_path, monkeypatch, capsys):
    """In the midst of the first epoch; the same command goes on, to the same bits as in one go."""
    assert fit(tmp_path, "whole", CVAE) == 0
    in_the_smallest(monkeypatch)
    with monkeypatch.context() as patch:
        calls = terminated_in(patch, cvae, "advance", 3)
        assert fit(tmp_path, "cut", CVAE) == 143
    assert len(calls) == 3, "it went on"
    assert "terminated; the same command continues" in capsys.readouterr().err
    assert fit(tmp_path, "cut", CVAE) == 0
    for path, array in weights(tmp_path / "whole").items():
        np.testing.assert_array_equal(weights(tmp_path / "cut")[path], array, err_msg=path)


def test_pieces_grow_to_a_second_and_no_further(monkeypatch):
    """By a clock of our own: 1/128 s for each of what is counted, and 2 s for the first call."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with pieces.in_pieces() as found:
        sizes = []
        for call in range(6):
            clock[0] += found.size / 128 + 2 * (call == 0)
            found.after(found.size)
            sizes.append(found.size)
    assert sizes == [1, 8, 64, 128, 128, 128]


def test_requests_to_stop_wait_for_the_end_of_a_piece():
    """And none is forgotten where nobody asks."""
    before, computed = signal.getsignal(signal.SIGINT), False
    with pytest.raises(KeyboardInterrupt), pieces.in_pieces() as found:  # noqa: PT012
        assert not found.after(1).stop
        signal.raise_signal(signal.SIGINT)
        computed = True
        assert found.after(1).stop
    assert computed
    assert signal.getsignal(signal.SIGINT) is before


def test_processes_stop_together(monkeypatch):
    """Another one was asked to, and has the smaller piece."""
    told = np.array([[0, 0, 512], [1, 0, 4]], np.float32)
    monkeypatch.setattr(processes, "size", lambda: 2)
    monkeypatch.setattr(processes, "gather", lambda *_: told)
    with pieces.in_pieces() as found:
        assert found.after(1) == (True, False)
        assert found.size == 4


def test_only_the_main_thread_hears_signals():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with pieces.in_pieces() as found:
            seen.append((signal.getsignal(signal.SIGTERM), found.after(1).stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
    assert jax.process_count() == 1
