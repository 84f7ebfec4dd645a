"""`vqw2v transcribe`: words and times of files in every shape; a long one is cut at pauses."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from transcribing import CTC, LOGMEL, by_hand, save, save_with_front, write_files

from vqw2v_plugin import Transcriber
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.audio.cuts import Part
from vqw2v_plugin.checkpoints.acoustic import load_acoustic
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.decoding.hypothesis import Hypothesis, TimedText
from vqw2v_plugin.features.base import Layer
from vqw2v_plugin.features.ears import FrontEars
from vqw2v_plugin.features.front import AudioFront
from vqw2v_plugin.features.registry import load_features
from vqw2v_plugin.features.spectral import SpectralFeatures
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.text.units import Units, asg_units
from vqw2v_plugin.transcriber import _later, joined


@pytest.fixture
def model(tmp_path: Path) -> str:
    return save(tmp_path / "acoustic.pt", LOGMEL)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return write_files(tmp_path)


@pytest.fixture
def fronts(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> tuple[str, str]:
    return save_with_front(tiny(quantizer="kmeans"), tmp_path)


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
    heard.ears.network.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[1]))
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


def test_what_the_caller_got_wrong_is_one_sentence(
    fronts: tuple[str, str], files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, front = fronts
    logmel = save(tmp_path / "logmel.pt", LOGMEL)
    wrong = save(tmp_path / "wrong.pt", {**LOGMEL, "layer": "z"})
    for arguments, message in (
        ([model, files[0], "--front", logmel], "sha256"),
        ([logmel, files[0], "--front", front], "features are of the layer logmel; leave out"),
        ([wrong, files[0]], "expected a vq_wav2vec checkpoint; none is for logmel and mfcc"),
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


def test_parts_are_joined_with_their_times_and_their_scores_add_up() -> None:
    def said(text: str, begin: int, score: float) -> Hypothesis:
        words = (TimedText(text, begin, begin + 3, 0.5),)
        return Hypothesis(
            (TimedText(text[0], begin, begin + 1, 0.25),), words, score, 10 * score, 100 * score
        )

    whole = joined([said("ab", 2, 1.0), _later(said("cd", 4, 2.0), 50)])
    assert [(w.text, w.begin, w.end) for w in whole.words] == [("ab", 2, 5), ("cd", 54, 57)]
    assert [(t.text, t.begin, t.end) for t in whole.tokens] == [("a", 2, 3), ("c", 54, 55)]
    assert (whole.score, whole.emission_score, whole.lm_score) == (3.0, 30.0, 300.0)


def test_features_of_another_size_than_the_model_s_are_refused(model: str) -> None:
    acoustic = load_acoustic(model)
    front = AudioFront(SpectralFeatures(Layer("logmel"), 16_000, 21))
    with pytest.raises(ValueError, match="the features have 21 numbers a frame; the model wants 20"):
        Transcriber(FrontEars(acoustic, front), GreedyDecoder(acoustic.units, None))
    front = AudioFront(SpectralFeatures(Layer("logmel"), 16_000, 20)).train()
    made = Transcriber(FrontEars(acoustic, front), GreedyDecoder(acoustic.units, None))
    assert not made.ears.front.training and not made.ears.network.training  # as they come from a training


def test_what_no_decoder_can_read_is_named_by_its_file(
    model: str, files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(self: GreedyDecoder, emissions: object) -> None:
        raise ValueError("too few frames")

    monkeypatch.setattr(GreedyDecoder, "decode", decode)
    assert main(["transcribe", model, files[0]]) == 1
    assert capsys.readouterr().err.startswith(f"vqw2v: skipped: {files[0]}: too few frames\n")


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


@pytest.mark.parametrize("shape", ["", "--text", "--json", "--ctm"])
def test_names_with_tabs_and_line_breaks_stay_in_their_column(
    model: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: str
) -> None:
    assert main(["transcribe", model, files[0], *filter(None, [shape])]) == 0
    expected = capsys.readouterr().out.splitlines()
    for name, shown in (("a\t\nb.wav", "a\\t\\nb.wav"), (os.fsdecode(b"a\xffb.wav"), "a\\xffb.wav")):
        path = str(tmp_path / name)
        shutil.copyfile(files[0], path)
        assert main(["transcribe", model, path, *filter(None, [shape])]) == 0
        lines = capsys.readouterr().out.splitlines()
        if shape == "--json":
            assert [{**json.loads(line), "utt": files[0]} for line in lines] == list(
                map(json.loads, expected)
            )
            assert [json.loads(line)["utt"] for line in lines] == [path]
            continue
        shown = str(tmp_path / (shown if shape != "--ctm" else shown.replace("\\t\\n", "_")))
        assert lines == [line.replace(files[0], shown) for line in expected]


def test_a_model_hears_on_the_device_that_is_asked_for(model: str) -> None:
    heard = Transcriber.load(model, device="meta")
    assert {weights.device.type for weights in heard.ears.parameters()} == {"meta"} == {heard.device.type}
    assert Transcriber.load(model).limit == 60
