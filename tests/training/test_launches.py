"""How much a GPU is asked for in a pretraining step: calls of operators, and waits, whatever the batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from launches import Launches, count_by_part, on_a_gpu
from small_trainers import deep_bert_trainer, deep_trainer, deep_wav2vec2_trainer

# with the 33 M model's layers; before, in bf16: 1,632 and 1,749 calls, and 3 waits
MOST = {("gumbel", True): 250, ("kmeans", True): 310, ("gumbel", False): 245}
MOST_OF_WAV2VEC2 = 700  # with BASE's; before, five utterances of unlike lengths made 903
MOST_OF_BERT = {True: 460, False: 480}  # with BERT base's twelve layers

Sample = dict[str, Any]


def steps(
    trainer: Trainer, sample: Callable[[int], Sample], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> list[Launches]:
    """One after the other, each counted for itself; the first makes what stays."""
    metrics.reset()  # of trainings before, whose codes were others
    trainer._model.to("meta")
    trainer.device = torch.device("meta")
    trainer.begin_epoch(1)
    counted: list[Launches] | None = None
    for size in batches:
        with on_a_gpu(monkeypatch) as launches, monkeypatch.context() as patched:
            if counted is not None:
                count_by_part(launches, trainer, patched)
            with launches, metrics.aggregate("train"):
                trainer.train_step([sample(size)])
            counted = [] if counted is None else [*counted, launches]
    return counted or []


def check(launches: Launches, most: int) -> None:
    parts = {part: sum(calls.values()) for part, calls in launches.calls.items()}
    assert launches.total <= most, (launches.total, parts)
    assert len(launches.waits) <= 1, launches.waits


def vq_wav2vec(
    quantizer: str, bf16: bool, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> list[Launches]:
    dtype = torch.bfloat16 if bf16 else torch.float32

    def sample(size: int) -> Sample:
        source = torch.empty(size, 15_000, device="meta", dtype=dtype)
        return {"id": torch.arange(size), "net_input": {"source": source}}

    return steps(deep_trainer(quantizer, bf16), sample, batches, monkeypatch)


@pytest.mark.parametrize(("quantizer", "bf16"), MOST)
def test_a_step_makes_few_calls_and_waits_once(
    quantizer: str, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(vq_wav2vec(quantizer, bf16, [2, 2], monkeypatch)[0], MOST[quantizer, bf16])


def test_a_larger_batch_makes_no_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = vq_wav2vec("gumbel", True, [2, 2, 9, 9], monkeypatch)[::2]
    assert many.calls == few.calls


def tokens(size: int) -> Sample:
    """Packed, none as long as another."""
    lengths, counts = [20 + 3 * i for i in range(size)], [3] * size
    total, masked = (torch.empty(sum(n), dtype=torch.int64, device="meta") for n in (lengths, counts))
    net_input = {"tokens": total, "lengths": lengths, "masked": masked, "counts": counts}
    sizes = {"id": torch.arange(size), "ntokens": len(total), "nsentences": size}
    return {**sizes, "target": torch.empty_like(masked), "net_input": net_input}


@pytest.mark.parametrize("bf16", [True, False])
def test_a_step_of_bert_makes_few_calls_and_waits_once(
    bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = deep_bert_trainer(tmp_path, bf16)
    few, many = steps(trainer, tokens, [2, 2, 4], monkeypatch)
    check(few, MOST_OF_BERT[bf16])
    assert many.total <= few.total + 2  # where utterances end is copied once


def crops(lengths: list[int], dtype: torch.dtype) -> Sample:
    source = torch.empty(len(lengths), max(lengths), device="meta", dtype=dtype)
    net_input = {"source": source, "lengths": lengths, "seeds": list(range(len(lengths)))}
    return {"id": torch.arange(len(lengths)), "net_input": net_input}


def test_a_step_of_wav2vec2_makes_few_calls_and_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(size: int) -> Sample:
        return crops([16_000] * size, torch.bfloat16)

    few, many = steps(deep_wav2vec2_trainer(True), alike, [2, 2, 4, 4], monkeypatch)[::2]
    check(few, MOST_OF_WAV2VEC2)
    assert many.calls == few.calls


def test_of_a_padded_batch_only_the_first_norm_goes_by_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    """BASE's; LARGE has none over time."""

    def unlike(size: int) -> Sample:
        return crops([16_000 - 700 * i for i in range(size)], torch.bfloat16)

    large = ("--extractor-mode", "layer_norm", "--layer-norm-first", "--conv-bias")
    for options, each in (((), 10), (large, 0)):
        trainer = deep_wav2vec2_trainer(True, "--encoder-layers", "2", *options)
        few, many = steps(trainer, unlike, [2, 2, 4, 4], monkeypatch)[::2]
        assert many.total - few.total <= 2 * each
