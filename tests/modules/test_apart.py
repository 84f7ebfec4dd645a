"""What is told of each utterance adds up to the batch, and is what the utterance would have alone."""

from collections.abc import Callable

import pytest
import torch
from speech_bert import speech_bert
from wav2vec2s import noise, padded, tiny_wav2vec2

from vqw2v_plugin.modules.bert.config import BertConfig
from vqw2v_plugin.modules.bert.network import Bert
from vqw2v_plugin.modules.bert.speech import NO_CODE
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.kernels.attention import Rows
from vqw2v_plugin.modules.layers.apart import Apart
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec


def check_adds_up(apart: Apart | None, loss: torch.Tensor, correct: torch.Tensor, made: int) -> None:
    assert apart is not None and not apart.sums.requires_grad
    assert apart.sums.sum(0).tolist() == pytest.approx([loss.item(), float(correct), made], rel=1e-4)


@pytest.mark.parametrize("infonce", [True, False])
@pytest.mark.parametrize("quantizer", ["kmeans", "none"])
def test_of_contrasts(tiny: Callable[..., VqWav2Vec], quantizer: str, infonce: bool) -> None:
    network = tiny(quantizer=quantizer, balanced_classes=True)
    wav = torch.stack([noise(3_000, seed) for seed in range(3)])
    out = network.objective(wav, infonce, changed=wav + 0.1, apart=True)
    check_adds_up(out.apart, out.contrastive, out.num_correct, out.num_predictions)
    assert out.apart is not None and out.apart.sums.shape == (3, 3)
    if quantizer == "kmeans":
        assert out.apart.counts is not None and len(out.quantized.codes) == 6  # also of what was changed
        clean = [torch.bincount(codes, minlength=8) for codes in out.quantized.codes[:3].mT.flatten(0, 1)]
        assert torch.equal(out.apart.counts.flatten(0, 1), torch.stack(clean).float())
        counts = network.eval().objective(wav, apart=True)
        assert counts.apart is not None and counts.apart.counts is not None
        assert torch.equal(counts.apart.counts.sum(0), counts.quantized.stats.counts)
    else:
        assert out.apart.counts is None
    assert network.objective(wav).apart is None


@pytest.mark.parametrize("quantizes", [{}, {"quantize_targets": False, "quantize_input": True}])
def test_of_masked_frames_by_whatever_neighbours(quantizes: dict[str, bool]) -> None:
    network = tiny_wav2vec2(**quantizes).eval()
    wavs = [noise(900), noise(2_000, 1), noise(1_400, 2)]
    batch, lengths = padded(wavs)
    out = network.objective(batch, lengths, [5, 6, 7], apart=True)
    check_adds_up(out.apart, out.contrastive, out.num_correct, out.num_predictions)
    assert out.apart is not None and out.apart.counts is not None
    assert torch.equal(out.apart.counts.sum(0), out.quantized.stats.counts)
    alone = network.objective(wavs[1][None], [2_000], [6], apart=True).apart
    assert alone is not None and torch.allclose(alone.sums[0], out.apart.sums[1], rtol=1e-4)
    assert alone.counts is not None and torch.equal(alone.counts[0], out.apart.counts[1])


@pytest.mark.parametrize("vocabulary", ["joint", "groups"])
def test_of_masked_tokens(vocabulary: str) -> None:
    torch.manual_seed(0)
    symbols = Symbols(tuple(f"{i}-{i % 3}" for i in range(9)))
    network = Bert(BertConfig(1, 8, 16, 2, vocabulary=vocabulary), symbols).eval()
    tokens = torch.randint(4, 13, (30,))
    masked = Rows(torch.tensor([1, 2, 15, 20, 29]), [2, 0, 3])
    out = network(tokens, [10, 4, 16], masked, tokens[masked.index], apart=True)
    check_adds_up(out.apart, out.loss, out.num_correct, 5)
    assert out.apart.sums[:, 2].tolist() == [2, 0, 3]


def test_of_masked_speech() -> None:
    network = speech_bert().eval()
    masked = Rows(torch.tensor([1, 2, 15]), [2, 1])
    targets = torch.tensor([[1, 2], [3, NO_CODE], [0, 6]])
    out = network(torch.randn(20, 20), [9, 11], masked, targets, apart=True)
    check_adds_up(out.apart, out.loss, out.num_correct, 5)
    assert out.apart.sums[:, 2].tolist() == [3, 2]
