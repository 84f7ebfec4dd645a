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
from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.audio.cuts import parts_of
from vqw2v_plugin.audio.reading import AudioError, read_audio
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.features import speakers as speakers_module
from vqw2v_plugin.features.acoustic_front import make_front
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.features.speakers import ManifestVoices
from vqw2v_plugin.modules.layers.slopes import slopes
from vqw2v_plugin.stores.feature_spec import FeatureSpec, read_spec
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.training.datasets.labelled import AudioSource

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
    features.know(ManifestVoices(manifest := Manifest(corpus / "train.tsv")))
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

    moments = speakers_module.Speakers(ManifestVoices(manifest), frames_of).of(manifest[0])
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
        torch.testing.assert_close(front.features.of(path), own)
        assert main(["transcribe", model, path]) == 0
        said = capsys.readouterr().err
        assert ("nobody says who speaks in 1 files: each went by its own" in said) == (how == "speaker")
    assert main(["transcribe", str(tmp_path / "utterance.pt"), path, "--speaker", "all"]) == 2
    assert "`--speaker` is all, but the features of" in capsys.readouterr().err


@pytest.fixture
def transcriber(tmp_path: Path) -> Transcriber:
    features = load_features("mfcc:4", bands=20, deltas=2, standardize="speaker")
    return Transcriber.load(
        save(tmp_path / "model.pt", {**features.spec.to_json(), "store": "fp32"}), limit=1
    )


def heard(transcriber: Transcriber, path: Path) -> torch.Tensor:
    return transcriber.ears.front.features.of(str(path))


def test_files_of_a_speaker_have_the_folder_s_features(
    corpus: Path, tmp_path: Path, transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (300.0, 0.4):  # all of it, and two of three clips
        monkeypatch.setattr(speakers_module, "_SECONDS", seconds)
        folder = made(corpus, tmp_path / f"{seconds}", "speaker")
        for who in ([corpus / f"{i}.wav" for i in (4, 2, 0)], Manifest(corpus / "train.tsv")):
            transcriber.know(who)
            for utt in "024":
                torch.testing.assert_close(heard(transcriber, corpus / f"{utt}.wav"), folder[utt])


def test_a_file_alone_is_a_speaker_however_it_is_cut(corpus: Path, transcriber: Transcriber) -> None:
    wav = np.concatenate([soundfile.read(corpus / f"{i}.wav")[0] for i in (0, 1, 2, 3, 4, 5)])
    soundfile.write(path := corpus / "long.wav", wav, 16_000, "FLOAT")
    parts = list(parts_of(path, transcriber.limit, transcriber.frame_seconds))
    features = transcriber.ears.front.features
    rows = [features.of(Clip(str(path), part.samples, part.start)) for part in parts]
    assert len(rows) > 1 and all(part.mean(0).abs().max() > 0.05 for part in rows)
    whole = torch.cat(rows)
    torch.testing.assert_close(whole.mean(0), torch.zeros(12), atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.std(0, correction=0), torch.ones(12), atol=1e-4, rtol=0)
    (corpus / "long.wav").unlink()


def test_a_manifest_that_says_who_speaks_is_asked_for(
    corpus: Path, tmp_path: Path, transcriber: Transcriber, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = str(tmp_path / "model.pt"), str(corpus / "0.wav")
    assert main(["transcribe", model, path, "--speaker", str(corpus / "train.tsv")]) == 0
    assert "went by" not in capsys.readouterr().err
    assert main(["transcribe", model, str(corpus / "6.wav"), "--speaker", str(corpus / "train.tsv")]) == 0
    assert "1 utterances went by their own mean and scale" in capsys.readouterr().err
    write_manifest(tmp_path / "mere.tsv", corpus, [{"path": "0.wav", "samples": 3000}], ("path", "samples"))
    assert main(["transcribe", model, path, "--speaker", str(tmp_path / "mere.tsv")]) == 2
    assert "mere.tsv: has no column speaker (path, samples); name another" in capsys.readouterr().err


def test_a_front_that_goes_by_speaker_gives_the_folder_s_features(corpus: Path, tmp_path: Path) -> None:
    folder = made(corpus, tmp_path / "out", "speaker")
    front = make_front(FeatureOptions("mfcc:4", bands=20, deltas=2, standardize="speaker"))
    assert front.goes_by_speaker and front.spec.standardize == "speaker"
    source = AudioSource(Manifest(corpus / "train.tsv"), 16_000)
    for rows in ([3, 0], [6, 2]):
        wavs = [torch.from_numpy(source.read(row)) for row in rows]
        lengths = torch.tensor([len(wav) for wav in wavs])
        padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
        found, frames = front(padded, lengths, [source.clip(row) for row in rows])
        for row, features, size in zip(rows, found, frames.tolist(), strict=True):
            torch.testing.assert_close(features[:size], folder[str(row)])
    for updates in (0, 10):
        said = f"`front_standardize` is speaker and `freeze_updates` {updates}: the mean"
        with pytest.raises(ValueError, match=said):
            make_front(FeatureOptions("mfcc", standardize="speaker"), updates)


def test_a_front_prepares_each_utterance_alone(corpus: Path) -> None:
    front = make_front(FeatureOptions("mfcc:4", bands=20, deltas=1, standardize="utterance"))
    assert (front.dim, front.spec.deltas, front.spec.standardize) == (8, 1, "utterance")
    wavs = [torch.from_numpy(read_audio(Manifest(corpus / "train.tsv")[i], 16_000)) for i in (0, 3)]
    lengths = torch.tensor([len(wav) for wav in wavs])
    together, frames = front(torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True), lengths)
    for rows, size, wav in zip(together, frames.tolist(), wavs, strict=True):
        assert torch.equal(rows[:size], front.features(wav))


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


def test_clips_of_nobody_are_counted_since_notes_are_taken() -> None:
    features = load_features("mfcc:4", bands=20, standardize="speaker")
    for count in (1, 2):
        features.prepare(torch.arange(12.0).view(3, 4), Clip("a.wav"))
        assert features.notes()[0].startswith(f"{count} utterances went by their own mean and scale")
    features.take_notes()
    assert features.notes() == []
    for how in ("none", "utterance"):  # nobody is asked for
        features = load_features("mfcc:4", bands=20, standardize=how, deltas=1)
        features.prepare(torch.arange(12.0).view(3, 4), Clip("a.wav"))
        assert features.notes() == []
