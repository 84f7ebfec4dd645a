"""What a path scores under ASG, by its definition."""

import torch
from torch import Tensor


def path_score(emissions: Tensor, transitions: Tensor, path: tuple[int, ...]) -> Tensor:
    held = torch.tensor(path)
    return emissions[range(len(held)), held].sum() + transitions[held[1:], held[:-1]].sum()
