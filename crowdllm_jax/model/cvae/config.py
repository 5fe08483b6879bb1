"""The published model's configuration."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=1e6)]


class LossWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of the loss terms. A score on [0, 1] makes the decision error of a 1 to 5 rating 16
    times smaller than in the ratings' own units; a decision weight of 16 undoes that."""

    reconstruction: NotNegative = 1.0
    kl: NotNegative = 1.0
    decision: NotNegative = 1.0


class CvaeConfig(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="cvae",
    forbid_unknown_fields=True,
):
    """The published model (arXiv 2512.07890).

    Attributes:
      hidden, latent: units of the hidden layers; size L of a belief.
      semi_implicit: mix the belief's mean over injected noise (Yin & Zhou 2018).
      injected, auxiliary: numbers of injected noise; extra draws in the semi-implicit bound.
      noise_scale: multiplies the belief's standard deviation.
      diversity: standard deviation of the noise added to the score, as a share of the scale.
      training_diversity: the same while training, where it only teaches the blender how much the
        ends of the scale cut off.
      constant_reference: the VAE-only baseline: every task's reference is the same number.
    """

    hidden: Positive = 400
    latent: Positive = 32
    semi_implicit: bool = False
    injected: Positive = 16
    auxiliary: Positive = 10
    noise_scale: NotNegative = 1.0
    diversity: NotNegative = 0.4
    training_diversity: NotNegative = 0.25
    constant_reference: bool = False
    loss: LossWeights = LossWeights()

    def __post_init__(self) -> None:
        if self.semi_implicit and self.noise_scale == 0:
            raise ValueError("a semi-implicit belief needs a noise_scale above 0")
