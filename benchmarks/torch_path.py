"""The rivals: sampling in torch, from the published way to all of our own algebra.

For the published model, with the same weights as ours:

    published  one agent at a time: the network over all tasks, a fresh belief per decision
    batched    the same over many agents at once
    split      batched; the first layer's products once per task and once per agent, the blender
               folded into one vector, so that a score is one normal draw
    folded     moments once per distinct profile, as integer thresholds; a decision is 16 random
               bits and K - 1 comparisons (compiled)

and for the persistent model `persistent`: the profile's part of the location once per distinct
profile, a belief per agent, logistic noise from 16 random bits (compiled). All return (N, T) int8
levels. Random bits come from torch's own generator, which is not keyed by agent.
"""

from collections.abc import Callable

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn
from torch.nn import functional as F  # noqa: N812

from crowdllm_jax.model.crowd import Crowd, CvaeInputs
from crowdllm_jax.model.persistent.draw import ready_to_draw
from crowdllm_jax.model.response import score_cuts
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import encode

Sampler = Callable[[torch.Tensor], torch.Tensor]
"""sampler(row): (N, T) int8 levels of agents whose profiles are these rows (N,) of the table."""


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _together() -> int:
    """Agents of a batch: what fits a CPU's caches, or fills a GPU."""
    return 1 << (17 if device() == "cuda" else 13)


def _to_torch(array: object) -> torch.Tensor:
    return torch.from_numpy(np.array(array, copy=True)).to(device())


def _linear(layer: nnx.Linear) -> nn.Linear:
    kernel = np.asarray(layer.kernel[...])
    made = nn.Linear(*kernel.shape, device=device())
    made.weight.data, made.bias.data = _to_torch(kernel.T), _to_torch(layer.bias[...])
    return made


class PublishedModel(nn.Module):
    """Encoder of the belief generator, and the blender, as published."""

    def __init__(self, crowd: Crowd) -> None:
        super().__init__()
        ours = nnx.merge(crowd.graph, crowd.params)
        self.hidden = _linear(ours.belief.hidden)
        self.mean = _linear(ours.belief.mean)
        self.log_variance = _linear(ours.belief.log_variance)
        blender = (ours.blender.first, ours.blender.second, ours.blender.third)
        self.blender = nn.Sequential(*(_linear(layer) for layer in blender))

    def forward(
        self,
        x: torch.Tensor,
        c: torch.Tensor,
        reference: torch.Tensor,
        noise_scale: float,
        diversity: float,
    ) -> torch.Tensor:
        """Scores (B,) of B decisions, each with a belief of its own."""
        h = F.elu(self.hidden(torch.cat([x, c], dim=1)))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + noise_scale * torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        bias = self.blender(torch.cat([z, c], dim=1))[:, 0]
        return reference + bias + diversity * torch.randn_like(bias)


class _Inputs:
    def __init__(self, crowd: Crowd) -> None:
        self.c = _to_torch(encode(crowd.codings, crowd.generator.attributes))
        (scale,) = crowd.scales.values()
        self.cuts = _to_torch(score_cuts(scale).astype(np.float32))
        self.levels = scales.size(scale)
        if isinstance(crowd.inputs, CvaeInputs):
            self.x, self.reference = map(_to_torch, crowd.inputs)

    def level(self, score: torch.Tensor) -> torch.Tensor:
        return torch.bucketize(score, self.cuts).to(torch.int8)


def published(crowd: Crowd) -> Sampler:
    model, inputs, config = PublishedModel(crowd), _Inputs(crowd), crowd.config
    tasks = len(inputs.x)

    @torch.inference_mode()
    def sample(row: torch.Tensor) -> torch.Tensor:
        answers = torch.empty(len(row), tasks, dtype=torch.int8, device=device())
        for agent, profile in enumerate(row.tolist()):
            c = inputs.c[profile].expand(tasks, -1)
            score = model(inputs.x, c, inputs.reference, config.noise_scale, config.diversity)
            answers[agent] = inputs.level(score)
        return answers

    return sample


def batched(crowd: Crowd, batch: int = 64) -> Sampler:
    model, inputs, config = PublishedModel(crowd), _Inputs(crowd), crowd.config
    tasks = len(inputs.x)

    @torch.inference_mode()
    def sample(row: torch.Tensor) -> torch.Tensor:
        parts = []
        for own in row.split(batch):
            n = len(own)
            score = model(
                inputs.x.repeat(n, 1),
                inputs.c[own].repeat_interleave(tasks, 0),
                inputs.reference.repeat(n),
                config.noise_scale,
                config.diversity,
            )
            parts.append(inputs.level(score).reshape(n, tasks))
        return torch.cat(parts)

    return sample


def _moments(
    crowd: Crowd, model: PublishedModel, inputs: _Inputs
) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Mean and deviation (n, T) of the score for profiles (n, C), with products shared."""
    first, second, third = model.blender
    vector = (third.weight @ second.weight @ first.weight)[0]
    zero = torch.zeros(vector.shape, device=device())
    to_z, to_c = vector[: crowd.config.latent], vector[crowd.config.latent :]
    features = inputs.x.shape[1]
    by_task = inputs.x @ model.hidden.weight[:, :features].T + model.hidden.bias
    mean_vector = model.mean.weight.T @ to_z
    constant = inputs.reference + model.mean.bias @ to_z + model.blender(zero[None])[0, 0]
    noise, diversity = crowd.config.noise_scale, crowd.config.diversity

    def moments(c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        by_profile = c @ model.hidden.weight[:, features:].T
        h = F.elu(by_task[None] + by_profile[:, None])
        variance = torch.exp(model.log_variance(h)) @ to_z**2
        mean = constant + h @ mean_vector + (c @ to_c)[:, None]
        return mean, torch.sqrt(noise**2 * variance + diversity**2)

    return moments


def split(crowd: Crowd, batch: int = 64) -> Sampler:
    with torch.inference_mode():
        inputs = _Inputs(crowd)
        moments = _moments(crowd, PublishedModel(crowd), inputs)

    @torch.inference_mode()
    def sample(row: torch.Tensor) -> torch.Tensor:
        parts = []
        for own in row.split(batch):
            mean, sd = moments(inputs.c[own])
            parts.append(inputs.level(mean + sd * torch.randn_like(mean)))
        return torch.cat(parts)

    return sample


def _draws(n: int, tasks: int) -> torch.Tensor:
    """(N, T) draws of 16 bits, from -32768 to 32767, two of each 32-bit word."""
    word = torch.empty(n, -(-tasks // 2), dtype=torch.int32, device=device())
    return word.random_(-(2**31), 2**31).view(torch.int16)[:, :tasks]


def folded(crowd: Crowd) -> Sampler:
    batch = _together()
    with torch.inference_mode():
        inputs = _Inputs(crowd)
        moments = _moments(crowd, PublishedModel(crowd), inputs)
        parts = [moments(c) for c in inputs.c.split(64)]
        mean, sd = (torch.cat(part) for part in zip(*parts, strict=True))
        below = torch.special.ndtr((inputs.cuts[:, None, None] - mean) / sd)
        threshold = (torch.round(below * 65536) - 32769).clamp(-32768, 32767).to(torch.int16)

    @torch.compile(dynamic=False)
    def compare(draw: torch.Tensor, threshold: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        level = torch.zeros(draw.shape, dtype=torch.int8, device=draw.device)
        for k in range(len(threshold)):
            level = level + (draw > threshold[k][row]).to(torch.int8)
        return level

    @torch.inference_mode()
    def sample(row: torch.Tensor) -> torch.Tensor:
        tasks = threshold.shape[2]
        return torch.cat(
            [compare(_draws(len(own), tasks), threshold, own) for own in row.split(batch)]
        )

    return sample


def persistent(crowd: Crowd) -> Sampler:
    batch = _together()
    ready = jax.tree.map(np.asarray, ready_to_draw(crowd.graph, crowd.params, crowd.inputs))
    inputs = _Inputs(crowd)
    c = inputs.c - _to_torch(crowd.inputs.centre.astype(np.float32))
    where = _to_torch(ready.items.location) + c @ _to_torch(ready.items.profile)
    ends = ready.tables.ends
    cut = np.moveaxis(ends, 0, 2).reshape(ends.shape[1], -1)[:, : len(crowd.task_ids)]
    loading, cut = _to_torch(ready.items.loading.T), _to_torch(cut)
    belief = nnx.merge(crowd.graph, crowd.params).belief
    latent = len(belief.tilt[...])
    spread, tilt = _to_torch(np.exp(belief.log_spread[...])), _to_torch(belief.tilt[...])
    mixing = _linear(belief.mixing)
    shift, middle = _to_torch(belief.shift.kernel[...]), _to_torch(belief.middle[...])
    mean = _to_torch(belief.mean[...])

    def beliefs(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        u = torch.randn(n, belief.width, device=device())
        z = u[:, :latent] * spread[:latent]
        z = z + torch.tanh(mixing(u[:, latent + 1 :])) @ shift - middle + mean[:latent]
        log_scale = spread[latent] * u[:, latent] + u[:, :latent] @ tilt + mean[latent]
        return z, torch.exp(log_scale.clamp(-3, 3))

    @torch.compile(dynamic=False)
    def decide(
        draw: torch.Tensor,
        where: torch.Tensor,
        row: torch.Tensor,
        z: torch.Tensor,
        loading: torch.Tensor,
        scale: torch.Tensor,
        cut: torch.Tensor,
    ) -> torch.Tensor:
        share = (draw.to(torch.float32) + 32768.5) * 2.0**-16
        at = where[row] + scale[:, None] * torch.log(share / (1 - share))
        for one in range(loading.shape[0]):
            at = at + z[:, one, None] * loading[one]
        level = torch.zeros(draw.shape, dtype=torch.int8, device=draw.device)
        for k in range(len(cut)):
            level = level + (at > cut[k]).to(torch.int8)
        return level

    @torch.inference_mode()
    def sample(row: torch.Tensor) -> torch.Tensor:
        parts = []
        for own in row.split(batch):
            draw = _draws(len(own), where.shape[1])
            z, scale = beliefs(len(own))
            parts.append(decide(draw, where, own, z, loading, scale, cut))
        return torch.cat(parts)

    return sample
