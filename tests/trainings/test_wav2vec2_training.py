"""wav2vec 2.0 trains by both command lines; a killed run equals a whole one; two ranks equal one."""

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from program_runs import accuracies, call, check_killed_is_whole, checked_settings, on_ranks, pitches

pytest.importorskip("fairseq")
from vqw2v_plugin.checkpoints.format import load
from vqw2v_plugin.checkpoints.wav2vec2 import KIND
from vqw2v_plugin.corpora.manifest import write_manifest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
YAMLS = sorted((ROOT / "examples" / "wav2vec2").glob("*.yaml"))
LAYERS = ["--conv-feature-layers", "[(16, 10, 5), (16, 8, 4), (32, 4, 4), (32, 4, 4)]"]  # 50 frames a second
OPTIONS = (
    "--task vq_audio_pretraining --arch vq_wav2vec2_small --criterion vq_masked_contrastive --cpu --seed 5 "
    "--optimizer adam --lr 0.002 --max-tokens 64000 --max-sample-size 16000 --no-epoch-checkpoints "
    "--log-format simple --log-interval 1 --encoder-layers 2 --encoder-embed-dim 32 --num-workers 1 "
    "--encoder-ffn-embed-dim 64 --encoder-attention-heads 2 --conv-pos 16 --conv-pos-groups 4 "
    f"--latent-vars 8 --final-dim 16 --num-negatives 20 --user-dir {ROOT / 'vqw2v_plugin'}"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pitches that follow each other in a circle, 80 ms each, in clips of different lengths."""
    folder = tmp_path_factory.mktemp("wav2vec2")
    for split, count in (("train", 30), ("valid", 4)):
        rows = []
        for i, (wav, _) in enumerate(pitches(split, count)):
            soundfile.write(folder / f"{split[0]}{i}.wav", wav, 16_000)
            rows.append({"path": f"{split[0]}{i}.wav", "samples": len(wav)})
        write_manifest(folder / f"{split}.tsv", folder, rows)
    (folder / "four").mkdir()
    write_manifest(folder / "four" / "train.tsv", folder, rows)  # one batch, or one for each of two ranks
    return folder


@pytest.mark.slow
def test_it_learns_what_was_heard_in_the_gaps(data: Path, tmp_path: Path) -> None:
    command = [str(BIN / "fairseq-train"), str(data), *OPTIONS, *LAYERS, "--encoder-layerdrop", "0"]
    log = call([*command, "--max-update", "250", "--save-dir", "ck"], tmp_path)
    accuracy = accuracies(log)
    assert accuracy[0] < 0.2 and accuracy[-1] > 0.3, accuracy
    assert "next: vqw2v features" in log and "--layer w2v2:N" in log
    found = load(tmp_path / "ck" / "checkpoint_last.pt", KIND)
    assert found.network.config.encoder_layers == 2 and found.network.health.window.any()


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
def test_a_run_killed_again_and_again_ends_as_one_left_alone(
    quantizer: str, data: Path, tmp_path: Path
) -> None:
    """Dropout, layer drop, crops, masks, distractors, order of batches and all, in the middle of epochs."""
    check_killed_is_whole(data, [*OPTIONS, *LAYERS, "--quantizer", quantizer], tmp_path)


def weights_of_ranks(data: Path, save_dir: Path, ranks: int, more: list[str]) -> dict[str, torch.Tensor]:
    # nothing but layers is dropped and Gumbel's noise is still: such draws fall differently on two ranks
    still = "--dropout 0 --attention-dropout 0 --dropout-input 0 --dropout-features 0 --encoder-layerdrop 0.4"
    base = [str(BIN / "fairseq-train"), str(data / "four"), *OPTIONS, *LAYERS, *still.split(), *more]
    base += f"--batch-size {4 // ranks} --max-update 8 --disable-validation --save-dir {save_dir}".split()
    base += ["--ddp-backend", "legacy_ddp", "--max-tokens", "1000000", "--user-dir", str(data / "still")]
    return dict(on_ranks(base, ranks, save_dir)["model"])


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", ["gumbel", "fsq", "none"])
def test_two_ranks_learn_as_one_process_with_the_joined_batch(
    quantizer: str, data: Path, tmp_path: Path
) -> None:
    """Clips of different lengths: a rank's padding and number of masked frames are its own."""
    (data / "still").mkdir(exist_ok=True)
    (data / "still" / "__init__.py").write_text(
        "import torch\nimport vqw2v_plugin\n"
        "torch.Tensor.exponential_ = lambda self, *args, **kwargs: self.fill_(1.0)\n"
    )
    more = ["--quantizer", quantizer, *(["--latent-vars", "9"] if quantizer == "fsq" else [])]
    one, two = (weights_of_ranks(data, tmp_path / str(ranks), ranks, more) for ranks in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    begun = weights_of_ranks(data, tmp_path / "begun", 1, [*more, "--lr", "1e-9"])
    assert max((one[n] - begun[n]).abs().max().item() for n in one if one[n].is_floating_point()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_hydra_train_takes_every_yaml(path: Path, data: Path, tmp_path: Path) -> None:
    overrides = [
        *(f"common.user_dir={ROOT / 'vqw2v_plugin'}", f"task.data={data}", "task.min_sample_size=8000"),
        *(f"checkpoint.save_dir={tmp_path / 'ck'}", f"hydra.run.dir={tmp_path}", "dataset.num_workers=0"),
        *("optimization.max_update=2", "++optimization.update_freq=[1]", "++model.encoder_attention_heads=4"),
        *("++model.encoder_layers=1", "++model.encoder_embed_dim=32", "++model.encoder_ffn_embed_dim=32"),
        *("++distributed_training.distributed_world_size=1", "common.cpu=true", "++model.conv_pos=16"),
    ]
    name = ["--config-dir", str(path.parent), "--config-name", path.stem]
    call([str(BIN / "fairseq-hydra-train"), *name, *overrides], tmp_path)
    found = load(tmp_path / "ck" / "checkpoint_last.pt", KIND)
    assert found.network.config.layer_norm_first == (path.stem in ("large", "small_continuous"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ["--criterion", "vq_contrastive"],
            "`criterion` is 'vq_contrastive'; expected 'vq_masked_contrastive'",
        ),
        (["--augment", "rain"], "`augment` has 'rain'"),
        (["--mask-prob", "0"], "`mask_prob` is 0.0"),
        (["--quantizer", "fsq", "--latent-vars", "17"], "`latent_vars` (17) is no product"),
        (["--loss-weights", "(0.1)"], "`loss_weights`"),
        (["--latent-temp", "(2,0.5,0)"], "`latent_temp` is"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    data: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    command = [
        str(BIN / "fairseq-train"),
        str(data),
        *OPTIONS,
        *LAYERS,
        *change,
        "--save-dir",
        "ck",
        "--max-update",
        "1",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode and message in done.stderr.splitlines()[-2], done.stderr[-2000:]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_is_whole_and_names_only_known_options(path: Path) -> None:
    import vqw2v_plugin

    vqw2v_plugin.register()
    from vqw2v_plugin.criterions.vq_masked_contrastive import VqMaskedContrastiveConfig
    from vqw2v_plugin.models.vq_wav2vec2 import VqWav2Vec2ModelConfig
    from vqw2v_plugin.tasks.vq_audio_pretraining import VqAudioPretrainingConfig

    settings = checked_settings(
        path,
        model=VqWav2Vec2ModelConfig,
        task=VqAudioPretrainingConfig,
        criterion=VqMaskedContrastiveConfig,
    )
    assert settings["lr_scheduler"]["total_num_update"] == settings["optimization"]["max_update"]
