"""How models learn, asked for: `--help` of fairseq's programs with the options of what else is named.

fairseq answers `--help` before it has added the options of the task, the arch and the criterion.
"""

import argparse
import functools
import sys
from typing import Any, Callable, List, Optional

from fairseq import options

_HELP = ("-h", "--help")
_ADDS = "_vqw2v_adds_options"


def tell_all_options() -> None:
    """From here on help is given once all options are there; safe to call twice."""
    original = options.parse_args_and_arch
    if not hasattr(original, _ADDS):
        options.parse_args_and_arch = _telling(original)


def _telling(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def telling(
        parser: argparse.ArgumentParser, input_args: Optional[List[str]] = None, *args: Any, **kwargs: Any
    ) -> Any:
        words = sys.argv[1:] if input_args is None else list(input_args)
        if not set(_HELP) & set(words):
            return original(parser, input_args, *args, **kwargs)
        whole, plain = parser.parse_known_args, [word for word in words if word not in _HELP]
        calls: List[Any] = []

        def parse_known_args(given: Any = None, namespace: Any = None) -> Any:
            """The first look tells what is named, so that its options are added; the second one answers."""
            calls.append(given)
            return whole(plain if len(calls) == 1 else words, namespace)

        parser.parse_known_args = parse_known_args  # type: ignore[method-assign,assignment]
        try:
            return original(parser, input_args, *args, **kwargs)
        except RuntimeError:  # no arch is named, or none that is known
            parser.print_help()
            parser.exit()

    setattr(telling, _ADDS, True)
    return telling
