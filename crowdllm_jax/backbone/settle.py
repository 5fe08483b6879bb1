"""Finding out on the first questions how a server is best asked, before the others are.

They are asked one after the other, until an answer is an option: what the server takes of a request
is learnt from its refusals, whether it gives log-probabilities from its answers, and a model that
never answers with an option is left after a few answers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crowdllm_jax.backbone.answers import Answer
from crowdllm_jax.backbone.cache import Key
from crowdllm_jax.backbone.endpoint import NoLogprobsError, Note, Server
from crowdllm_jax.backbone.questions import Question
from crowdllm_jax.backbone.reading import Said, chosen
from crowdllm_jax.backbone.remedy import of_answers, of_failure
from crowdllm_jax.backbone.terms import TOP, adapted, refuses
from crowdllm_jax.backbone.transport import FailedError, StoppedError
from crowdllm_jax.errors import CrowdError

FEW = 12  # so many answers, none of them an option: the model gives none
_EACH = 3  # samples of a question until then, so that it is not for one question's sake
_REFUSALS = 3  # so many first questions refused, each in every way: it is not the question
_MIN_MASS = 0.5  # "auto" samples when the options hold less of the first token than this,
_MOST_OPEN = 0.3  # or when the listed tokens leave more than this of the answer open

Record = Callable[[Key, Answer | None, Sequence[Note]], None]


@dataclass(frozen=True)
class Settled:
    """How the questions are asked.

    Attributes:
        server: on the terms that it takes.
        method: "logprobs" or "sample".
        why: what speaks against log-probabilities; "" if they were not looked for.
        begun: samples already taken of some questions.
    """

    server: Server
    method: str
    why: str = ""
    begun: dict[Key, list[Said]] = field(default_factory=dict)

    def __str__(self) -> str:
        """For people and for the record of a run."""
        terms = self.server.terms
        if self.method == "logprobs":
            all_ = "" if terms.top == TOP else ", all that the server gives"
            how = f"log-probabilities of the {terms.top} likeliest first tokens{all_}"
        else:
            how = f"{self.server.endpoint.samples} sampled answers to each prompt"
            how += f", because {self.why}" if self.why else ""
        return f"{how}; sent {terms}" if str(terms) else how


def settle(
    server: Server,
    method: str,
    pairs: Sequence[tuple[Key, Question]],
    record: Record,
    afford: Callable[[str], None],
    proven: bool,
) -> Settled:
    """Ask the first questions.

    Args:
        pairs: FEW of them, or all there are.
        method: as in `Endpoint`.
        record: takes the answers that are complete.
        afford: is told why log-probabilities cannot be used, and raises if sampling costs too much.
        proven: whether the model is known to answer with options.
    Raises:
        CrowdError: the server refuses the questions whatever is asked, the model's answers are no
            options, or (method "auto") the server does not answer the first question.
    """
    each = max(_EACH, math.ceil(FEW / len(pairs)))
    trying, refused = _Trying(server, method), 0
    for key, question in pairs:
        try:
            done = trying.ask(key, question, each, record, afford)
        except StoppedError as error:
            record(key, None, [Note("not asked", str(error))])
            break
        except FailedError as error:
            record(key, None, [Note("failed", str(error), error.fault)])
            refused += 1
            if not refuses(error.fault):
                break  # the server may be back for the next ones
            if refused == _REFUSALS:
                raise CrowdError(
                    f"{server.endpoint.base_url}: refused the first {refused} questions, the last "
                    f"with {error}; {of_failure(error.fault, server.endpoint, server.prompt)}"
                ) from None
            continue
        if done or proven:
            break
        if len(trying.unread) >= FEW:
            raise CrowdError(of_answers(trying.unread, server.endpoint, server.gate.calls))
    last = "sample" if trying.method == "auto" else trying.method
    return Settled(trying.server, last, trying.why, trying.begun)


class _Trying:
    """What is found out so far; see `Settled`. `unread` are answers that were no options."""

    def __init__(self, server: Server, method: str) -> None:
        self.server, self.method, self.why = server, method, ""
        self.begun: dict[Key, list[Said]] = {}
        self.unread: list[Said] = []

    def ask(
        self,
        key: Key,
        question: Question,
        each: int,
        record: Record,
        afford: Callable[[str], None],
    ) -> bool:
        """Whether an answer to the question is an option."""
        if self.method == "logprobs":
            return self._by_logprobs(key, question, record)
        if self.method == "auto":
            self.why = self._against_logprobs(key, question, record)
            if not self.why:
                self.method = "logprobs"
                return True
            afford(self.why)
        count = min(each, self.server.endpoint.samples)
        samples = self._tried(lambda server: server.samples(question, key, count))
        self.method = "sample"
        self.begun[key] = samples
        options = [chosen(one, question, self.server.prompt) for one in samples]
        if any(option is not None for option in options):
            return True
        self.unread += samples
        return False

    def _by_logprobs(self, key: Key, question: Question, record: Record) -> bool:
        try:
            answer, notes, (_, likely) = self._tried(lambda s: s.by_logprobs(question, key))
        except NoLogprobsError as error:
            raise CrowdError(
                f"{self.server.endpoint.base_url}: {error}; set reference.method to sample (or "
                "auto, which samples where it has to)"
            ) from None
        record(key, answer, notes)
        if answer is None:
            self.unread.append(Said(f"first tokens {likely}"))
        return answer is not None

    def _against_logprobs(self, key: Key, question: Question, record: Record) -> str:
        """Why log-probabilities are of no use; "" where they were, and the answer is recorded."""
        endpoint = self.server.endpoint
        try:
            answer, notes, (vague, likely) = self._tried(lambda s: s.by_logprobs(question, key))
        except FailedError as error:
            if isinstance(error, NoLogprobsError):
                return str(error)
            if refuses(error.fault):
                return f"the server refuses log-probabilities ({error})"
            if self.server.gate.refused:
                raise
            remedy = of_failure(error.fault, endpoint, self.server.prompt)
            raise CrowdError(f"{endpoint.base_url}: no answer ({error}); {remedy}") from None
        if answer is None or answer.mass < _MIN_MASS:
            share = answer.mass if answer else 0.0
            return f"the options hold only {share:.0%} of the first token (likeliest: {likely})"
        if vague > _MOST_OPEN:
            top = self.server.terms.top
            return f"the {top} tokens that the server lists leave {vague:.0%} of the answer open"
        record(key, answer, notes)
        return ""

    def _tried(self, ask: Callable[[Server], Any]) -> Any:
        """What `ask` returns on terms that the server takes."""
        usual = self.server.terms.top
        while True:
            try:
                return ask(self.server)
            except FailedError as error:
                terms = adapted(self.server.terms, error.fault, error.sent)
                if terms is None:  # then it was not for too many alternatives either
                    terms = replace(self.server.terms, top=usual)
                    self.server = replace(self.server, terms=terms)
                    raise
                self.server = replace(self.server, terms=terms)
