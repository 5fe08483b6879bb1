"""What accelerators run, looked at without one: lowered for GPUs, compiled for a TPU.

The long form, with the tables of docs/performance.md, is `benchmarks/aot.py`.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import aot
import bundles
import hot_programs
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crowdllm_jax.runtime.precision import SAME_BITS, float32_products

BENCHMARK = Path(aot.__file__)
SMALL = BENCHMARK.parent / "results" / "aot-small.json"


@pytest.mark.parametrize("part", ["sample", "train", "backbone", "many"])
def test_hot_programs_hold_the_rules_on_gpus(part):
    """No 64-bit numbers, no calls of the host, and products that decide answers in float32: a
    device that would round the factors to TF32 or bfloat16 is told not to."""
    programs = hot_programs.hot_programs(hot_programs.SMALL, part)
    assert len(programs) >= 2
    assert aot.on_gpus(programs) == []


@pytest.mark.parametrize("part", ["sample", "train"])
def test_samplers_and_fits_give_the_same_bits_twice_on_a_gpu(part):
    """Left to itself it adds up in whatever order comes, and chooses programs by timing them."""
    for program in hot_programs.hot_programs(hot_programs.SMALL, part):
        told = dict(program.function._jit_info.compiler_options_kvs)
        assert told == SAME_BITS, program.name


def lowered(function, *arguments, platform="cuda") -> str:
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def test_the_rules_find_what_they_forbid():
    a = np.ones((4, 4), np.float32)

    def printing(a):
        jax.debug.callback(lambda _: None, a)
        return a

    assert aot.faults(lowered(lambda a: a @ a, a)) == ["products in fewer bits"]
    assert aot.faults(lowered(float32_products()(lambda a: a @ a), a)) == []
    half = a.astype(jnp.bfloat16)
    assert aot.faults(lowered(lambda a: a @ a, half)) == []
    assert aot.faults(lowered(printing, a, platform="cpu")) == ["calls the host"]
    with jax.enable_x64(True):
        wide = aot.faults(lowered(lambda a: a + 1, a.astype(np.float64)))
    assert wide == ["float64"]


def test_lookups_are_found():
    table, places = np.ones((50, 2), np.float32), np.zeros(30, np.int32)

    def look_up(table, places):
        return table[places]

    assert aot.lookups(lowered(look_up, table, places), 300) == []
    assert aot.lookups(lowered(look_up, table, places), 60) == [
        "gathers look up 1.00 elements each"
    ]
    counted = lowered(lambda places: jnp.zeros(9).at[places].add(1.0), places)
    assert aot.lookups(counted, 300) == ["a scatter"]


HLO = """\
HloModule jit_f

%inside (p: u32[64]) -> u32[8] {
  %p = u32[64]{0} parameter(0)
  ROOT %g = u32[8]{0} gather(%p, %p), slice_sizes={1}
}

ENTRY %main (a: u32[64]) -> (u32[8,4], s8[3]) {
  %a = u32[64]{0:T(128)} parameter(0)
  %look_up = u32[8]{0:T(128)} fusion(%a), kind=kLoop, calls=%inside
  %near = f32[1000]{0:T(1024)S(1)} fusion(%look_up), kind=kLoop, calls=%other
  %two = (u32[8,4]{1,0}, s8[3]{0}) fusion(%near), kind=kLoop, calls=%other
  ROOT %t = (u32[8,4]{1,0}, s8[3]{0}) tuple(%two)
}
"""


def test_what_a_compiled_program_writes_and_looks_up_is_read():
    assert bundles.looking_up(HLO) >= {"look_up"}
    assert "two" not in bundles.looking_up(HLO)
    assert bundles.looking_up(HLO, "scatter") == set()
    assert bundles.written(HLO) == 8 * 4 + (8 * 4 * 4 + 3)


LOOP = """\
%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[], f32[8]) parameter(0)
  %work = f32[8]{0} fusion(%p), kind=kLoop, calls=%other
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %w = (s32[], f32[8]) while(%a), body=%body, backend_config={"known_trip_count":{"n":"21"}}
}
"""


def test_kernels_in_loops_of_a_program_run_as_often_as_it_says():
    turns = bundles.loop_turns(LOOP)
    assert turns["work"] == 21
    assert "w" not in turns


def test_bundles_in_loops_count_as_often_as_they_run(tmp_path):
    kernel = """\
     0x0   :  { %s1 = smov 0 }
     0x1 LB: > { %p1 = scmp.ge.s32.totalorder %s1, 5 }
     0x2   : > { %v1 = vld }
iteration_bounds: (5)
     0x3   :  { %s2 = smov 1 }
"""
    (tmp_path / "123-some_fusion.1-68-final_bundles.txt").write_text(kernel)
    (tmp_path / "123-some_fusion.1-67-schedule-analysis_final_bundles.txt").write_text(kernel)
    assert bundles.kernels(tmp_path) == {"some_fusion.1": 2 + 2 * 5}
    assert not list(tmp_path.iterdir())
    tested = kernel.replace("iteration_bounds: (5)", "").replace(
        ", 5 }", ", 5 /* loop exit test */ }"
    )
    (tmp_path / "124-other-68-final_bundles.txt").write_text(tested)
    (tmp_path / "125-TLP-68-final_bundles.txt").write_text(kernel)
    assert bundles.kernels(tmp_path) == {"other": 2 + 2 * 5}


def test_growth_is_told():
    before = {"bundles": 1.0, "written": 1.0, "accessed": 1.0, "peak": 100}
    assert aot.grown(before, before) == []
    assert aot.grown(before | {"peak": 120}, before) == ["peak grew from 100 to 120"]


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu compiles for TPUs; it is not in the test extra (684 MB). To run this: "
    "pip install '.[test,aot]' && pytest -n 0 tests/test_aot.py",
)
def test_hot_programs_hold_the_rules_on_a_tpu_and_take_no_more_than_they_did():
    """The published model's sampler, which draws and counts in one program without a scatter or a
    large gather, and its training step: bundles, bytes and memory within 5% of the file's."""
    command = [sys.executable, str(BENCHMARK), "--small", "--chips", "v5e", "--check", str(SMALL)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "decisions/s" in done.stdout
    assert "steps/s" in done.stdout
