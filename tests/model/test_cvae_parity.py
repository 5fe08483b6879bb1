"""The Flax model against an independent torch implementation, given the same weights and noise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch.nn import functional

from crowdllm_jax.model.cvae import Cvae, CvaeConfig, LossWeights, Noise, decide
from crowdllm_jax.objective import cvae_loss
from crowdllm_jax.train import TrainConfig, make_optimizer

F, C, H, L, J, K, B = 6, 4, 9, 5, 3, 4, 24
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
RATES = TrainConfig(learning_rate=2e-3, blender_learning_rate=7e-3)


class TorchCvae(torch.nn.Module):
    """The published model as torch users write it."""

    def __init__(self, config: CvaeConfig) -> None:
        super().__init__()
        linear = torch.nn.Linear
        self.config = config
        self.hidden, self.mean, self.log_variance = linear(F + C, H), linear(H, L), linear(H, L)
        if config.semi_implicit:
            self.mixing = linear(F + C + J, H)
        self.decoder, self.output = linear(L + C, H), linear(H, F)
        self.blender = torch.nn.Sequential(linear(L + C, L), linear(L, 10), linear(10, 1))

    def mean_of(self, x, c, injected):
        if not self.config.semi_implicit:
            return self.mean(functional.elu(self.hidden(torch.hstack([x, c]))))
        return self.mean(functional.elu(self.mixing(torch.hstack([x, c, injected]))))

    def forward(self, x, c, reference, latent, decision, injected):
        first = injected[0] if self.config.semi_implicit else None
        mean = self.mean_of(x, c, first)
        log_variance = self.log_variance(functional.elu(self.hidden(torch.hstack([x, c]))))
        sd = self.config.noise_scale * torch.sqrt(torch.exp(log_variance))
        z = mean + sd * latent
        decoded = torch.tanh(self.output(functional.elu(self.decoder(torch.hstack([z, c])))))
        bias = self.blender(torch.hstack([z, c])).squeeze(1)
        score = reference + bias + self.config.training_diversity * decision
        return mean, log_variance, sd, z, decoded, score

    def loss(self, x, c, reference, answer, weight, latent, decision, injected):
        mean, log_variance, sd, z, decoded, score = self(
            x, c, reference, latent, decision, injected
        )
        prior = torch.distributions.Normal(0.0, 1.0)
        if self.config.semi_implicit:
            # log of the average density of z over all K + 1 mixture components
            logs = torch.stack(
                [
                    torch.distributions.Normal(self.mean_of(x, c, one), sd).log_prob(z).sum(1)
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


class Case:
    """One configuration in both frameworks: weights, a batch, and its noise."""

    def __init__(self, config: CvaeConfig, seed: int) -> None:
        random = np.random.default_rng(seed)

        def normal(*shape):
            return random.normal(size=shape).astype(np.float32)

        self.config = config
        self.torch = TorchCvae(config)
        flax = Cvae(F, C, config, rngs=nnx.Rngs(0))
        self.graph, params = nnx.split(flax, nnx.Param)
        # Random biases as well: zero ones would hide a layer that forgets its own.
        self.params = jax.tree.map(lambda leaf: jnp.asarray(0.4 * normal(*leaf.shape)), params)
        layers = {
            f"blender.{i}": f"['blender']['{name}']"
            for i, name in enumerate(("first", "second", "third"))
        }
        for name in ("hidden", "mean", "log_variance", "mixing", "decoder", "output"):
            layers[name] = f"['belief']['{name}']"
        self.names = {}
        for name in [n for n, _ in self.torch.named_parameters()]:
            layer, kind = name.rsplit(".", 1)
            self.names[name] = layers[layer] + ("['kernel']" if kind == "weight" else "['bias']")
        self.copy_weights()
        latent, decision = normal(B, L), normal(B)
        injected = normal(1 + K, B, J)
        self.x, self.c = np.tanh(normal(B, F)), (normal(B, C) > 0).astype(np.float32)
        # Some scores are clipped, where the decision has no gradient, but by far not all.
        self.reference = random.uniform(0.2, 0.8, B).astype(np.float32)
        self.answer = random.random(B).astype(np.float32)
        # The last rows pad the batch.
        self.weight = np.where(np.arange(B) < B - 5, 1.0, 0.0).astype(np.float32)
        self.batch = (self.x, self.c, self.reference, self.answer, self.weight)
        self.noise = Noise(latent, decision, injected if config.semi_implicit else None)
        self.torch_batch = [torch.tensor(part) for part in self.batch]
        self.torch_noise = [torch.tensor(part) for part in (latent, decision, injected)]

    def flat(self, tree) -> dict[str, np.ndarray]:
        """Torch's names and layout for a tree of the Flax model."""
        leaves = {
            jax.tree_util.keystr(path).removesuffix(".value"): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }
        assert set(self.names.values()) == set(leaves)
        return {torch_name: leaves[own].T for torch_name, own in self.names.items()}

    def copy_weights(self) -> None:
        state = {name: torch.tensor(leaf) for name, leaf in self.flat(self.params).items()}
        self.torch.load_state_dict(state)

    def flax_loss(self, params):
        model = nnx.merge(self.graph, params)
        return cvae_loss(model, *map(jnp.asarray, self.batch), self.noise, self.config)

    def torch_loss(self):
        return self.torch.loss(*self.torch_batch, *self.torch_noise)


CONFIGS = {
    "plain": CvaeConfig(hidden=H, latent=L),
    "weighted": CvaeConfig(
        hidden=H, latent=L, noise_scale=1.75, training_diversity=0.1,
        loss=LossWeights(reconstruction=0.5, kl=2.0, decision=16.0),
    ),
    "semi_implicit": CvaeConfig(
        hidden=H, latent=L, semi_implicit=True, injected=J, auxiliary=K, noise_scale=0.4,
        training_diversity=0.1,
    ),
}  # fmt: skip


@pytest.fixture(params=list(CONFIGS))
def case(request) -> Case:
    return Case(CONFIGS[request.param], seed=1)


def test_forward_matches_torch_part_by_part(case: Case):
    model = nnx.merge(case.graph, case.params)
    draw = decide(
        model, case.x, case.c, case.reference, case.noise,
        case.config.noise_scale, case.config.training_diversity,
    )  # fmt: skip
    decoded = model.belief.decode(draw.z, case.c)
    x, c, reference, _, _ = case.torch_batch
    mean, log_variance, _, z, torch_decoded, score = case.torch(x, c, reference, *case.torch_noise)
    for name, own, other in (
        ("mean", draw.mean, mean),
        ("log variance", draw.log_variance, log_variance),
        ("belief", draw.z, z),
        ("decoder", decoded, torch_decoded),
        ("score", draw.score, score),
        ("blender", model.blender(draw.z, case.c), case.torch.blender(torch.hstack([z, c]))[:, 0]),
    ):
        np.testing.assert_allclose(own, other.detach(), err_msg=name, **TOLERANCE)


def test_each_loss_term_and_the_total_match_torch(case: Case):
    total, terms = case.flax_loss(case.params)
    torch_total, torch_terms = case.torch_loss()
    assert set(terms) == set(torch_terms)
    for name, term in terms.items():
        np.testing.assert_allclose(term, torch_terms[name].detach(), err_msg=name, **TOLERANCE)
    np.testing.assert_allclose(total, torch_total.detach(), **TOLERANCE)


def test_gradients_match_torch(case: Case):
    gradient, _ = jax.grad(case.flax_loss, has_aux=True)(case.params)
    case.torch_loss()[0].backward()
    own = case.flat(gradient)
    for name, parameter in case.torch.named_parameters():
        assert np.abs(own[name]).max() > 0, f"{name} has no gradient"
        np.testing.assert_allclose(own[name], parameter.grad, err_msg=name, **TOLERANCE)


def test_adam_steps_with_two_learning_rates_match_torch(case: Case):
    """Adam divides by the gradient's own size, so a component of nearly 0 could step either way on
    rounding alone; the smallest one is checked to be far above float32's rounding."""
    optimizer = make_optimizer(RATES)
    state, params = optimizer.init(case.params), case.params
    blender = list(case.torch.blender.parameters())
    own = {id(parameter) for parameter in blender}
    belief = [p for p in case.torch.parameters() if id(p) not in own]
    adam = torch.optim.Adam(
        [
            {"params": belief, "lr": RATES.learning_rate},
            {"params": blender, "lr": RATES.blender_learning_rate},
        ]
    )
    for _ in range(2):
        gradient, _ = jax.grad(case.flax_loss, has_aux=True)(params)
        assert min(np.abs(leaf).min() for leaf in jax.tree.leaves(gradient)) > 1e-5
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        adam.zero_grad()
        case.torch_loss()[0].backward()
        adam.step()
    own_step = case.flat(params)
    for name, parameter in case.torch.named_parameters():
        np.testing.assert_allclose(own_step[name], parameter.detach(), err_msg=name, **TOLERANCE)


def test_padding_has_no_influence():
    case = Case(CONFIGS["plain"], seed=2)
    total, _ = case.flax_loss(case.params)
    case.batch[0][-5:] = 0.9
    case.batch[3][-5:] = 0.1
    again, _ = case.flax_loss(case.params)
    assert total == again
