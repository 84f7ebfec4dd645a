"""Prepared features: slopes beside a layer's frames, mean and scale of an utterance or a speaker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transcribing import save

from vqw2v_plugin import Transcriber, load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.audio.reading import AudioError, read_audio
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.features import speakers as speakers_module
from vqw2v_plugin.features.acoustic_front import make_front
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.modules.layers.slopes import slopes
from vqw2v_plugin.stores.feature_spec import FeatureSpec, read_spec
from vqw2v_plugin.stores.features import FeatureStore

PREPARED = ["--layer", "mfcc:4", "--bands", "20", "--deltas", "2", "--standardize"]
LOUD = {"a": 0.02, "b": 0.3}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with three clips each, one without a name, and a third with a file that is none."""
    folder, rng, rows = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0), []
    for i, speaker in enumerate(["a", "b", "a", "b", "a", "b", ""]):
        wav = LOUD.get(speaker, 0.1) * rng.normal(0, 1, 3000 + 500 * i).cumsum() * 0.05
        soundfile.write(folder / f"{i}.wav", wav.clip(-1, 1), 16_000, "FLOAT")
        rows.append({"path": f"{i}.wav", "samples": len(wav), "speaker": speaker})
    (folder / "none.wav").write_text("no audio")
    rows.append({"path": "none.wav", "samples": 4000, "speaker": "c"})
    write_manifest(folder / "train.tsv", folder, rows, ("path", "samples", "speaker"))
    return folder


def made(corpus: Path, out: Path, how: str, *more: str) -> dict[str, torch.Tensor]:
    options = [*PREPARED, how, "--store", "fp32", *more]
    assert main(["features", "-", str(corpus / "train.tsv"), str(out), *options]) == 1  # one file is none
    store = FeatureStore(out, "train")
    return {utt: torch.from_numpy(store[i].copy()) for i, (utt, _) in enumerate(store.rows)}


def plain(corpus: Path, utt: str) -> torch.Tensor:
    frames = load_features("mfcc:4", bands=20).of(corpus / f"{utt}.wav")
    once = slopes(frames)
    return torch.cat([frames, once, slopes(once)], 1)


def test_slopes_stand_beside_the_layer_s_own(corpus: Path, tmp_path: Path) -> None:
    found = made(corpus, tmp_path / "out", "none")
    assert all(torch.equal(rows, plain(corpus, utt)) for utt, rows in found.items())
    spec = read_spec(tmp_path / "out")
    assert (spec.dim, spec.deltas, spec.standardize, spec.meaning("standardize")) == (12, 2, None, "none")


def test_an_utterance_goes_by_its_own_mean_and_scale(corpus: Path, tmp_path: Path) -> None:
    for utt, rows in made(corpus, tmp_path / "out", "utterance").items():
        expected = plain(corpus, utt)
        expected = (expected - expected.mean(0)) / expected.std(0, correction=0)
        torch.testing.assert_close(rows, expected, atol=1e-4, rtol=1e-3)


def test_a_speaker_s_utterances_go_by_all_of_them_and_others_by_their_own(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = made(corpus, tmp_path / "out", "speaker")
    assert "1 utterances went by their own mean and scale" in capsys.readouterr().out
    for speaker, utts in {"a": "024", "b": "135", "": "6"}.items():
        together = torch.cat([plain(corpus, utt) for utt in utts])
        mean, deviation = together.mean(0), together.std(0, correction=0)
        for utt in utts:
            expected = (plain(corpus, utt) - mean) / deviation
            torch.testing.assert_close(found[utt], expected, atol=1e-3, rtol=1e-3)
        assert found[utts[0]].mean(0).abs().max() > 0.01 or not speaker  # an utterance keeps what is its own
    assert read_spec(tmp_path / "out").standardize == "speaker"


def test_neither_order_nor_workers_nor_shards_change_a_speaker_s_features(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speakers_module, "_SECONDS", 0.4)  # two of three clips
    for name, more in {
        "one": ["--workers", "1"],
        "many": ["--workers", "3", "--shard-minutes", "0.005"],
    }.items():
        made(corpus, tmp_path / name, "speaker", *more)
    one, many = ((tmp_path / name / "train.npy").read_bytes() for name in ("one", "many"))
    assert one == many
    features = load_features("mfcc:4", bands=20, deltas=2, standardize="speaker")
    features.know(manifest := Manifest(corpus / "train.tsv"))
    store = FeatureStore(tmp_path / "one", "train")
    for i in (5, 2):  # in another order, alone, and where another process has read the audio
        expected = torch.from_numpy(store[i].copy())
        torch.testing.assert_close(features.of(manifest[i]), expected)
        torch.testing.assert_close(features.of_read(read_audio(manifest[i], 16_000), manifest[i]), expected)


def test_files_that_are_none_do_not_stand_for_a_speaker(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speakers_module, "_SECONDS", 0.01)  # the first file is enough
    manifest, asked = Manifest(corpus / "train.tsv"), list[str]()

    def frames_of(clip: Any) -> torch.Tensor:
        asked.append(clip.utt)
        if len(asked) < 3:
            raise AudioError(f"{clip.utt} is none")
        return torch.tensor([[1.0], [3.0]])

    moments = speakers_module.Speakers(manifest, 16_000, frames_of).of(manifest[0])
    assert moments is not None and moments.mean == 2 and sorted(asked) == ["0", "2", "4"]


def test_transcribing_makes_them_again_and_says_whose_speaker_it_does_not_know(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(corpus / "3.wav")
    for how in ("utterance", "speaker"):
        features = load_features("mfcc:4", bands=20, deltas=1, standardize=how)
        stamp = {**features.spec.to_json(), "store": "fp32"}
        model = save(tmp_path / f"{how}.pt", stamp)
        front = Transcriber.load(model).ears.front
        assert front.spec == FeatureSpec.from_json(stamp)
        own = load_features("mfcc:4", bands=20, deltas=1, standardize="utterance").of(path)
        assert torch.equal(front.features.of(path), own)
        assert main(["transcribe", model, path]) == 0
        said = capsys.readouterr().err
        assert ("1 utterances went by their own mean and scale" in said) == (how == "speaker")


def test_a_front_prepares_each_utterance_alone(corpus: Path) -> None:
    front = make_front(FeatureOptions("mfcc:4", bands=20, deltas=1, standardize="utterance"))
    assert (front.dim, front.spec.deltas, front.spec.standardize) == (8, 1, "utterance")
    wavs = [torch.from_numpy(read_audio(Manifest(corpus / "train.tsv")[i], 16_000)) for i in (0, 3)]
    lengths = torch.tensor([len(wav) for wav in wavs])
    together, frames = front(torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True), lengths)
    for rows, size, wav in zip(together, frames.tolist(), wavs, strict=True):
        assert torch.equal(rows[:size], front.features(wav))
    with pytest.raises(ValueError, match="`front_standardize` is speaker, and a batch of audio does not say"):
        make_front(FeatureOptions("mfcc", standardize="speaker"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"deltas": 3}, "`deltas` is 3; expected 0 to 2"),
        ({"deltas": -1}, "`deltas` is -1; expected 0 to 2"),
        ({"standardize": "corpus"}, "`standardize` is 'corpus'; expected one of none, utterance, speaker"),
    ],
)
def test_what_there_is_not_is_refused_wherever_it_stands(
    wrong: dict[str, object], message: str, tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=message):
        load_features("mfcc", **wrong)
    with pytest.raises(ValueError, match=message):
        FeatureSpec.from_json(wrong)
    options = [f"--{name}={value}" for name, value in wrong.items()]
    assert main(["features", "-", str(corpus / "train.tsv"), str(tmp_path), "--layer", "mfcc", *options]) == 2
    assert message in capsys.readouterr().err
    stamp = {**load_features("mfcc:4").spec.to_json(), "store": "fp32"}
    with pytest.raises((ValueError, CheckpointError), match=message):
        Transcriber.load(save(tmp_path / "strange.pt", {**stamp, **wrong}))
