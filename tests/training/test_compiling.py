import warnings
from typing import Any

import pytest
import torch
from torch import nn

from vqw2v_plugin.training.compiling import compile_or_warn


def fail(*args: Any) -> None:
    raise RuntimeError("no C++ compiler\nand much more")


def test_compiled_module_keeps_its_values_and_names() -> None:
    module = nn.Linear(3, 2)
    names, x = list(module.state_dict()), torch.randn(4, 3)
    expected = module(x)
    compile_or_warn(module, backend="eager")
    assert list(module.state_dict()) == names
    assert torch.equal(module(x), expected)


def test_a_failing_compiler_is_warned_of_once() -> None:
    module, x = nn.Linear(3, 2), torch.randn(4, 3)
    expected = module(x)
    compile_or_warn(module, backend=fail)
    with pytest.warns(UserWarning, match=r"torch\.compile failed on Linear .*g\+\+"):
        assert torch.equal(module(x), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(module(x), expected)


def test_an_error_of_the_module_itself_is_no_compiler_s() -> None:
    module = nn.Linear(3, 2)
    compile_or_warn(module, backend="eager")
    with pytest.raises(RuntimeError, match="shapes"):
        module(torch.zeros(4, 5))
    assert module(torch.zeros(4, 3)).shape == (4, 2)


def test_a_network_that_is_not_compiled_for_all_lengths_is_for_each() -> None:
    """As convolutions and norms of few frames may not be."""
    made: list[int] = []

    def fixed_alone(graph: Any, inputs: list[Any]) -> Any:
        if any(isinstance(size, torch.SymInt) for x in inputs for size in getattr(x, "shape", [x])):
            raise RuntimeError("cannot determine truth value of Relational: s54 < 32")
        made.append(1)
        return graph

    module = nn.Linear(3, 2)
    compile_or_warn(module, backend=fixed_alone)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for length in (4, 5, 6, 5, 4):
            x = torch.randn(length, 3)
            assert torch.equal(module(x), nn.functional.linear(x, module.weight, module.bias))
    assert len(made) == 4  # the first way's 4; then 5, 6 and 4 of the other
