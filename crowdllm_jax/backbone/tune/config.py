"""How a language model is tuned."""

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Target = Literal["q", "k", "v", "o", "gate", "up", "down"]


class TuneConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Low-rank adapters (LoRA), fitted to the shares of the options among people.

    Attributes:
      adapters: folder in which they are kept, relative to where the command runs.
      folds: parts the training tasks are cut into; each is answered by adapters that have seen the
        others' answers alone, so so many are tuned for each split.
      groups: attributes of people; beside everybody's shares, those of each of their levels are
        learnt, with a prompt that says so (as SubPOP does: Suh et al. 2025). Categorical ones.
      exit: leave the model after so many layers, and answer by a linear head on the mean state
        of the task's own text there; None answers with the whole model's words.
      rank, alpha: of the adapters, which count alpha / rank. targets: the matrices that have one.
      ordinal: weight of the ordinal distance (the ranked probability score, on a scale of width 1)
        beside the divergence (in nats).
      learning_rate: of Adam, after a warmup. batch: rows of a step.
      recompute: compute each layer anew for the backward pass, and keep its input alone; without, a
        step is faster where the memory holds all that the layers make. What is learnt is the same.
      epochs: at most; patience: epochs without a better validation loss after which tuning ends.
    """

    adapters: str = "adapters"
    folds: Annotated[int, msgspec.Meta(ge=2, le=20)] = 3
    groups: tuple[str, ...] = ()
    exit: Count | None = None
    rank: Count = 8
    alpha: Annotated[float, msgspec.Meta(gt=0)] = 32.0
    targets: tuple[Target, ...] = ("q", "k", "v", "o", "gate", "up", "down")
    ordinal: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    learning_rate: Annotated[float, msgspec.Meta(gt=0)] = 2e-4
    batch: Count = 16
    recompute: bool = True
    epochs: Count = 10
    patience: Count = 2
