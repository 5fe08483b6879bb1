"""What is tested is what was installed, and all of the package was."""

import json
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

import crowdllm_jax

ROOT = Path(__file__).parent.parent


@pytest.fixture
def wheel() -> metadata.Distribution:
    """The distribution that was installed from a wheel."""
    site = [sysconfig.get_path("purelib")]
    for distribution in metadata.distributions(name="crowdllm-jax", path=site):
        url = json.loads(distribution.read_text("direct_url.json") or "{}")
        if not url.get("dir_info", {}).get("editable"):
            return distribution
    pytest.skip("the package is used from its source folder, not from a wheel")


def test_the_installed_package_is_imported(wheel):
    installed = Path(wheel.locate_file("crowdllm_jax/__init__.py")).resolve()
    says = "`python -m pytest` puts the source folder first; run `pytest`"
    assert Path(crowdllm_jax.__file__).resolve() == installed, says


def test_every_file_of_the_package_is_installed(wheel):
    source = (path.relative_to(ROOT) for path in (ROOT / "crowdllm_jax").rglob("*.*"))
    installed = {str(path) for path in wheel.files or () if path.parts[0] == "crowdllm_jax"}
    # Bytecode comes and goes.
    assert {name for name in installed if not name.endswith(".pyc")} == {
        str(path) for path in source if path.suffix != ".pyc"
    }


def test_commands_run_the_package_that_is_tested():
    """Also where the source folder is the current one."""
    code = "import crowdllm_jax; print(crowdllm_jax.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).resolve() == Path(crowdllm_jax.__file__).resolve()
