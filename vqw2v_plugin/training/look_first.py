"""How models are taken from files: what a checkpoint says is looked at before fairseq acts on it.

fairseq builds whatever model a file names, and evaluates options of its own models as Python code; and it
asks its task too late, or not at all. All ways from a file into fairseq lead through one function of
`fairseq.checkpoint_utils`: where it is called for one of our tasks, or the file says that it is ours, the
whole file is checked first. Files of stock's models for stock's tasks are stock's affair, but for options
whose evaluation would do more than to make a value: these are refused.
"""

import functools
import inspect
import pickle
import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import torch
from fairseq import checkpoint_utils, criterions, models, tasks
from fairseq.dataclass.utils import merge_with_parent
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from ..checkpoints.archive import is_archive, special_file
from ..checkpoints.files import CheckpointError, read_pickle
from ..checkpoints.format import mapping, model_name, model_options, read_state
from ..checkpoints.kinds import KINDS
from ..checkpoints.plain import check_trainer_state
from ..common.words import shortened
from .expressions import could_do_harm, texts

_OURS = __name__.split(".")[0]
_wanted: ContextVar[Optional[bool]] = ContextVar("wanted", default=None)  # a file of ours? None: it may say


def look_first() -> None:
    """From here on all checkpoints are looked at; safe to call twice."""
    _wrap(checkpoint_utils, "load_checkpoint_to_cpu", _load)
    _wrap(checkpoint_utils, "load_model_ensemble_and_task", _load_models)
    _wrap(Trainer, "load_checkpoint", _restore)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    if getattr(original, "looks_first", False):
        return

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    wrapped.looks_first = True  # type: ignore[attr-defined]
    setattr(owner, name, wrapped)


def _load_models(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`--path` of fairseq-generate and fairseq-validate; the second lets the file say which task it is."""
    task = inspect.signature(original).bind(*args, **kwargs).arguments.get("task")
    return _wanting(True if is_ours(type(task)) else None, original, *args, **kwargs)


def _restore(original: Callable[..., Any], trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """`--restore-file`, `--finetune-from-model` and a run that goes on."""
    path = Path(inspect.signature(original).bind(trainer, *args, **kwargs).arguments["filename"])
    if path.exists() and not path.is_file():  # fairseq would begin anew without a word
        raise CheckpointError(f"{path} is {special_file(path) or 'a folder'}; expected a file")
    cls = _model_class(_name_of(trainer.cfg.model))  # which is there already: the file's is not built
    return _wanting(cls is not None and is_ours(cls), original, trainer, *args, **kwargs)


def _wanting(ours: Optional[bool], original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    before = _wanted.set(ours)
    try:
        return original(*args, **kwargs)
    finally:
        _wanted.reset(before)


def _load(original: Callable[..., Any], path: Any, *args: Any, **kwargs: Any) -> Any:
    """What it answers is built by fairseq; nothing of the file has been until then."""
    local = Path(PathManager.get_local_path(path))
    wanted = _wanted.get()
    if special := special_file(local):  # would be waited for
        raise CheckpointError(f"{local} is {special}; expected a file")
    if wanted or (wanted is None and _says_ours(local)):
        look_at(local)
        return original(path, *args, **kwargs)
    try:
        state = original(path, *args, **kwargs)
    except pickle.UnpicklingError:
        read_pickle(local)  # says it in a sentence, where torch says how to run it all the same
        raise
    _refuse_harm(state, local)
    return state


def is_ours(cls: type) -> bool:
    """One of the plugin's classes, or made of one."""
    return any(base.__module__.split(".")[0] == _OURS for base in cls.__mro__)


def need_our_model(cfg: Any, wanted: Sequence[str] = ()) -> None:
    """Refuses any other than our models: stock's evaluate what their options say. `wanted`: a task's own."""
    name = _name_of(cfg)
    cls = _model_class(name)
    if cls is None or not is_ours(cls):
        raise CheckpointError(f"the model is {name!r}; expected one of ours: {', '.join(KINDS)}")
    if wanted and not issubclass(cls, tuple(models.MODEL_REGISTRY[each] for each in wanted)):
        names = " or ".join(map(repr, wanted))
        raise CheckpointError(f"the model is {name!r}; expected {names}, which this task is for")


def look_at(path: Path) -> None:
    """Refuses what is not a whole checkpoint of one of our models, with a sentence."""
    state = read_pickle(path)
    header, weights = read_state(state, path)
    kind = KINDS[header.model]
    try:
        check_trainer_state(state)
        _check_options(state)
        kind.check_options(header, str(model_name(state)), model_options(state))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    kind.restore(header, weights, str(path))


def _check_options(state: Mapping[str, Any]) -> None:
    """What fairseq builds is ours, and of its options each has its type."""
    registries = {
        "model": (_model_class, models.MODEL_DATACLASS_REGISTRY),
        "task": (tasks.TASK_REGISTRY.get, tasks.TASK_DATACLASS_REGISTRY),
        "criterion": (criterions.CRITERION_REGISTRY.get, criterions.CRITERION_DATACLASS_REGISTRY),
    }
    for part, (find, options) in registries.items():
        said = state["cfg"][part]
        name = said.get("_name")
        cls = find(name) if isinstance(name, str) else None
        if cls is None or not is_ours(cls):
            raise ValueError(f"`cfg.{part}._name` is {shortened(repr(name))}; expected one of vqw2v_plugin's")
        if part == "model":
            name = models.ARCH_MODEL_NAME_REGISTRY.get(name, name)
        try:
            merge_with_parent(options[name](), OmegaConf.create(dict(said)), True)
        except Exception as error:  # of omegaconf's many kinds
            reason = shortened((str(error).splitlines() or [type(error).__name__])[0], 300)
            raise ValueError(f"`cfg.{part}` does not fit {name}: {reason}") from error


def _name_of(cfg: Any) -> Any:
    return getattr(cfg, "_name", None) or getattr(cfg, "arch", None)


def _model_class(name: Any) -> Optional[type]:
    if not isinstance(name, str):
        return None
    found: Optional[type] = models.ARCH_MODEL_REGISTRY.get(name) or models.MODEL_REGISTRY.get(name)
    return found


def _says_ours(path: Path) -> bool:
    """Whether a file names a model or task of ours; what cannot be read as plain data says nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive(path))
        model = _model_class(model_name(state))
        task = tasks.TASK_REGISTRY.get(mapping(mapping(state.get("cfg")).get("task")).get("_name"))
    except Exception:  # fairseq says what is wrong with it
        return False
    return any(cls is not None and is_ours(cls) for cls in (model, task))


def _refuse_harm(state: Any, path: Path) -> None:
    """Stock's models call `eval` on their layers and more; a list of numbers is all that they need."""
    cfg = state.get("cfg") if isinstance(state, Mapping) else None
    said = {f"cfg.{part}": _part(cfg, part) for part in ("model", "task", "criterion")}
    said["args"] = state.get("args") if isinstance(state, Mapping) else None
    for name, options in said.items():
        for where, text in texts(options, name):
            if could_do_harm(text):
                raise CheckpointError(
                    f"{path} is refused and nothing in it was run: `{where}` is {shortened(repr(text))}, "
                    f"which fairseq may evaluate as Python code; expected numbers, lists and names"
                )


def _part(cfg: Any, name: str) -> Any:
    try:
        return cfg[name]
    except Exception:  # there is none
        return None
