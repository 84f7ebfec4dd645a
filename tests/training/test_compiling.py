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
