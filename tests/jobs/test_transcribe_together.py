"""Many files to words, as on a GPU: several heard at once, and each says what it says alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from finetuned import save_fine_tuned, tiny_fine_tuned
from transcribing import LOGMEL, save, save_with_front

from vqw2v_plugin import Transcriber
from vqw2v_plugin.features import spectral, together
from vqw2v_plugin.jobs.transcribe import transcribed
from vqw2v_plugin.modules.kernels import devices, launching
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

SECONDS = (0.4, 1.0, 0.7, 3.1, 0.5, 0.9)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(3)
    for i, seconds in enumerate(SECONDS):
        sf.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, int(16_000 * seconds)), 16_000)
    return [str(tmp_path / f"{i}.wav") for i in range(len(SECONDS))]


@pytest.fixture(params=["logmel", "quantized", "finetuned"])
def model(request: pytest.FixtureRequest, tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> str:
    if request.param == "logmel":
        return save(tmp_path / "acoustic.pt", LOGMEL)
    if request.param == "quantized":
        return save_with_front(tiny(quantizer="kmeans"), tmp_path)[0]
    return str(save_fine_tuned(tmp_path / "finetuned.pt", tiny_fine_tuned()))


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(launching, "have_triton", lambda: False)
    for each in (spectral, together):
        monkeypatch.setattr(each, "SAMPLES", samples)


def test_each_says_what_it_says_alone(
    model: str, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that is cut, too; what cannot be read is named, and the rest go on."""
    (tmp_path / "text.wav").write_text("hello")
    transcriber = Transcriber.load(model, limit=2.0)
    alone = {path: transcriber(path) for path in files}
    asked = [*files[:2], str(tmp_path / "text.wav"), *files[2:], "missing.wav"]
    apart = list(transcribed(transcriber, asked))
    as_on_a_gpu(monkeypatch, 50_000)
    sizes: list[int] = []
    hear = transcriber.ears.hear_many
    monkeypatch.setattr(transcriber.ears, "hear_many", lambda heard: sizes.append(len(heard)) or hear(heard))
    found = list(transcribed(transcriber, asked))
    assert len(sizes) >= 2 and max(sizes) > 1
    for told in (apart, found):
        assert [path for _, path in told] == asked
        for said, path in told:
            if path not in alone:
                assert isinstance(said, str) and path in said
                continue
            assert not isinstance(said, str) and said.words and said.text == alone[path].text
            assert [(w.begin, w.end) for w in said.words] == [(w.begin, w.end) for w in alone[path].words]
            assert said.score == pytest.approx(alone[path].score, rel=1e-4)


def test_no_batch_has_more_samples_than_there_is_room_for(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcriber = Transcriber.load(save(tmp_path / "acoustic.pt", LOGMEL))
    as_on_a_gpu(monkeypatch, 40_000)
    seen: list[tuple[int, ...]] = []
    transcriber.ears.network.register_forward_pre_hook(lambda _, x: seen.append(tuple(x[0].shape[:2])))
    assert len(list(transcribed(transcriber, files))) == len(SECONDS)
    assert len(seen) < len(SECONDS) and all(b == 1 or 160 * b * t <= 40_000 for b, t in seen)
    assert sum(b for b, _ in seen) == len(SECONDS)


def test_where_the_batch_fails_each_is_tried_alone(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcriber = Transcriber.load(save(tmp_path / "acoustic.pt", LOGMEL))
    as_on_a_gpu(monkeypatch, 2**21)

    def full(heard: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    alone = {path: transcriber(path) for path in files}
    monkeypatch.setattr(transcriber.ears, "hear_many", full)
    assert {path: said for said, path in transcribed(transcriber, files)} == alone
