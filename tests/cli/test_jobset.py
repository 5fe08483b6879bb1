"""The Kubernetes manifest: held against the JobSet's schema, since no cluster is at hand."""

import copy
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_trainer_api.models import JobsetV1alpha2JobSet

from crowdllm_jax.cli.command_line import parser

ROOT = Path(__file__).parent.parent.parent
MANIFEST = yaml.safe_load((ROOT / "configs/cluster/jobset.yaml").read_text(encoding="utf-8"))


def unknown(manifest: Any, read: Any, where: str = "") -> list[str]:
    """Keys that the schema's own reading of a manifest leaves out, or reads as something else."""
    if isinstance(manifest, dict):
        return [
            fault
            for key, value in manifest.items()
            for fault in (
                unknown(value, read[key], f"{where}.{key}") if key in read else [f"{where}.{key}"]
            )
        ]
    if isinstance(manifest, list):
        pairs = enumerate(zip(manifest, read, strict=True))
        return [fault for n, (a, b) in pairs for fault in unknown(a, b, f"{where}[{n}]")]
    return [] if manifest == read else [where]


def faults(manifest: dict[str, Any]) -> list[str]:
    return unknown(manifest, JobsetV1alpha2JobSet.from_dict(manifest).to_dict())


def test_the_manifest_is_a_jobset():
    assert faults(MANIFEST) == []
    # The schema does see what is wrong.
    wrong = copy.deepcopy(MANIFEST)
    job = wrong["spec"]["replicatedJobs"][0]["template"]["spec"]
    job["template"]["spec"]["restartpolicy"] = "Never"
    job["completionsMode"] = "Indexed"
    named = {fault.rpartition(".")[2] for fault in faults(wrong)}
    assert named == {"completionsMode", "restartpolicy"}
    job["parallelism"] = "four"
    with pytest.raises(ValueError, match="parallelism"):
        faults(wrong)


def test_its_processes_find_each_other():
    """Pods are called JOBSET-JOB-INDEX-POD.JOBSET; there are as many as the command says."""
    (job,) = MANIFEST["spec"]["replicatedJobs"]
    pods = job["template"]["spec"]
    (container,) = pods["template"]["spec"]["containers"]
    command = container["args"][0].replace("$JOB_COMPLETION_INDEX", "3")
    words = shlex.split(command)
    assert words[:2] == ["exec", "crowdllm"]
    given = parser().parse_args(words[2:])
    name = MANIFEST["metadata"]["name"]
    assert given.coordinator == f"{name}-{job['name']}-0-0.{name}:8476"
    assert given.processes == pods["completions"] == pods["parallelism"] > given.process == 3
    assert given.distributed
    # What SIGTERM is left to end a fit with its checkpoint, which takes 10 s at most.
    assert pods["template"]["spec"]["terminationGracePeriodSeconds"] >= 60
