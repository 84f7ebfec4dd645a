"""`--arch vq_wav2vec2_ctc`: trains on audio and labels, goes on to the bit, and decodes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fake_speech import generate
from sung_letters import SIZES, train_sung, write_sung
from wav2vec2s import tiny_wav2vec2

import vqw2v_plugin
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.finetuned import KIND
from vqw2v_plugin.checkpoints.format import load, write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio, Header
from vqw2v_plugin.checkpoints.wav2vec2 import KIND as WAV2VEC2
from vqw2v_plugin.stores.emissions import read_emissions
from vqw2v_plugin.training.resumed import ResumeError
from vqw2v_plugin.transcriber import Transcriber

vqw2v_plugin.register()
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_sung(tmp_path_factory.mktemp("sung"), {"train": 40, "valid": 4, "test": 6})


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two layers of 24, and random weights."""
    path = tmp_path_factory.mktemp("pretrained") / "p.pt"
    network = tiny_wav2vec2(conv_feature_layers="[(16, 10, 5), (16, 8, 8), (16, 8, 8)]")
    header = Header(WAV2VEC2.model, WAV2VEC2.settings(network), Audio(16_000, True))
    write_checkpoint(path, header, network.state_dict())
    return path


@pytest.fixture(scope="module")
def trained(speech: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From scratch, for some seconds."""
    more = [
        "--feature-grad-mult",
        "1",
        "--layerdrop",
        "0",
        "--max-update",
        "100",
        "--validate-interval",
        "99",
    ]
    return train_sung(*speech, tmp_path_factory.mktemp("runs") / "a", *SIZES, *more)


def weights(path: Path) -> Weights:
    found: Weights = torch.load(path, weights_only=True)["model"]
    return found


def test_it_learns_letters_and_all_ways_to_decode_agree(
    speech: tuple[Path, Path], trained: Path, tmp_path: Path
) -> None:
    data, labels = speech
    out, saved = tmp_path / "out", tmp_path / "emissions"
    text = generate(data, labels, trained, out, "--emissions", str(saved), "--batch-size", "3")
    line = next(line for line in text.splitlines() if line.startswith("Generate test"))
    assert float(line.split("WER ")[1].split(" %")[0]) < 50
    said = [json.loads(line) for line in (out / "hypotheses-test.jsonl").read_text().splitlines()]
    transcriber = Transcriber.load(trained)
    audio = data.parent / "audio"
    for each in said:  # in a batch with others, or alone
        best = transcriber(audio / f"{each['utt']}.wav")
        assert best.text == each["text"]
        begin = [round(word.begin * transcriber.frame_seconds, 3) for word in best.words]
        assert begin == [word["start"] for word in each["words"]]
    emissions = read_emissions(saved, "test")
    assert emissions.frame_seconds == transcriber.frame_seconds == 0.02 and len(emissions.utts) == 6


def test_asg_goes_as_well(speech: tuple[Path, Path], pretrained: Path, tmp_path: Path) -> None:
    more = ["--criterion", "asg", "--w2v-path", str(pretrained), "--max-update", "2"]
    path = train_sung(*speech, tmp_path / "asg", *more)
    found = load(path, KIND)
    assert found.network.transitions is not None and found.network.transitions.any()
    assert "Generate test" in generate(*speech, path, tmp_path / "out")


def test_a_run_that_goes_on_ends_with_the_bits_of_a_whole_one(
    speech: tuple[Path, Path], pretrained: Path, tmp_path: Path
) -> None:
    """Masks, dropped layers, the linear layer's head start; what it began from is not asked for again."""
    file = Path(shutil.copy(pretrained, tmp_path / "p.pt"))
    more = ["--w2v-path", str(file), "--freeze-finetune-updates", "3", "--layerdrop", "0.3"]
    more += ["--save-interval-updates", "4", "--lr-scheduler", "tri_stage", "--phase-ratio", "(0.1,0.4,0.5)"]
    more += ["--final-lr-scale", "0.05", "--feature-grad-mult", "0.1"]
    whole = train_sung(*speech, tmp_path / "whole", *more, "--max-update", "9")
    begun = tmp_path / "whole" / "checkpoint_1_4.pt"
    (tmp_path / "again").mkdir()
    shutil.copy(begun, tmp_path / "again" / "checkpoint_last.pt")
    file.unlink()
    again = train_sung(*speech, tmp_path / "again", *more, "--max-update", "9")
    one, other, held = weights(whole), weights(again), weights(begun)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], held[name]) for name in one)
    found = load(again, KIND)
    assert found.header.audio == Audio(16_000, True) and found.header.num_updates == 9


def test_at_first_the_linear_layer_alone_learns(
    speech: tuple[Path, Path], pretrained: Path, tmp_path: Path
) -> None:
    more = ["--w2v-path", str(pretrained), "--freeze-finetune-updates", "2", "--max-update", "3"]
    path = train_sung(*speech, tmp_path / "a", *more, "--save-interval-updates", "1")
    before, first = weights(pretrained), weights(tmp_path / "a" / "checkpoint_1_2.pt")
    last, moved = weights(path), set()
    for name, value in first.items():
        if name.startswith("network.wav2vec2.") and ".health." not in name and ".signs." not in name:
            assert torch.equal(value, before[name.replace("network.wav2vec2.", "network.")]), name
            moved |= {name.split(".")[2]} if not torch.equal(value, last[name]) else set()
    assert moved == {"mask", "norm", "projection", "transformer"}  # and not the encoder


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (["--w2v-path", "/nowhere/p.pt"], CheckpointError, "/nowhere/p.pt is no file"),
        (["--w2v-path", "P", "--encoder-layers", "3"], CheckpointError, "`encoder_layers` is 3, and P has 2"),
        (["--w2v-path", "P", "--sample-rate", "8000"], CheckpointError, "P expects audio of 16000 Hz"),
        (["--w2v-path", "P", "--mask-prob", "0"], ValueError, "`mask_prob` is 0.0"),
        (["--freeze-finetune-updates", "-1", *SIZES], ValueError, "`freeze_finetune_updates` is -1"),
        (["--encoder-embed-dim", "96000000"], ValueError, "ask for more than"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    more: list[str],
    error: type[Exception],
    message: str,
    speech: tuple[Path, Path],
    pretrained: Path,
    tmp_path: Path,
) -> None:
    given = [str(pretrained) if word == "P" else word for word in more]
    with pytest.raises(error) as caught:
        train_sung(*speech, tmp_path / "a", *given, "--max-update", "1")
    assert message.replace("P ", f"{pretrained} ") in str(caught.value)


def test_features_are_no_audio(speech: tuple[Path, Path], tmp_path: Path) -> None:
    from fake_speech import write_features

    write_features(tmp_path / "mel", "train", ["train0"], ["ab|"])
    with pytest.raises(ValueError, match="`data` holds features, and this model hears audio"):
        train_sung(tmp_path / "mel", speech[1], tmp_path / "a", *SIZES, "--max-update", "1")


def test_other_settings_of_the_network_are_another_training(
    speech: tuple[Path, Path], trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained.parent, tmp_path / "a")
    more: list[Any] = ["--feature-grad-mult", "1", "--layerdrop", "0", "--max-update", "101"]
    with pytest.raises(ResumeError, match=r"another training: `model\.mask_length` was 2 and is 3"):
        train_sung(*speech, tmp_path / "a", *SIZES, *more, "--mask-length", "3")
