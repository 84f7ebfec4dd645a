"""vqw2v_plugin: discrete speech units with fairseq.

 wav ──encoder──▶ z ──quantizer──▶ tokens ──BERT──▶ states ──acoustic model──▶ letters ──decoder──▶ text
[B,S]          [B,T,C]           [B,T,G]          [B,T,D]                    [B,T,V]
      └── context network c, contrastive loss: how encoder and quantizer learn without labels

Importing it registers its models, tasks and criterions when fairseq is what imports it (`--user-dir`); in a
program of your own that has not imported fairseq, call `vqw2v_plugin.register()`. Codes, features and words
need no fairseq: `from vqw2v_plugin import Tokenizer, Transcriber, load_features`.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .features.registry import load_features as load_features
    from .tokenizer import Tokenizer as Tokenizer
    from .transcriber import Transcriber as Transcriber

__version__ = "0.1.0"
_FACES = {"Tokenizer": "tokenizer", "Transcriber": "transcriber", "load_features": "features.registry"}


def register() -> None:
    """Makes every model, task and criterion of the plugin known to fairseq; safe to call twice."""
    from .stack import check_stack

    check_stack()
    from importlib import import_module
    from pkgutil import iter_modules

    for room in ("tasks", "models", "criterions"):
        package = import_module(f".{room}", __name__)
        for module in iter_modules(package.__path__):
            import_module(f".{module.name}", package.__name__)
    import_module(".training.look_first", __name__).look_first()
    import_module(".training.options", __name__).name_broken_lists()
    import_module(".training.whole_help", __name__).tell_all_options()
    quiet = import_module(".training.quiet", __name__)
    quiet.leave_out_needless()
    quiet.log_any_name()
    import_module(".training.next_step", __name__).announce()
    import_module(".training.told_errors", __name__).tell()


def __getattr__(name: str) -> Any:
    """The Python faces, once they are asked for: the package itself stays free of torch."""
    if name in _FACES:
        from importlib import import_module

        return getattr(import_module(f".{_FACES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if "fairseq" in sys.modules:
    register()
