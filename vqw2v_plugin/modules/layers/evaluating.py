"""A network asked for what it makes of a batch, between trainings: without dropout, draws and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """In eval mode, and afterwards as before."""
    trains = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(trains)
