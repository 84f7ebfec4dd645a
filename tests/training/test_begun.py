"""A training that begins with another's weights: once, all else its own, and the same when resumed."""

import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options as fairseq_options
from fairseq import tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from small_training import last, noise_corpus, options, train

from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, build_network, load_network, save_checkpoint
from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.training import begun as begun_module
from vqw2v_plugin.training.options import plain_settings

WAV = 0.1 * torch.randn(1, 4_000, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of noise, and `old.pt`, another network's weights."""
    folder = tmp_path_factory.mktemp("begun")
    noise_corpus(folder / "data")
    settings = plain_settings(VqWav2VecConfig, parsed(folder, "--max-update", "4").model)
    torch.manual_seed(3)
    network = build_network(settings)
    save_checkpoint(Imported(Loaded(network, 16_000, False), False, 7, []), folder / "old.pt")
    return folder


def parsed(folder: Path, *more: str) -> Any:
    parser = fairseq_options.get_training_parser()
    words = options(folder / "data", folder / "ck", more)
    return convert_namespace_to_omegaconf(fairseq_options.parse_args_and_arch(parser, words))


def built(folder: Path, *more: str, from_checkpoint: bool = False) -> VqWav2Vec:
    cfg = parsed(folder, *more)
    task: Any = tasks.setup_task(cfg.task)
    torch.manual_seed(1)
    network: VqWav2Vec = task.build_model(cfg.model, from_checkpoint).network
    return network.eval()


def begun(home: Path, *more: str) -> VqWav2Vec:
    return built(home, "--init-from", str(home / "old.pt"), *more)


def codes(network: VqWav2Vec) -> torch.Tensor:
    return network.encode(WAV)


def test_it_begins_with_the_file_s_weights_and_says_so(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = load_network(home / "old.pt").network
    with caplog.at_level(logging.INFO):
        new = begun(home)
    assert torch.equal(old.features(WAV).c, new.features(WAV).c) and torch.equal(codes(old), codes(new))
    assert not torch.equal(codes(old), codes(built(home)))
    told = [record.message for record in caplog.records if record.name.endswith("begun")]
    assert told[0] == f"begins with weights of {home / 'old.pt'} (vq_wav2vec, 7 updates)"
    assert told[2].split() == ["encoder", "3,328", "taken"] and "begin anew" in told[-1]


def test_codes_begin_anew_with_the_new_audio(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = load_network(home / "old.pt").network
    with caplog.at_level(logging.INFO):
        found = [begun(home, "--init-codebook", "reseed", "--seed", seed) for seed in ("1", "1", "2")]
    assert "codes begin anew, with frames of 3 clips" in caplog.text
    assert all(torch.equal(old.encoder(WAV), new.encoder(WAV)) for new in found)
    entries = [new.quantizer.codebook.entries.detach() for new in found]
    assert torch.equal(entries[0], entries[1]) and not torch.equal(entries[0], entries[2])
    z = old.quantizer.project(old.encoder(WAV)).detach()
    assert entries[0].std() == pytest.approx(z.std().item(), rel=0.5)  # not small noise


def test_codes_begin_with_some_of_what_can_be_read_of_the_first_split(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "data", tmp_path / "data")
    rows = (home / "data" / "train.tsv").read_text().replace(str(home / "data"), str(tmp_path / "data"))
    (tmp_path / "data" / "train.tsv").write_text(rows)
    for i in range(6):
        (tmp_path / "data" / f"{i}.wav").write_bytes(b"")
    reseed = ("--init-from", str(home / "old.pt"), "--init-codebook", "reseed")
    with caplog.at_level(logging.INFO):
        built(tmp_path, *reseed, "--train-subset", "train,more")
    assert re.search(
        r"codes begin anew, with frames of 2 clips \(0\.\d s\) of train$", caplog.text, re.MULTILINE
    )
    caplog.clear()
    monkeypatch.setattr(begun_module, "_MOST_CLIPS", 1)
    with caplog.at_level(logging.INFO):
        built(tmp_path, *reseed)
    assert "with frames of 1 clips" in caplog.text
    for i in (6, 7):
        (tmp_path / "data" / f"{i}.wav").write_bytes(b"")
    with pytest.raises(ValueError, match="train: none of its audio could be read, and codes begin with its"):
        built(tmp_path, *reseed)


def test_only_codes_of_the_same_kind_are_known_to_the_encoder_and_one_rank_tells_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[int, bool]] = []
    monkeypatch.setattr(VqWav2Vec, "seed_codes", lambda _, clips, seed, known: told.append((seed, known)))
    monkeypatch.setattr(begun_module, "rank", lambda: 1)
    with caplog.at_level(logging.INFO):
        for name in ("kmeans", "gumbel"):
            more = ("--quantizer", name, "--vq-temp", "(2,0.5,0.9)", "--seed", "5")
            begun(home, "--init-codebook", "reseed", *more)
    assert told == [(5, True), (5, False)]
    assert not [record for record in caplog.records if record.name.endswith("begun")]


def test_a_training_that_goes_on_does_not_ask_for_the_file(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(home / "data", tmp_path / "data")
    (tmp_path / "ck").mkdir()
    shutil.copy(home / "old.pt", tmp_path / "ck" / "checkpoint_last.pt")
    more = ("--init-from", "gone.pt", "--init-codebook", "reseed", "--resume-changed")
    with caplog.at_level(logging.INFO):
        built(tmp_path, *more)
    assert "going on from checkpoint_last.pt: `init_from` is not read again" in caplog.text
    (tmp_path / "ck" / "checkpoint_last.pt").unlink()
    with pytest.raises(CheckpointError, match=r"gone\.pt is no file"):
        built(tmp_path, *more)
    built(tmp_path, *more, from_checkpoint=True)  # of a checkpoint's own settings, to decode


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--init-codebook", "again"], "`init_codebook` is 'again'; expected keep or reseed"),
        (["--init-codebook", "reseed", "--quantizer", "none"], "this model has no codes"),
        (
            ["--init-codebook", "reseed", "--quantizer", "fsq", "--vq-vars", "9"],
            "FsqQuantizer cannot begin with frames",
        ),
        (["--finetune-from-model", "a.pt"], r"finetune_from_model` \(a\.pt\) both name what to begin with"),
        (["--restore-file", "a.pt"], r"restore_file` \(a\.pt\) both name|a\.pt is not there"),
        (["--sample-rate", "8000"], "hears audio with `sample_rate` 16000, and `task.sample_rate` is 8000"),
        (["--vq-vars", "4"], "`vq_vars` is 4 here and 8 there"),
    ],
)
def test_what_does_not_go_together_is_refused(home: Path, more: Sequence[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        begun(home, *more)
    if more[0] == "--init-codebook" and len(more) == 2:
        with pytest.raises(ValueError, match="without `init_from`"):
            built(home, "--init-codebook", "reseed")


def test_a_relative_file_is_the_user_s_wherever_hydra_works(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "old.pt").write_bytes(b"of another training")  # in hydra's working folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(begun_module, "to_absolute_path", lambda path: str(home / path))
    with caplog.at_level(logging.INFO):
        new = built(home, "--init-from", "old.pt")
    assert torch.equal(codes(new), codes(load_network(home / "old.pt").network))
    assert f"begins with weights of {home / 'old.pt'} (" in caplog.text


@pytest.mark.parametrize("option", ["restore_file", "finetune_from_model"])
def test_another_file_to_begin_with_is_refused_though_it_is_there(home: Path, option: str) -> None:
    more = (f"--{option.replace('_', '-')}", str(home / "old.pt"), "--resume-changed")
    with pytest.raises(
        CheckpointError, match=rf"`checkpoint\.{option}` \(.*old\.pt\) both name what to begin"
    ):
        begun(home, *more)
    built(home, *more)  # without `init_from`


@pytest.mark.slow
def test_a_resumed_training_is_the_whole_one_without_the_file(home: Path, tmp_path: Path) -> None:
    shutil.copy(home / "old.pt", tmp_path / "old.pt")
    asked = ["--init-from", str(tmp_path / "old.pt"), "--init-codebook", "reseed"]

    def run(name: str, updates: int) -> None:
        words = options(home / "data", tmp_path / name, [*asked, "--max-update", str(updates)])
        ended = train(words, tmp_path)
        assert ended.status == 0, ended.said

    run("whole", 4)
    run("killed", 2)
    (tmp_path / "old.pt").unlink()
    run("killed", 4)
    whole, killed = (last(tmp_path / name) for name in ("whole", "killed"))
    weights, others = whole["model"], killed["model"]
    assert isinstance(weights, dict) and isinstance(others, dict)
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    state: Any = whole["last_optimizer_state"]
    assert {int(each["step"]) for each in state["state"].values()} == {4}  # and not seven more
