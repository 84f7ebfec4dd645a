"""BERT over speech: masked frames are not heard, utterances do not see each other, each code is restored."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from speech_bert import SIZES, speech_bert
from torch import Tensor

from vqw2v_plugin.modules.bert.config import SPEECH_ARCHS, SpeechBertConfig
from vqw2v_plugin.modules.bert.speech import NO_CODE, SpeechInput
from vqw2v_plugin.modules.kernels.attention import Rows
from vqw2v_plugin.modules.layers.spectrum import LogMel

LENGTHS = [7, 12, 3]
MASKED = torch.tensor([1, 2, 3, 9, 10, 20])
COUNTS = [3, 2, 1]
WAYS = [{}, {"position": "learned"}, {"encoder_normalize_before": True}, {"stack": 3, "num_groups": 2}]


def frames(stack: int = 2) -> Tensor:
    return torch.randn(sum(LENGTHS), 10 * stack, generator=torch.Generator().manual_seed(3))


def targets(num: int) -> Tensor:
    return torch.randint(7, (len(MASKED), num), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_batched_equals_alone(settings: dict[str, Any]) -> None:
    network, x = speech_bert(**settings).eval(), frames(settings.get("stack", 2))
    together = network.scores(x, LENGTHS).split(LENGTHS)
    for found, part in zip(together, x.split(LENGTHS), strict=True):
        torch.testing.assert_close(found, network.scores(part, [len(part)]))


def test_a_masked_frame_is_the_mask_vector_and_nothing_of_what_is_heard() -> None:
    network, x = speech_bert().eval(), frames()
    seen = network.masked_input(x, MASKED)
    assert torch.equal(seen[MASKED], network.mask.expand(len(MASKED), -1))
    others = torch.ones(len(x), dtype=torch.bool)
    others[MASKED] = False
    assert torch.equal(seen[others], network.projection(x)[others])
    rows, wanted = Rows(MASKED, COUNTS), targets(2)
    before = network(x, LENGTHS, rows, wanted).loss
    x[MASKED] = torch.randn(len(MASKED), x.size(1))
    assert torch.equal(network(x, LENGTHS, rows, wanted).loss, before)
    x[0] += 1
    assert not torch.equal(network(x, LENGTHS, rows, wanted).loss, before)


@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_the_loss_is_that_of_scores_of_all_frames(settings: dict[str, Any]) -> None:
    """Masked by hand, every frame scored, and a cross-entropy for each code that is known."""
    network, x = speech_bert(**settings).eval(), frames(settings.get("stack", 2))
    wanted = targets(network.num_targets)
    wanted[2, 1] = wanted[5] = NO_CODE
    found = network(x, LENGTHS, Rows(MASKED, COUNTS), wanted)
    seen = network.projection(x)
    seen[MASKED] = network.mask
    scores = network._scores(network._states(seen, LENGTHS)[-1])[MASKED]  # [K, H, V]
    loss, correct = torch.zeros(()), 0
    for k, h in (wanted != NO_CODE).nonzero().tolist():
        loss = loss - F.log_softmax(scores[k, h], -1)[wanted[k, h]]
        correct += int(scores[k, h].argmax() == wanted[k, h])
    torch.testing.assert_close(found.loss, loss)
    assert found.num_correct == correct


@torch.no_grad()
@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_each_utterance_s_share_is_what_it_has_alone(settings: dict[str, Any]) -> None:
    """Loss, right answers, and codes that are known; an utterance may have none."""
    network, x = speech_bert(**settings).eval(), frames(settings.get("stack", 2))
    wanted = targets(network.num_targets)
    wanted[2, 1] = wanted[5] = NO_CODE
    sure = torch.tensor([0, 4])  # frames whose codes are those that score highest
    seen = network._scores(network._states(network.masked_input(x, MASKED), LENGTHS)[-1])[MASKED]
    wanted[sure] = seen[sure].argmax(-1)
    found = network(x, LENGTHS, Rows(MASKED, COUNTS), wanted, apart=True)
    assert found.apart is not None
    begin = first = 0
    for told, length, count in zip(found.apart.sums, LENGTHS, COUNTS, strict=True):
        rows, part = slice(first, first + count), x[begin : begin + length]
        alone = network(part, [length], Rows(MASKED[rows] - begin, [count]), wanted[rows])
        torch.testing.assert_close(told[0], alone.loss)
        assert told[1:].tolist() == [int(alone.num_correct), int((wanted[rows] != NO_CODE).sum())]
        begin, first = begin + length, first + count
    assert found.apart.sums[0, 1] != found.apart.sums[2, 1]


def test_losses_of_16_bit_scores_are_summed_in_32() -> None:
    """Of 1,500 codes: in bfloat16 their sum would be a multiple of 16."""
    network, x = speech_bert(num_groups=2).bfloat16().eval(), torch.randn(400, 20).bfloat16()
    masked, wanted = torch.arange(400), torch.arange(1600).view(400, 4) % 7
    found = network(x, [400], Rows(masked, [400]), wanted)
    scores = network._scores(network._states(network.masked_input(x, masked), [400])[-1]).double()
    loss = F.cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="sum")
    assert found.loss.dtype == torch.float32 and float(found.loss) == pytest.approx(float(loss), rel=1e-4)


def test_every_weight_learns() -> None:
    network = speech_bert(dropout=0.0).train()
    network(frames(), LENGTHS, Rows(MASKED, COUNTS), targets(2)).loss.backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_who_says_nothing_gets_hubert_s_frames_and_a_hundred_codes() -> None:
    config = SpeechBertConfig()
    assert (config.bands, config.stack, config.normalize_bands) == (80, 2, True)
    assert (config.num_groups, config.num_codes, config.position) == (1, 100, "rotary")
    assert (config.encoder_layers, config.encoder_embed_dim, config.encoder_attention_heads) == (12, 768, 12)
    heard = SpeechInput(16_000)
    assert (heard.mel.num_bands, heard.stack, heard.normalize_bands) == (80, 2, True)
    assert (heard.geometry.receptive_field, heard.geometry.stride) == (400 + 160, 320)
    small = SPEECH_ARCHS["vq_speech_bert_small"]
    assert (small.encoder_layers, small.encoder_embed_dim, small.encoder_attention_heads) == (6, 256, 4)
    assert small.encoder_ffn_embed_dim == 1024 and SPEECH_ARCHS["vq_speech_bert_base"] == config


def test_weights_begin_as_roberta_s_and_so_does_the_mask_vector() -> None:
    network = speech_bert(encoder_embed_dim=512)
    for x in (network.mask, network.projection.weight, network.output.weight, network.layers[0].qkv.weight):
        assert float(x.detach().std()) == pytest.approx(0.02, rel=0.15)
    assert not network.projection.bias.any() and not network.output.bias.any()


def test_it_can_learn_codes_by_heart() -> None:
    network, x, wanted = speech_bert(dropout=0.0, attention_dropout=0.0), frames(), targets(2)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        found = network(x, LENGTHS, Rows(MASKED, COUNTS), wanted)
        found.loss.backward()
        optimizer.step()
    assert found.num_correct == wanted.numel() and found.loss / wanted.numel() < 0.3


@pytest.mark.parametrize("stack", [1, 2, 3])
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_joined_frames_are_neighbouring_log_mels(stack: int, rate: int) -> None:
    wav = torch.randn(rate // 3, generator=torch.Generator().manual_seed(5))
    heard, mel = SpeechInput(rate, 10, stack, normalize_bands=False), LogMel(rate, 10)
    x, plain = heard(wav), mel(wav)
    assert x.shape == (len(plain) // stack, 10 * stack) and len(x) == heard.geometry.frames(len(wav))
    assert torch.equal(x.reshape(-1, 10), plain[: len(x) * stack])
    edge = heard.geometry.samples(2)
    assert [len(heard(wav[:n])) for n in (edge - 1, edge)] == [1, 2]


def test_each_band_has_mean_0_and_deviation_1_whatever_the_loudness() -> None:
    wav = torch.randn(8_160, generator=torch.Generator().manual_seed(5))
    wav[8_000:] *= 50  # of a 49th frame, which has no neighbour to be joined with
    heard = SpeechInput(16_000, 10, 2)
    bands = heard(wav).reshape(-1, 10)
    torch.testing.assert_close(bands.mean(0), torch.zeros(10), atol=1e-5, rtol=0)
    torch.testing.assert_close(bands.std(0, correction=0), torch.ones(10), atol=1e-4, rtol=0)
    torch.testing.assert_close(heard(wav / 8), heard(wav), atol=1e-3, rtol=0)
    assert not heard(torch.zeros(8_000)).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stack": 0}, "`stack` is 0; expected at least 1"),
        ({"stack": 101}, "`stack` is 101; expected 1 to 100"),
        ({"num_codes": 0}, "`num_codes` is 0"),
        ({"bands": -1}, "`bands` is -1"),
        ({"num_groups": 0}, "`num_groups` is 0"),
        ({"encoder_attention_heads": 16}, "rotary positions need an even size"),
        ({"normalize_bands": "false"}, "`normalize_bands` is 'false'; expected true or false"),
    ],
)
def test_settings_that_give_no_network_are_said(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpeechBertConfig(**{**SIZES, **settings})


def test_a_band_that_hardly_varies_is_scaled_by_a_hundredth_and_not_by_what_it_varies() -> None:
    """So digital silence with a little noise is not made as loud as speech."""
    heard, bands = SpeechInput(16_000, 10, 2), torch.randn(40, 10, generator=torch.Generator().manual_seed(5))
    bands = (bands - bands.mean(0)) / bands.std(0, correction=0)
    found = heard._joined(1e-3 * bands + 3, heard.geometry.samples(20)).reshape(-1, 10)
    torch.testing.assert_close(found, 0.1 * bands, atol=1e-3, rtol=0)


def test_as_many_frames_are_joined_as_a_network_may_have() -> None:
    assert SpeechInput(16_000, 10, 100).geometry.stride == 16_000
    for stack in (0, 101):
        with pytest.raises(ValueError, match=f"`stack` is {stack}; expected 1 to 100 frames of 10 ms"):
            SpeechInput(16_000, 10, stack)


def test_a_spectrum_is_made_for_each_device_once() -> None:
    heard, meta = SpeechInput(8_000, 10), torch.device("meta")
    made = heard._mel_on(meta)
    assert (made.sample_rate, made.num_bands) == (8_000, 10) and heard._mel_on(meta) is made
    assert heard(torch.zeros(8_000, device=meta)).shape == (49, 20)
    assert heard._mel_on(torch.device("cpu")) is heard.mel
