"""Every program of fairseq's that reads a checkpoint, given a stranger's: nothing in it is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("fairseq")
from fake_speech import write_speech

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EARLIER = ROOT / "tests" / "checkpoints" / "earlier"
PLUGIN = ["--user-dir", str(ROOT / "vqw2v_plugin")]
DECODE = ["mel", *PLUGIN, "--task", "vq_acoustic", "--labels", "labels", "--gen-subset", "test", "--cpu"]
LEARN = [
    *("mel", *PLUGIN, "--task", "vq_acoustic", "--labels", "labels", "--criterion", "vq_ctc", "--cpu"),
    *("--arch", "vq_wav2letter_tiny", "--optimizer", "adam", "--lr", "1e-3", "--max-tokens", "2000"),
    *("--max-update", "1", "--num-workers", "0"),
]
HYDRA = [
    *("--config-dir", str(ROOT / "examples" / "acoustic"), "--config-name", "tiny", "common.cpu=true"),
    *(f"common.user_dir={ROOT / 'vqw2v_plugin'}", "task.data=FOLDER/mel", "task.labels=FOLDER/labels"),
    *("optimization.max_update=1", "dataset.num_workers=0"),
]
COMMANDS = {
    "generate": ["fairseq-generate", *DECODE, "--path", "theirs.pt"],
    "ensemble": ["fairseq-generate", *DECODE, "--path", "theirs.pt:ours.pt"],
    "interactive": ["fairseq-interactive", *DECODE[:-3], "--cpu", "--path", "theirs.pt"],
    "validate": [
        *("fairseq-validate", "mel", *PLUGIN, "--task", "vq_acoustic", "--path", "theirs.pt", "--cpu"),
        *("--max-tokens", "2000"),
    ],
    "validate, its task": [
        *("fairseq-validate", "mel", *PLUGIN, "--task", "audio_pretraining", "--path", "theirs.pt", "--cpu"),
        *("--max-tokens", "2000"),
    ],
    "eval-lm": [
        "fairseq-eval-lm",
        "mel",
        *PLUGIN,
        "--task",
        "vq_token_pretraining",
        "--path",
        "theirs.pt",
        "--cpu",
    ],
    "restore": ["fairseq-train", *LEARN, "--save-dir", "new", "--restore-file", "theirs.pt"],
    "finetune": ["fairseq-train", *LEARN, "--save-dir", "new", "--finetune-from-model", "theirs.pt"],
    "last": ["fairseq-train", *LEARN, "--save-dir", "last"],
    "hydra": ["fairseq-hydra-train", *HYDRA, "checkpoint.restore_file=FOLDER/theirs.pt"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features, labels, and a checkpoint that would make a file `marker`, once built and once unpickled."""
    folder = tmp_path_factory.mktemp("strangers")
    write_speech(folder, {"train": 4, "valid": 2, "test": 2})
    state = torch.load(EARLIER / "ctc.pt", weights_only=True)
    torch.save(state, folder / "ours.pt")
    code = f"__import__('pathlib').Path({str(folder / 'marker')!r}).touch() or [(8, 10, 5)]"
    state["cfg"]["model"] = {"_name": "wav2vec", "conv_feature_layers": code}
    state["cfg"]["task"] = {"_name": "audio_pretraining", "data": "."}
    torch.save(state, folder / "theirs.pt")
    (folder / "last").mkdir()
    os.link(folder / "theirs.pt", folder / "last" / "checkpoint_last.pt")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_a_stranger_s_checkpoint_is_run(name: str, folder: Path) -> None:
    program, *words = (word.replace("FOLDER", str(folder)) for word in COMMANDS[name])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "1"}
    done = subprocess.run(
        [str(BIN / program), *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        input="",
    )
    said = done.stdout + done.stderr
    assert not (folder / "marker").exists()
    assert done.returncode, said[-3000:]
    refusals = (
        "theirs.pt is of another training: ",  # told before, where a training would go on from it
        "checkpoint_last.pt is of another training: ",
        ".pt: `cfg.model._name` is 'wav2vec'; expected one of",
        "is refused and nothing in it was run",
    )
    assert any(refusal in said for refusal in refusals), said[-3000:]
