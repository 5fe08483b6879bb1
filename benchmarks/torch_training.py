"""Training the published model in torch: as it is commonly written, and with care.

Both take a step per batch on the batches they are given; what differs is how a batch comes about
and how a step is executed.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset
from torch_cvae import TorchCvae, make_adam

from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Noise
from crowdllm_jax.model.cvae.fit import Run

Batches = list[list[int]]


class TorchTrainer(NamedTuple):
    """A model and one way to train it: `epoch` returns the mean loss over the responses.

    `epoch(batches, noises)` takes the noise of each batch, or draws its own where it is None.
    """

    model: TorchCvae
    epoch: Callable[[Batches, Iterable[Noise] | None], float]


def with_loader(run: Run, device: str) -> TorchTrainer:
    """A DataLoader over the responses with their task's and person's features, and plain Adam."""
    model = TorchCvae(run.train.x.shape[1], run.train.c.shape[1], run.model).to(device)
    adam = make_adam(model, run.config.learning_rate, run.config.blender_learning_rate)
    data = run.train
    rows = TensorDataset(
        torch.tensor(data.x[data.task]),
        torch.tensor(data.c[data.person]),
        torch.tensor(data.reference[data.task]),
        torch.tensor(data.answer),
    )

    def epoch(batches: Batches, noises: Iterable[Noise] | None) -> float:
        drawn = _noise(run.model, batches, noises, device)
        total = 0.0
        for batch, noise in zip(DataLoader(rows, batch_sampler=batches), drawn, strict=True):
            x, c, reference, answer = (part.to(device) for part in batch)
            adam.zero_grad()
            loss, _ = model.loss(x, c, reference, answer, torch.ones_like(answer), *noise)
            loss.backward()
            adam.step()
            total += loss.item() * len(answer)
        return total / len(data.answer)

    return TorchTrainer(model, epoch)


def with_care(run: Run, device: str, compiled: bool) -> TorchTrainer:
    """All tensors on the device, batches by index, fused Adam, no waiting for the loss, and (where
    asked) torch.compile."""
    model = TorchCvae(run.train.x.shape[1], run.train.c.shape[1], run.model).to(device)
    adam = make_adam(model, run.config.learning_rate, run.config.blender_learning_rate, fused=True)
    data = run.train
    x, c, reference, answer = (
        torch.tensor(part, device=device) for part in (data.x, data.c, data.reference, data.answer)
    )
    task, person = (
        torch.tensor(part, device=device, dtype=torch.long) for part in (data.task, data.person)
    )
    torch.distributions.Distribution.set_default_validate_args(False)

    def loss_of(rows: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        t, own = task[rows], answer[rows]
        return model.loss(x[t], c[person[rows]], reference[t], own, torch.ones_like(own), *noise)[0]

    if compiled:
        # The last, shorter batch is a second program of its own.
        loss_of = torch.compile(loss_of, dynamic=False)

    def epoch(batches: Batches, noises: Iterable[Noise] | None) -> float:
        order = torch.tensor(np.concatenate(batches), device=device)
        drawn = _noise(run.model, batches, noises, device)
        total = torch.zeros((), device=device)
        for rows, noise in zip(order.split(len(batches[0])), drawn, strict=True):
            adam.zero_grad()
            loss = loss_of(rows, *noise)
            loss.backward()
            adam.step()
            total += loss.detach() * len(rows)
        return total.item() / len(data.answer)

    return TorchTrainer(model, epoch)


def _noise(
    config: CvaeConfig, batches: Batches, noises: Iterable[Noise] | None, device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor, None]]:
    """The plain model's noise of every batch."""
    if noises is not None:
        for noise in noises:
            latent, decision = (
                torch.tensor(np.asarray(part), device=device)
                for part in (noise.latent, noise.decision)
            )
            yield latent, decision, None
        return
    for batch in batches:
        yield (
            torch.randn(len(batch), config.latent, device=device),
            torch.randn(len(batch), device=device),
            None,
        )
