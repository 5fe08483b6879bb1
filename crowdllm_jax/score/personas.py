"""The crowd that CrowdLLM is compared with: a language model asked every task anew as everybody.

Its people are the first agents of the population, as the profile generator recruits them; those
whom the prompt does not tell apart are one persona, asked once. Only what is scored is asked: the
held-out tasks.
"""

from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.backbone.answers import Scored
from crowdllm_jax.backbone.questions import Question
from crowdllm_jax.profiles.generator import ProfileGenerator, recruit
from crowdllm_jax.reference.introductions import introductions
from crowdllm_jax.reference.questions import PromptConfig, prompt_and_questions
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Joint
from crowdllm_jax.study.split import Split


@dataclass(frozen=True)
class Personas:
    """Who is asked what.

    Attributes:
      texts: P different personas, as the prompt introduces them.
      of_agent: (N,) which of them each recruited agent is.
      tasks: (T',) the tasks they are asked, as indices into the study, those with the longest texts
        first: what does not fit the model is told at once.
      questions: T' * P of them, the personas of a task in a row.
    """

    texts: tuple[str, ...]
    of_agent: np.ndarray
    tasks: np.ndarray
    questions: tuple[Question, ...]

    def probs(self, scored: Scored) -> np.ndarray:
        """(P, T', K) probabilities of the options from the answers to `questions`."""
        return scored.probs.reshape(len(self.tasks), len(self.texts), -1).swapaxes(0, 1)


def make_personas(
    study: Study,
    split: Split,
    generator: ProfileGenerator,
    prompt: PromptConfig,
    count: int,
    seed: int,
) -> Personas:
    """Recruit `count` agents of the population with this seed, to be asked the held-out tasks.

    Raises:
      CrowdError: the study has no profiles, or the template does not suit them.
    """
    profile = recruit(generator, seed, np.arange(count))
    texts, of_agent = np.unique(introductions(profile, prompt), return_inverse=True)
    template, plain = prompt_and_questions(study, prompt)
    tasks = _tasks(study, split)
    tasks = tasks[np.argsort([-len(plain[t].text) for t in tasks], kind="stable")]
    questions = tuple(replace(plain[t], persona=str(p)) for t in tasks for p in texts)
    template.message(questions[0])  # a template without a place for them is told before any work
    return Personas(tuple(map(str, texts)), of_agent.reshape(-1), tasks, questions)


def _tasks(study: Study, split: Split) -> np.ndarray:
    """The held-out tasks, and the others on the ballot of one of them: it is cast as a whole."""
    held_out = np.unique(study.task[split.test])
    joint = [i for i, scale in enumerate(study.scales.values()) if isinstance(scale, Joint)]
    cast = np.intersect1d(joint, study.tasks.scale[held_out])
    return np.union1d(held_out, np.flatnonzero(np.isin(study.tasks.scale, cast)))
