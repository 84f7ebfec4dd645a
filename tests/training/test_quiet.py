"""What nobody can act on is left out, all else is heard; a training ends with where its checkpoint lies."""

import logging
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

pytest.importorskip("fairseq")
from fairseq import checkpoint_utils
from omegaconf import OmegaConf

import vqw2v_plugin
from vqw2v_plugin.common.loud import LOUD
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.training import next_step, quiet

ROOT = Path(__file__).resolve().parents[2]
MODULES = {r"hydra\.": "hydra.compose", r"hydra\.|fairseq": "hydra.compose", r"fairseq\.": "fairseq.utils"}
MODULES |= {r"torch\.": "torch.utils.data.dataloader", "": "sys"}
CHATTER = [
    ("fairseq.tasks.fairseq_task", "can_reuse_epoch_itr = False"),
    ("fairseq.tasks.fairseq_task", "creating new batches for epoch 3"),
    ("fairseq.trainer", "detected shared parameter: network.a.conv.bias <- network.b.conv.bias"),
    ("fairseq_cli.train", "num. expert model params: 0 (num. trained: 0)"),
    ("fairseq_cli.generate", "{'_name': None, 'common': {'_name': None, 'seed': 1}}"),
    ("fairseq_cli.generate", "NOTE: hypothesis and token scores are output in base 2"),
    ("fairseq_cli.generate", "Translated 1,030 sentences (1,727 tokens) in 0.4s (203.06 sentences/s)"),
]
HEARD = [
    ("fairseq.tasks.fairseq_task", "rebuilt"),
    ("fairseq.trainer", "detected shared parameter: tokens.weight <- output.weight"),
    ("fairseq.trainer", "loading train data for epoch 3"),
    ("fairseq_cli.generate", "loading model(s) from a.pt"),
    ("fairseq_cli.train", "num. expert model params: 12 (num. trained: 12)"),
    ("vqw2v_plugin.training.task", "can_reuse_epoch_itr = False"),
]


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the filters that other tests' plugin has set, and with them again afterwards."""
    monkeypatch.delenv(LOUD, raising=False)
    named = [logging.getLogger(name) for name in [*quiet.CHATTER, next_step.LOGGER]]
    for logger in named:
        monkeypatch.setattr(logger, "filters", [])
    with warnings.catch_warnings():
        yield


def warned(message: str, category: type[Warning], module: str) -> bool:
    """Whether such a warning would be shown."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always")
        quiet.leave_out_needless()
        warnings.warn_explicit(message, category, "file.py", 1, module=module)
    return bool(caught)


@pytest.mark.parametrize("needless", quiet.NEEDLESS, ids=lambda needless: needless.begins.strip())
def test_a_needless_warning_is_left_out_and_its_like_in_users_code_is_not(needless: quiet.Needless) -> None:
    message, category = f"{needless.begins} More of it.", needless.category
    assert not warned(message, category, MODULES[needless.module])
    assert warned(f"Mind: {message}", category, MODULES[needless.module])
    assert not needless.module or warned(message, category, "their_program")


def test_what_any_code_might_warn_of_is_left_out_of_its_own_module_alone() -> None:
    assert [needless.begins.split()[0] for needless in quiet.NEEDLESS if not needless.module] == ["'config'"]


def test_warnings_of_ours_and_of_others_are_heard() -> None:
    assert warned("a codebook has collapsed", UserWarning, "vqw2v_plugin.models")
    assert warned("something else of hydra's", UserWarning, "hydra.compose")
    assert warned("`torch.cuda.amp.autocast(args...)` is deprecated.", FutureWarning, "my_task")


def test_chatter_is_left_out_and_all_else_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    quiet.leave_out_needless()
    with caplog.at_level(logging.DEBUG):
        for name, line in CHATTER + HEARD:
            logging.getLogger(name).info(line)
        logging.getLogger(CHATTER[0][0]).warning(CHATTER[0][1])
    assert [(record.name, record.message) for record in caplog.records] == [*HEARD, CHATTER[0]]


def test_loud_shows_everything(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(LOUD, "")
    assert not warned(quiet.NEEDLESS[0].begins, UserWarning, "hydra.compose")
    for name in quiet.CHATTER:
        logging.getLogger(name).filters.clear()
    monkeypatch.setenv(LOUD, "1")
    assert warned(quiet.NEEDLESS[1].begins, UserWarning, "hydra.compose")
    with caplog.at_level(logging.INFO):
        for name, line in CHATTER:
            logging.getLogger(name).info(line)
    assert [record.message for record in caplog.records] == [line for _, line in CHATTER]


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (
            "vq_audio_pretraining",
            "next: vqw2v discretize '{checkpoint}' /corpus/train.tsv TOKENS",
        ),
        ("vq_token_pretraining", "--layer bert --bert '{checkpoint}'"),
        (
            "vq_speech_pretraining",
            "/corpus/train.tsv CLUSTERS --layer speech:N",
        ),
        ("vq_acoustic", "next: vqw2v transcribe '{checkpoint}' FILE"),
    ],
)
def test_a_training_ends_with_its_checkpoint_and_the_next_command(
    task: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "checkpoint_best.pt").touch()
    next_step.announce()
    logger = logging.getLogger(next_step.LOGGER)
    settings = {"_name": task, "data": "/corpus", "labels": None}
    with caplog.at_level(logging.INFO):
        logger.info(
            OmegaConf.create(
                {"task": settings, "model": {"quantizer": "fsq"}, "checkpoint": {"save_dir": str(folder)}}
            )
        )
        logger.info("done training in 5.0 seconds")
    first, second, *others = caplog.records[-1].message.splitlines()
    assert (first, second) == ("done training in 5.0 seconds", f"checkpoint: {folder / 'checkpoint_best.pt'}")
    assert says.format(checkpoint=folder / "checkpoint_best.pt") in "\n".join(others)


def test_what_later_commands_name_is_there_though_no_validation_chose_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(checkpoint_utils.save_checkpoint, "best", raising=False)
    next_step.announce()
    logger = logging.getLogger(next_step.LOGGER)
    settings = {"_name": "vq_acoustic", "data": "/corpus", "labels": None}
    cfg = OmegaConf.create({"task": settings, "model": {}, "checkpoint": {"save_dir": str(tmp_path)}})
    last, best = tmp_path / "checkpoint_last.pt", tmp_path / "checkpoint_best.pt"
    with caplog.at_level(logging.INFO):
        for content in (b"", b"first", b"second", b"third"):  # of a training that goes on
            if content:
                last.write_bytes(content)
            if content == b"third":
                monkeypatch.setattr(checkpoint_utils.save_checkpoint, "best", 1.0, raising=False)
            logger.info(cfg)
            logger.info("done training in 5.0 seconds")
            assert best.exists() == bool(content)
    assert best.read_bytes() == b"second"  # one that a validation chose stays
    assert sum("is a copy of checkpoint_last.pt" in record.message for record in caplog.records) == 2


def test_a_training_that_saved_nothing_names_no_checkpoint(tmp_path: Path) -> None:
    settings = {"_name": "vq_audio_pretraining", "data": "/corpus"}
    cfg = {"task": settings, "model": {"quantizer": "fsq"}, "checkpoint": {"save_dir": str(tmp_path)}}
    assert next_step.last_lines(OmegaConf.create(cfg)) == []
    (tmp_path / "checkpoint_last.pt").touch()
    assert next_step.last_lines(OmegaConf.create(cfg))[0] == f"checkpoint: {tmp_path}/checkpoint_last.pt"


@pytest.mark.parametrize(
    ("task", "quantizer", "words"),
    [
        ("vq_audio_pretraining", "none", "vqw2v features C /my_corpus/train.tsv FEATURES --layer c"),
        ("vq_audio_pretraining", "fsq", "vqw2v usage C /my_corpus/valid.tsv"),
        ("vq_token_pretraining", "", "vqw2v features VQ_CHECKPOINT MANIFEST FEATURES --layer bert --bert C"),
        ("vq_speech_pretraining", "", "vqw2v cluster C /my_corpus/train.tsv CLUSTERS --layer speech:N"),
        (
            "vq_acoustic",
            "",
            "fairseq-generate /my_corpus --user-dir $(vqw2v path) --task vq_acoustic "
            "--labels /my_corpus --path C --gen-subset test --results-path RESULTS",
        ),
        (
            "vq_utterance",
            "",
            "fairseq-generate /my_corpus --user-dir $(vqw2v path) --task vq_utterance "
            "--labels /my_corpus --path C --gen-subset test --results-path RESULTS",
        ),
    ],
)
def test_the_next_command_is_one_that_a_shell_reads_where_names_have_blanks(
    task: str, quantizer: str, words: str
) -> None:
    settings = {"_name": task, "data": "/my corpus", "labels": None}
    cfg = OmegaConf.create({"task": settings, "model": {"quantizer": quantizer}})
    first, *_ = next_step.next_commands(cfg, "C")
    assert [
        word.replace(" ", "_") for word in shlex.split(first.replace("(vqw2v path)", "(vqw2v_path)"))
    ] == (words.replace("(vqw2v path)", "(vqw2v_path)").split())


def test_the_plugin_is_quiet_and_names_the_next_command_once_it_is_loaded() -> None:
    vqw2v_plugin.register()
    assert logging.getLogger(CHATTER[0][0]).filters == [quiet._NO_CHATTER]
    assert next_step._LAST_LINES in logging.getLogger(next_step.LOGGER).filters


def test_the_best_checkpoint_is_named_by_paths_that_hold_anywhere_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint_utils.save_checkpoint, "best", 1.0, raising=False)
    for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
        (tmp_path / name).touch()
    for _ in range(2):
        next_step.announce()
    settings = {"_name": "vq_acoustic", "data": "mel", "labels": "said here"}
    with caplog.at_level(logging.INFO):
        logger = logging.getLogger(next_step.LOGGER)
        logger.info(OmegaConf.create({"task": settings, "model": {}, "checkpoint": {"save_dir": "."}}))
        logger.info("done training in 5.0 seconds")
    lines = caplog.records[-1].message.splitlines()
    assert lines[1] == f"checkpoint: {tmp_path / 'checkpoint_best.pt'}" and len(lines) == 4
    assert f"fairseq-generate {tmp_path}/mel " in lines[2] and f"--labels '{tmp_path}/said here'" in lines[2]


def test_another_plugin_s_training_ends_as_it_did(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "checkpoint_last.pt").touch()
    next_step.announce()
    logger = logging.getLogger(next_step.LOGGER)
    cfg = {"task": {"_name": "translation", "data": "x"}, "checkpoint": {"save_dir": str(tmp_path)}}
    with caplog.at_level(logging.INFO):
        for line in ("done training in 1.0 seconds", OmegaConf.create(cfg), "done training in 2.0 seconds"):
            logger.info(line)
    assert caplog.records[0].message == "done training in 1.0 seconds"
    assert caplog.records[-1].message == "done training in 2.0 seconds"


@pytest.mark.slow
def test_a_training_says_nothing_needless(tmp_path: Path) -> None:
    rows = []
    for i in range(4):
        sf.write(tmp_path / f"{i}.wav", np.random.default_rng(i).normal(0, 0.1, 6000), 16_000)
        rows.append({"path": f"{i}.wav", "samples": 6000})
    for split in ("train", "valid"):
        write_manifest(tmp_path / f"{split}.tsv", tmp_path, rows)
    command = [str(Path(sys.executable).parent / "fairseq-train"), str(tmp_path), "--save-dir", "ck", "--cpu"]
    command += ["--user-dir", str(ROOT / "vqw2v_plugin"), *TINY.split()]
    command += [
        "--conv-feature-layers",
        "[(16, 10, 5), (16, 8, 4)]",
        "--conv-aggregator-layers",
        "[(16, 2, 1)]",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Warning" not in done.stderr, done.stderr
    assert "can_reuse_epoch_itr" not in done.stdout and "num_updates=1" in done.stdout
    assert f"checkpoint: {tmp_path}/ck/checkpoint_best.pt\nnext: vqw2v usage " in done.stdout


def test_a_name_that_is_no_utf_8_is_logged() -> None:
    """In a program of its own: a handler holds the stdout of whoever imported fairseq."""
    program = "import logging, sys, fairseq, vqw2v_plugin\n"
    program += "logging.basicConfig(stream=sys.stdout, force=True)\n"
    program += "vqw2v_plugin.register()\nlogging.warning('loading \\udcff')"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.endswith("loading \\udcff\n") and "Logging error" not in done.stderr


TINY = (
    "--task vq_audio_pretraining --arch vq_wav2vec --quantizer kmeans --criterion vq_contrastive "
    "--optimizer adam --lr 1e-3 --max-update 1 --max-tokens 30000 --num-workers 0 --log-format simple "
    "--log-interval 1 --no-epoch-checkpoints --prediction-steps 3 --num-negatives 4 --vq-vars 8"
)
