"""BERT trains by both command lines; a killed run equals a whole one; its checkpoint stands alone."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from program_runs import call, check_killed_is_whole, checked_settings

pytest.importorskip("fairseq")
from vqw2v_plugin.checkpoints.bert import build_bert, load_bert, save_bert
from vqw2v_plugin.modules.bert.config import BertConfig
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.stores.symbols import write_dict
from vqw2v_plugin.stores.tokens import TokenWriter

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SYMBOLS = [f"{i % 5}-{i // 5}" for i in range(30)]
YAMLS = sorted((ROOT / "examples" / "bert").glob("*.yaml"))
OPTIONS = (
    "--task vq_token_pretraining --arch vq_bert_tiny --criterion vq_masked_tokens --cpu --num-workers 1 "
    "--optimizer adam --lr 0.003 --max-tokens 400 --no-epoch-checkpoints --log-format simple "
    f"--log-interval 1 --encoder-layers 2 --tokens-per-sample 100 --seed 5 --user-dir {ROOT / 'vqw2v_plugin'}"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens that a step leads from one to the next: what stands beside a masked span tells what is in it."""
    folder = tmp_path_factory.mktemp("tokens")
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("valid", 8)):
        with TokenWriter(folder, split, 40) as writer:
            for i in range(count):
                size = int(rng.integers(20, 150))
                writer.add(f"{split}{i}", size, 4 + (rng.integers(30) + np.arange(size)) % 30)
    write_dict(folder / "dict.txt", [(symbol, 1) for symbol in SYMBOLS])
    return folder


@pytest.mark.slow
def test_fairseq_train_learns_and_its_checkpoint_stands_alone(data: Path, tmp_path: Path) -> None:
    command = [str(BIN / "fairseq-train"), str(data), *OPTIONS, "--max-update", "150", "--save-dir", "ck"]
    log = call(command, tmp_path)
    network = load_bert(tmp_path / "ck" / "checkpoint_best.pt")
    assert network.symbols.lines == tuple(SYMBOLS) and network.config.encoder_layers == 2
    shown = [line for line in log.splitlines() if "| valid on 'valid'" in line or "valid_loss" in line]
    assert shown and "accuracy" in log and "masked" in log, log[-2000:]
    sequence = torch.cat([torch.tensor([0]), 4 + torch.arange(60) % 30, torch.tensor([2])])
    seen = sequence.clone()
    seen[20:30] = network.symbols.mask
    guessed = network.scores(seen, [62])[0].argmax(-1)
    assert (guessed[20:30] == sequence[20:30]).float().mean() > 0.5  # 1 in 30 by chance


@pytest.mark.slow
@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_hydra_train_takes_every_yaml(path: Path, data: Path, tmp_path: Path) -> None:
    overrides = [
        *(f"common.user_dir={ROOT / 'vqw2v_plugin'}", f"task.data={data}", "common.cpu=true"),
        *(f"checkpoint.save_dir={tmp_path / 'ck'}", f"hydra.run.dir={tmp_path}", "dataset.num_workers=0"),
        *("optimization.max_update=2", "optimization.update_freq=[1]", "++model.encoder_attention_heads=4"),
        *("++model.encoder_layers=1", "++model.encoder_embed_dim=32", "++model.encoder_ffn_embed_dim=32"),
        "distributed_training.distributed_world_size=1",
    ]
    name = ["--config-dir", str(path.parent), "--config-name", path.stem]
    call([str(BIN / "fairseq-hydra-train"), *name, *overrides], tmp_path)
    network = load_bert(tmp_path / "ck" / "checkpoint_last.pt")
    assert network.config.encoder_embed_dim == 32
    assert network.config.dropout == (0.1 if path.stem == "base" else 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [[], ["--vocabulary", "groups", "--position", "rotary"]], ids=["paper", "ours"]
)
def test_a_run_killed_again_and_again_ends_as_one_left_alone(
    data: Path, tmp_path: Path, more: list[str]
) -> None:
    """Dropout, masks, order of batches and all: 60 updates are several epochs."""
    check_killed_is_whole(data, [*OPTIONS, *more], tmp_path)


@pytest.mark.slow
def test_training_goes_on_from_what_was_imported(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = {"encoder_layers": 2, "_name": "vq_bert_tiny"}
    network = build_bert(settings, Symbols(tuple(SYMBOLS)))
    save_bert(tmp_path / "imported.pt", network)
    command = [str(BIN / "fairseq-train"), str(data), *OPTIONS, "--max-update", "1", "--lr", "1e-9"]
    call([*command, "--finetune-from-model", str(tmp_path / "imported.pt"), "--save-dir", "ck"], tmp_path)
    tuned = load_bert(tmp_path / "ck" / "checkpoint_last.pt").state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(tuned[name], value, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_what_stock_fairseq_saves_is_imported(data: Path, tmp_path: Path) -> None:
    command = [str(BIN / "fairseq-train"), str(data), "--task", "masked_lm", "--arch", "roberta_base"]
    command += "--criterion masked_lm --cpu --optimizer adam --lr 0.001 --max-update 1 --batch-size 2".split()
    command += "--encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 16 --save-dir ck".split()
    command += (
        "--encoder-attention-heads 4 --tokens-per-sample 64 --num-workers 0 --disable-validation".split()
    )
    call(command, tmp_path)
    network = load_bert(tmp_path / "ck" / "checkpoint_last.pt", data / "dict.txt")
    assert network.config == BertConfig(2, 16, 16, 4, 0.1, max_positions=64)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_is_whole_and_names_only_known_options(path: Path) -> None:
    import vqw2v_plugin

    vqw2v_plugin.register()
    from vqw2v_plugin.models.vq_bert import VqBertModelConfig
    from vqw2v_plugin.tasks.vq_token_pretraining import VqTokenPretrainingConfig

    settings = checked_settings(path, model=VqBertModelConfig, task=VqTokenPretrainingConfig)
    assert settings["lr_scheduler"]["total_num_update"] == settings["optimization"]["max_update"]
    tokens = settings["dataset"]["max_tokens"] * settings["optimization"].get("update_freq", [1])[0]
    tokens *= settings.get("distributed_training", {}).get("distributed_world_size", 1)
    if path.stem != "small_compute":
        assert tokens == 393_216 and settings["model"]["_name"] == f"vq_bert_{path.stem}"
    with torch.device("meta"):
        build_bert(settings["model"], Symbols(tuple(SYMBOLS)))
