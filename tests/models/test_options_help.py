"""What `fairseq-train --help` says of us."""

import dataclasses

import pytest

pytest.importorskip("fairseq")
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY

import vqw2v_plugin

vqw2v_plugin.register()
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
