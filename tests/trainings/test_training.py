"""Both of fairseq's command lines train, their checkpoints read back, and every yaml is whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml
from documented import blocks
from program_runs import call

from vqw2v_plugin.checkpoints.wav2vec import build_network, load_network
from vqw2v_plugin.corpora.manifest import write_manifest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "vqw2v_plugin"
BIN = Path(sys.executable).parent
LAYERS = "[(16, 10, 5), (16, 8, 4), (16, 4, 2)]"
YAMLS = sorted(p for p in (ROOT / "examples").rglob("*.yaml") if "_name: vq_wav2vec\n" in p.read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips of noise, one of them corrupt."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(8):
        sf.write(folder / f"{i}.wav", rng.normal(0, 0.1, 6000 + 200 * i).astype(np.float32), 16_000)
        rows.append({"path": f"{i}.wav", "samples": 6000 + 200 * i})
    (folder / "3.wav").write_bytes(b"not audio")
    for split in ("train", "valid"):
        write_manifest(folder / f"{split}.tsv", str(folder), rows)
    return folder


def train(data: Path, folder: Path, *more: str, user_dir: Path = PLUGIN) -> str:
    options = (
        f"--user-dir {user_dir} --task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive"
    )
    options += " --cpu --optimizer adam --lr 1e-3 --max-update 3 --max-tokens 30000 --num-workers 0"
    options += " --log-format simple --log-interval 1 --save-dir ck --no-epoch-checkpoints"
    options += " --prediction-steps 3 --num-negatives 4 --vq-vars 8"
    command = [str(BIN / "fairseq-train"), str(data), *options.split()]
    command += ["--conv-feature-layers", LAYERS, "--conv-aggregator-layers", "[(16, 2, 1)]", *more]
    return call(command, folder, seconds=300)


@pytest.mark.parametrize("quantizer", ["none", "gumbel", "kmeans"])
def test_fairseq_train_trains_and_its_checkpoint_gives_codes(
    data: Path, tmp_path: Path, quantizer: str
) -> None:
    log = train(data, tmp_path, "--quantizer", quantizer)
    assert "3.wav" in log and "skipped" in log, log
    loaded = load_network(tmp_path / "ck" / "checkpoint_last.pt")
    assert loaded.network.config.quantizer == quantizer and loaded.sample_rate == 16_000
    assert loaded.network.config.max_update == 3
    checkpoint, manifest = str(tmp_path / "ck" / "checkpoint_last.pt"), str(data / "valid.tsv")
    usage = [sys.executable, "-m", "vqw2v_plugin", "usage", checkpoint, manifest, "--untrained"]
    if quantizer == "none":
        done = subprocess.run(usage, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and "no quantizer" in done.stderr
    else:
        said = call(usage, tmp_path, seconds=300)
        assert "of 8 codes used" in said and "untrained" in said and "3.wav" in said
        assert "at the end of training, perplexity" in call(usage[:5], tmp_path, seconds=300)


def test_hydra_train_spells_options_as_the_command_line_does(data: Path, tmp_path: Path) -> None:
    overrides = [
        f"common.user_dir={PLUGIN}",
        f"task.data={data}",
        f"checkpoint.save_dir={tmp_path / 'ck'}",
        "optimization.max_update=2",
        "dataset.num_workers=0",
        f"model.conv_feature_layers='{LAYERS}'",
    ]
    command = [str(BIN / "fairseq-hydra-train"), "--config-dir", str(ROOT / "examples" / "toy")]
    call([*command, "--config-name", "gumbel", *overrides], tmp_path, seconds=300)
    config = load_network(tmp_path / "ck" / "checkpoint_last.pt").network.config
    assert (config.quantizer, config.vq_vars, config.activation) == ("gumbel", 32, "gelu")


def test_a_third_party_s_quantizer_trains_from_its_own_user_dir(data: Path, tmp_path: Path) -> None:
    """The README's, as it stands there."""
    package = tmp_path / "their_plugin"
    package.mkdir()
    (shown,) = [block.text for block in blocks(ROOT / "README.md") if "register_quantizer" in block.text]
    (package / "__init__.py").write_text(shown)
    ours = {line for line in shown.splitlines() if line.startswith(("import", "from")) and "vqw2v" in line}
    assert all(line.startswith(("import vqw2v_plugin", "from vqw2v_plugin.quantizers")) for line in ours)
    more = ["--quantizer", "sign", "--quantizer-args", '{"threshold": 0.25}']
    train(data, tmp_path, *more, user_dir=package)
    assert (tmp_path / "ck" / "checkpoint_last.pt").is_file()


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_yaml_builds_its_network_and_names_only_known_options(path: Path) -> None:
    import dataclasses

    import torch

    from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig

    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    model = settings["model"]
    known = {f.name for f in dataclasses.fields(VqWav2VecConfig)}
    assert model.pop("_name") == "vq_wav2vec" and set(model) <= known
    with torch.device("meta"):
        network = build_network({**model, "max_update": settings["optimization"]["max_update"]})
    named = {"wav2vec": "none", "pretrain": "gumbel", "vq": "kmeans", "vq_xlsr": "gumbel"}
    stem = path.stem.removesuffix("_small")
    assert network.config.quantizer == named.get(stem, stem)
