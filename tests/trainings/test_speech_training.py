"""A BERT over speech trains by both command lines; a killed run equals a whole one; layers are features."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from program_runs import PITCHES, accuracies, call, check_killed_is_whole, checked_settings, pitches

pytest.importorskip("fairseq")
from vqw2v_plugin import load_features
from vqw2v_plugin.checkpoints.format import load
from vqw2v_plugin.checkpoints.speech import KIND
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.stores.symbols import NUM_SPECIAL, TOKENS, write_dict
from vqw2v_plugin.stores.tokens import TokenWriter

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
YAMLS = sorted((ROOT / "examples" / "second_round").glob("*.yaml"))
OPTIONS = (
    "--task vq_speech_pretraining --arch vq_speech_bert_small --criterion vq_masked_speech --cpu "
    "--optimizer adam --lr 0.003 --max-tokens 64000 --max-sample-size 16000 --no-epoch-checkpoints --seed 5 "
    "--log-format simple --log-interval 1 --encoder-layers 2 --encoder-embed-dim 32 --num-workers 1 "
    f"--encoder-ffn-embed-dim 64 --encoder-attention-heads 2 --bands 20 --user-dir {ROOT / 'vqw2v_plugin'}"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pitches that follow each other in a circle, 80 ms each, and the codes that name them."""
    folder = tmp_path_factory.mktemp("speech")
    for split, count in (("train", 30), ("valid", 4)):
        rows = []
        with TokenWriter(folder / "tokens", split, len(PITCHES) + NUM_SPECIAL) as writer:
            for i, (wav, number) in enumerate(pitches(split, count)):
                soundfile.write(folder / f"{split[0]}{i}.wav", wav, 16_000)
                rows.append({"path": f"{split[0]}{i}.wav", "samples": len(wav)})
                frames = (len(wav) - 400) // 160 + 1
                codes = number[np.arange(frames) * 160 + 200]
                writer.add(f"{split[0]}{i}", frames, codes + NUM_SPECIAL)
        write_manifest(folder / f"{split}.tsv", folder, rows)
    write_dict(folder / "tokens" / "dict.txt", [(str(i), 1) for i in range(4)])
    times = {"stride": 160, "receptive_field": 400, "sample_rate": 16_000}
    TOKENS.write_about(folder / "tokens", {"num_groups": 1, "num_codes": 4, **times})
    return folder


@pytest.mark.slow
def test_it_learns_what_was_said_in_the_gaps(data: Path, tmp_path: Path) -> None:
    command = [str(BIN / "fairseq-train"), str(data), "--tokens", str(data / "tokens"), *OPTIONS]
    log = call([*command, "--max-update", "150", "--save-dir", "ck"], tmp_path)
    shown = [line for line in log.splitlines() if "| valid on 'valid'" in line]
    chance = float(shown[-1].partition("chance ")[2].split(" ")[0])
    assert 0.2 < chance < 0.35 and accuracies(log)[-1] > 0.6, shown
    found = load(tmp_path / "ck" / "checkpoint_last.pt", KIND)
    assert (found.network.config.num_codes, found.network.config.bands) == (4, 20)
    features = load_features("speech:1", str(tmp_path / "ck" / "checkpoint_last.pt"))
    assert features.of(data / "v0.wav").shape[1] == 32


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_one_left_alone(data: Path, tmp_path: Path) -> None:
    """Dropout, crops, masks, order of batches and all: 60 updates are several epochs."""
    check_killed_is_whole(data, ["--tokens", str(data / "tokens"), *OPTIONS], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_hydra_train_takes_every_yaml(path: Path, data: Path, tmp_path: Path) -> None:
    overrides = [
        *(f"common.user_dir={ROOT / 'vqw2v_plugin'}", f"task.data={data}", f"task.tokens={data / 'tokens'}"),
        *(f"checkpoint.save_dir={tmp_path / 'ck'}", f"hydra.run.dir={tmp_path}", "dataset.num_workers=0"),
        *("optimization.max_update=2", "++optimization.update_freq=[1]", "++model.encoder_attention_heads=4"),
        *("++model.encoder_layers=1", "++model.encoder_embed_dim=32", "++model.encoder_ffn_embed_dim=32"),
        *("++distributed_training.distributed_world_size=1", "common.cpu=true"),
    ]
    name = ["--config-dir", str(path.parent), "--config-name", path.stem]
    call([str(BIN / "fairseq-hydra-train"), *name, *overrides], tmp_path)
    assert load(tmp_path / "ck" / "checkpoint_last.pt", KIND).network.config.encoder_embed_dim == 32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--tokens", "nothing"], "tokens=nothing: is no folder"),
        (["--mask-start-prob", "0"], "`mask_start_prob` is 0.0"),
        (["--stack", "0"], "`stack` is 0"),
    ],
)
def test_what_cannot_be_trained_on_is_one_sentence(
    data: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    command = [str(BIN / "fairseq-train"), str(data), "--tokens", str(data / "tokens"), *OPTIONS, *change]
    done = subprocess.run(
        [*command, "--save-dir", "ck"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode and message in done.stderr.splitlines()[-2], done.stderr[-2000:]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_is_whole_and_names_only_known_options(path: Path) -> None:
    import vqw2v_plugin

    vqw2v_plugin.register()
    from vqw2v_plugin.models.vq_speech_bert import VqSpeechBertModelConfig
    from vqw2v_plugin.tasks.vq_speech_pretraining import VqSpeechPretrainingConfig

    settings = checked_settings(path, model=VqSpeechBertModelConfig, task=VqSpeechPretrainingConfig)
    updates, schedule = settings["optimization"]["max_update"], settings["lr_scheduler"]
    assert schedule["total_num_update"] == updates and schedule["warmup_updates"] == 0.08 * updates
