"""Every kind of checkpoint goes from the trainer to a folder and back; a folder is as good as a file."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from earlier.make import train_options, write_clip, write_corpus
from torch import Tensor, nn

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.acoustic import load_acoustic
from vqw2v_plugin.checkpoints.bert import load_bert
from vqw2v_plugin.checkpoints.checks import check_settings
from vqw2v_plugin.checkpoints.clusters import load_clusters
from vqw2v_plugin.checkpoints.files import CheckpointError, checkpoint_hash
from vqw2v_plugin.checkpoints.finetuned import KIND as FINE_TUNED
from vqw2v_plugin.checkpoints.format import load, load_any, write_checkpoint
from vqw2v_plugin.checkpoints.kinds import KINDS, Audio, Header, Kind, Restored, State
from vqw2v_plugin.checkpoints.speech import KIND as SPEECH
from vqw2v_plugin.checkpoints.travel import comes_from, export_folder, import_checkpoint
from vqw2v_plugin.checkpoints.unpaired import KIND as UNPAIRED
from vqw2v_plugin.checkpoints.utterance import KIND as UTTERANCE
from vqw2v_plugin.checkpoints.wav2vec import import_stock, load_network
from vqw2v_plugin.checkpoints.wav2vec2 import KIND as WAV2VEC2
from vqw2v_plugin.stores.symbols import write_dict

ROOT = Path(__file__).resolve().parents[2]
EARLIER = Path(__file__).parent / "earlier"
GAVE = json.loads((EARLIER / "gave.json").read_text(encoding="utf-8"))
TRAINED = (
    "none",
    "gumbel",
    "kmeans",
    "fsq",
    "wav2vec2",
    "finetuned",
    "bert",
    "speech",
    "ctc",
    "asg",
    "utterance",
    "wav2vec_u",
)  # files of fairseq's trainer
ONE_OF_EACH = {
    "vq_wav2vec": "gumbel",
    "vq_wav2vec2": "wav2vec2",
    "vq_wav2vec2_ctc": "finetuned",
    "vq_bert": "bert",
    "vq_wav2letter": "asg",
    "vq_clusters": "clusters",
    "vq_speech_bert": "speech",
    "vq_utterance": "utterance",
    "vq_wav2vec_u": "wav2vec_u",
}
LOADERS: dict[str, Callable[[Path], Any]] = {
    "vq_wav2vec": load_network,
    "vq_wav2vec2": lambda path: load(path, WAV2VEC2),
    "vq_wav2vec2_ctc": lambda path: load(path, FINE_TUNED),
    "vq_bert": load_bert,
    "vq_wav2letter": load_acoustic,
    "vq_clusters": load_clusters,
    "vq_speech_bert": lambda path: load(path, SPEECH),
    "vq_utterance": lambda path: load(path, UTTERANCE),
    "vq_wav2vec_u": lambda path: load(path, UNPAIRED),
}


def carried(name: str, folder: Path) -> list[Path]:
    """A checkpoint of the trainer's, exported, and imported from there."""
    trained = EARLIER / f"{name}.pt"
    export_folder(trained, folder / "exported")
    again = import_checkpoint(folder / "exported")
    write_checkpoint(folder / "imported.pt", again.header, again.weights)
    return [trained, folder / "exported", folder / "exported" / "model.safetensors", folder / "imported.pt"]


def same(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


@pytest.mark.parametrize("name", TRAINED)
def test_trained_exported_and_imported_are_the_same_to_the_bit(name: str, tmp_path: Path) -> None:
    first, *others = map(load_any, carried(name, tmp_path))
    for other in others:
        assert same(first.weights, other.weights)
        for field in ("model", "settings", "audio", "extra", "num_updates"):
            assert getattr(first.header, field) == getattr(other.header, field), field
    assert first.header.num_updates > 0 and not first.network.training
    assert (name == "asg") == any(key.startswith("front.") for key in first.weights)


def test_a_folder_that_an_earlier_version_exported_is_imported() -> None:
    assert same(import_checkpoint(EARLIER / "folder").weights, load_any(EARLIER / "gumbel.pt").weights)
    imported = import_stock(EARLIER / "folder")
    assert imported.infonce is False and imported.loaded.made_from["from"]["file"] == "gumbel.pt"


def test_clusters_are_the_same_to_the_bit_wherever_they_go(tmp_path: Path) -> None:
    first, *others = map(load_any, carried("clusters", tmp_path))
    for other in others:
        assert same(first.weights, other.weights) and first.header.settings == other.header.settings
        assert other.network.headers == first.network.headers
    assert any(name.startswith("parts.checkpoint.encoder.") for name in first.weights)


@pytest.mark.parametrize("name", TRAINED)
def test_what_a_file_was_made_from_is_known_by_its_hash(name: str, tmp_path: Path) -> None:
    trained, folder, _, imported = carried(name, tmp_path)
    for path in (trained, folder, imported):
        assert comes_from(path, checkpoint_hash(trained))
    assert comes_from(imported, checkpoint_hash(folder)) and not comes_from(folder, checkpoint_hash(imported))
    assert not comes_from(EARLIER / "none.pt", "0" * 64)
    made_from = load_any(imported).header.made_from
    assert (made_from["file"], made_from["from"]["file"]) == ("model.safetensors", trained.name)


def test_a_folder_of_another_dictionary_is_another_file(tmp_path: Path) -> None:
    """Two BERTs of the same weights whose symbols stand in another order give other features."""
    _, folder, _, _ = carried("bert", tmp_path)
    before = checkpoint_hash(folder)
    config = json.loads((folder / "config.json").read_text())
    config["extra"]["symbols"].reverse()
    (folder / "config.json").write_text(json.dumps(config))
    assert checkpoint_hash(folder) != before


@pytest.mark.parametrize("found", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
def test_another_kind_is_refused_by_name_in_every_container(wanted: str, found: str, tmp_path: Path) -> None:
    for path in carried(ONE_OF_EACH[found], tmp_path):
        if wanted == found:
            LOADERS[wanted](path)
            continue
        with pytest.raises(CheckpointError) as caught:
            LOADERS[wanted](path)
        says = f"{path} holds the model {found!r}; expected {KINDS[wanted].expected}; this one goes to `"
        assert str(caught.value).startswith(says)


@pytest.mark.parametrize("wanted", KINDS)
def test_a_model_of_nobody_s_is_refused_by_name(wanted: str, tmp_path: Path) -> None:
    torch.save({"model": {}, "cfg": {"model": {"_name": "gpt"}}}, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=rf"a\.pt holds the model 'gpt'; expected {KINDS[wanted].expected}$"
    ):
        LOADERS[wanted](tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"'gpt'; expected one of 'vq_wav2vec', 'vq_wav2vec2', 'vq_wav2vec2_ctc', 'vq_b"
    ):
        export_folder(tmp_path / "a.pt", tmp_path / "out")
    with pytest.raises(
        CheckpointError, match=r"'gpt'; expected stock's 'wav2vec', 'wav2vec2', 'wav2vec_ctc' or"
    ):
        import_checkpoint(tmp_path / "a.pt")


class Line(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.line = nn.Linear(width, 1)


@dataclasses.dataclass(frozen=True)
class LineConfig:
    width: int


class LineKind(Kind[Line]):
    """A model to come."""

    model, expected, destination, hears_audio = "vq_line", "'vq_line'", "goes elsewhere", True

    def header(self, state: State) -> Header:
        return Header(self.model, {"width": state["cfg"]["model"]["width"]}, Audio.of(state["cfg"]["task"]))

    def state(self, header: Header) -> dict[str, Any]:
        model = {"_name": self.model, **header.settings}
        task = dataclasses.asdict(header.audio or Audio())
        return {"cfg": {"model": model, "task": task, "criterion": {"_name": "line"}}}

    def build(self, header: Header) -> Line:
        return Line(check_settings(LineConfig, header.settings).width)

    def settings(self, network: Line) -> dict[str, Any]:
        return {"width": network.line.in_features}

    def summary(self, restored: Restored[Line]) -> str:
        return f"a line of {restored.network.line.in_features}"


def test_a_new_kind_is_one_class_and_a_name_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(KINDS, "vq_line", LineKind())
    network = Line(3)
    header = Header("vq_line", {"width": 3}, Audio(8_000, True), num_updates=7)
    write_checkpoint(tmp_path / "a.pt", header, network.state_dict())
    assert main(["export", str(tmp_path / "a.pt"), str(tmp_path / "out")]) == 0
    assert "config.json, a line of 3\n" in capsys.readouterr().out
    assert main(["import", str(tmp_path / "out"), str(tmp_path / "b.pt")]) == 0
    for path in (tmp_path / "out", tmp_path / "b.pt"):
        found = load(path, KINDS["vq_line"])
        assert same(found.weights, network.state_dict()) and found.header.audio == header.audio
        assert found.header.num_updates == 7
        with pytest.raises(
            CheckpointError, match="the model 'vq_line'; expected 'vq_wav2vec'; this one goes"
        ):
            load_network(path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`gumbel`, `kmeans`, `bert`, `ctc` and `asg`, each as the trainer's file and as a folder; and a clip."""
    for name in TRAINED:
        shutil.copy(EARLIER / f"{name}.pt", tmp_path)
        export_folder(EARLIER / f"{name}.pt", tmp_path / name)
    write_clip(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "encode kmeans{} clip.wav",
        "encode wav2vec2{} clip.wav",
        "features wav2vec2{} clip.tsv OUT --layer w2v2",
        "discretize kmeans{} clip.tsv OUT",
        "features none{} clip.tsv OUT --layer c",
        "features kmeans{} clip.tsv OUT --layer bert --bert bert{}",
        "transcribe ctc{} clip.wav",
        "transcribe asg{} clip.wav",
        "transcribe asg{} clip.wav --front gumbel{}",
        "usage kmeans{} clip.tsv",
    ],
)
def test_a_folder_is_taken_wherever_a_checkpoint_is(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for number, suffix in enumerate((".pt", "")):
        assert main(command.replace("{}", suffix).replace("OUT", f"out{number}").split()) == 0
        said.append(capsys.readouterr().out.replace(".pt", "").replace(f"out{number}", "out"))
    if "OUT" not in command:
        assert said[0] == said[1]
    elif "discretize" in command:
        assert (here / "out0" / "clip.bin").read_bytes() == (here / "out1" / "clip.bin").read_bytes()
    else:
        assert np.array_equal(np.load(here / "out0" / "clip.npy"), np.load(here / "out1" / "clip.npy"))


def test_export_and_import_say_what_they_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, says in [
        ("kmeans", "quantizer kmeans, 2 × 6 codes, 16000 Hz"),
        ("none", "quantizer none, 16000 Hz"),
        ("bert", "2 layers of 16, 12 symbols"),
        ("asg", "asg, 6 columns of letters, over features z"),
    ]:
        folder, out = str(tmp_path / name), str(tmp_path / f"{name}.pt")
        assert main(["export", str(EARLIER / f"{name}.pt"), folder]) == 0
        wrote, page = capsys.readouterr().out.splitlines()
        assert page.startswith(f"{folder}/README.md: what it was trained on")
        assert wrote == f"{folder}: model.safetensors, config.json, {says}"
        assert main(["import", folder, out]) == 0
        assert capsys.readouterr().out.startswith(f"{out}: an exported folder; {says}, ")
        assert main(["import", folder, out]) == 2 and "--force" in capsys.readouterr().err
        assert main(["import", folder, out, "--force"]) == 0 and capsys.readouterr().out
        assert main(["export", str(EARLIER / f"{name}.pt"), folder]) == 2
        assert "--force" in capsys.readouterr().err
        assert main(["export", str(EARLIER / f"{name}.pt"), folder, "--force"]) == 0
        assert main(["import", out, str(tmp_path / "again.pt")]) == 2
        assert "which is ours already; use it as it is" in capsys.readouterr().err


def test_a_folder_s_header_is_plain_to_read(tmp_path: Path) -> None:
    export_folder(EARLIER / "asg.pt", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["model"] == "vq_wav2letter" and config["settings"]["layers"] == "[(12, 5, 2), (12, 3)]"
    assert config["extra"]["symbols"] == ["|", "a", "b", "c", "1", "2"]
    assert config["extra"]["features"]["layer"] == "z" and config["made_from"]["file"] == "asg.pt"
    assert "sample_rate" not in config and config["num_updates"] == 200


@pytest.mark.parametrize("name", ["gumbel", "bert", "ctc", "asg"])
def test_fairseq_loads_what_was_imported_from_a_folder(name: str, here: Path) -> None:
    pytest.importorskip("fairseq")
    from fairseq import checkpoint_utils

    import vqw2v_plugin

    vqw2v_plugin.register()
    assert main(["features", "-", "clip.tsv", "mel", "--layer", "logmel", "--bands", "20"]) == 0
    assert main(["import", name, "imported.pt"]) == 0
    data = {"data": str(here / "mel" if name == "ctc" else here)}  # what asg hears is audio
    write_dict(here / "dict.txt", [(symbol, 1) for symbol in load_bert("bert.pt").symbols.lines])
    (model,), cfg, _ = checkpoint_utils.load_model_ensemble_and_task(["imported.pt"], arg_overrides=data)
    state = torch.load(f"{name}.pt", weights_only=True)
    own, held = (
        {k: v for k, v in s.items() if "about." not in k} for s in (model.state_dict(), state["model"])
    )
    assert same(own, held)
    for key, value in state["cfg"]["model"].items():  # None: of the arch, which an imported file spells out
        if key in cfg.model and key != "_name" and value is not None:
            before = {"yes": "true"}.get(value, str(value).lower()) if isinstance(value, str) else value
            assert str(cfg.model[key]).lower() == str(before).lower(), key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gumbel", "bert", "ctc"])
def test_training_goes_on_from_what_was_imported_from_a_folder(name: str, here: Path) -> None:
    assert main(["import", name, "imported.pt"]) == 0
    write_corpus(here / "data")
    for split in ("train", "valid"):
        manifest = f"data/{split}.tsv"
        assert main(["features", "-", manifest, "mel", "--layer", "logmel", "--bands", "20"]) == 0
        assert main(["discretize", "kmeans.pt", manifest, "tokens"]) == 0
    labels = ["labels", "data/train.tsv", "data/valid.tsv", "labels", "--text", "text", "--unit", "letters"]
    assert main(labels) == 0
    more = ["--finetune-from-model", "imported.pt", "--max-update", "1", "--lr", "1e-30", "--save-dir", "on"]
    (here / "vqw2v_plugin").symlink_to(ROOT / "vqw2v_plugin")
    fairseq(here, "fairseq-train", *train_options(name), *more)
    first, tuned = (
        dict(load_any(here / path).network.named_parameters())
        for path in (f"{name}.pt", "on/checkpoint_last.pt")
    )
    assert same(first, tuned)


@pytest.mark.slow
def test_fairseq_decodes_with_what_was_imported_from_a_folder(here: Path) -> None:
    assert main(["import", "ctc", "imported.pt"]) == 0
    assert main(["features", "-", "clip.tsv", "mel", "--layer", "logmel", "--bands", "20"]) == 0
    options = "mel --task vq_acoustic --path imported.pt --gen-subset clip --cpu --labels mel --num-workers 0"
    said = fairseq(here, "fairseq-generate", *options.split(), "--user-dir", str(ROOT / "vqw2v_plugin"))
    hypothesis = next(line for line in said.splitlines() if line.startswith("H-0"))
    words = hypothesis.split("\t")[-1].replace(" ", "").replace("|", " ").strip()
    assert words == json.loads(GAVE["said"]["ctc"])["text"]


def fairseq(folder: Path, program: str, *options: str) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [str(Path(sys.executable).parent / program), *options]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_checkpoint_of_another_kind_than_is_wanted_is_refused(tmp_path: Path) -> None:
    assert load_any(EARLIER / "gumbel.pt", KINDS["vq_wav2vec"], KINDS["vq_bert"]).header.model == "vq_wav2vec"
    export_folder(EARLIER / "gumbel.pt", tmp_path / "folder")
    for path in (EARLIER / "gumbel.pt", tmp_path / "folder"):
        with pytest.raises(CheckpointError):
            load_any(path, KINDS["vq_bert"])
