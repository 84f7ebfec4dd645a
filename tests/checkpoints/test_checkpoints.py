"""Checkpoints travel: ours, stock's of today and of 2019, safetensors; what is anything else is refused."""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vqw2v_plugin.checkpoints.checks import load_weights
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.travel import export_folder
from vqw2v_plugin.checkpoints.wav2vec import (
    Imported,
    Loaded,
    import_stock,
    load_network,
    save_checkpoint,
)
from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.quantizers import quantizer_names

ROOT = Path(__file__).resolve().parents[2]
WAV = torch.randn(1, 4000, generator=torch.Generator().manual_seed(1))
Tiny = Callable[..., VqWav2Vec]


class Malicious:
    """Unpickled, it would make the file `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def saved(network: VqWav2Vec, path: Path, **audio: Any) -> Path:
    loaded = Loaded(network.eval(), audio.get("sample_rate", 16_000), audio.get("normalize", False))
    save_checkpoint(Imported(loaded, False, 0, []), path)
    return path


def codes_of(path: Path) -> Tensor:
    return load_network(path).network.encode(WAV)


def message(path: Path, read: Callable[[Path], Any] = load_network) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("quantizer", quantizer_names())
def test_every_quantizer_survives_export_and_both_ways_of_naming_it(
    tiny: Tiny, tmp_path: Path, quantizer: str
) -> None:
    network = tiny(quantizer=quantizer, vq_vars=20)
    path = saved(network, tmp_path / "a.pt", sample_rate=8000, normalize=True)
    assert set(torch.load(path, weights_only=True)["model"]) == {f"network.{n}" for n in network.state_dict()}
    export_folder(path, tmp_path / "out" / "model")
    export_folder(tmp_path / "out" / "model", tmp_path / "again")
    for place in (path, tmp_path / "out/model", tmp_path / "out/model/model.safetensors", tmp_path / "again"):
        loaded = load_network(place)
        assert (loaded.sample_rate, loaded.normalize) == (8000, True) and not loaded.network.training
        assert loaded.network.config == network.config
        for name, value in network.state_dict().items():
            assert torch.equal(loaded.network.state_dict()[name], value), name
    chain = json.loads((tmp_path / "again" / "config.json").read_text())["made_from"]
    assert chain["file"] == "model.safetensors" and chain["from"]["file"] == "a.pt"


def test_loading_leaves_random_numbers_alone(tiny: Tiny, tmp_path: Path) -> None:
    path = saved(tiny(quantizer="kmeans"), tmp_path / "a.pt")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_network(path)
    assert torch.equal(torch.rand(3), expected)


def test_a_missing_buffer_keeps_its_first_value_and_nothing_else_is_forgiven(tiny: Tiny) -> None:
    network = tiny(quantizer="kmeans")
    network.register_buffer("counts", torch.full((4,), 7.0))
    weights = {k: v.clone() for k, v in network.state_dict().items() if k != "counts"}
    name = "quantizer.codebook.entries"
    load_weights(network, weights, "x.pt")
    assert network.get_buffer("counts").tolist() == [7.0] * 4

    def says(changed: dict[str, Tensor]) -> str:
        with pytest.raises(CheckpointError, match=r"^x\.pt: its weights do not fit: ") as caught:
            load_weights(network, changed, "x.pt")
        return str(caught.value)

    shape = list(weights[name].shape)
    assert f"`{name}` is missing, expected {shape}" in says({k: v for k, v in weights.items() if k != name})
    assert f"`{name}` has the shape [3], expected {shape}" in says({**weights, name: torch.zeros(3)})
    assert "`foo` has no place in the network" in says({**weights, "foo": torch.zeros(1)})
    assert "torch.int64, expected torch.float32" in says({**weights, name: weights[name].long()})
    assert "holds NaN or infinity" in says({**weights, name: weights[name] * float("nan")})
    assert "has the shape [5], expected [4]" in says({**weights, "counts": torch.zeros(5)})
    assert says({}).endswith(f"and {len(list(network.parameters())) - 3} more")


@pytest.mark.parametrize("read", [load_network, import_stock], ids=["load", "import"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_malicious_pickle_is_named_and_never_run(
    tmp_path: Path, zipped: bool, protocol: int, read: Callable[[Path], Any]
) -> None:
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    state: dict[str, Any] = {"model": {"w": torch.zeros(2)}, "extra_state": Malicious(marker)}
    if read is import_stock:  # beside the one class that it admits
        state = {"args": argparse.Namespace(arch="wav2vec", x=Malicious(marker)), **state}
    torch.save(state, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    text = message(path, read)
    assert text.startswith(f"{path} is refused and nothing in it was run") and "`posix.system`" in text
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the file is as malicious as it claims
    assert marker.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_is_named_and_never_run(tmp_path: Path, protocol: int) -> None:
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    path.write_bytes(pickle.dumps({"model": Malicious(marker)}, protocol))
    assert "`posix.system`" in message(path) and not marker.exists()


def test_what_is_no_checkpoint_is_said_in_one_sentence(tiny: Tiny, tmp_path: Path) -> None:
    whole = saved(tiny(quantizer="gumbel"), tmp_path / "whole.pt").read_bytes()
    path = tmp_path / "x.pt"
    assert "is no file" in message(path)
    for content, says in [
        (whole[: len(whole) // 2], "it breaks off"),
        (b"", "it is empty"),
        (b"hello\n", "it is something else"),
        (os.urandom(3000), "cannot be read as a checkpoint"),
    ]:
        path.write_bytes(content)
        assert says in message(path) and says in message(path, import_stock)
    for state, says in [
        ([1, 2], "holds no model"),
        ({"model": {}, "cfg": {"model": {"_name": "roberta"}}}, "the model 'roberta'; expected 'vq_wav2vec'"),
        ({"model": {}, "cfg": {"model": {"_name": "wav2vec"}}}, "vqw2v import"),
        ({"model": {}, "args": argparse.Namespace(arch="wav2vec")}, "vqw2v import"),
        ({"model": {"a": 1}, "cfg": {}}, "weight 'a' is of type int"),
        ({"model": {3: torch.zeros(1)}, "cfg": {}}, "a weight is called 3; expected a name"),
        ({"model": {}, "cfg": [], "args": 7, "task_state": 3}, "holds no model that is known"),
        ({"model": {}, "cfg": {"model": {7: 1, "_name": ["x"]}}}, "holds no model that is known"),
        (torch.nn.Linear(2, 2), "`torch.nn.modules.linear.Linear`"),
    ]:
        torch.save(state, path)
        assert says in message(path)
    torch.save({"model": {}}, path, pickle_protocol=4)
    assert "another protocol than torch.save's" in message(path)
    with tarfile.open(path, "w") as archive:  # torch would advise to read it unsafely
        archive.add(__file__, "a.py")
    assert "legacy .tar format" in message(path) and "set to `False`" not in message(path)


def test_settings_are_checked_by_name_and_type(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    export_folder(saved(tiny(quantizer="gumbel"), tmp_path / "a.pt"), folder)
    config = json.loads((folder / "config.json").read_text())

    def says(text: str, **changes: Any) -> None:
        settings = {**config["settings"], **changes.pop("settings", {})}
        (folder / "config.json").write_text(json.dumps({**config, "settings": settings, **changes}))
        assert text in message(folder)

    says("`vq_varz` is not known; expected only prediction_steps,", settings={"vq_varz": 3})
    says("`vq_vars` is '8'; expected int", settings={"vq_vars": "8"})
    says("`vq_vars` is True; expected int", settings={"vq_vars": True})
    says("`dropout` is 'none'; expected float", settings={"dropout": "none"})
    says("`vq_temp` is [2, 'x']; expected list[float]", settings={"vq_temp": [2, "x"]})
    says("`sample_distance` is 1.5; expected int | None", settings={"sample_distance": 1.5})
    says("`quantizer` is 'gumble'", settings={"quantizer": "gumble"})
    says("`quantizer_args` ('{') is no JSON", settings={"quantizer_args": "{"})
    says("`conv_feature_layers` ('__import__(\"os\")')", settings={"conv_feature_layers": '__import__("os")'})
    says("`codebook.entries` has the shape"[1:-16], settings={"vq_vars": 9})
    says("`sample_rate` is 0; expected", sample_rate=0)
    says("`normalize` is 'no'; expected", normalize="no")
    says("`format_version` is 2; expected 1", format_version=2)
    says("the format 'gguf'", format="gguf")
    (folder / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    assert "the model 'wav2vec2'" in message(folder)
    (folder / "config.json").write_text("{")
    assert "config.json cannot be read as JSON (" in message(folder)
    (folder / "config.json").unlink()
    assert "config.json is missing" in message(folder)


def test_broken_safetensors_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    export_folder(saved(tiny(quantizer="kmeans"), tmp_path / "a.pt"), folder)
    file = folder / "model.safetensors"
    weights, whole = load_file(file), file.read_bytes()
    name = "quantizer.codebook.entries"
    save_file({**weights, name: weights[name][:, :5].contiguous()}, file)
    assert "is not the file that was written; copy it anew" in message(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["weights_sha256"]  # as who changes weights is told to
    (folder / "config.json").write_text(json.dumps(config))
    assert f"`{name}` has the shape [2, 5, 8], expected [2, 8, 8]" in message(folder)
    for content in (whole[:-100], b"hello", b""):
        file.write_bytes(content)
        assert "cannot be read as safetensors" in message(folder)


def test_nothing_is_overwritten_unasked_and_no_piece_stays(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tiny(quantizer="kmeans"), tmp_path / "a.pt")
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"a\.pt exists; name another, or say --force"):
        saved(tiny(quantizer="gumbel"), path)
    export_folder(path, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"model\.safetensors exists"):
        export_folder(path, tmp_path / "out")
    export_folder(path, tmp_path / "out", force=True)
    with pytest.raises(CheckpointError, match="is a file; expected a folder"):
        export_folder(path, path)

    def full_disk(state: Any, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    imported = Imported(load_network(path), False, 0, [])
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(imported, path, force=True)
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "out"]


def test_every_setting_s_type_is_one_that_files_can_hold() -> None:
    import typing

    kinds = set(typing.get_type_hints(VqWav2VecConfig).values())
    assert kinds <= {int, float, bool, str, int | None, list[float]}


def test_checkpoints_need_no_fairseq() -> None:
    file = Path(__file__).parent / "earlier" / "gumbel.pt"
    code = f"import sys; from vqw2v_plugin import Tokenizer; Tokenizer.load({str(file)!r}); "
    code += "assert not {'fairseq', 'torch._dynamo'} & set(sys.modules)  # the second takes seconds"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
