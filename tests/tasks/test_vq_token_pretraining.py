"""The token task: both front ends reach it, resumed runs get the same batches, faults are named."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("fairseq")
from fairseq import models, options, tasks
from fairseq.dataclass.initialize import add_defaults
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.modules.bert.config import config_of
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.stores.symbols import TokenError, write_dict
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.tasks.vq_token_pretraining import VqTokenPretrainingConfig, VqTokenPretrainingTask

SYMBOLS = [f"{i % 5}-{i // 5}" for i in range(30)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        with TokenWriter(tmp_path, split, 40) as writer:
            for i in range(8):
                writer.add(f"{split}{i}", 40 + 9 * i, rng.integers(4, 34, 40 + 9 * i))
    write_dict(tmp_path / "dict.txt", [(symbol, 1) for symbol in SYMBOLS])
    return tmp_path


def task_of(folder: Path | str, **given: object) -> VqTokenPretrainingTask:
    cfg = OmegaConf.structured(
        VqTokenPretrainingConfig(
            data=str(folder), **{"seed": 1, "save_dir": "none", "restore_file": "none", **given}
        )
    )
    return VqTokenPretrainingTask.setup_task(cfg)


def epoch_of(task: VqTokenPretrainingTask, split: str, epoch: int, **given: object) -> list[torch.Tensor]:
    iterator = task.get_batch_iterator(
        task.dataset(split), max_tokens=220, max_positions=task.max_positions(), epoch=epoch, **given
    )
    return [batch["net_input"]["tokens"] for batch in iterator.next_epoch_itr()]


def test_command_line_reaches_task_and_model(folder: Path) -> None:
    args = options.parse_args_and_arch(
        options.get_training_parser(),
        [
            *(str(folder), "--task", "vq_token_pretraining", "--arch", "vq_bert_tiny", "--max-tokens", "500"),
            *("--mask-start-prob", "0.03", "--mask-length", "5", "--mask-stdev", "2", "--seed", "7"),
            *("--leave-unmasked-prob", "0", "--random-token-prob", "0.2", "--tokens-per-sample", "60"),
            *("--encoder-layers", "3", "--vocabulary", "groups", "--layernorm-embedding", "false"),
        ],
    )
    cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    task.load_dataset("train", combine=False, epoch=1)
    dataset = task.dataset("train")
    how = dataset.masking
    assert (how.start_prob, how.length, how.stdev, how.leave_prob, how.random_prob) == (0.03, 5, 2, 0, 0.2)
    assert dataset.seed == 7 and dataset.sizes.max() <= 60
    network = task.build_model(cfg.model).network
    given = {"encoder_layers": 3, "vocabulary": "groups", "layernorm_embedding": False}
    assert network.config == config_of("vq_bert_tiny", given)
    assert isinstance(network.embedding_norm, torch.nn.Identity)


def test_hydra_config_reaches_task_and_model_and_names_the_arch(folder: Path) -> None:
    cfg = OmegaConf.create(
        {
            "task": {"_name": "vq_token_pretraining", "data": str(folder)},
            "model": {"_name": "vq_bert_small", "encoder_layers": 1},
            "common": {"seed": 3},
        }
    )
    add_defaults(cfg)
    task = tasks.setup_task(cfg.task)
    task.load_dataset("valid")
    assert task.dataset("valid").seed == 3 and task.dataset("valid").masking.length == 10
    network = models.build_model(cfg.model, task).network
    assert network.config == config_of("vq_bert_small", {"encoder_layers": 1})
    assert len(network.symbols) == 35


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_is_the_same_when_a_run_resumes_at_it(folder: Path, num_workers: int) -> None:
    through, resumed = task_of(folder, tokens_per_sample=50), task_of(folder, tokens_per_sample=50)
    through.load_dataset("train")
    resumed.load_dataset("train")
    first = epoch_of(through, "train", 1, num_workers=num_workers)
    second = epoch_of(through, "train", 2, num_workers=num_workers)
    again = epoch_of(resumed, "train", 2)
    assert len(second) == len(again) and all(torch.equal(a, b) for a, b in zip(second, again, strict=True))
    assert sum(map(len, first)) == sum(map(len, second))
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=False))


def test_the_dictionary_is_fairseq_s_own(folder: Path) -> None:
    from fairseq.data import Dictionary

    theirs = Dictionary.load(str(folder / "dict.txt"))
    theirs.add_symbol("<mask>")
    task = task_of(folder)
    assert task.source_dictionary == theirs and task.target_dictionary is task.source_dictionary
    assert task.symbols.all == tuple(theirs.symbols)


def test_a_checkpoint_holds_the_symbols_and_refuses_others(folder: Path) -> None:
    task = task_of(folder)
    assert task.symbols.lines == tuple(SYMBOLS)
    state = task.state_dict()
    assert state == {"symbols": SYMBOLS}
    task_of(folder).load_state_dict(state)
    swapped = [SYMBOLS[0], SYMBOLS[2], SYMBOLS[1], *SYMBOLS[3:]]
    with pytest.raises(TokenError, match=r"dict\.txt: has 30 symbols, the checkpoint 30, .* from line 2 on"):
        task_of(folder).load_state_dict({"symbols": swapped})
    with pytest.raises(TokenError, match=r"the checkpoint 29, .* from line 30 on"):
        task_of(folder).load_state_dict({"symbols": SYMBOLS[:-1]})


def test_it_begins_with_another_bert_of_the_same_symbols(folder: Path) -> None:
    """Which hears no audio, so nothing of that is asked."""
    tiny = {"_name": "vq_bert_tiny", "encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 8}
    other = build_bert({**tiny, "encoder_attention_heads": 2}, Symbols(tuple(SYMBOLS)))
    save_bert(folder / "other.pt", other)
    cfg = OmegaConf.create({**tiny, "encoder_attention_heads": 2})
    built = [task_of(folder, **given).build_model(cfg) for given in ({"init_from": f"{folder}/other.pt"}, {})]
    own, plain = (model.network.state_dict() for model in built)
    kept = other.state_dict()
    assert all(torch.equal(own[name], kept[name]) for name in kept)
    assert not all(torch.equal(plain[name], kept[name]) for name in kept)


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(TokenError, match=r"test\.idx: is missing; the splits in .* are: train, valid"):
        task_of(folder).load_dataset("test")
    with pytest.raises(TokenError, match=r"gone: is no folder, expected one with dict\.txt"):
        _ = task_of(folder / "gone").symbols
    (folder / "dict.txt").unlink()
    with pytest.raises(TokenError, match=r"dict\.txt: is missing"):
        _ = task_of(folder).symbols


def test_task_options_keep_stocks_names() -> None:
    stock = tasks.TASK_DATACLASS_REGISTRY["masked_lm"]()
    own = {"max_skipped_updates", "resume_changed", "mask_start_prob", "mask_length"}
    own |= {"save_dir", "restore_file", "init_from", "_name"}
    assert set(vars(VqTokenPretrainingConfig())) - own <= set(vars(stock))


def test_the_paper_s_masks_are_the_defaults() -> None:
    cfg = VqTokenPretrainingConfig()
    assert (cfg.mask_start_prob, cfg.mask_length, cfg.mask_stdev, cfg.tokens_per_sample) == (
        0.05,
        10,
        0.0,
        2048,
    )
    # of the masked ones BERT sees 80 % as <mask>, 10 % as they are, 10 % as another code
    assert (cfg.leave_unmasked_prob, cfg.random_token_prob) == (0.1, 0.1)


def test_it_says_how_many_tokens_will_be_masked(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of 40 to 103 tokens, 71 in the mean, three in ten of which are a span of their own."""
    with caplog.at_level("INFO"):
        task_of(folder, mask_start_prob=0.3, mask_length=1).load_dataset("valid")
    assert "valid: 30.0% of the tokens will be masked, for 71 tokens in a piece" in caplog.text
