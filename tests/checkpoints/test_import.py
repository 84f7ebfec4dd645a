"""Stock fairseq's checkpoints, written by stock's own classes, become ours and keep their codes."""

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

pytest.importorskip("fairseq")
from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel
from stock_files import SMALL, stock_model, write_2019, write_today

import vqw2v_plugin
from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.stock_wav2vec import wav2vec_settings_of_stock
from vqw2v_plugin.checkpoints.travel import export_folder
from vqw2v_plugin.checkpoints.wav2vec import build_network, import_stock, load_network, save_checkpoint
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.modules.layers.conv_spec import parse_conv_layers

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
VARIANTS: dict[str, dict[str, Any]] = {
    "wav2vec": {"vq_type": "none"},
    "wav2vec, projected": {
        "vq_type": "none",
        "project_features": "same",
        "conv_aggregator_layers": "[(32, 2, 1)]",
    },
    "gumbel": {"vq_type": "gumbel"},
    "gumbel, deep and shared": {"vq_type": "gumbel", "vq_depth": 2, "combine_groups": True},
    "kmeans": {"vq_type": "kmeans"},
    "kmeans, shared": {"vq_type": "kmeans", "combine_groups": True, "vq_groups": 4, "activation": "gelu"},
}
WAV = torch.randn(1, 4000, generator=torch.Generator().manual_seed(1)) * 0.1


def stock_codes(model: Wav2VecModel) -> Tensor:
    with torch.no_grad():
        return model.vector_quantizer.forward_idx(model.feature_extractor(WAV))[1]


@pytest.mark.parametrize("kind", ["today", "2019, zip", "2019, legacy"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_stock_import_export_load_leaves_codes_unchanged(tmp_path: Path, variant: str, kind: str) -> None:
    model, options = stock_model(**VARIANTS[variant])
    stock, ours, folder = tmp_path / "stock.pt", tmp_path / "ours.pt", tmp_path / "folder"
    if kind == "today":
        write_today(stock, model, options)
    else:
        write_2019(stock, model, options, zipped="zip" in kind)
    imported = import_stock(stock)
    assert imported.ignored == []
    save_checkpoint(imported, ours)
    export_folder(ours, folder)
    with torch.no_grad():
        z = model.feature_extractor(WAV)
        c = model.feature_aggregator(
            model.vector_quantizer.forward_idx(z)[0] if model.vector_quantizer else z
        )
        for place in (ours, folder, folder / "model.safetensors"):
            loaded = load_network(place)
            assert loaded.network.config.quantizer == options["vq_type"]
            torch.testing.assert_close(loaded.network.features(WAV).c.transpose(1, 2), c)
            if model.vector_quantizer:
                assert torch.equal(Tokenizer(loaded).encode(WAV, 16_000), stock_codes(model))


def test_fairseq_itself_loads_what_was_imported(tmp_path: Path) -> None:
    from fairseq import checkpoint_utils

    vqw2v_plugin.register()
    model, options = stock_model(vq_type="gumbel")
    write_today(tmp_path / "stock.pt", model, options, normalize=True)
    save_checkpoint(import_stock(tmp_path / "stock.pt"), tmp_path / "ours.pt")
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "ours.pt")])
    assert torch.equal(models[0].eval().network.encode(WAV), stock_codes(model))
    assert task.cfg.normalize is True and cfg.model.max_update == 1000
    # 400 updates of stock's schedule are behind it
    assert models[0].network.quantizer.temperature == pytest.approx(2.0 * 0.999995**400)


def test_options_that_a_file_lacks_have_stock_s_defaults() -> None:
    defaults = {k: v for k, v in vars(Wav2VecConfig()).items() if not k.startswith("_")}
    missing, given = (
        vars(build_network(wav2vec_settings_of_stock(options)).config) for options in ({}, defaults)
    )
    for config in (missing, given):  # two spellings of the same layers
        config["conv_feature_layers"] = parse_conv_layers(config["conv_feature_layers"])
    assert missing == given


def test_a_switch_of_2019_takes_all_negatives_from_the_batch() -> None:
    for switch, expected in [(True, (0, 7)), (False, (7, 0))]:
        settings = wav2vec_settings_of_stock({"cross_sample_negatives": switch, "num_negatives": 7})
        assert (settings["num_negatives"], settings["cross_sample_negatives"]) == expected


def test_a_switch_of_2019_becomes_a_number() -> None:
    for switch in (True, False):
        settings = wav2vec_settings_of_stock({"cross_sample_negatives": switch, "num_negatives": 7})
        assert type(settings["cross_sample_negatives"]) is type(settings["num_negatives"]) is int
    assert wav2vec_settings_of_stock({"offset": 3})["offset"] == "3"
    assert (
        wav2vec_settings_of_stock({"offset": "auto", "dropout": None, "_name": "x"})
        .keys()
        .isdisjoint({"dropout", "_name"})
    )


@pytest.mark.parametrize("infonce", [True, False])
def test_the_loss_the_projection_and_the_name_of_a_stock_file_are_kept(tmp_path: Path, infonce: bool) -> None:
    model, options = stock_model(
        vq_type="none", project_features="new", conv_aggregator_layers="[(32, 2, 1)]"
    )
    write_today(tmp_path / "stock.pt", model, {**options, "infonce": infonce, "_name": "audio_cpc"})
    imported = import_stock(tmp_path / "stock.pt")
    assert imported.infonce is infonce and imported.loaded.network.config.quantizer_position == "encoder"
    network = imported.loaded.network
    stock = dict(model.named_parameters())
    for name, ours in (("feature_aggregator", network.context), ("project_features", network.target_context)):
        weight = stock[f"{name}.conv_layers.0.1.weight"]
        assert torch.equal(ours.layers[0].conv.weight, weight)
    assert not torch.equal(
        network.context.layers[0].conv.weight, network.target_context.layers[0].conv.weight
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"_name": "hubert"}, "holds the model 'hubert'; expected stock's 'wav2vec'"),
        ({"_name": "vq_wav2vec"}, "is ours already"),
        ({"aggregator": "gru"}, "recurs over the batch"),
        ({"vq_vars": "20"}, "`vq_vars` is '20'; expected int"),
        ({"vq_temp": "warm"}, "`vq_temp` is 'warm'"),
        ({"vq_temp": "(2.0,"}, "`vq_temp` is '(2.0,'; expected numbers"),
        ({"vq_temp": 3}, "`vq_temp` is 3; expected numbers"),
        ({"vq_type": "lattice"}, "`quantizer` is 'lattice'"),
        (
            {"vq_vars": 21},
            "stock's model: its weights do not fit: `quantizer.codebook.entries` has the shape",
        ),
        ({"conv_feature_layers": "open('x')"}, "`conv_feature_layers` (\"open('x')\") cannot be read"),
        ({"conv_aggregator_layers": "[(32, 3, 2)]"}, "stride 2"),
    ],
)
def test_what_cannot_be_imported_is_said(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    model, options = stock_model(vq_type="gumbel")
    write_today(tmp_path / "stock.pt", model, {**options, **changes})
    with pytest.raises(CheckpointError) as caught:
        import_stock(tmp_path / "stock.pt")
    assert says in str(caught.value) and str(tmp_path / "stock.pt") in str(caught.value)


def test_foreign_options_are_named_and_foreign_weights_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, options = stock_model(vq_type="kmeans")
    write_today(tmp_path / "stock.pt", model, {**options, "my_option": 3})
    assert import_stock(tmp_path / "stock.pt").ignored == ["my_option"]
    stock, ours = str(tmp_path / "stock.pt"), str(tmp_path / "ours.pt")
    assert main(["import", stock, ours]) == 0
    shown = capsys.readouterr()
    assert shown.err == f"vqw2v: warning: {stock}: option `my_option` is not stock's; ignored\n"
    parameters = sum(p.numel() for p in load_network(ours).network.parameters())
    assert shown.out.startswith(f"{ours}: ") and shown.out.endswith(f", {parameters:,} parameters\n")
    model.extra = torch.nn.Linear(2, 2)
    write_today(tmp_path / "stock.pt", model, options)
    with pytest.raises(CheckpointError, match=r"stock\.pt: weight 'extra\.weight' of stock's has no place"):
        import_stock(tmp_path / "stock.pt")


def test_an_object_in_the_namespace_is_refused(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(arch="wav2vec", when=Path("x")), "model": {}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"Python object `pathlib\.[\w.]*PosixPath`"):
        import_stock(tmp_path / "a.pt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of noise."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for i in range(4):
        sf.write(folder / f"{i}.wav", rng.normal(0, 0.1, 8000).astype(np.float32), 16_000)
    for split in ("train", "valid"):
        write_manifest(
            folder / f"{split}.tsv", str(folder), [{"path": f"{i}.wav", "samples": 8000} for i in range(4)]
        )
    return folder


def train(data: Path, folder: Path, *more: str) -> str:
    options = "--cpu --optimizer adam --lr 1e-3 --max-update 1 --max-tokens 40000 --num-workers 0"
    options += " --log-format simple --no-epoch-checkpoints --save-dir ck --required-batch-size-multiple 1"
    command = [str(BIN / "fairseq-train"), str(data), *options.split(), *more]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def model_options() -> list[str]:
    layers = ["--conv-feature-layers", SMALL["conv_feature_layers"]]
    layers += ["--conv-aggregator-layers", SMALL["conv_aggregator_layers"]]
    return [*layers, "--prediction-steps", "5", "--vq-vars", "20"]


@pytest.mark.slow
def test_stock_s_own_trainer_s_file_is_imported_and_fine_tuned_from(data: Path, tmp_path: Path) -> None:
    stock = "--task audio_pretraining --arch wav2vec --criterion wav2vec --vq-type gumbel --normalize"
    stock += " --min-sample-size 100 --max-sample-size 8000"
    train(data, tmp_path, *stock.split(), *model_options())
    imported = import_stock(tmp_path / "ck" / "checkpoint_last.pt")
    assert imported.loaded.normalize and imported.num_updates == 1 and imported.ignored == []
    save_checkpoint(imported, tmp_path / "ours.pt")

    (tmp_path / "tuned").mkdir()
    ours = f"--user-dir {ROOT / 'vqw2v_plugin'} --task vq_audio_pretraining --arch vq_wav2vec --normalize"
    ours += " --criterion vq_contrastive --quantizer gumbel --vq-depth 1"
    more = [
        "--finetune-from-model",
        str(tmp_path / "ours.pt"),
        "--vq-temp",
        "(2.0, 0.5, 0.999995)",
        "--lr",
        "1e-30",
    ]  # a step that changes no weight
    log = train(data, tmp_path / "tuned", *ours.split(), *model_options(), *more)
    assert "loading pretrained model" in log
    tuned = load_network(tmp_path / "tuned" / "ck" / "checkpoint_last.pt").network
    for name, value in imported.loaded.network.named_parameters():
        assert torch.equal(tuned.get_parameter(name), value), name


def test_a_stock_file_tells_what_it_was_and_how_long_it_was_to_be_trained(tmp_path: Path) -> None:
    model, options = stock_model(vq_type="gumbel")
    path = tmp_path / "stock.pt"
    for write, kind, updates in (
        (lambda: write_today(path, model, options), "stock fairseq, cfg", (1000, 400)),
        (lambda: write_2019(path, model, options, zipped=True), "stock fairseq, args of 2019", (9, 3)),
    ):
        write()
        imported = import_stock(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert imported.loaded.made_from == {"file": "stock.pt", "sha256": digest, "kind": kind}
        assert (imported.loaded.network.config.max_update, imported.num_updates) == updates


def test_audio_of_which_a_stock_file_says_nothing_is_as_usual(tmp_path: Path) -> None:
    model, options = stock_model(vq_type="gumbel")
    write_today(tmp_path / "stock.pt", model, options, sample_rate=None, normalize=None)
    loaded = import_stock(tmp_path / "stock.pt").loaded
    assert (loaded.sample_rate, loaded.normalize) == (16_000, False)


def test_each_step_s_prediction_is_stock_s(tmp_path: Path) -> None:
    """Stock's are by their distance, ours the furthest first."""
    model, options = stock_model(vq_type="none")
    write_today(tmp_path / "stock.pt", model, options)
    ours = import_stock(tmp_path / "stock.pt").loaded.network.predictor.weight
    theirs = model.wav2vec_predictions.project_to_steps.weight  # [C_in, C, 1, K]
    for step in range(5):
        assert torch.equal(ours[4 - step], theirs[:, :, 0, step].T)
