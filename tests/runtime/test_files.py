"""Files that appear whole or not at all."""

import errno
import os

import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.files import write_whole


def test_a_file_that_the_disk_does_not_take_leaves_nothing(tmp_path, monkeypatch):
    """Nor does it touch what was there before."""
    path = tmp_path / "table.csv"
    write_whole(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CrowdError, match=r"table\.csv: cannot be written: No space left"):
        write_whole(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_bytes() == b"old"
