"""What a fine-tuned network begins from stands in its checkpoint: settings that say otherwise are refused."""

from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fairseq")
from wav2vec2s import tiny_wav2vec2

from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.finetuned import ARCHS, Start
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.modules.finetuned.config import FineTuning, without_targets
from vqw2v_plugin.training.finetuning import FineTuningConfig, start_of, tuning_of


@pytest.mark.parametrize("learnt", [True, False])
def test_only_what_it_learnt_with_is_taken(learnt: bool) -> None:
    known = Start(without_targets(tiny_wav2vec2().config), Audio(16_000, learnt)).to_json()

    def began(rate: int = 16_000, **settings: Any) -> Start:
        cfg = SimpleNamespace(**{**vars(FineTuningConfig()), **settings})
        return start_of(cfg, known, rate)

    heads = began().config.encoder_attention_heads
    for settings in ({}, {"normalize": None}, {"normalize": learnt}, {"encoder_attention_heads": heads}):
        assert began(**settings).audio == Audio(16_000, learnt)
    with pytest.raises(CheckpointError, match=f"`normalize` is {not learnt}, and the checkpoint learnt with"):
        began(normalize=not learnt)
    with pytest.raises(CheckpointError, match=rf"`encoder_attention_heads` is {heads + 1}, and the checkp"):
        began(encoder_attention_heads=heads + 1)
    with pytest.raises(CheckpointError, match="`sample_rate` is 8000; the checkpoint expects audio of 16000"):
        began(8_000)


@pytest.mark.parametrize("name", [setting.name for setting in fields(FineTuning)])
def test_each_option_of_fine_tuning_is_its_own(name: str) -> None:
    """In whatever words it is said; all others stay."""
    usual = getattr(FineTuning(), name)
    value = not usual if isinstance(usual, bool) else usual + 3 if isinstance(usual, int) else usual / 2 + 0.1
    said = str(value).lower() if isinstance(usual, bool) else value
    cfg = SimpleNamespace(**{**vars(FineTuningConfig()), name: said})
    assert tuning_of(cfg) == replace(FineTuning(), **{name: value}) != tuning_of(FineTuningConfig())


def test_who_says_nothing_has_the_linear_layer_learn_with_all_others() -> None:
    cfg = FineTuningConfig()
    assert (cfg.w2v_path, cfg.normalize, cfg.freeze_finetune_updates) == (None, None, 0)


@pytest.mark.parametrize("normalize", [None, False, True])
def test_without_a_checkpoint_it_begins_with_what_is_given_and_the_rest_of_the_arch(
    normalize: bool | None,
) -> None:
    given = {"_name": ARCHS[1], "encoder_layers": 3, "activation_fn": "relu", "normalize": normalize}
    start = start_of(SimpleNamespace(**{**vars(FineTuningConfig()), **given}), None, 8_000)
    usual = start_of(SimpleNamespace(**{**vars(FineTuningConfig()), "_name": ARCHS[1]}), None, 8_000).config
    assert start.audio == Audio(8_000, bool(normalize)) and not start.weights and not start.path
    assert start.config == replace(usual, encoder_layers=3, activation_fn="relu") != usual
