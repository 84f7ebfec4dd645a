"""`vqw2v segment`: rows are those of plain loops over a layer's frames, whatever is killed or comes first."""

import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from corpus_runs import FEW, content, saved
from transcribing import save

from vqw2v_plugin import Tokenizer, Transcriber, load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.audio.reading import read_audio
from vqw2v_plugin.audio.silence import without_silence
from vqw2v_plugin.checkpoints.files import CheckpointError, sha256
from vqw2v_plugin.common.locks import Rank
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.features.principal import PrincipalError, read_principal
from vqw2v_plugin.features.segments import SegmentFeatures, SpokenFeatures
from vqw2v_plugin.jobs.drawn_frames import DrawOptions
from vqw2v_plugin.jobs.principal import find_principal
from vqw2v_plugin.jobs.segment import TargetsJob
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.feature_spec import read_spec
from vqw2v_plugin.stores.features import FeatureError, FeatureStore
from vqw2v_plugin.stores.frames import FeatureFrames, TokenFrames

RATE = 16_000
MFCC = ["--layer", "mfcc:4"]


def write_split(folder: Path, name: str, files: int) -> None:
    """Clips of a few sounds with a pause in their middle."""
    rng, rows = np.random.default_rng(len(name)), []
    for i in range(files):
        sounds = [rng.normal(0, 0.1, 3_000) * level for level in (1, 0.4)]
        tones = [0.3 * np.sin(np.arange(2_500 + 200 * i) * hertz) for hertz in (0.1, 0.5)]
        pause = rng.normal(0, 1e-4, 6_000)
        wav = np.concatenate([pause[:2000], sounds[0], tones[0], pause, tones[1], sounds[1], pause[:1000]])
        sf.write(folder / f"{name}{i}.flac", wav, RATE)
        rows.append({"path": f"{name}{i}.flac", "samples": len(wav)})
    write_manifest(folder / f"{name}.tsv", folder, rows)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train and valid, and clusters of MFCC."""
    folder = tmp_path_factory.mktemp("corpus")
    write_split(folder, "train", 6)
    write_split(folder, "valid", 3)
    for name, options in {"mfcc": MFCC, "mel": ["--layer", "logmel", "--bands", "9"]}.items():
        command = [
            "cluster",
            "-",
            folder / "train.tsv",
            folder / name,
            *options,
            "--codes",
            5,
            "--workers",
            1,
        ]
        assert main([*map(str, command)]) == 0
    return folder


def segment(corpus: Path, out: Path, *options: object, split: str = "train", checkpoint: object = "-") -> int:
    command = ["segment", checkpoint, corpus / f"{split}.tsv", out, *options, "--store", "fp32"]
    return main([*map(str, command)])


def said(corpus: Path, utt: str) -> np.ndarray:
    return without_silence(read_audio(corpus / f"{utt}.flac", RATE), RATE, "energy")


def rows_of(out: Path, split: str = "train") -> dict[str, torch.Tensor]:
    store = FeatureStore(out, split)
    return {utt: torch.from_numpy(store[i].copy()) for i, (utt, _) in enumerate(store.rows)}


def test_rows_are_pairs_of_runs_in_components_of_what_is_said(corpus: Path, tmp_path: Path) -> None:
    """All stages at once, against loops; the second split is given in the components of the first."""
    options = [*MFCC, "--clusters", corpus / "mfcc", "--pca", 3]
    for split in ("train", "valid"):
        assert segment(corpus, tmp_path / "o", *options, split=split) == 0
    features, clusters = load_features("mfcc:4"), Tokenizer.load(corpus / "mfcc").coder.clusters  # type: ignore[attr-defined]
    frames = {
        f"{split}{i}": features(torch.from_numpy(said(corpus, f"{split}{i}")))
        for split, count in (("train", 6), ("valid", 3))
        for i in range(count)
    }
    train = torch.cat([x for utt, x in frames.items() if utt.startswith("train")]).double()
    _, _, axes = torch.linalg.svd(train - train.mean(0), full_matrices=False)
    axes = axes[:3]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    found = {**rows_of(tmp_path / "o"), **rows_of(tmp_path / "o", "valid")}
    assert found.keys() == frames.keys()
    for utt, x in frames.items():
        codes, means = clusters.encode(x).flatten().tolist(), []
        begin = 0
        for t in range(1, len(x) + 1):
            if t == len(x) or codes[t] != codes[t - 1]:
                means.append((x[begin:t].double().mean(0) - train.mean(0)) @ axes.T)
                begin = t
        means += means[-1:] if len(means) % 2 else []
        expected = torch.stack([(a + b) / 2 for a, b in zip(means[::2], means[1::2], strict=True)])
        torch.testing.assert_close(found[utt].double(), expected, atol=2e-3, rtol=1e-4)
        assert 1 < len(expected) < len(x) / 2 and len(x) < len(features.of(corpus / f"{utt}.flac")) - 20
    spec = read_spec(tmp_path / "o")
    assert (spec.silence, spec.segments, spec.pooled, spec.dim) == ("energy", "runs", 2, 3)
    assert spec.pca is not None and spec.pca.sha256 == sha256(tmp_path / "o" / "pca.safetensors")
    assert spec.clusters is not None and spec.clusters.name == "mfcc"


def test_features_from_python_are_those_of_the_command(corpus: Path, tmp_path: Path) -> None:
    options = [*MFCC, "--clusters", corpus / "mfcc", "--no-pairs", "--silence", "keep"]
    assert segment(corpus, tmp_path / "o", *options) == 0
    spoken = SpokenFeatures(load_features("mfcc:4"), "keep")
    features = SegmentFeatures(spoken, str(corpus / "mfcc"), pairs=False)
    assert features.varies and not load_features("mfcc:4").varies
    wav = torch.from_numpy(read_audio(corpus / "train2.flac", RATE))
    rows = rows_of(tmp_path / "o")["train2"]
    assert torch.equal(features.of(corpus / "train2.flac"), rows) and torch.equal(features(wav), rows)
    assert len(rows) <= features.frames(len(wav))
    about = json.loads((tmp_path / "o" / "features.json").read_text())
    assert "silence" not in about and "pooled" not in about and features.spec.segments == "runs"


def test_rows_are_of_prepared_frames_and_clusters_of_the_layer_s_own(corpus: Path, tmp_path: Path) -> None:
    """Mean and scale are those of what is said."""
    options = [
        *MFCC,
        "--clusters",
        corpus / "mfcc",
        "--no-pairs",
        "--deltas",
        1,
        "--standardize",
        "utterance",
    ]
    assert segment(corpus, tmp_path / "o", *options) == 0
    wav = torch.from_numpy(said(corpus, "train4"))
    codes = Tokenizer.load(corpus / "mfcc").encode(wav.numpy(), RATE).flatten().tolist()
    x = load_features("mfcc:4", deltas=1, standardize="utterance")(wav)
    changes = [0, *(t for t in range(1, len(codes)) if codes[t] != codes[t - 1]), len(codes)]
    expected = torch.stack([x[a:b].mean(0) for a, b in itertools.pairwise(changes)])
    torch.testing.assert_close(rows_of(tmp_path / "o")["train4"], expected, atol=1e-5, rtol=1e-5)
    spec = read_spec(tmp_path / "o")
    assert (spec.dim, spec.deltas, spec.standardize, spec.silence) == (8, 1, "utterance", "energy")


def test_given_spans_are_rows_of_their_own(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        f"train{i} 1 {start} {length} a\n"
        for i in range(5)
        for start, length in ((0, 0.1), (0.2, 0.15), (0.35, 0))
    ]
    (tmp_path / "phones.ctm").write_text("".join(lines))
    assert segment(corpus, tmp_path / "o", *MFCC, "--spans", tmp_path / "phones.ctm") == 1
    assert "train5: has no spans in the file of `--spans`; leave it out" in capsys.readouterr().err
    frames = load_features("mfcc:4").of(corpus / "train3.flac")
    centres = torch.arange(len(frames)) * 160 / RATE + load_features("mfcc:4").receptive_field / 2 / RATE
    inside = [(centres >= a - 1e-9) & (centres < b - 1e-9) for a, b in ((0, 0.1), (0.2, 0.35))]
    expected = torch.stack([*(frames[each].mean(0) for each in inside), frames[(centres < 0.35).sum()]])
    torch.testing.assert_close(rows_of(tmp_path / "o")["train3"], expected)
    row = json.loads((tmp_path / "o" / "features.json").read_text())["splits"]["train"]
    assert row["spans"] == {"name": "phones.ctm", "sha256": sha256(tmp_path / "phones.ctm")}
    assert (
        read_spec(tmp_path / "o").segments == "spans"
        and read_spec(tmp_path / "o").meaning("silence") == "keep"
    )


def test_targets_stand_beside_each_frame(
    corpus: Path, tmp_path: Path, tiny: Callable[..., VqWav2Vec], capsys: pytest.CaptureFixture[str]
) -> None:
    """Clusters of another rate: of each frame those of the nearest."""
    checkpoint = saved(tiny(quantizer="none"), tmp_path)  # a frame in 2.5 ms, of the clusters in 10
    options = ["--layer", "c", "--targets", corpus / "mel"]
    assert segment(corpus, tmp_path / "o", *options, checkpoint=checkpoint) == 0
    tokens, rows = TokenFrames(tmp_path / "o" / "targets", "train"), rows_of(tmp_path / "o")
    clusters = Tokenizer.load(corpus / "mel")
    for utt, frames in rows.items():
        assert len(tokens[utt]) == len(frames)
        codes = clusters.encode(said(corpus, utt), RATE).numpy()
        theirs = np.arange(len(codes)) * 160 + clusters.geometry.receptive_field / 2
        ours = np.arange(len(frames)) * 40 + load_features("c", checkpoint).receptive_field / 2
        assert np.array_equal(tokens[utt], codes[np.abs(theirs[:, None] - ours).argmin(0)])
    about = json.loads((tmp_path / "o" / "targets" / "tokens.json").read_text())
    assert about["silence"] == "energy" and "segments" not in json.loads(
        (tmp_path / "o" / "features.json").read_text()
    )
    assert (about["stride"], about["receptive_field"]) == (40, load_features("c", checkpoint).receptive_field)
    capsys.readouterr()
    assert segment(corpus, tmp_path / "o", *options, checkpoint=checkpoint) == 0
    assert f"{tmp_path}/o/targets/train: is there already" in capsys.readouterr().out


def test_kills_change_nothing(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*MFCC, "--clusters", corpus / "mfcc", "--pca", 2, "--workers", 1, *FEW]
    assert segment(corpus, tmp_path / "whole", *options) == 0
    replace = os.replace
    for step in (1, 4, 9, 12):
        out, calls = tmp_path / f"o{step}", [0]

        def cut(*names: object, step: int = step, calls: list[int] = calls) -> None:
            calls[0] += 1
            if calls[0] > step:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*names)  # type: ignore[arg-type]

        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.replace = cut  # type: ignore[assignment]
            try:
                segment(corpus, out, *options)
            finally:
                os._exit(70)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert segment(corpus, out, *options) == 0
        assert content(out) == content(tmp_path / "whole")


def test_components_of_other_features_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(corpus, tmp_path / "o", *MFCC, "--pca", 2) == 0
    assert not (tmp_path / "o" / ".pca").exists()  # the frames that they were found of
    pca = tmp_path / "o" / "pca.safetensors"
    assert segment(corpus, tmp_path / "p", *MFCC, "--pca", pca, split="valid") == 0
    assert not (tmp_path / "p" / "pca.safetensors").exists()
    for options, message in (
        ([*MFCC, "--pca", 3], "has 2 components, `--pca` is 3"),
        ([*MFCC, "--pca", 2, "--silence", "keep"], "are of features whose `silence` is 'energy'"),
        (["--layer", "mfcc:5", "--pca", pca], "are of features whose `layer` is 'mfcc:4'"),
    ):
        assert segment(corpus, tmp_path / "o", *options, split="valid") == 2
        assert message in capsys.readouterr().err
    assert segment(corpus, tmp_path / "o", *MFCC, split="valid") == 2
    assert "`dim` was 2 and is now 4" in capsys.readouterr().err  # all splits of a folder are of one kind
    for blob in (b"", b"x" * 50, pca.read_bytes()[:-4]):
        (tmp_path / "bad").write_bytes(blob)
        with pytest.raises(PrincipalError, match="bad: is no file of components"):
            read_principal(tmp_path / "bad")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clusters", "mel"], "its clusters are of features whose `layer` is 'logmel'"),
        (["--silence", "rvad"], "`--silence` is 'rvad'"),
        (["--no-pairs"], "`--no-pairs` is said of runs"),
        (["--spans", "p.ctm", "--silence", "energy"], "`--spans` are times of the whole audio"),
        (["--targets", "mel", "--clusters", "mfcc"], "`--targets` stand beside frames"),
        (["--targets", "mel", "--spans", "p.ctm"], "`--targets` stand beside frames"),
        (["--pca", "9"], "`--pca` is 9; expected 1 to 4"),
        (["--pca", "0"], "`--pca` is 0; expected 1 to 4"),
        (["--pca", "none"], "none: No such file or directory, expected components"),
        (["--pca", "2", "--frames", "2"], "frames were drawn, expected more than components (2)"),
    ],
)
def test_wrong_wishes_are_named(
    corpus: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(corpus)
    Path("p.ctm").write_text("train0 1 0 0.1 a\n")
    assert segment(corpus, tmp_path / "o", *MFCC, *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o" / "features.json").exists()


def test_what_wants_even_times_refuses_segments(
    corpus: Path, tmp_path: Path, tiny: Callable[..., VqWav2Vec]
) -> None:
    assert segment(corpus, tmp_path / "o", *MFCC, "--clusters", corpus / "mfcc") == 0
    with pytest.raises(FeatureError, match="holds segments, or frames of audio without its silence"):
        FeatureFrames(tmp_path / "o", "train")
    stamp = {**read_spec(tmp_path / "o").to_json(), "store": "fp32"}
    with pytest.raises(CheckpointError, match="features are segments, or without the audio's silence"):
        Transcriber.load(save(tmp_path / "acoustic.pt", stamp))


def test_a_network_hears_what_is_said(corpus: Path, tmp_path: Path, tiny: Callable[..., VqWav2Vec]) -> None:
    checkpoint = saved(tiny(quantizer="none"), tmp_path)
    assert segment(corpus, tmp_path / "o", "--layer", "c", checkpoint=checkpoint, split="valid") == 0
    expected = load_features("c", checkpoint)(torch.from_numpy(said(corpus, "valid1")))
    torch.testing.assert_close(rows_of(tmp_path / "o", "valid")["valid1"], expected, atol=1e-5, rtol=1e-5)


def test_targets_of_another_rate_are_refused(tmp_path: Path) -> None:
    """Before anything is looked at: a frame would have the code of another moment."""
    rates = [SimpleNamespace(sample_rate=rate) for rate in (16_000, 8_000)]
    with pytest.raises(ValueError, match="mel: hears audio of 8000 Hz, the features' network of 16000 Hz"):
        TargetsJob(*rates, "mel", None, tmp_path, None)  # type: ignore[arg-type]


def test_components_are_found_by_one_process(tmp_path: Path) -> None:
    """Several would each find them of their own share."""
    with pytest.raises(ValueError, match="one process that finds components: run this once without torchrun"):
        find_principal(None, 2, None, tmp_path, None, Rank(0, 2))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("frames", [3, 4])
def test_components_are_of_more_frames_than_they_are(tmp_path: Path, frames: int) -> None:
    samples = 400 + 160 * (frames - 1)
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, samples), RATE)
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": "a.wav", "samples": samples}])
    rest = Manifest(tmp_path / "train.tsv"), tmp_path / "out", DrawOptions(), Rank()
    if frames > 3:
        assert find_principal(load_features("mfcc:4"), 3, *rest).network.axes.shape == (3, 4)
        return
    with pytest.raises(ValueError, match=r"3 frames were drawn, expected more than components \(3\)"):
        find_principal(load_features("mfcc:4"), 3, *rest)
