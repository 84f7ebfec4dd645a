"""A network that is asked between trainings answers without dropout and gradients, and goes on as it was."""

import pytest
import torch
from torch import nn

from vqw2v_plugin.modules.layers.evaluating import evaluating


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_it_is_afterwards_as_before(trains: bool, fails: bool) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train(trains)
    try:
        with evaluating(network):
            assert not network[1].training and not network(torch.ones(1, 2)).requires_grad
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert network.training == network[1].training == trains
    assert network(torch.ones(1, 2)).requires_grad
