"""Whatever is wrong with a file of any kind, in any container, is one sentence that names the file."""

import copy
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vqw2v_plugin.checkpoints.acoustic import load_acoustic
from vqw2v_plugin.checkpoints.bert import load_bert
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.format import load_any
from vqw2v_plugin.checkpoints.travel import export_folder
from vqw2v_plugin.checkpoints.wav2vec import load_network

EARLIER = Path(__file__).parent / "earlier"
LOADERS: dict[str, Callable[[Path], Any]] = {
    "gumbel": load_network,
    "bert": load_bert,
    "speech": load_any,
    "asg": load_acoustic,
    "ctc": load_acoustic,
}
NAMES = ("bert", "speech", "gumbel", "asg")
WRONG = [["nested"]]  # of no setting's type
Said = dict[str, Any]


class File:
    """A good checkpoint, whose settings, extra and weights change wherever its container keeps them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.path, self.load = name, folder / name, LOADERS[name]

    def write(self, change: Callable[[Said, Said, dict[str, torch.Tensor]], object]) -> None:
        raise NotImplementedError

    def refuses(
        self, change: Callable[[Said, Said, dict[str, torch.Tensor]], object], says: str = ""
    ) -> None:
        self.write(change)
        with pytest.raises(CheckpointError) as caught:
            self.load(self.path)
        text = str(caught.value)
        assert text.startswith(str(self.path)) and says in text and "\n" not in text and len(text) < 1500, (
            text
        )


class Folder(File):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        export_folder(EARLIER / f"{name}.pt", self.path)
        self.config = json.loads((self.path / "config.json").read_text())
        del self.config["weights_sha256"]  # the weights change here
        self.weights = load_file(self.path / "model.safetensors")

    def write(self, change: Callable[[Said, Said, dict[str, torch.Tensor]], object]) -> None:
        config, weights = copy.deepcopy(self.config), copy.deepcopy(self.weights)
        change(config["settings"], config.get("extra", {}), weights)
        self.write_config(json.dumps(config))
        save_file(weights, self.path / "model.safetensors")

    def write_config(self, text: str) -> None:
        (self.path / "config.json").write_text(text)

    def refuses_config(self, changes: Said, says: str) -> None:
        self.write_config(json.dumps({**self.config, **changes}))
        with pytest.raises(CheckpointError) as caught:
            self.load(self.path)
        assert str(caught.value).startswith(str(self.path)) and says in str(caught.value)


class Trained(File):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.path = folder / f"{name}.pt"
        self.state = torch.load(EARLIER / f"{name}.pt", weights_only=True)

    def more_settings(self, state: Said) -> list[Said]:
        """A BERT over speech is told by its task what it hears, and by that which codes it restores."""
        return [state["cfg"]["task"], state["task_state"]["codes"]] if self.name == "speech" else []

    def write(self, change: Callable[[Said, Said, dict[str, torch.Tensor]], object]) -> None:
        state = copy.deepcopy(self.state)
        weights = {key.removeprefix("network."): value for key, value in state["model"].items()}
        about = weights.pop("about.version_1", None)
        if about is None:
            parts = [state["cfg"]["model"], *self.more_settings(state)]
            settings = {name: value for part in parts[::-1] for name, value in part.items()}
            change(settings, state["task_state"], weights)
            for part in parts:
                part.update({name: settings.pop(name) for name in list(part) if name in settings})
            parts[0].update(settings)
        else:
            said = json.loads(bytes(about.tolist()))
            change(said["network"], said, weights)
            words = torch.tensor(list(json.dumps(said).encode()), dtype=torch.int32)
        state["model"] = {k if k.startswith("front.") else f"network.{k}": v for k, v in weights.items()}
        state["model"] |= {} if about is None else {"about.version_1": words}
        torch.save(state, self.path)


@pytest.fixture(params=[(container, name) for container in (Folder, Trained) for name in NAMES], ids=str)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    container, name = request.param
    return container(name, tmp_path)


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(request.param, tmp_path)


def fields_of(settings: Said, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in settings.items():
        yield (*prefix, name)
        yield from fields_of(value, (*prefix, name)) if isinstance(value, dict) else ()


def put(settings: Said, where: tuple[str, ...], value: Any) -> None:
    for name in where[:-1]:
        settings = settings[name]
    settings[where[-1]] = value


def test_every_setting_is_checked(file: File, tmp_path: Path) -> None:
    """A value of another type, and a number that is none."""
    settings = Folder(file.name, tmp_path / "whole").config["settings"]
    for where in fields_of(settings):
        name = ".".join(where)
        file.refuses(lambda s, *_: put(s, where, WRONG), f"`{name}` is [['nested']]; expected ")  # noqa: B023
        value = settings
        for part in where:
            value = value[part]
        if type(value) is float:
            for number in (math.nan, math.inf, 10**400, "0.5", True):
                file.refuses(lambda s, *_: put(s, where, number), f"`{name}` is ")  # noqa: B023


def test_settings_that_are_not_known_are_refused(folder: Folder) -> None:
    """Of a trainer's file they are fairseq's own."""
    folder.refuses(lambda s, *_: put(s, ("vq_varz",), 3), "`vq_varz` is not known; expected only ")
    if folder.name == "asg":
        folder.refuses(lambda s, *_: put(s, ("masks", "x"), 3), "`masks.x` is not known; expected only ")
        folder.refuses(lambda s, *_: s.pop("in_dim"), "`in_dim` is missing; expected int")
    if folder.name == "gumbel":
        folder.refuses(
            lambda s, extra, w: extra.update(infonce="?"), "`infonce` is '?'; expected true or false"
        )


def test_every_weight_is_checked(file: File) -> None:
    loaded: dict[str, torch.Tensor] = {}
    file.write(lambda s, e, weights: loaded.update(weights))
    names = [name for name, value in loaded.items() if value.is_floating_point() and value.numel()]
    for name in names[:: max(1, len(names) // 6)]:
        for number in (math.nan, math.inf):
            file.refuses(lambda s, e, w: w[name].flatten()[:1].fill_(number), f"`{name}` holds NaN or")  # noqa: B023
        if name.startswith("front."):
            continue  # they are loaded where the features are made
        file.refuses(lambda s, e, w: w.update({name: w[name][None]}), f"`{name}` has the shape [1, ")  # noqa: B023
        file.refuses(lambda s, e, w: w.update({name: w[name].long()}), f"`{name}` is of type torch.int64")  # noqa: B023
        if "health" not in name:  # statistics that an earlier version did not keep
            file.refuses(lambda s, e, w: w.pop(name), f"`{name}` is missing, expected [")  # noqa: B023
    file.refuses(lambda s, e, w: w.update({"other": torch.zeros(2)}), "`other` has no place in the network")
    file.refuses(lambda s, e, w: w.clear(), "is missing, expected [")


def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path: Path) -> None:
    file = Trained("gumbel", tmp_path)
    name = "encoder.layers.0.conv.weight"
    for change in (torch.Tensor.to_sparse, lambda w: w.to("meta"), lambda w: w.to(torch.complex64)):
        file.refuses(lambda s, e, w: w.update({name: change(w[name])}), f"`{name}` is ")  # noqa: B023


EXTRA = {
    "bert": [
        ({"symbols": "abc"}, "`symbols` is 'abc'"),
        ({"symbols": [1, 2]}, "`symbols` is [1, 2]"),
        ({"symbols": []}, "names no symbols"),
        ({"symbols": ["0-1"]}, "`vocabulary.table.weight` has the shape"),
    ],
    "asg": [
        ({"symbols": ["a", 3]}, "`symbols` is ['a', 3]"),
        ({"symbols": ["a", "a"]}, "'a' is there twice"),
        ({"symbols": ["a", "b"]}, "`num_columns` is 6; expected the 2 symbols"),
        ({"kind": "word"}, "`kind` of units is 'word'"),
        ({"blank": 0}, "`blank` is 0; ASG has none"),
        ({"loss": "dtw"}, "'dtw'"),
        ({"repeats": None}, "`repeats` is None"),
        ({"frame_seconds": math.nan}, "`frame_seconds` is nan"),
        ({"frame_seconds": 0.0}, "`frame_seconds` is 0.0"),
        ({"features": "logmel"}, "`features` is 'logmel'"),
        ({"features": {"layer": True}}, "`layer` is True; expected a text"),
        ({"other": 1}, "`other` is not known"),
    ],
    "ctc": [({"blank": 99}, "`blank` is 99; expected one of the 5 columns")],
}


@pytest.mark.parametrize("container", [Folder, Trained])
@pytest.mark.parametrize("name", EXTRA)
def test_what_a_kind_adds_is_checked(name: str, container: type[File], tmp_path: Path) -> None:
    file = container(name, tmp_path)
    for changes, says in EXTRA[name]:
        file.refuses(lambda s, extra, w: extra.update(changes), says)  # noqa: B023
    for key in ("symbols",) if name == "bert" else ("symbols", "kind", "blank", "repeats", "frame_seconds"):
        file.refuses(lambda s, extra, w: extra.pop(key), "names no symbols" if name == "bert" else f"`{key}`")  # noqa: B023


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "gguf"}, "is of the format 'gguf'"),
        ({"format": None}, "is of the format None"),
        ({"format_version": 2}, "`format_version` is 2; expected 1, or a newer vqw2v_plugin"),
        ({"format_version": 0}, "`format_version` is 0"),
        ({"format_version": True}, "`format_version` is True"),
        ({"format_version": "1"}, "`format_version` is '1'"),
        ({"model": "gpt"}, "holds the model 'gpt'; expected "),
        ({"model": ["vq_bert"]}, "holds the model ['vq_bert']; expected "),
        ({"model": None}, "holds no model that is known; expected "),
        ({"settings": [1]}, "`settings` is no JSON object"),
        ({"extra": "x"}, "`extra` is no JSON object"),
    ],
)
def test_every_word_of_the_format_counts(changes: Said, says: str, folder: Folder) -> None:
    folder.refuses_config(changes, says)


def test_json_of_another_shape_is_refused(folder: Folder) -> None:
    for text in (
        "[]",
        "3",
        "null",
        '"x"',
        "{}",
        "{",
        "",
        "[" * 100_000,
        "1" * 5_000,
        '{"a": ' + "9" * 5_000 + "}",
    ):
        folder.write_config(text)
        with pytest.raises(CheckpointError, match=r"config\.json") as caught:
            folder.load(folder.path)
        assert str(folder.path) in str(caught.value)


@pytest.mark.parametrize("name", ["sample_rate", "normalize"])
def test_the_audio_is_checked(name: str, tmp_path: Path) -> None:
    folder = Folder("gumbel", tmp_path)
    for value in (0, -1, 1.5, "yes", None, [16_000]):
        folder.refuses_config({name: value}, f"`{name}` is {value!r}; expected ")
    del folder.config[name]
    folder.refuses_config({}, f"lacks `{name}`")
    trained = Trained("gumbel", tmp_path)
    trained.state["cfg"]["task"][name] = "x"
    trained.refuses(lambda *_: None, f"`{name}` is 'x'; expected ")


def test_a_trainer_s_file_without_its_words_is_refused(tmp_path: Path) -> None:
    trained = Trained("asg", tmp_path)
    del trained.state["model"]["about.version_1"]
    trained.refuses(lambda *_: None, "lacks `about.version_1`")
    trained.state["cfg"]["model"] = {}
    trained.refuses(lambda *_: None, "holds no model that is known; expected an acoustic model")


def test_python_s_own_objects_in_a_header_are_refused(tmp_path: Path) -> None:
    trained = Trained("gumbel", tmp_path)
    trained.state["made_from"] = {"file": torch.zeros(1)}
    trained.refuses(lambda *_: None, "`made_from` is no plain data")


def test_a_stock_roberta_that_lacks_parts_is_refused(tmp_path: Path) -> None:
    shutil.copy(EARLIER / "bert.pt", tmp_path)
    (tmp_path / "dict.txt").write_text("0-0 1\n")
    path = tmp_path / "stock.pt"
    for weights in ({}, {"encoder.sentence_encoder.embed_tokens.weight": torch.zeros(6, 4)}):
        torch.save({"model": weights, "cfg": {"model": {"_name": "roberta"}}}, path)
        with pytest.raises(CheckpointError, match=r"stock\.pt: weights that every roberta has are missing"):
            load_bert(path)
