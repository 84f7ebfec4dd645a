"""`--user-dir`: a stranger's quantizer lives in every command, once its folder is named."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transcribing import save

from vqw2v_plugin import Transcriber, quantizers
from vqw2v_plugin import __main__ as cli
from vqw2v_plugin.checkpoints.archive import CheckpointError
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, load_network, save_checkpoint
from vqw2v_plugin.common.user_code import use_user_dir
from vqw2v_plugin.quantizers import FsqQuantizer, register_quantizer
from vqw2v_plugin.tokenizer import Tokenizer

CODE = """
from vqw2v_plugin.quantizers import FsqQuantizer, register_quantizer

@register_quantizer("strange_one")
class Strange(FsqQuantizer):
    by_frame = True
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "strange_plugin"
    folder.mkdir()
    (folder / "__init__.py").write_text(CODE)
    yield folder
    sys.modules.pop(folder.name, None)
    quantizers._TABLE.pop("strange_one", None)


@pytest.fixture
def checkpoint(tmp_path: Path, tiny: Any) -> Path:
    """As fairseq's trainer writes it, of a quantizer that is known by then."""
    register_quantizer("strange_one")(type("Strange", (FsqQuantizer,), {}))
    network = tiny(quantizer="strange_one")
    path = tmp_path / "strange.pt"
    save_checkpoint(Imported(Loaded(network, 16_000, False), False, 0, []), path)
    state = torch.load(path, weights_only=False)
    state["cfg"]["common"] = {"user_dir": "/theirs/strange_plugin"}
    torch.save(state, path)
    quantizers._TABLE.pop("strange_one")
    return path


def test_without_the_plugin_the_checkpoint_says_what_it_needs(checkpoint: Path) -> None:
    said = r"'strange_one'; expected one of .*`--user-dir FOLDER`, as in training \(/theirs/strange_plugin\)"
    with pytest.raises(CheckpointError, match=said):
        load_network(checkpoint)


def test_commands_and_python_take_it(
    checkpoint: Path, plugin: Path, tmp_path: Path, sound: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = sound("a.wav", torch.zeros(4000).numpy())
    assert cli.main(["encode", str(checkpoint), str(wave)]) == 2
    assert "--user-dir FOLDER" in capsys.readouterr().err
    assert cli.main(["encode", str(checkpoint), str(wave), "--user-dir", str(plugin)]) == 0
    assert len(Tokenizer.load(checkpoint, user_dir=plugin).encode(torch.zeros(4000), 16_000))
    header = load_network(checkpoint)
    assert header.network.config.quantizer == "strange_one"
    assert cli.main(["export", str(checkpoint), str(tmp_path / "out"), "--user-dir", str(plugin)]) == 0
    quantizers._TABLE.pop("strange_one")
    with pytest.raises(CheckpointError, match=r"as in training \(/theirs/strange_plugin\)"):
        load_network(tmp_path / "out")


def test_a_transcriber_of_features_of_it_takes_it(checkpoint: Path, plugin: Path, tmp_path: Path) -> None:
    stamp = {"layer": "q", "dim": 16, "sample_rate": 16_000, "stride": 40, "dtype": "fp32", "store": "fp32"}
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    model = save(tmp_path / "a.pt", {**stamp, "checkpoint": {"name": checkpoint.name, "sha256": digest}})
    with pytest.raises(CheckpointError, match="'strange_one'; expected one of"):
        Transcriber.load(model, front=str(checkpoint))
    assert Transcriber.load(model, front=str(checkpoint), user_dir=str(plugin)).ears.front.dim == 16


def test_every_command_that_builds_networks_has_the_option() -> None:
    for name in cli.BUILD_NETWORKS:
        assert (
            "--user-dir" in cli.build_parser(name)._subparsers._group_actions[0].choices[name].format_help()
        )  # type: ignore[union-attr,index]


def test_folders_that_are_no_plugin_are_told(tmp_path: Path, plugin: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no __init__\.py; expected the folder of a package"):
        use_user_dir(tmp_path / "gone")
    (plugin / "__init__.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match=r"cannot be imported \(ZeroDivisionError: division by zero\)"):
        use_user_dir(plugin)
    other = tmp_path / "json"
    other.mkdir()
    (other / "__init__.py").touch()
    with pytest.raises(ValueError, match="another module is called json; rename it"):
        use_user_dir(other)
    path = list(sys.path)
    (plugin / "__init__.py").write_text(CODE)
    use_user_dir(plugin)
    use_user_dir(plugin)
    use_user_dir(Path(cli.__file__).parent)  # what `vqw2v path` prints
    use_user_dir(None)
    assert sys.path == path and "strange_one" in quantizers.quantizer_names()
