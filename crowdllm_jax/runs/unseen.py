"""The part of a study that a fit has not seen, to hold a crowd beside."""

from dataclasses import replace

from crowdllm_jax.runs.config import Config, check_config
from crowdllm_jax.study.records import Study, check_study, only_answers, only_people
from crowdllm_jax.study.split import split_study


def held_out_study(study: Study, config: Config, seed: int = 0) -> Study:
    """The answers that `fit` with the same seed does not see, as a study of those who gave them.

    Args:
      study: as it is given to `fit`.
      config: the same. seed: the same.
    Returns:
      A study of the same tasks: of the people held out all answers; where tasks or answers are held
      out, the answers of everybody to these.
    Raises:
      CrowdError: there is nobody to hold out.

    Examples:
      >>> held = cl.held_out_study(study, config, seed=0)
      >>> len(held.participants.ids), len(study.participants.ids)
      (189, 944)
    """
    check_study(study)
    check_config(config)
    test = split_study(study, config.split, seed).test
    rows = replace(only_answers(study, test), witnesses=())
    answered = study.participants.weight < 0
    answered[rows.person] = True
    return only_people(rows, answered)[0]
