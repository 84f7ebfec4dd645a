"""Checkpoints as bytes: what is written is whole, nothing is replaced, a hash is of what features need."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vqw2v_plugin.checkpoints import bounds, checks, files
from vqw2v_plugin.checkpoints.archive import special_file
from vqw2v_plugin.checkpoints.checks import check_finite, load_weights
from vqw2v_plugin.checkpoints.files import (
    CheckpointError,
    checkpoint_hash,
    read_folder,
    sha256,
    write_folder,
    write_pickle,
)
from vqw2v_plugin.checkpoints.format import load_any, num_updates, write_checkpoint
from vqw2v_plugin.checkpoints.kinds import KINDS, Audio
from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, import_stock, load_network, save_checkpoint
from vqw2v_plugin.common import inputs
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

EARLIER = Path(__file__).parent / "earlier"
Tiny = Callable[..., VqWav2Vec]


def changed(folder: Path, **fields: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    for name, value in fields.items():
        config[name] = {**config[name], **value} if isinstance(value, dict) else value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(CheckpointError, match=r"a exists; name another, or say --force"):
        write_pickle(tmp_path / "a", {})
    (tmp_path / "a" / "config.json").write_text("mine")
    with pytest.raises(CheckpointError, match=r"config\.json exists; name another"):
        write_folder(tmp_path / "a", {}, {})
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["config.json"]
    with pytest.raises(CheckpointError, match=r"nowhere is no folder; expected one to write b\.pt into"):
        write_pickle(tmp_path / "nowhere" / "b.pt", {})


def test_weights_without_a_json_are_somebody_s_unless_a_killed_run_left_its_json_half_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.safetensors").write_text("mine")
    with pytest.raises(CheckpointError, match=r"model\.safetensors exists; name another, or say --force"):
        write_folder(tmp_path / "a", {}, {"w": torch.zeros(2)})
    assert (tmp_path / "a" / "model.safetensors").read_text() == "mine"
    (tmp_path / "a" / ".config.json.part").write_text("{")
    write_folder(tmp_path / "a", {}, {"w": torch.zeros(2)})
    assert read_folder(tmp_path / "a")[1]["w"].tolist() == [0, 0]


def test_weights_that_share_memory_are_written_each_for_itself(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3).requires_grad_()
    write_folder(tmp_path / "a", {"word": "é"}, {"w": weight, "same": weight, "turned": weight.T})
    said, held, _ = read_folder(tmp_path / "a")
    assert said["word"] == "é" and "é" in (tmp_path / "a" / "config.json").read_text(encoding="utf-8")
    assert torch.equal(held["w"], held["same"]) and torch.equal(held["turned"], weight.T)


def test_an_empty_sum_is_no_sum(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", {}, {"w": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="is not the file that was written"):
        read_folder(changed(tmp_path / "a", weights_sha256=""))
    read_folder(changed(tmp_path / "a", weights_sha256=None))


def test_a_json_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "a", {"x": "y" * 3000}, {"w": torch.zeros(2)})
    monkeypatch.setattr(files, "_LONGEST_JSON", 1000)
    with pytest.raises(CheckpointError, match=r"config\.json has 3,\d\d\d bytes; expected the few"):
        read_folder(tmp_path / "a")


def test_a_json_of_too_many_lists_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "a", {"x": [[]] * 8, "y": [{}]}, {"w": torch.zeros(2)})
    monkeypatch.setattr(inputs, "_MOST_BRACKETS", 12)
    read_folder(tmp_path / "a")
    monkeypatch.setattr(inputs, "_MOST_BRACKETS", 11)
    with pytest.raises(CheckpointError, match=r"read as JSON \(holds more than 11 lists and objects\)"):
        read_folder(tmp_path / "a")


def test_a_folder_s_hash_is_of_all_that_features_depend_on(tmp_path: Path) -> None:
    export_folder(EARLIER / "bert.pt", tmp_path / "bert")
    before = checkpoint_hash(tmp_path / "bert")
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    config["settings"] = dict(reversed(config["settings"].items()))
    (tmp_path / "bert" / "config.json").write_text(json.dumps(config))
    assert checkpoint_hash(changed(tmp_path / "bert", num_updates=3, made_from={"x": 1})) == before
    assert checkpoint_hash(changed(tmp_path / "bert", settings={"activation_fn": "relu"})) != before
    export_folder(EARLIER / "asg.pt", tmp_path / "asg")
    before = checkpoint_hash(tmp_path / "asg")
    assert checkpoint_hash(changed(tmp_path / "asg", extra={"frame_seconds": 7.0})) != before
    export_folder(EARLIER / "gumbel.pt", tmp_path / "vq")
    weights = sha256(tmp_path / "vq" / "model.safetensors")
    for extra in ({"infonce": True}, {"infonce": False}):
        assert checkpoint_hash(changed(tmp_path / "vq", extra=extra)) == weights


def test_a_socket_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as held:
        held.bind("s.pt")
        assert special_file("s.pt") == "a socket"
    assert special_file(tmp_path) == special_file(tmp_path / "nothing") == special_file("a\0b") == ""


def test_memory_that_weights_share_counts_once() -> None:
    weight = torch.zeros(10, 10)
    assert bounds.bytes_held([weight, weight[2:], weight.T, torch.zeros(5)]) == 420
    assert bounds.bytes_held([torch.zeros(3).to_sparse(), torch.zeros(3, device="meta")]) == 0


def test_modules_and_buffers_count_towards_the_bounds() -> None:
    with bounds.no_larger_than([]), pytest.raises(bounds.TooLargeError, match="more than 1,000 modules"):
        torch.nn.Sequential(*[torch.nn.Identity() for _ in range(1001)])
    with bounds.no_larger_than([]), pytest.raises(bounds.TooLargeError, match="more than 1,048,576 numbers"):
        torch.nn.Module().register_buffer("x", torch.zeros(1025, 1024))
    torch.nn.Module().register_buffer("x", torch.zeros(1025, 1024))  # no longer within bounds


def test_what_another_thread_builds_is_not_counted() -> None:
    """A training may build its model while another's file is looked at."""
    with ThreadPoolExecutor(1) as pool, bounds.no_larger_than([torch.zeros(1)]):
        assert pool.submit(torch.nn.Linear, 1100, 1000).result().out_features == 1000
        with pytest.raises(bounds.TooLargeError, match="ask for more than"):
            torch.nn.Linear(1100, 1000)


def test_exactly_as_many_problems_as_are_named_have_no_others() -> None:
    network = torch.nn.Linear(2, 2)
    weights = {**network.state_dict(), "a": torch.zeros(1), "b": torch.zeros(1), "c": torch.zeros(1)}
    for more, ends in (({}, "in the network"), ({"d": torch.zeros(1)}, "; and 1 more")):
        with pytest.raises(CheckpointError) as caught:
            load_weights(network, {**weights, **more}, "x.pt")
        assert str(caught.value).endswith(ends) and str(caught.value).count("has no place") == 3


def test_a_weight_of_two_names_is_looked_at_under_both() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    network[1].weight = network[0].weight
    weights = dict(network.state_dict())
    load_weights(network, weights, "x.pt")
    for name in ("0.weight", "1.weight"):
        with pytest.raises(CheckpointError, match=rf"`{name}` has the shape \[2, 3\], expected \[2, 2\]"):
            load_weights(network, {**weights, name: torch.zeros(2, 3)}, "x.pt")
        with pytest.raises(CheckpointError, match=rf"`{name}` is missing, expected \[2, 2\]"):
            load_weights(network, {k: v for k, v in weights.items() if k != name}, "x.pt")


def test_what_a_module_itself_cannot_take_is_a_sentence() -> None:
    class Choosy(torch.nn.Linear):
        def _load_from_state_dict(self, state: Any, prefix: str, *others: Any) -> None:
            others[-1].append(f"{prefix}weight is of a colour\nthat is not green")

    network = torch.nn.Sequential(Choosy(2, 2))
    with pytest.raises(CheckpointError, match=r"^x\.pt: its weights do not fit: that is not green$"):
        load_weights(network, network.state_dict(), "x.pt")


def test_a_setting_of_any_size_is_shown() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert checks.shown(10**5000) == "a int that is too large to show"
    assert checks.shown(SimpleNamespace(deep=deep)) == "a SimpleNamespace that is too large to show"
    assert checks.shown(deep) == "[" * 120 + "…"
    assert checks.shown("x" * 500) == "'" + "x" * 119 + "…"


def test_of_lists_in_lists_the_beginning_alone_is_looked_at() -> None:
    class Unseen:
        def __repr__(self) -> str:
            raise AssertionError("it was looked at")

    assert checks.shown([[1] * 30, [2] * 30, {"a": Unseen()}]).startswith("[[1, 1, 1, ")
    assert checks.shown({"a": ["x" * 150, Unseen()]}) == "{'a': ['" + "x" * 112 + "…"


@pytest.mark.parametrize(
    "value", [{}, [], (), (1,), (1, "a"), [[None], [1.5, True]], {"a": {1: (2,)}, "b": []}, "é\n", {1, 2}]
)
def test_a_small_setting_is_shown_as_python_writes_it(value: Any) -> None:
    assert checks.shown(value) == repr(value)


def test_a_folder_is_no_file_of_fairseq_s(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"^{tmp_path} is a folder; expected a file such as checkp"):
        files.read_pickle(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_quantized_tensors_and_infinities_among_numbers_are_refused() -> None:
    packed = torch.quantize_per_tensor(torch.rand(4), 0.1, 0, torch.qint8)
    with pytest.raises(CheckpointError, match=r"`w` is no plain tensor"):
        check_finite({"w": packed}, "x.pt")
    for number in (torch.inf, -torch.inf, torch.nan):
        with pytest.raises(CheckpointError, match=r"x\.pt: .*`w` holds NaN or infinity"):
            check_finite({"v": torch.ones(2), "w": torch.tensor([0.0, number])}, "x.pt")


def test_every_number_of_fp32_is_a_weight() -> None:
    check_finite({"w": torch.tensor([3.4e38, -3.4e38, 1e-45]), "b": torch.tensor([3e38]).bfloat16()}, "x.pt")


def test_complex_numbers_are_no_whole_ones() -> None:
    network = torch.nn.BatchNorm1d(2)
    weights = {**network.state_dict(), "num_batches_tracked": torch.tensor(1 + 2j)}
    with pytest.raises(CheckpointError, match=r"`num_batches_tracked` is of type torch\.complex64"):
        load_weights(network, weights, "x.pt")


def test_a_trainer_s_file_holds_no_weight_outside_of_the_network(tmp_path: Path) -> None:
    state = torch.load(EARLIER / "gumbel.pt", weights_only=True)
    state["model"]["other"] = torch.zeros(1)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt: its weights do not fit: `other` has no place"):
        load_any(tmp_path / "x.pt")


@pytest.mark.parametrize("made_from", [{"x": float("nan")}, {"x": "\ud800"}])
def test_words_that_json_cannot_say_are_refused(made_from: dict[str, Any], tmp_path: Path) -> None:
    state = torch.load(EARLIER / "gumbel.pt", weights_only=True)
    torch.save({**state, "made_from": made_from}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt: `made_from` is no plain data"):
        load_any(tmp_path / "x.pt")


def test_updates_are_those_of_the_last_run() -> None:
    def of(*numbers: Any) -> int:
        return num_updates({"optimizer_history": [{"num_updates": number} for number in numbers]})

    assert (of(3, 7), of(7, 3), of(True), of(-1), of(2.0), of()) == (7, 3, 0, 0, 0, 0)


def test_a_rate_that_nothing_has_is_refused() -> None:
    assert Audio(1_000_000).sample_rate == 1_000_000 and Audio(1).sample_rate == 1
    for rate in (1_000_001, 0, -16_000):
        said = rf"`sample_rate` is {rate}; expected a number of Hz, 1,000,000"
        with pytest.raises(ValueError, match=said):
            Audio(rate)


@pytest.mark.parametrize("infonce", [True, False])
def test_loss_updates_and_a_quantizer_s_own_arguments_come_back(
    infonce: bool, tiny: Tiny, tmp_path: Path
) -> None:
    args = '{"temp_fraction": 0.5, "head_dim": 6}'
    loaded = Loaded(tiny(quantizer="gumbel", quantizer_args=args).eval(), 16_000, True, {"file": "b.pt"})
    save_checkpoint(Imported(loaded, infonce, 9, []), tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    assert state["extra_state"]["train_iterator"] == {"epoch": 1, "iterations_in_epoch": 0}
    assert state["optimizer_history"][0]["criterion_name"] == "vq_contrastive"
    export_folder(tmp_path / "a.pt", tmp_path / "out")
    again = import_checkpoint(tmp_path / "out")
    write_checkpoint(tmp_path / "b.pt", again.header, again.weights)
    for place in (tmp_path / "a.pt", tmp_path / "out", tmp_path / "b.pt"):
        found = load_any(place)
        assert found.header.extra == {"infonce": infonce} and found.header.num_updates == 9
        assert found.network.quantizer.config.temp_fraction == 0.5
        assert found.network.quantizer.head[0].out_features == 6
    assert load_network(tmp_path / "a.pt").made_from == {"file": "b.pt"}
    assert import_stock(tmp_path / "out").infonce is infonce


def test_a_front_s_options_come_back_from_a_folder(tmp_path: Path) -> None:
    """By which fairseq builds the front again, and knows for how many updates it is frozen."""
    trained = torch.load(EARLIER / "asg.pt", weights_only=True)["cfg"]["model"]
    front = {name: value for name, value in trained.items() if name.startswith("front")}
    front["freeze_updates"] = trained["freeze_updates"]
    assert front["front_layer"] == "z" and front["freeze_updates"] == 150
    assert load_any(EARLIER / "asg.pt").header.extra["front"] == front
    export_folder(EARLIER / "asg.pt", tmp_path / "out")
    again = import_checkpoint(tmp_path / "out")
    write_checkpoint(tmp_path / "b.pt", again.header, again.weights)
    model = torch.load(tmp_path / "b.pt", weights_only=True)["cfg"]["model"]
    assert {name: model[name] for name in front} == front


@pytest.mark.parametrize("name", ["asg", "finetuned", "wav2vec_u"])
@pytest.mark.parametrize("more", [-1, 1])
def test_a_network_of_labels_has_a_column_for_each_symbol(more: int, name: str) -> None:
    header = load_any(EARLIER / f"{name}.pt").header
    settings = {**header.settings, "num_columns": len(header.extra["symbols"]) + more}
    says = f"`num_columns` is {settings['num_columns']}; expected the {len(header.extra['symbols'])} symbols"
    with pytest.raises(ValueError, match=says):
        KINDS[header.model].build(replace(header, settings=settings))


def test_a_dictionary_is_for_a_stock_roberta_alone(tmp_path: Path) -> None:
    export_folder(EARLIER / "bert.pt", tmp_path / "bert")
    with pytest.raises(CheckpointError, match=r"`--dict` goes with stock's files; .*is an exported folder"):
        import_checkpoint(tmp_path / "bert", tmp_path / "dict.txt")
    with pytest.raises(CheckpointError, match=r"holds the model 'vq_bert'; expected stock's 'wav2vec'"):
        import_stock(tmp_path / "bert")
    torch.save({"model": {}, "cfg": {"model": {"_name": "wav2vec"}}}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"`--dict` goes with roberta or wav2vec_ctc; .*is a wav2vec"):
        import_checkpoint(tmp_path / "w.pt", tmp_path / "dict.txt")
    torch.save({"model": {}}, tmp_path / "n.pt")
    with pytest.raises(CheckpointError, match="in neither `cfg` nor `args` how its model was made"):
        import_checkpoint(tmp_path / "n.pt")


def test_damage_far_inside_a_large_weight_is_told(tmp_path: Path) -> None:
    """The sum of a weight of some megabytes is over all of it."""
    torch.save({"model": {"w": torch.zeros(1 << 20)}}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    content[3 << 20] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt cannot be read as a checkpoint"):
        files.read_pickle(tmp_path / "a.pt")


def test_a_hash_of_what_cannot_be_read_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pt is not there"):
        sha256(tmp_path / "gone.pt")
    with pytest.raises(CheckpointError, match="a\0b is not there"):
        sha256(Path("a\0b"))
    (tmp_path / "memory.pt").symlink_to("/proc/self/mem")  # says that it is a file
    with pytest.raises(CheckpointError, match=r"memory\.pt cannot be read: Input/output error"):
        sha256(tmp_path / "memory.pt")


def test_a_best_checkpoint_that_no_validation_has_chosen_is_told_from_one_that_is_lost(
    tmp_path: Path,
) -> None:
    best = tmp_path / "checkpoint_best.pt"
    with pytest.raises(CheckpointError, match="is no file"):
        load_any(best)
    (tmp_path / "checkpoint_last.pt").touch()
    with pytest.raises(CheckpointError, match="no validation has chosen it yet; name checkpoint_last"):
        load_any(best)


def test_a_wav2vec_2_s_hash_is_of_what_its_weights_do_not_tell(tmp_path: Path) -> None:
    """Such as where its norms are, or how many heads it has."""
    export_folder(EARLIER / "wav2vec2.pt", tmp_path / "w")
    before = checkpoint_hash(tmp_path / "w")
    assert checkpoint_hash(changed(tmp_path / "w", num_updates=3)) == before
    assert checkpoint_hash(changed(tmp_path / "w", settings={"encoder_attention_heads": 4})) != before


def test_a_folder_whose_json_says_nothing_is_known_by_its_weights(tmp_path: Path) -> None:
    export_folder(EARLIER / "bert.pt", tmp_path / "bert")
    weights = sha256(tmp_path / "bert" / "model.safetensors")
    assert checkpoint_hash(tmp_path / "bert") != weights
    for said in ("{}", "{", None):
        path = tmp_path / "bert" / "config.json"
        path.write_text(said) if said is not None else path.unlink()
        assert checkpoint_hash(tmp_path / "bert") == weights


def test_while_weights_are_exchanged_there_is_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old words never stand beside new weights."""
    write_folder(tmp_path / "a", {"old": 1}, {"w": torch.zeros(2)})

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "a", {"new": 1}, {"w": torch.ones(2)}, force=True)
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        read_folder(tmp_path / "a")
