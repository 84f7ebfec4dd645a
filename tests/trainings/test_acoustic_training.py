"""Acoustic models train by both command lines, from synthetic speech to words, and decode through fairseq."""

import sys
from pathlib import Path

import pytest
from program_runs import call

pytest.importorskip("fairseq")
from fake_speech import write_speech

from vqw2v_plugin.checkpoints.acoustic import load_acoustic

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
YAMLS = sorted((ROOT / "examples" / "acoustic").glob("*.yaml"))
TRAINING = (
    "--task vq_acoustic --labels labels --arch vq_wav2letter_tiny --cpu --num-workers 0 --optimizer adam "
    "--lr 0.003 --lr-scheduler polynomial_decay --warmup-updates 20 --total-num-update 500 --clip-norm 1 "
    "--max-tokens 1200 --max-update 500 --validate-interval 10 --no-epoch-checkpoints --log-format simple "
    "--best-checkpoint-metric uer"
).split()
LAYERS = ["--conv-layers", "[(96, 7, 2)] + [(96, 7)] * 3", "--dropout", "0"]


def vqw2v(folder: Path, *words: object) -> None:
    call([sys.executable, "-m", "vqw2v_plugin", *words], folder)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes of one synthetic voice as log-mels, with letters, a lexicon and an LM."""
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("toy")
    vqw2v(folder, "toy", "corpus", "--minutes", "3", "--speakers", "1")
    manifests = [folder / "corpus" / f"{split}.tsv" for split in ("train", "valid", "test")]
    vqw2v(folder, "labels", *manifests, "labels", "--text", "text", "--unit", "letters")
    for manifest in manifests:
        vqw2v(folder, "features", "-", manifest, "mel", "--layer", "logmel")
    vqw2v(folder, "lm", "labels/train.wrd", "lm.arpa", "--order", "3")
    return folder


def error_rate(folder: Path, checkpoint: str, *options: object) -> float:
    """What fairseq-generate says of the words of the test split."""
    command = [BIN / "fairseq-generate", "mel", "--user-dir", ROOT / "vqw2v_plugin", "--task", "vq_acoustic"]
    command += ["--labels", "labels", "--path", checkpoint, "--gen-subset", "test", "--cpu", *options]
    line = next(x for x in call(command, folder).splitlines() if x.startswith("Generate test with beam="))
    return float(line.split("WER ")[1].split(" %")[0])


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["vq_ctc", "asg"])
def test_synthetic_speech_becomes_words(criterion: str, speech: Path) -> None:
    pytest.importorskip("kenlm")
    base = [BIN / "fairseq-train", "mel", "--user-dir", ROOT / "vqw2v_plugin", "--criterion", criterion]
    call([*base, *TRAINING, *LAYERS, "--save-dir", criterion], speech)
    trained = f"{criterion}/checkpoint_best.pt"
    beam = ["--decoder", "lexicon", "--lexicon", "labels/lexicon.ltr.txt", "--lm", "lm.arpa", "--beam", "100"]
    greedy, words = error_rate(speech, trained), error_rate(speech, trained, *beam)
    assert words < 70 and words < greedy  # untrained: 100 or more


@pytest.mark.slow
@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_hydra_train_takes_every_yaml(path: Path, tmp_path: Path) -> None:
    data, labels = write_speech(tmp_path, {"train": 20, "valid": 4})
    overrides = [
        *(f"common.user_dir={ROOT / 'vqw2v_plugin'}", f"task.data={data}", f"task.labels={labels}"),
        *(f"checkpoint.save_dir={tmp_path / 'ck'}", f"hydra.run.dir={tmp_path}", "dataset.num_workers=0"),
        *("common.cpu=true", "++task.unit=letters", "++optimization.max_update=2"),
        *("++model.conv_layers='[(16, 5)]'", "distributed_training.distributed_world_size=1"),
    ]
    name = ["--config-dir", path.parent, "--config-name", path.stem]
    call([BIN / "fairseq-hydra-train", *name, *overrides], tmp_path)
    acoustic = load_acoustic(tmp_path / "ck" / "checkpoint_last.pt")
    assert acoustic.units.loss.has_blank == (path.stem == "tiny")
