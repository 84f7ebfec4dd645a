"""All option names there are: what `--name` and `group.name=` in the documents may say."""

import dataclasses
import re
from functools import cache
from pathlib import Path

from documented import PACKAGE, ROOT

from vqw2v_plugin.__main__ import COMMANDS, build_parser

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]+")
_KEY = re.compile(r"(?<![\w.])\+*([a-z_]+)\.([a-z_0-9]+)=")
# Of programs that are neither ours nor fairseq's: pip, KenLM's lmplz, SLURM.
_STRANGERS = {"--no-build-isolation", "--discount_fallback", "--nodes", "--ntasks-per-node", "--requeue"}
_STRANGERS |= {"--gpus-per-node", "--cpus-per-task", "--no-deps", "--help", "--config-dir", "--config-name"}
_HYDRA = {"hydra"}


def unknown_options(text: str) -> list[str]:
    """`--options` that no program of ours, of fairseq or of torch has."""
    return sorted(set(_OPTION.findall(text)) - known_options())


def unknown_keys(text: str) -> list[str]:
    """`group.option=` that no config of fairseq or of ours has."""
    keys = known_keys()
    found = {(group, name) for group, name in _KEY.findall(text) if group not in _HYDRA}
    return sorted(f"{g}.{n}" for g, n in found if g not in keys or n not in keys[g])


@cache
def known_options() -> frozenset[str]:
    """Of every command, script, fairseq program, and of torchrun."""
    import fairseq
    from fairseq import options
    from torch.distributed.run import get_args_parser

    parsers = [options.get_training_parser(), options.get_generation_parser(), get_args_parser()]
    for name in COMMANDS:
        commands = build_parser(name)._subparsers
        assert commands is not None
        parsers.append(commands._group_actions[0].choices[name])  # type: ignore[index, arg-type]
    found = {option for parser in parsers for option in parser._option_string_actions}
    found |= {spelling for names in known_keys().values() for name in names for spelling in _spellings(name)}
    # Stock's own scripts: the README says what takes the place of their options.
    for script in Path(fairseq.__file__).parent.rglob("*.py"):
        found |= set(_OPTION.findall(script.read_text(encoding="utf-8")))
    scripts = [
        *ROOT.glob("examples/*/*.py"),
        *ROOT.glob("benchmarks/*.py"),
        PACKAGE / "recipes" / "stages.py",
    ]
    for script in scripts:
        found |= options_in(script)
    return frozenset(found | _STRANGERS)


def options_in(script: Path) -> set[str]:
    """What a script's source adds to its parser."""
    text = script.read_text(encoding="utf-8")
    return {f"--{name}" for name in re.findall(r"add_argument\(\s*\"--([\w-]+)\"", text)}


@cache
def known_keys() -> dict[str, set[str]]:
    """fairseq's config groups, with the fields of everything that is registered in them."""
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.registry import REGISTRIES

    groups = {f.name: _fields(f.type) for f in dataclasses.fields(FairseqConfig)}
    for group in ("task", "model", "criterion", *REGISTRIES):
        groups[group] = {name for names in known_keys_of(group).values() for name in names}
    return groups


def known_keys_of(group: str) -> dict[str, set[str]]:
    """The fields of each class that is registered in a group."""
    from fairseq.models import MODEL_DATACLASS_REGISTRY
    from fairseq.registry import REGISTRIES
    from fairseq.tasks import TASK_DATACLASS_REGISTRY

    registered = {"task": TASK_DATACLASS_REGISTRY, "model": MODEL_DATACLASS_REGISTRY}
    registered |= {name: known["dataclass_registry"] for name, known in REGISTRIES.items()}
    return {name: _fields(known) for name, known in registered[group].items()}


def _fields(known: object) -> set[str]:
    own = {f.name for f in dataclasses.fields(known)} if dataclasses.is_dataclass(known) else set()
    return own | {"_name"}


def _spellings(name: str) -> tuple[str, str]:
    return f"--{name.replace('_', '-')}", f"--{name}"
