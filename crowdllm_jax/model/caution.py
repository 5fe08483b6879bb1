"""What a fit warns of: tasks that nobody answered, and a reference that says nothing of them."""

import warnings
from collections.abc import Sequence

import numpy as np

from crowdllm_jax.errors import CrowdWarning
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.design import FEW_TASKS, Design
from crowdllm_jax.model.persistent.unanswered import explained, with_trust_of
from crowdllm_jax.study.records import Study, unanswered

LITTLE = 0.05
"""Share of the known tasks' differences below which a reference is said to have shown no signal."""


def warn_of_new_tasks(study: Study, crowd: Crowd, reference: str) -> None:
    """Say how a persistent crowd answers tasks that it has no answers to.

    Args:
      reference: its kind. The crowd's own average is not expected to say anything of new tasks.
    """
    assert isinstance(crowd.inputs, Design)
    design = crowd.inputs
    share = explained(crowd.graph, crowd.params, design)
    new = design.tasks.known == 0
    nobody = unanswered(study)
    told: set[int] = set()
    for index in range(len(crowd.scales)):
        # Scales of few known tasks are told of together, as they are learnt from.
        together = with_trust_of(design.tasks, index)
        if index in told or not (together & new).any():
            continue
        own = np.unique(design.tasks.scale[together]).tolist()
        told |= set(own)
        known = int((together & ~new).sum())
        without = [study.tasks.ids[t] for t in nobody if together[t]]
        elsewhere = "trust_everywhere" in design.groups and design.tasks.reference[together].any()
        silent = share[index] < LITTLE if known else not elsewhere
        how = _how(known, share[index], elsewhere=elsewhere)
        name = _named([list(crowd.scales)[scale] for scale in own])
        if without:
            shown = ", ".join(f"'{task}'" for task in without[:5])
            more = ", ..." if len(without) > 5 else ""
            text = f"{name}: nobody answered {len(without)} task(s) ({shown}{more}); {how}"
            warnings.warn(text, CrowdWarning, stacklevel=2)
        elif silent and reference != "marginal" and (known >= FEW_TASKS or not elsewhere):
            text = f"{name}: the reference ({reference}) has shown no signal; {how}"
            warnings.warn(text, CrowdWarning, stacklevel=2)


def _how(known: int, share: float, *, elsewhere: bool) -> str:
    """How new tasks are answered, where `known` ones are and what is said explains a share of how
    these differ; `elsewhere`: other scales tell how far a reference is right."""
    if not known and elsewhere:
        return (
            "no task of the scale has answers to learn from: agents answer as the reference says, "
            "as far as it is right on the other scales"
        )
    if not known:
        return "no task of the scale has answers to learn from: what agents answer is a guess"
    if share < LITTLE:
        return (
            f"what is said of the tasks explains {share:.0%} of how the {known} known tasks "
            "differ, and gets hardly any trust: agents answer new tasks almost like one drawn at "
            "random from the known ones; give a reference or features that tell tasks apart"
        )
    return (
        f"what is said of the tasks explains {share:.0%} of how the {known} known tasks differ: "
        "agents answer new tasks by it, as widely as it errs"
    )


def _named(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"scale '{names[0]}'"
    shown = ", ".join(f"'{name}'" for name in names[:3])
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} scales of fewer than {FEW_TASKS} known tasks ({shown}{more})"
