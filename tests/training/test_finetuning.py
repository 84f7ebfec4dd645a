"""What a fine-tuned network begins from stands in its checkpoint: settings that say otherwise are refused."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fairseq")
from wav2vec2s import tiny_wav2vec2

from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.finetuned import Start
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.modules.finetuned.config import without_targets
from vqw2v_plugin.training.finetuning import FineTuningConfig, start_of


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
