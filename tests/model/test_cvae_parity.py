"""The Flax model against an independent torch implementation, given the same weights and noise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch_cvae import TorchCvae, copy_weights, in_torch, make_adam

from crowdllm_jax.model.cvae.config import CvaeConfig, LossWeights
from crowdllm_jax.model.cvae.decision import Cvae, Noise, answer_scores
from crowdllm_jax.model.cvae.epoch import make_optimizer
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.cvae.loss import cvae_loss, loss_numbers

F, C, H, L, J, K, B = 6, 4, 9, 5, 3, 4, 24
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
RATES = TrainConfig(learning_rate=2e-3, blender_learning_rate=7e-3)


class Case:
    """One configuration in both frameworks: weights, a batch, and its noise."""

    def __init__(self, config: CvaeConfig, seed: int) -> None:
        random = np.random.default_rng(seed)

        def normal(*shape):
            return random.normal(size=shape).astype(np.float32)

        self.config = config
        self.torch = TorchCvae(F, C, config)
        flax = Cvae(F, C, config, rngs=nnx.Rngs(0))
        self.graph, params = nnx.split(flax, nnx.Param)
        # Random biases as well: zero ones would hide a layer that forgets its own.
        self.params = jax.tree.map(lambda leaf: jnp.asarray(0.4 * normal(*leaf.shape)), params)
        copy_weights(self.torch, self.params)
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
        return in_torch(self.torch, tree)

    def flax_loss(self, params):
        model = nnx.merge(self.graph, params)
        numbers = loss_numbers(self.config)
        return cvae_loss(model, *map(jnp.asarray, self.batch), self.noise, numbers)

    def torch_loss(self):
        return self.torch.loss(*self.torch_batch, *self.torch_noise)


CONFIGS = {
    "plain": CvaeConfig(hidden=H, latent=L),
    "weighted": CvaeConfig(
        hidden=H,
        latent=L,
        noise_scale=1.75,
        training_diversity=0.1,
        loss=LossWeights(reconstruction=0.5, kl=2.0, decision=16.0),
    ),
    "semi_implicit": CvaeConfig(
        hidden=H,
        latent=L,
        semi_implicit=True,
        injected=J,
        auxiliary=K,
        noise_scale=0.4,
        training_diversity=0.1,
    ),
}


@pytest.fixture(params=list(CONFIGS))
def case(request) -> Case:
    return Case(CONFIGS[request.param], seed=1)


def test_forward_matches_torch_part_by_part(case: Case):
    model = nnx.merge(case.graph, case.params)
    draw = answer_scores(
        model,
        case.x,
        case.c,
        case.reference,
        case.noise,
        case.config.noise_scale,
        case.config.training_diversity,
    )
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
    optimizer = make_optimizer(RATES.learning_rate, RATES.blender_learning_rate)
    state, params = optimizer.init(case.params), case.params
    adam = make_adam(case.torch, RATES.learning_rate, RATES.blender_learning_rate)
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
