"""Pieces of work that processes take in a folder, and what each hears of the others' end."""

import numpy as np
import pytest

from crowdllm_jax.errors import CrowdError, PeerError
from crowdllm_jax.runtime import handing_out, processes
from crowdllm_jax.runtime.checkpoints import ALONE, Checkpoints, load_arrays, save_arrays
from crowdllm_jax.runtime.pieces import in_pieces
from crowdllm_jax.runtime.progress import silent


@pytest.fixture
def second_of_two(monkeypatch):
    """This process, as if it were the second of two."""
    monkeypatch.setattr(processes, "size", lambda: 1 if processes.is_alone() else 2)
    monkeypatch.setattr(processes, "rank", lambda: 0 if processes.is_alone() else 1)
    monkeypatch.setattr(handing_out, "POLL", 0.0)
    monkeypatch.setattr(handing_out, "FAREWELL", 0.1)


def marks(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_piece_is_taken_once(tmp_path, second_of_two):
    assert handing_out.take(tmp_path, "a")
    assert not handing_out.take(tmp_path, "a")
    assert handing_out.take(tmp_path, "b")
    (tmp_path / "kept").touch()
    handing_out.sweep(tmp_path)
    assert marks(tmp_path) == ["kept"]
    assert handing_out.take(tmp_path, "a")


def test_one_process_takes_all_and_leaves_no_marks(tmp_path):
    with handing_out.apart(tmp_path):
        assert handing_out.take(tmp_path, "a")
        assert handing_out.take(tmp_path, "a")
        assert not handing_out.others_stop()
    with pytest.raises(KeyboardInterrupt), handing_out.apart(tmp_path):
        raise KeyboardInterrupt
    assert marks(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "mark"), [(KeyboardInterrupt, "stopped"), (CrowdError("no"), "failed")]
)
def test_who_ends_before_the_others_tells_them(tmp_path, second_of_two, error, mark):
    def fail() -> None:
        with handing_out.apart(tmp_path):
            assert not handing_out.others_stop()
            raise error

    with pytest.raises((KeyboardInterrupt, CrowdError)):
        fail()
    assert marks(tmp_path) == [f".tmp-{mark}-1"]
    handing_out.sweep(tmp_path)
    assert marks(tmp_path) == []


@pytest.mark.parametrize(("mark", "ends"), [("stopped", KeyboardInterrupt), ("failed", PeerError)])
def test_the_others_stop_after_a_piece_and_while_they_wait(tmp_path, second_of_two, mark, ends):
    def work() -> None:
        with handing_out.apart(tmp_path):
            with processes.alone(), in_pieces() as pieces:
                assert not pieces.after(1).stop
                (tmp_path / f".tmp-{mark}-0").touch()
                assert pieces.after(1).stop
            handing_out.wait_for_all(lambda: 1, 2, silent, "fits")

    with pytest.raises(ends):
        work()
    assert not handing_out.others_stop()


def test_who_waits_goes_on_once_all_is_done(tmp_path, second_of_two):
    seen, done = [], iter([0, 1, 2])
    with handing_out.apart(tmp_path):
        handing_out.wait_for_all(lambda: next(done), 2, lambda *p: seen.append(p), "fits")
    assert seen == [("fits", 0, 2), ("fits", 1, 2), ("fits", 2, 2)]


def test_what_one_of_several_saves_by_itself_is_read_everywhere(tmp_path, monkeypatch):
    """Orbax goes on from it, and after it from orbax's own; the last two states are kept."""
    state = {"a": np.arange(3.0, dtype=np.float32), "b": np.array(4)}
    with monkeypatch.context() as patch:
        patch.setattr(processes, "is_alone", lambda: True)
        with Checkpoints(tmp_path / "c") as kept:
            for step in (1, 2, 3):
                kept.save(step, state | {"b": np.array(step)})
        save_arrays(tmp_path / "s", state)
    assert marks(tmp_path / "c") == ["2", "3"]
    assert marks(tmp_path / "s") == [ALONE]
    np.testing.assert_array_equal(load_arrays(tmp_path / "s")["a"], state["a"])
    with Checkpoints(tmp_path / "c") as kept:
        assert kept.latest(state)["b"] == 3
        kept.save(4, state)
    assert marks(tmp_path / "c") == ["3", "4"]
    with monkeypatch.context() as patch:
        patch.setattr(processes, "is_alone", lambda: True)
        with Checkpoints(tmp_path / "c") as kept:
            assert kept.latest(state)["b"] == 4
            kept.save(5, state)
        (tmp_path / "c" / "5" / ALONE).write_bytes(b"cut")
        with (
            Checkpoints(tmp_path / "c") as kept,
            pytest.warns(UserWarning, match="step 5 is damaged"),
        ):
            assert kept.latest(state)["b"] == 4
