"""Programs are kept between commands: where, and when not."""

import os
import stat
import subprocess
import sys

import pytest

from crowdllm_jax.cli import compiled

CACHED = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture
def nothing_said(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k != CACHED})
    os.environ["XDG_CACHE_HOME"] = str(tmp_path)
    return tmp_path


def test_the_folder_is_the_users(nothing_said):
    compiled.keep_compiled()
    folder = compiled.cache_folder()
    assert os.environ[CACHED] == str(folder)
    assert folder.is_dir()
    assert folder.parent == nothing_said / "crowdllm-jax"


def test_processors_have_folders_of_their_own(nothing_said, monkeypatch):
    here = compiled.cache_folder()
    assert here == compiled.cache_folder()
    monkeypatch.setattr(compiled.platform, "machine", lambda: "another")
    assert here != compiled.cache_folder()


def test_who_has_chosen_a_folder_keeps_it(nothing_said):
    os.environ[CACHED] = "/chosen"
    compiled.keep_compiled()
    assert os.environ[CACHED] == "/chosen"
    assert not list(nothing_said.iterdir())
    assert str(compiled.cache_folder()) == "/chosen"


def test_where_nothing_can_be_written_nothing_is_kept(nothing_said):
    (nothing_said / "crowdllm-jax").write_text("a file in the way")
    compiled.keep_compiled()
    assert CACHED not in os.environ
    if os.geteuid():  # nothing is read-only to root
        (nothing_said / "crowdllm-jax").unlink()
        nothing_said.chmod(stat.S_IREAD | stat.S_IEXEC)
        compiled.keep_compiled()
        assert CACHED not in os.environ


def test_a_user_without_a_home(nothing_said, monkeypatch):
    def homeless() -> None:
        raise RuntimeError

    os.environ["XDG_CACHE_HOME"] = ""
    monkeypatch.setattr(compiled.Path, "home", homeless)
    compiled.keep_compiled()
    assert CACHED not in os.environ


def test_help_tells_the_place_and_the_library_sets_nothing(nothing_said):
    shown = subprocess.run(
        [sys.executable, "-m", "crowdllm_jax", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert str(compiled.cache_folder()) in shown.stdout
    code = "import crowdllm_jax, os, jax; assert jax.config.jax_compilation_cache_dir is None"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_a_full_disk_is_told_once(nothing_said):
    """As JAX says it of every program (its messages are taken from its own code), in a command."""
    code = (
        "import warnings\n"
        "from jax._src import compilation_cache as cache\n"
        "from crowdllm_jax.cli import main\n"
        "def full(*_):\n"
        "    raise OSError(28, 'No space left on device')\n"
        "cache.put_executable_and_time = full\n"
        "def handler(arguments, progress):\n"
        "    import jax\n"
        "    warnings.warn('of another library')\n"
        "    for size in (3, 4, 5):\n"
        "        jax.jit(lambda x: x * 3)(jax.numpy.zeros(size))\n"
        "    return main_study(arguments, progress)\n"
        "from crowdllm_jax.cli.commands import study\n"
        "main_study, study.check = study.check, handler\n"
        "main.main()\n"
    )
    told = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, "study", "check", "anes96"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    ).stderr
    assert "persistent compilation cache" not in told
    assert told.count("compiled programs cannot be kept there") == 1
    assert f"warning: {compiled.cache_folder()}: " in told
    assert "No space left on device" in told
    assert "of another library" in told
