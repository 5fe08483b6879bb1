"""What a fit warns of: tasks that nobody answered, and a reference that says nothing of them."""

import warnings

from crowdllm_jax.errors import CrowdWarning
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.design import FEW_TASKS, Design
from crowdllm_jax.model.persistent.unanswered import explained
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
    # Where scales share what they say of a reference, few tasks of one need not say it again.
    elsewhere = "trust_everywhere" in design.groups
    for index, name in enumerate(crowd.scales):
        on_scale = design.tasks.scale == index
        if not (on_scale & new).any():
            continue
        known = int((on_scale & ~new).sum())
        without = [study.tasks.ids[t] for t in nobody if on_scale[t]]
        silent = known == 0 or share[index] < LITTLE
        if not known and elsewhere and design.tasks.reference[on_scale].any():
            silent = False
            how = (
                "no task of the scale has answers to learn from: agents answer as the reference "
                "says, as far as it is right on the other scales"
            )
        elif not known:
            how = "no task of the scale has answers to learn from: what agents answer is a guess"
        elif silent:
            how = (
                f"what is said of the tasks explains {share[index]:.0%} of how the {known} known "
                "tasks differ, and gets hardly any trust: agents answer new tasks almost like one "
                "drawn at random from the known ones; give a reference or features that tell tasks "
                "apart"
            )
        else:
            how = (
                f"what is said of the tasks explains {share[index]:.0%} of how the {known} known "
                "tasks differ: agents answer new tasks by it, as widely as it errs"
            )
        if without:
            shown = ", ".join(f"'{task}'" for task in without[:5])
            more = ", ..." if len(without) > 5 else ""
            told = f"scale '{name}': nobody answered {len(without)} task(s) ({shown}{more}); {how}"
            warnings.warn(told, CrowdWarning, stacklevel=2)
        elif silent and reference != "marginal" and (known >= FEW_TASKS or not elsewhere):
            told = f"scale '{name}': the reference ({reference}) has shown no signal; {how}"
            warnings.warn(told, CrowdWarning, stacklevel=2)
