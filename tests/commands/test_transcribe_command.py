"""`vqw2v transcribe`: a file is heard as its model was trained; a long one is cut at pauses."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import nn

from vqw2v_plugin import Transcriber
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.audio.cuts import Part
from vqw2v_plugin.checkpoints.acoustic import About, describe, load_acoustic, make_network
from vqw2v_plugin.checkpoints.files import checkpoint_hash
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.corpora.manifest import Utterance
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.features import acoustic_front, registry
from vqw2v_plugin.features.base import Features
from vqw2v_plugin.features.registry import load_features
from vqw2v_plugin.modules.acoustic.network import AcousticConfig
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.text.units import Units, asg_units, ctc_units

CTC = ctc_units(["|", *"abcdefgh"])
LOGMEL = {"layer": "logmel", "dim": 20, "sample_rate": 16_000, "stride": 160, "store": "fp32"}


def save(path: Path, stamp: dict[str, object], units: Units = CTC) -> str:
    """An acoustic model of random weights that says something else at every frame."""
    torch.manual_seed(1)
    config = AcousticConfig(int(str(stamp["dim"])), len(units), "[(16, 5, 2), (16, 3)]")
    holder = nn.Module()
    holder.network = make_network(config, units)
    nn.init.normal_(holder.network.stack.projection.weight, std=0.5)
    with torch.no_grad():
        holder.network.stack.projection.bias[units.boundary] += 3.0  # words are short
    if holder.network.transitions is not None:
        nn.init.normal_(holder.network.transitions, std=0.1)
    seconds = 2 * int(str(stamp["stride"])) / int(str(stamp["sample_rate"]))
    holder.about = About(describe(units, config, seconds, FeatureSpec.from_json(stamp)))
    torch.save({"model": holder.state_dict(), "cfg": {"model": {"_name": "vq_wav2letter"}}}, path)
    return str(path)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return save(tmp_path / "acoustic.pt", LOGMEL)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A file at 16 kHz, one at 44.1 kHz in stereo, and three that are none."""
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "a.wav", rng.normal(0, 0.1, 16_000), 16_000)
    sf.write(tmp_path / "b c.flac", rng.normal(0, 0.1, (40_000, 2)), 44_100)
    sf.write(tmp_path / "short.wav", rng.normal(0, 0.1, 50), 16_000)
    (tmp_path / "text.wav").write_text("hello")
    return [str(tmp_path / name) for name in ("a.wav", "text.wav", "short.wav", "missing.wav", "b c.flac")]


def whole(path: str) -> Utterance:
    return Utterance(path, sf.info(path).frames, utt=path)


def by_hand(model: str, source: Callable[[Utterance], torch.Tensor], path: str) -> list[tuple[object, ...]]:
    """Features, network and decoder, one after the other."""
    acoustic = load_acoustic(model)
    features = source(whole(path))
    heard = acoustic.network(features[None], torch.tensor([len(features)]))
    steps = None if acoustic.transitions is None else acoustic.transitions.numpy()
    best = GreedyDecoder(acoustic.units, steps).decode(heard.emissions[0].numpy())[0]
    seconds = acoustic.frame_seconds
    return [(w.text, round(w.begin * seconds, 3), round(w.end * seconds, 3)) for w in best.words]


@pytest.mark.parametrize("units", [CTC, asg_units(["|", *"abcdefgh"])], ids=["ctc", "asg"])
def test_words_and_times_are_those_of_the_parts(
    tmp_path: Path, files: list[str], units: Units, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(tmp_path / "acoustic.pt", LOGMEL, units)
    assert main(["transcribe", model, files[0], files[4], "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["utt"] for line in lines] == [files[0], files[4]]
    for line in lines:
        words = [(word["word"], word["start"], word["end"]) for word in line["words"]]
        assert len(words) > 2 and words == by_hand(model, load_features("logmel", bands=20).of, line["utt"])
        assert line["text"] == " ".join(word["word"] for word in line["words"])


def test_every_shape_says_the_same(model: str, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for shape in ("--json", "--ctm", "--text", "--strict"):
        assert main(["transcribe", model, files[4], shape]) == 0
        shown[shape] = capsys.readouterr().out.splitlines()
    words = json.loads(shown["--json"][0])["words"]
    rows = [(w["start"], w["end"], w["word"], w["confidence"]) for w in words]
    assert shown["--text"] == [f"{files[4]}\t{' '.join(w['word'] for w in words)}"]
    assert shown["--strict"] == [f"{files[4]}\t{a:.3f}\t{b:.3f}\t{word}\t{c:.4f}" for a, b, word, c in rows]
    name = files[4].replace(" ", "_")
    assert shown["--ctm"] == [f"{name} 1 {a:.3f} {b - a:.3f} {word} {c:.4f}" for a, b, word, c in rows]


def test_a_bad_file_is_named_and_the_rest_go_on(
    model: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", model, *files, "--text"]) == 1
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == [files[0], files[4]]
    assert [line.split(":")[2].strip() for line in err.splitlines()[:3]] == files[1:4]
    assert err.splitlines()[3] == "vqw2v: 3 of 5 files gave no words"
    assert main(["transcribe", model, *files, "--text", "--strict"]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 and err.startswith(f"vqw2v: error: {files[1]}")


def test_a_long_file_is_its_parts_one_after_the_other(model: str, tmp_path: Path) -> None:
    wav = np.random.default_rng(2).normal(0, 0.1, 16_000 * 5)
    for pause in (1.7, 3.3):
        wav[round((pause - 0.1) * 16_000) : round((pause + 0.1) * 16_000)] = 0.0
    sf.write(tmp_path / "long.wav", wav, 16_000)
    heard = Transcriber.load(model, limit=2.0)
    sizes: list[int] = []
    heard.network.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[1]))
    found = heard(tmp_path / "long.wav")
    assert len(sizes) == 3 and max(sizes) <= 200
    alone, begin = [], 0
    for end in (27_200, 52_800, 80_000):  # the pauses' middles, multiples of the 320 samples of a frame
        sf.write(tmp_path / "part.wav", wav[begin:end], 16_000)
        part = Transcriber.load(model)(tmp_path / "part.wav")
        alone += [(w.text, w.begin + begin // 320, w.end + begin // 320, w.confidence) for w in part.words]
        begin = end
    assert [(w.text, w.begin, w.end, w.confidence) for w in found.words] == alone
    assert Transcriber.load(model, limit=5.0)(tmp_path / "long.wav") != found


def test_half_precision_of_the_store_is_heard(tmp_path: Path, files: list[str]) -> None:
    fp16, fp32 = (
        Transcriber.load(save(tmp_path / f"{store}.pt", {**LOGMEL, "store": store})).emissions(
            files[0], Part(0, 16_000, 0)
        )
        for store in ("fp16", "fp32")
    )
    assert np.allclose(fp16, fp32, atol=0.2) and not np.array_equal(fp16, fp32)


@pytest.fixture
def fronts(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> tuple[str, str]:
    """An acoustic model of quantized features and, beside it, the checkpoint that makes these."""
    loaded = Loaded(tiny(quantizer="kmeans").eval(), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "front.pt")
    digest = hashlib.sha256((tmp_path / "front.pt").read_bytes()).hexdigest()
    stamp = {"layer": "q", "dim": 16, "sample_rate": 16_000, "stride": 40, "dtype": "fp32", "store": "fp32"}
    stamp |= {"checkpoint": {"name": "front.pt", "sha256": digest}}
    return save(tmp_path / "acoustic.pt", stamp), str(tmp_path / "front.pt")


def test_features_come_from_the_checkpoint_beside_or_given(
    fronts: tuple[str, str], files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model, front = fronts
    assert main(["transcribe", model, files[0]]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    expected = by_hand(model, load_features("q", front).of, files[0])
    assert [(row[3], float(row[1]), float(row[2])) for row in rows] == expected
    os.rename(front, moved := front + ".moved")
    assert main(["transcribe", model, files[0]]) == 2
    assert "trained on features of 'front.pt'" in (err := capsys.readouterr().err) and "--front FILE" in err
    assert main(["transcribe", model, files[0], "--front", moved]) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == rows


def spec_of(features: Features, **more: str) -> dict[str, object]:
    """What features.json says of features that were stored in fp32."""
    return {**features.spec.to_json(), "store": "fp32", **more}


def shown(
    model: str, path: str, capsys: pytest.CaptureFixture[str], *options: str
) -> list[tuple[object, ...]]:
    assert main(["transcribe", model, path, *options]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    return [(row[3], float(row[1]), float(row[2])) for row in rows]


def test_features_of_pieces_are_made_of_pieces(
    tiny: Callable[..., VqWav2Vec], tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sentencepiece")
    from bert_of_pieces import make

    front, _ = make(tiny(quantizer="gumbel"), tmp_path)
    bert, pieces = str(tmp_path / "bert.pt"), tmp_path / "pieces"
    features = load_features("bert", front, bert=bert, pieces=str(pieces))
    (tmp_path / "models").mkdir()
    model = save(tmp_path / "models" / "acoustic.pt", spec_of(features))
    given = ["--front", front, "--bert", bert]
    expected = by_hand(model, features.of, files[0])
    assert shown(model, files[0], capsys, *given, "--pieces", str(pieces)) == expected
    assert main(["transcribe", model, files[0], *given]) == 2
    error = capsys.readouterr().err
    assert "trained on features of 'pieces.model' (sha256" in error and "`--pieces FOLDER`" in error
    for file in ("pieces.model", "pieces.codes.txt"):
        os.rename(pieces / file, tmp_path / "models" / file)
    assert shown(model, files[0], capsys, *given) == expected
    (pieces / "pieces.model").write_bytes(b"other")
    assert main(["transcribe", model, files[0], *given, "--pieces", str(pieces)]) == 2
    assert "pieces.model: is another file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layer", "options"),
    [("logmel", {"bands": 30}), ("mfcc:7", {"bands": 30}), ("mfcc", {}), ("c", {"dtype": "bf16"})],
)
def test_features_are_rebuilt_as_they_were_made(
    fronts: tuple[str, str],
    tmp_path: Path,
    files: list[str],
    layer: str,
    options: dict[str, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    features = load_features(layer, fronts[1] if layer == "c" else None, **options)
    model = save(tmp_path / "rebuilt.pt", spec_of(features))
    assert shown(model, files[0], capsys) == by_hand(model, features.of, files[0])


@pytest.mark.parametrize(
    ("field", "value"), [("stride", 160), ("dim", 12), ("sample_rate", 8000), ("normalize", True)]
)
def test_a_file_that_gives_other_features_than_it_says_is_refused(
    fronts: tuple[str, str],
    tmp_path: Path,
    files: list[str],
    field: str,
    value: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The folder of an export is known by its weights, and config.json beside them may have been edited."""
    spec = {**spec_of(load_features("q", fronts[1])), field: value}
    model = save(tmp_path / "edited.pt", spec)
    assert main(["transcribe", model, files[0]]) == 2
    assert f"trained on features whose `{field}` is {value!r}; those of" in capsys.readouterr().err


def test_each_file_is_hashed_once(fronts: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    for room in (acoustic_front, registry):
        monkeypatch.setattr(
            room, "checkpoint_hash", lambda path: hashed.append(path.name) or checkpoint_hash(path)
        )
    Transcriber.load(fronts[0])
    assert hashed == ["front.pt"]


def test_what_the_caller_got_wrong_is_one_sentence(
    fronts: tuple[str, str], files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, front = fronts
    logmel = save(tmp_path / "logmel.pt", LOGMEL)
    wrong = save(tmp_path / "wrong.pt", {**LOGMEL, "layer": "z"})
    for arguments, message in (
        ([model, files[0], "--front", logmel], "sha256"),
        ([logmel, files[0], "--front", front], "features are of the layer logmel; leave out"),
        ([wrong, files[0]], "expected a vq_wav2vec checkpoint"),
        ([front, files[0]], "expected an acoustic model"),
        ([files[0], files[0]], "cannot be read as a checkpoint"),
        ([logmel, files[0], "--limit", "0"], "`limit` is 0 s"),
        ([logmel, files[0], "--decoder", "lexicon"], "`lexicon` names no file"),
        ([logmel, files[0], "--lm", "x"], "no use to the decoder 'greedy'"),
        ([logmel, files[0], "--device", "tpu9"], "'tpu9'"),
    ):
        assert main(["transcribe", *arguments]) == 2, arguments
        err = capsys.readouterr().err
        assert message in err and len(err.splitlines()) == 1, err


def test_a_lexicon_may_be_asked(model: str, files: list[str], tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    (tmp_path / "lexicon").write_text("abe a b e\nhag h a g\n")
    options = [
        "--decoder",
        "lexicon",
        "--lexicon",
        str(tmp_path / "lexicon"),
        "--beam",
        "20",
        "--word-score",
        "5",
    ]
    assert main(["transcribe", model, files[0], *options, "--json"]) == 0
