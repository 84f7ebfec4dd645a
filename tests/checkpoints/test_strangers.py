"""Files of strangers: whatever they ask for ends in a sentence, soon and in little memory."""

import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vqw2v_plugin.checkpoints import bounds
from vqw2v_plugin.checkpoints.acoustic import load_acoustic
from vqw2v_plugin.checkpoints.archive import unsound_pickle
from vqw2v_plugin.checkpoints.bert import load_bert
from vqw2v_plugin.checkpoints.files import CheckpointError, checkpoint_hash, sha256
from vqw2v_plugin.checkpoints.format import load_any
from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint
from vqw2v_plugin.checkpoints.wav2vec import load_network
from vqw2v_plugin.features.acoustic_front import rebuild_front

EARLIER = Path(__file__).parent / "earlier"
NAMES = (
    "gumbel",
    "kmeans",
    "fsq",
    "none",
    "bert",
    "speech",
    "asg",
    "ctc",
    "utterance",
    "finetuned",
    "wav2vec_u",
)
LOADERS: dict[str, Callable[[Path], Any]] = {
    "bert": load_bert,
    "speech": load_any,
    "finetuned": load_any,
    "asg": load_acoustic,
    "ctc": load_acoustic,
    "utterance": load_any,
    "wav2vec_u": load_any,
}
NAN, INF, BIG, HUGE = math.nan, math.inf, 10**9, 10**30
Said = dict[str, Any]

LAYERS = [
    "__import__('os').abort()",
    "[(1, 1, 1)] * 1000 * 1000 * 1000",
    "[(8, 1, 1), (8, 1, 1)] * 1000",
    f"[({BIG}, 1, 1)]",
    f"[(8, {HUGE}, 1)]",
    "[(8, 10, 0)]",
    "[(8, 10, 5)] * -1",
    "",
    "(" * 50_000,
    "-" * 50_000 + "1",
    "[" + "(8, 1, 1), " * 100_000 + "]",
    "[(8, 1, 1)] + " * 5_000 + "[(8, 1, 1)]",
    "\0",
    "[[[[]]]]",
    "[(100000, 100000, 1)]",
    None,
    5,
]
WAV2VEC: dict[str, list[Any]] = {
    "conv_feature_layers": LAYERS,
    "conv_aggregator_layers": LAYERS,
    "prediction_steps": [0, -1, 2**31, 10**12, HUGE, INF, NAN, "2", None],
    "num_negatives": [-1, None],
    "dropout": [NAN, -1, 1, "0"],
    "residual_scale": [-1, NAN, 10**400],
    "offset": ["9" * 5_000, "-1", 5],
    "quantizer": ["x", "gumbel\n", [], None],
    "quantizer_args": ["[]", "{", "[" * 50_000, "9" * 5_000, '{"x": 1}', None],
    "vq_dim": ["x"],
    "vq_groups": [None],
    "vq_vars": [0.5],
    "vq_temp": ["2", None, [NAN, 1]],
}
CODEBOOK: dict[str, list[Any]] = {"vq_dim": [-1, 7], "vq_groups": [0, -1, HUGE], "vq_vars": [0, -1]}
QUANTIZERS: dict[str, dict[str, list[Any]]] = {
    "gumbel": {"vq_vars": [BIG, 2**63, HUGE], "vq_depth": [0, BIG], "vq_temp": [[], [0, 0], [1, 2, 3, 4]]},
    "kmeans": {"vq_vars": [BIG, 2**63, HUGE], "quantizer_args": ['{"ema_decay": 2}', '{"revive_after": -1}']},
    "fsq": {"quantizer_args": ['{"levels": [0]}', '{"levels": "x"}', '{"levels": [1000000, 1000000]}']},
    "none": {},
}
BERT: dict[str, list[Any]] = {
    "encoder_layers": [0, -1, BIG, HUGE, "2", 1.0, True],
    "encoder_embed_dim": [0, -1, -16, BIG, 17, HUGE],
    "encoder_ffn_embed_dim": [0, -1, BIG, HUGE],
    "encoder_attention_heads": [0, -1, -2, 3, BIG],
    "dropout": [1, NAN, -1, INF],
    "activation_fn": ["__import__", "softmax", "", []],
    "max_positions": [0, -1, 10**12, 2**63, HUGE],
    "layernorm_embedding": ["maybe", 3],
    "position": ["x", "rotary", 5],
    "vocabulary": ["x", {}, "groups"],
}
SPEECH: dict[str, list[Any]] = {
    **{name: values for name, values in BERT.items() if name not in ("vocabulary", "position")},
    "max_positions": [0, -1, "2"],  # of which relative positions need none
    "position": ["x", 5],
    "bands": [0, -1, BIG, 19, HUGE, "20", None],
    "stack": [0, -1, BIG, 1, HUGE],
    "num_codes": [0, -1, BIG, 5, 2**63],
    "num_groups": [0, -1, BIG, 3],
    "normalize_bands": ["maybe", 3, None],
}
ACOUSTIC: dict[str, list[Any]] = {
    "in_dim": [0, -1, BIG, HUGE, "20"],
    "num_columns": [0, 4, -1, BIG],
    "layers": [*LAYERS, "[(12, 5, 2, nan)]", "[(12, 5, 2, 2, 1.0)]", "[(12, 5, 2, -1000000)]"],
    "activation": ["x", "glu", None, "__class__"],
    "norm": ["x", []],
    "dropout": [1, NAN, -1, "0"],
    "normalize": ["x", None],
    "masks": [[], None, {"time_masks": -1}, {"time_mask_share": NAN}, {"x": 1}],
}
UTTERANCE: dict[str, list[Any]] = {
    "in_dim": [0, -1, 19, BIG, HUGE, "20", 20.0, None],
    "num_classes": [0, 1, -1, 4, BIG, HUGE, "3", True],
    "num_layers": [0, -1, 1, 3, 2000, HUGE, "2", None],
    "hidden_dim": [0, -1, 7, BIG, HUGE, "6"],
    "pooling": ["x", "mean", "", [], None, "__class__"],
    "normalize": ["x", [], None, 3],
    "dropout": [1, NAN, -1, INF, "0", None],
}
UNPAIRED: dict[str, list[Any]] = {
    "input_dim": [0, -1, 19, BIG, HUGE, "20", None],
    "num_columns": [0, -1, 4, BIG, HUGE, True],
    "generator_kernel": [0, 5, BIG, HUGE, "3"],
    "generator_pad": [-2, 0, HUGE, None],
    "generator_stride": [0, HUGE],
    "generator_batch_norm": [NAN, -1, 30, "0"],
    "segments": ["x", None, []],
    "subsample_rate": [0, NAN, 2],
    "discriminator_dim": [0, 7, BIG],
    "discriminator_depth": [0, 3, BIG],
    "discriminator_causal": ["maybe", 3, None],
    "gradient_penalty": [-1, INF, "1"],
    "mmi_weight": [1, NAN],
    "x": [1],
}
WAV2VEC2: dict[str, list[Any]] = {
    "conv_feature_layers": LAYERS,
    "extractor_mode": ["x", None],
    "encoder_layers": [0, BIG, HUGE, "2"],
    "encoder_embed_dim": [0, 17, BIG],
    "conv_pos": [0, BIG, HUGE],
    "quantizer": ["x"],
    "latent_vars": [BIG],
}
FINE_TUNED: dict[str, list[Any]] = {
    "num_columns": [0, 4, -1, BIG, HUGE, "6"],
    "wav2vec2": [None, [], {}, *({k: value} for k, values in WAV2VEC2.items() for value in values)],
    "tuning": [None, {"mask_prob": 0}, {"layerdrop": 1}, {"dropout": NAN}, {"mask_length": HUGE}, {"x": 1}],
}
SETTINGS: dict[str, list[tuple[str, Any]]] = {}
for _name, _tables in {
    **{name: (WAV2VEC, CODEBOOK if name != "none" else {}, more) for name, more in QUANTIZERS.items()},
    "bert": (BERT,),
    "speech": (SPEECH,),
    "finetuned": (FINE_TUNED,),
    "asg": (ACOUSTIC,),
    "ctc": (ACOUSTIC,),
    "utterance": (UTTERANCE,),
    "wav2vec_u": (UNPAIRED,),
}.items():
    SETTINGS[_name] = [(key, value) for table in _tables for key, values in table.items() for value in values]


def loader(name: str) -> Callable[[Path], Any]:
    return LOADERS.get(name, load_network)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    for name in NAMES:
        export_folder(EARLIER / f"{name}.pt", folder / name)
    return {name: folder / name for name in NAMES}


def copied(folder: Path, to: Path, change: Callable[[Said], object]) -> Path:
    to.mkdir()
    os.link(folder / "model.safetensors", to / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (to / "config.json").write_text(json.dumps(config))
    return to


def saying(where: str, changes: Said) -> Callable[[Said], object]:
    return lambda config: (config[where] if where else config).update(changes)


def refused(load: Callable[[Path], Any], path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 3_000, text[:5_000]
    return text


@pytest.mark.parametrize("name", NAMES)
def test_strange_settings_end_in_a_sentence(name: str, exported: dict[str, Path], tmp_path: Path) -> None:
    assert len(SETTINGS[name]) >= 37
    for i, (key, value) in enumerate(SETTINGS[name]):
        path = copied(exported[name], tmp_path / str(i), saying("settings", {key: value}))
        for load in (loader(name), load_any):
            refused(load, path)


def test_strange_classes_and_features_end_in_a_sentence(exported: dict[str, Path], tmp_path: Path) -> None:
    classes, features = ["a", "b", "c"], [{"layer": "logmel"}] * 2
    for i, extra in enumerate(
        [
            {"classes": ["a", "b"]},
            {"classes": ["a", "b", "b"]},
            {"classes": ["a", "b", "c d"]},
            {"classes": ["a", "b", ""]},
            {"classes": ["a", "b", 5]},
            {"classes": "abc"},
            {"classes": None},
            {"classes": classes * 100_000},
            {"features": features[:1]},
            {"features": [3, 4]},
            {"features": [{"layer": []}] * 2},
            {"features": {}},
            {"x": 1},
        ]
    ):
        said = saying("extra", {"classes": classes, "features": features, **extra})
        refused(load_any, copied(exported["utterance"], tmp_path / str(i), said))


def test_settings_may_not_ask_for_more_than_the_file_holds(exported: dict[str, Path], tmp_path: Path) -> None:
    path = copied(
        exported["bert"], tmp_path / "a", lambda config: config["settings"].update(encoder_layers=BIG)
    )
    assert "settings ask for more than" in refused(load_bert, path) and "go with its weights" in refused(
        load_bert, path
    )
    hooks = (torch.nn.modules.module._global_parameter_registration_hooks,)
    assert not any(hooks)  # none stays


def test_building_within_bounds_counts_its_own_thread_alone() -> None:
    from threading import Thread

    with bounds.no_larger_than([torch.zeros(3)]):
        other = Thread(target=lambda: torch.nn.Linear(2000, 2000))
        other.start()
        other.join()
        with pytest.raises(bounds.TooLargeError, match="more than 1,048,588 numbers"):
            torch.nn.Linear(2000, 2000)


JSONS = [
    "[]",
    "null",
    '"x"',
    "3",
    "NaN",
    "true",
    "",
    "{",
    "[" * 100_000,
    "1" * 5_000,
    '{"a": ' + "9" * 5_000 + "}",
]
VALUES: list[Any] = [None, [], {}, "x", -1, NAN, INF, True, HUGE, [[{}]], 10**400]


@pytest.mark.parametrize("name", ["gumbel", "bert", "ctc"])
def test_json_of_another_shape_ends_in_a_sentence_or_changes_nothing(
    name: str, exported: dict[str, Path], tmp_path: Path
) -> None:
    for i, text in enumerate(JSONS):
        path = copied(exported[name], tmp_path / f"j{i}", lambda _: None)
        (path / "config.json").write_text(text)
        for load in (loader(name), load_any, import_checkpoint):
            refused(load, path)
        assert checkpoint_hash(path) == sha256(path / "model.safetensors")
    fields = json.loads((exported[name] / "config.json").read_text())
    before = loader(name)(exported[name])
    for field in fields:
        for i, value in enumerate(VALUES):
            path = copied(exported[name], tmp_path / f"{field}{i}", saying("", {field: value}))
            try:
                after = loader(name)(path)
            except CheckpointError as error:
                assert str(path) in str(error) and "\n" not in str(error)
            else:
                assert str(after)[:500] == str(before)[:500], field


@pytest.mark.parametrize("name", ["gumbel", "bert", "asg"])
def test_flipped_bits_are_told_or_change_nothing(name: str, tmp_path: Path) -> None:
    """All that a file says is summed; what is between its parts says nothing."""
    whole = (EARLIER / f"{name}.pt").read_bytes()
    before = torch.load(EARLIER / f"{name}.pt", weights_only=True)["model"]
    path, told = tmp_path / "x.pt", 0
    for at in range(7, len(whole), len(whole) // 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            load_any(path)
        except CheckpointError as error:
            told += 1
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        after = torch.load(path, weights_only=True)["model"]
        assert all(torch.equal(after[key], value) for key, value in before.items())
    assert told > 10


def test_flipped_bits_of_safetensors_are_told(exported: dict[str, Path], tmp_path: Path) -> None:
    path = copied(exported["gumbel"], tmp_path / "a", lambda _: None)
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").unlink()
    for at in range(3, len(whole), len(whole) // 40):
        (path / "model.safetensors").write_bytes(
            whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        )
        said = refused(load_network, path)
        assert "is not the file that was written; copy it anew" in said or "as safetensors (" in said
    config = json.loads((path / "config.json").read_text())
    del config["weights_sha256"]  # as folders from before it was written
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(whole)
    load_network(path)
    assert load_file(path / "model.safetensors")


def test_safetensors_that_ask_for_hours_are_refused_at_once(
    exported: dict[str, Path], tmp_path: Path
) -> None:
    path = copied(exported["gumbel"], tmp_path / "a", lambda config: config.pop("weights_sha256"))
    (path / "model.safetensors").unlink()
    shape = {"dtype": "F32", "shape": [0] * 100_000, "data_offsets": [0, 0]}
    header = json.dumps({"a": shape}).encode()
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "'a' has more than 16 dimensions" in refused(load_network, path)
    path = copied(exported["gumbel"], tmp_path / "b", lambda _: None)
    (path / "model.safetensors").unlink()
    (path / "model.safetensors").touch()
    os.truncate(path / "model.safetensors", 1 << 42)  # all holes
    assert "cannot be read as safetensors" in refused(load_network, path)
    assert "holds next to none; copy it anew" in refused(checkpoint_hash, path / "model.safetensors")


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_archive_is_not_unpacked(how: int, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(EARLIER / "gumbel.pt") as archive,
        zipfile.ZipFile(tmp_path / "x.pt", "w", how) as packed,
    ):
        for member in archive.infolist():
            packed.writestr(member.filename, archive.read(member))
    assert "is compressed, which torch.save never does" in refused(load_network, tmp_path / "x.pt")


def laughs() -> list[Any]:
    found: list[Any] = ["ha"]
    for _ in range(30):
        found = [found] * 10
    return found


def endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


TUPLES = b"\x85" * 300_000  # around what lies on the stack
HANDMADE = {
    "a key": (b"\x80\x02}K\x01" + TUPLES + b"K\x01s.", "tuples in tuples"),
    "in a set": (b"\x80\x02cbuiltins\nset\n]K\x01" + TUPLES + b"a\x85R.", "tuples in tuples"),
    "remembered": (b"\x80\x02)q\x01" + b"0h\x01\x85q\x01" * 101 + b".", "tuples in tuples"),
    "remembered far": (
        b"\x80\x02)r\x00\x01\x00\x00" + b"0j\x00\x01\x00\x00\x85r\x00\x01\x00\x00" * 101 + b".",
        "tuples in tuples",
    ),
    "from a mark": (b"\x80\x02" + b"(" * 101 + b"t" * 101 + b".", "tuples in tuples"),
    "doubled": (b"\x80\x02)" + b"2\x86" * 101 + b".", "tuples in tuples"),
    "triples": (b"\x80\x02)" + b"22\x87" * 101 + b".", "tuples in tuples"),
    "lists": (b"\x80\x02" + b"]" * 10_001 + b"a" * 10_000 + b".", "lists in lists"),
    "dicts": (b"\x80\x02" + b"}K\x01" * 10_001 + b"K\x01" + b"s" * 10_001 + b".", "lists in lists"),
    "filled lists": (b"\x80\x02" + b"]K\x01a" * 10_001 + b"a" * 10_000 + b".", "lists in lists"),
    "its methods": (
        b"\x80\x02}X\x05\x00\x00\x00modelccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sbs.",
        "an attribute 'items'",
    ),
    "half a character": (
        b"\x80\x02}X\x05\x00\x00\x00model}X\x03\x00\x00\x00\xed\xa0\x80K\x01ss.",
        "is called",
    ),
}


@pytest.mark.parametrize("name", HANDMADE)
@pytest.mark.parametrize("packed", [True, False])
def test_pickles_that_no_program_writes_are_refused(name: str, packed: bool, tmp_path: Path) -> None:
    """Tuples in tuples without end are followed by their hash until the stack is spent."""
    blob, said = HANDMADE[name]
    if packed:
        with (
            zipfile.ZipFile(EARLIER / "gumbel.pt") as archive,
            zipfile.ZipFile(tmp_path / "x.pt", "w") as changed,
        ):
            for member in archive.namelist():
                changed.writestr(member, blob if member.endswith("data.pkl") else archive.read(member))
    else:
        parts = [pickle.dumps(part, 2) for part in legacy_header()]
        (tmp_path / "x.pt").write_bytes(b"".join(parts) + blob + pickle.dumps([], 2))
    assert said in refused(load_network, tmp_path / "x.pt")


def legacy_header() -> tuple[object, ...]:
    """What torch wrote in front of the content until 2020."""
    system = {"protocol_version": 1001, "little_endian": True}
    return 0x1950A86A20F9469CFC6C, 1001, {**system, "type_sizes": {"short": 2, "int": 4, "long": 4}}


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_s_own_tuples_are_not_too_deep(name: str) -> None:
    assert unsound_pickle(EARLIER / f"{name}.pt") == ""


def test_a_long_name_of_a_model_is_shown_in_part(tmp_path: Path) -> None:
    state = torch.load(EARLIER / "gumbel.pt", weights_only=True)
    state["cfg"]["model"]["_name"] = "x" * 100_000
    torch.save(state, tmp_path / "x.pt")
    for load in (load_network, load_bert, load_any, import_checkpoint):
        assert len(refused(load, tmp_path / "x.pt")) < 1_000


@pytest.mark.parametrize("where", ["made_from", "cfg", "extra_state", "optimizer_history", "task_state"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (laughs, "holds more than 5,000,000 values"),
        (endless, "lists in lists without end"),
        (lambda: torch.zeros(1).expand(10**6, 10**6), "holds a tensor that is no plain one"),
    ],
)
def test_a_few_bytes_that_say_they_are_many_are_refused(
    where: str, make: Callable[[], Any], says: str, tmp_path: Path
) -> None:
    state = torch.load(EARLIER / "gumbel.pt", weights_only=True)
    state[where] = {**state[where], "x": make()} if isinstance(state.get(where), dict) else {"x": make()}
    torch.save(state, tmp_path / "x.pt")
    assert f"`{where}`" in refused(load_any, tmp_path / "x.pt") and says in refused(
        load_any, tmp_path / "x.pt"
    )


@pytest.mark.parametrize("where", ["cfg", "args"])
@pytest.mark.parametrize("below", [(), ("model",), ("model", "_name")])
def test_settings_that_are_tensors_are_refused(where: str, below: tuple[str, ...], tmp_path: Path) -> None:
    state = torch.load(EARLIER / "gumbel.pt", weights_only=True)
    value: Any = torch.zeros(2)
    for name in reversed(below):
        value = {name: value}
    state[where] = value
    torch.save(state, tmp_path / "x.pt")
    for load in (load_any, import_checkpoint):
        assert f"`{where}` holds a tensor; expected settings" in refused(load, tmp_path / "x.pt")


def test_a_weight_that_is_one_number_said_to_be_many_is_refused(tmp_path: Path) -> None:
    state = torch.load(EARLIER / "gumbel.pt", weights_only=True)
    state["model"]["network.x"] = torch.zeros(1).expand(10**6, 10**6)
    torch.save(state, tmp_path / "x.pt")
    assert "weight 'network.x' is of type a tensor of less memory" in refused(load_any, tmp_path / "x.pt")


def test_pipes_and_devices_are_not_opened(exported: dict[str, Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for load in (load_network, load_bert, load_acoustic, load_any, import_checkpoint, checkpoint_hash):
        assert "is a FIFO; expected a file" in refused(load, tmp_path / "pipe.pt")
        assert "/dev/zero is a device; expected a file" in refused(load, Path("/dev/zero"))
    for name in ("model.safetensors", "config.json"):
        path = copied(exported["gumbel"], tmp_path / name, lambda _: None)
        (path / name).unlink()
        os.mkfifo(path / name)
        assert f"{name} is a FIFO; expected a file" in refused(load_network, path)
        (path / name).unlink()
        (path / name).symlink_to("/dev/zero")
        assert f"{name} is a device; expected a file" in refused(load_network, path)
    assert checkpoint_hash(path) == sha256(path / "model.safetensors")  # whoever loads it says what is wrong


def test_files_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    path.symlink_to("/proc/self/mem")  # says that it is a file of no bytes
    for load in (load_network, load_any, import_checkpoint):
        assert "c.pt cannot be read as a checkpoint of weights alone (" in refused(load, path)
    path.unlink()
    path.write_bytes((EARLIER / "gumbel.pt").read_bytes())

    def load_too_much(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", load_too_much)
    assert "weights alone (it asks for more memory than there is); expected" in refused(load_any, path)


def test_paths_that_a_checkpoint_names_are_not_waited_for(exported: dict[str, Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for place in (str(tmp_path / "pipe.pt"), "/dev/zero"):
        held = {"name": "pipe.pt", "sha256": "0" * 64, "path": place}
        spec = {"layer": "z", "sample_rate": 16_000, "checkpoint": held}
        path = copied(exported["ctc"], tmp_path / place[-4:], saying("extra", {"features": spec}))
        with pytest.raises(CheckpointError, match=r"is a FIFO|is a device"):
            rebuild_front(load_acoustic(path))


def test_torch_that_runs_what_a_checkpoint_says_reads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from vqw2v_plugin import stack

    monkeypatch.setattr(stack, "distribution_version", {"torch": "2.5.1"}.get)
    assert "`pip install --upgrade 'torch>=2.6'`" in refused(load_any, EARLIER / "gumbel.pt")


def test_lists_beside_each_other_are_no_lists_in_lists(tmp_path: Path) -> None:
    torch.save({"rows": [[number] for number in range(10_001)]}, tmp_path / "wide.pt")
    assert unsound_pickle(tmp_path / "wide.pt") == ""


@pytest.mark.parametrize(
    "blob",
    [b"\x80\x02)" + b"\x85" * 99 + b".", b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b"."],
    ids=["tuples", "lists"],
)
def test_as_deep_as_it_may_be_is_sound(blob: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"".join(pickle.dumps(part, 2) for part in legacy_header()) + blob)
    assert unsound_pickle(tmp_path / "a.pt") == ""


def test_the_last_pickle_of_a_legacy_file_is_looked_at_too(tmp_path: Path) -> None:
    blob, says = HANDMADE["from a mark"]
    parts = (*legacy_header(), {"model": {}})
    (tmp_path / "a.pt").write_bytes(b"".join(pickle.dumps(part, 2) for part in parts) + blob)
    assert says in unsound_pickle(tmp_path / "a.pt")
