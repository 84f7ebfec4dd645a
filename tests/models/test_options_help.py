"""What `fairseq-train --help` says of us."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("fairseq")
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.models import vq_bert, vq_speech_bert, vq_wav2vec2
from vqw2v_plugin.modules.bert.config import ARCHS as BERTS
from vqw2v_plugin.modules.bert.config import SPEECH_ARCHS
from vqw2v_plugin.modules.wav2vec2.config import ARCHS as WAV2VEC2S

TABLES = (
    MODEL_DATACLASS_REGISTRY,
    TASK_DATACLASS_REGISTRY,
    CRITERION_DATACLASS_REGISTRY,
    REGISTRIES["scoring"]["dataclass_registry"],
)


def test_every_option_of_ours_says_what_it_is() -> None:
    seen, silent = set(), []
    for registry in TABLES:
        for name, config in registry.items():
            if not config.__module__.startswith("vqw2v_plugin"):
                continue
            seen.add(name)
            for setting in dataclasses.fields(config):
                shared = setting.name == "_name" or str(setting.default).startswith("${")  # another's option
                if not shared and not setting.metadata.get("help"):
                    silent.append(f"{name}.{setting.name}")
    assert {"vq_wav2vec", "vq_audio_pretraining", "vq_contrastive", "vq_error"} <= seen and not silent


@pytest.mark.parametrize(
    ("name", "helps", "archs"),
    [
        ("vq_bert", vq_bert.HELPS, BERTS),
        ("vq_speech_bert", vq_speech_bert.OWN_HELPS, SPEECH_ARCHS),
        ("vq_wav2vec2", vq_wav2vec2.HELPS, WAV2VEC2S),
    ],
)
def test_the_numbers_that_help_gives_an_arch_are_the_arch_s(
    name: str, helps: Mapping[str, str], archs: Mapping[str, Any]
) -> None:
    """As in `(base 768, small 512)`, or `(12; tiny: 4)`."""
    seen = 0
    for option, text in helps.items():
        if isinstance(getattr(archs[name], option), list):  # of temperatures
            continue
        told = re.findall(r"\b(base|large|small|tiny):? ([\d.]+)", text)
        told += [("base", number) for number in re.findall(r"\((\d+);", text)]
        for arch, number in told:
            assert getattr(archs[f"{name}_{arch}"], option) == float(number.rstrip(".")), (option, arch)
        seen += len(told)
    assert seen >= 8
