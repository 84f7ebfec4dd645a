"""How models are taken from files: texts that stock fairseq evaluates, told from those that could do harm."""

import ast
from typing import Any, Iterator, Mapping, Tuple, Union

from omegaconf import OmegaConf

# Layers, numbers, names: nothing of these calls anything, or gives a name to what does.
_HARMLESS = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Attribute),
    *(ast.List, ast.Tuple, ast.Dict, ast.Set, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop),
    *(ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.IfExp),
)


def could_do_harm(text: Union[str, bytes]) -> bool:
    """Whether evaluating it does more than to make a value; what is no expression ends in an error."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (RecursionError, MemoryError):
        return True
    except (SyntaxError, ValueError):
        return False
    return not all(isinstance(node, _HARMLESS) for node in ast.walk(tree))


def texts(value: Any, where: str) -> Iterator[Tuple[str, Union[str, bytes]]]:
    """All texts in options, with their names, references to others resolved."""
    if isinstance(value, (str, bytes)):
        yield where, value
    elif OmegaConf.is_dict(value):
        for name in value:
            yield from texts(_resolved(value, name), f"{where}.{name}")
    elif OmegaConf.is_list(value):
        for i in range(len(value)):
            yield from texts(_resolved(value, i), where)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from texts(item, f"{where}.{name}")
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from texts(item, where)
    elif hasattr(value, "__dict__") and not callable(value):  # a Namespace of 2019
        yield from texts(vars(value), where)


def _resolved(holder: Any, name: Any) -> Any:
    try:
        return holder[name]
    except Exception:  # missing, or a reference to nothing: whoever asks for it has the same error
        return None
