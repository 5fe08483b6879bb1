"""The published model in torch, with the weights of ours.

What the parity tests hold our model against, and what the benchmarks race it with.
"""

import jax
import numpy as np
import torch
from torch.nn import functional

from crowdllm_jax.model.cvae.config import CvaeConfig

BLENDER = ("first", "second", "third")


class TorchCvae(torch.nn.Module):
    """The published model as torch users write it."""

    def __init__(self, features: int, profile: int, config: CvaeConfig) -> None:
        super().__init__()
        linear = torch.nn.Linear
        F, C, H, L, J = features, profile, config.hidden, config.latent, config.injected
        self.config = config
        self.hidden, self.mean, self.log_variance = linear(F + C, H), linear(H, L), linear(H, L)
        if config.semi_implicit:
            self.mixing = linear(F + C + J, H)
        self.decoder, self.output = linear(L + C, H), linear(H, F)
        self.blender = torch.nn.Sequential(linear(L + C, L), linear(L, 10), linear(10, 1))

    def mixed_mean(self, x, c, injected):
        return self.mean(functional.elu(self.mixing(torch.hstack([x, c, injected]))))

    def forward(self, x, c, reference, latent, decision, injected):
        h = functional.elu(self.hidden(torch.hstack([x, c])))
        semi = self.config.semi_implicit
        mean = self.mixed_mean(x, c, injected[0]) if semi else self.mean(h)
        log_variance = self.log_variance(h)
        sd = self.config.noise_scale * torch.sqrt(torch.exp(log_variance))
        z = mean + sd * latent
        decoded = torch.tanh(self.output(functional.elu(self.decoder(torch.hstack([z, c])))))
        bias = self.blender(torch.hstack([z, c])).squeeze(1)
        score = reference + bias + self.config.training_diversity * decision
        return mean, log_variance, sd, z, decoded, score

    # One argument for each array of a batch and of its noise, in the order of our own loss.
    def loss(self, x, c, reference, answer, weight, latent, decision, injected):
        mean, log_variance, sd, z, decoded, score = self(
            x, c, reference, latent, decision, injected
        )
        prior = torch.distributions.Normal(0.0, 1.0)
        if self.config.semi_implicit:
            # log of the average density of z over all K + 1 mixture components
            logs = torch.stack(
                [
                    torch.distributions.Normal(self.mixed_mean(x, c, one), sd).log_prob(z).sum(1)
                    for one in injected
                ]
            )
            kl = torch.log(torch.exp(logs).mean(0)) - prior.log_prob(z).sum(1)
        else:
            # Of the belief itself: the noise scale belongs to the draw, not to the posterior.
            posterior = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
            kl = torch.distributions.kl_divergence(posterior, prior).sum(1)
        terms = {
            "reconstruction": (functional.mse_loss(decoded, x, reduction="none")).sum(1),
            "kl": kl,
            "decision": functional.mse_loss(score.clamp(0, 1), answer, reduction="none"),
        }
        means = {name: (term * weight).sum() / weight.sum() for name, term in terms.items()}
        w = self.config.loss
        total = (
            w.reconstruction * means["reconstruction"]
            + w.kl * means["kl"]
            + w.decision * means["decision"]
        )
        return total, means


def in_torch(model: TorchCvae, tree: object) -> dict[str, np.ndarray]:
    """Leaves of a tree shaped like our parameters, by torch's names and in torch's layout."""
    leaves = {
        jax.tree_util.keystr(path).removesuffix(".value"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    layers = {f"blender.{i}": f"['blender']['{n}']" for i, n in enumerate(BLENDER)}
    names = {}
    for name, _ in model.named_parameters():
        layer, kind = name.rsplit(".", 1)
        own = layers.get(layer, f"['belief']['{layer}']")
        names[name] = own + ("['kernel']" if kind == "weight" else "['bias']")
    assert set(names.values()) == set(leaves)
    return {name: leaves[own].T for name, own in names.items()}


def copy_weights(model: TorchCvae, tree: object) -> None:
    """Give the torch model our parameters."""
    state = in_torch(model, tree).items()
    model.load_state_dict({name: torch.tensor(leaf) for name, leaf in state})


def make_adam(model: TorchCvae, belief: float, blender: float, **kinds: bool) -> torch.optim.Adam:
    """Adam with one learning rate for the belief generator and one for the blender."""
    own = {id(parameter) for parameter in model.blender.parameters()}
    rest = [p for p in model.parameters() if id(p) not in own]
    return torch.optim.Adam(
        [
            {"params": rest, "lr": belief},
            {"params": list(model.blender.parameters()), "lr": blender},
        ],
        **kinds,
    )
