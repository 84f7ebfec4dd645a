"""With stock fairseq's weights and masks: its emissions, its CTC loss and all of its gradients."""

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from finetuned import STILL, UNITS, stock_ctc
from torch import Tensor
from wav2vec2s import LARGE_STYLE, noise

fairseq = pytest.importorskip("fairseq")
from fairseq.criterions.ctc import CtcCriterion, CtcCriterionConfig

from vqw2v_plugin.checkpoints.finetuned import make_fine_tuned
from vqw2v_plugin.checkpoints.stock_wav2vec2 import wav2vec2_settings_of_stock
from vqw2v_plugin.checkpoints.stock_wav2vec_ctc import fine_tuned_weights_of_stock
from vqw2v_plugin.modules.finetuned.config import FineTunedConfig, FineTuning, without_targets
from vqw2v_plugin.modules.wav2vec2.config import Wav2Vec2Config
from vqw2v_plugin.modules.wav2vec2.draws import Masks, draw_masks

SAMPLES, FRAMES, COLUMNS = 900, 44, len(UNITS)
BOTH = {"quantize_input": True, "quantize_targets": True}
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "BASE": ({}, STILL),
    "LARGE": (LARGE_STYLE, STILL),
    "the encoder learns": ({}, replace(STILL, feature_grad_mult=0.1)),
    "no masks": ({}, replace(STILL, apply_mask=False)),
    "frames alone are masked": ({}, replace(STILL, mask_channel_prob=0.0)),
    "without a projection": ({"encoder_embed_dim": 16}, STILL),
    "it hears codes": ({**BOTH, "quantize_input": True}, STILL),
    "by the same quantizer": ({**BOTH, "same_quantizer": True, "latent_dim": 12}, STILL),
}


def pair(settings: dict[str, Any], tuning: Any) -> tuple[Any, Any]:
    stock, pretrained = stock_ctc(COLUMNS, tuning, **settings)
    options = {name: value for name, value in pretrained.model.items() if not name.startswith("_")}
    config = without_targets(Wav2Vec2Config(**wav2vec2_settings_of_stock(options)))
    ours = make_fine_tuned(FineTunedConfig(COLUMNS, config, tuning), UNITS)
    missing, foreign = ours.load_state_dict(
        fine_tuned_weights_of_stock(stock.state_dict(), ours.wav2vec2.config), strict=False
    )
    assert not foreign and all("health." in name for name in missing)
    return stock, ours


def give(masks: Masks, monkeypatch: pytest.MonkeyPatch, dim: int) -> None:
    """Makes stock use these masks."""
    import fairseq.models.wav2vec.wav2vec2 as module

    rows = torch.zeros(2 * FRAMES, dtype=torch.bool)
    rows[masks.frames] = True

    def drawn(shape: tuple[int, int], *args: Any, **kwargs: Any) -> np.ndarray:
        if shape[1] == dim:
            assert masks.channels is not None
            return masks.channels.numpy()
        return rows.view(2, FRAMES).numpy()

    monkeypatch.setattr(module, "compute_mask_indices", drawn)


def targets() -> tuple[Tensor, Tensor]:
    return torch.tensor([[2, 3, 3, 1], [5, 4, 1, 1]]), torch.tensor([4, 3])


@pytest.mark.parametrize(("settings", "tuning"), CASES.values(), ids=CASES)
def test_a_step_is_stock_s(settings: dict[str, Any], tuning: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stock, ours = pair(settings, tuning)
    wav, (said, lengths) = torch.stack([noise(SAMPLES, i) for i in range(2)]), targets()
    masks = draw_masks([FRAMES] * 2, [7, 8], ours.wav2vec2.config)
    give(masks, monkeypatch, ours.wav2vec2.config.encoder_embed_dim)
    task = SimpleNamespace(
        target_dictionary=SimpleNamespace(pad=lambda: 98, eos=lambda: 99, index=lambda s: 0), blank_symbol=""
    )
    criterion = CtcCriterion(CtcCriterionConfig(zero_infinity=True, sentence_avg=True), task)
    sample = {
        "id": torch.arange(2),
        "net_input": {"source": wav, "padding_mask": torch.zeros_like(wav, dtype=torch.bool)},
        "target": torch.where(torch.arange(4) < lengths[:, None], said, 98),
        "target_lengths": lengths,
        "ntokens": 7,
    }
    torch.manual_seed(5)
    wanted, _, _ = criterion(stock.train(), sample)
    torch.manual_seed(5)
    out = ours.train()(wav, torch.tensor([SAMPLES] * 2), masks=masks)
    assert out.lengths.tolist() == [FRAMES] * 2
    loss = ours.sequence_loss(out.emissions, out.lengths, said, lengths).sum()
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-4)
    wanted.backward()
    loss.backward()
    grads = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in stock.named_parameters()}
    own, learnt = dict(ours.named_parameters()), 0
    for name, grad in fine_tuned_weights_of_stock(grads, ours.wav2vec2.config).items():
        mine = torch.zeros_like(grad) if own[name].grad is None else own[name].grad
        limit = 1e-4 * float(grad.abs().max()) + 1e-5
        torch.testing.assert_close(mine, grad, rtol=1e-3, atol=limit, msg=lambda m, n=name: f"{n}: {m}")
        learnt += bool(grad.any())
    frozen = not tuning.feature_grad_mult
    assert learnt > 30 and frozen == (own["wav2vec2.encoder.layers.0.conv.weight"].grad is None)


def test_without_masks_emissions_are_stock_s() -> None:
    stock, ours = pair({}, STILL)
    wav = noise(SAMPLES)[None]
    with torch.no_grad():
        there = stock.eval()(source=wav, padding_mask=torch.zeros_like(wav, dtype=torch.bool))["encoder_out"]
        here = ours.eval()(wav, torch.tensor([SAMPLES])).emissions
    torch.testing.assert_close(here[0], there[:, 0], rtol=1e-4, atol=1e-5)


def test_who_says_nothing_is_fine_tuned_as_stock_is_with_ten_minutes_of_labels() -> None:
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig

    path = Path(fairseq.__path__[0], "examples/wav2vec/config/finetuning/base_10m.yaml")
    if not path.is_file():
        pytest.skip("this fairseq has no examples in its wheel")
    theirs = {**vars(Wav2Vec2CtcConfig()), **yaml.safe_load(path.read_text())["model"]}
    ours = asdict(FineTuning())
    assert ours == {name: theirs[name] for name in ours}
