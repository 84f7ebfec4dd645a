"""A stranger's checkpoint: fairseq acts on nothing that it says before it has been looked at."""

import copy
import math
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq import checkpoint_utils
from fairseq.tasks import TASK_REGISTRY
from fairseq.trainer import Trainer
from omegaconf import OmegaConf
from stock_files import stock_model, write_today

import vqw2v_plugin
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.tasks.vq_audio_pretraining import VqAudioPretrainingConfig, VqAudioPretrainingTask
from vqw2v_plugin.training.expressions import could_do_harm, texts
from vqw2v_plugin.training.look_first import _refuse_harm, _says_ours, look_at, look_first, need_our_model

vqw2v_plugin.register()
EARLIER = Path(__file__).parents[1] / "checkpoints" / "earlier"
NAMES = ("gumbel", "kmeans", "fsq", "none", "bert", "asg", "ctc", "utterance")
State = dict[str, Any]


def written(tmp_path: Path, change: Callable[[State], object], name: str = "gumbel") -> Path:
    state = torch.load(EARLIER / f"{name}.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "theirs.pt")
    return tmp_path / "theirs.pt"


def evil(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch() or [(8, 10, 5)]"


def write_whole(path: Path, model: torch.nn.Module, options: State) -> None:
    """A stock file with all that fairseq reads."""
    write_today(path, model, options, labels=None)  # type: ignore[arg-type]
    state = torch.load(path, weights_only=True)
    state["optimizer_history"][0]["lr_scheduler_state"] = {}
    torch.save(state, path)


def task() -> VqAudioPretrainingTask:
    cfg = VqAudioPretrainingConfig(data=".", seed=1, save_dir="", restore_file="")
    return VqAudioPretrainingTask.setup_task(OmegaConf.structured(cfg))


def restore(path: Path, model: str = "vq_wav2vec") -> None:
    """What `--restore-file` does until the file has been read."""
    cfg = OmegaConf.create(
        {"model": {"_name": model}, "checkpoint": {"load_checkpoint_on_all_dp_ranks": False}}
    )
    trainer = SimpleNamespace(
        cfg=cfg, task=task(), data_parallel_world_size=1, data_parallel_rank=0, tpu=False, is_fsdp=False
    )
    Trainer.load_checkpoint(trainer, str(path))  # type: ignore[arg-type]


WAYS: dict[str, Callable[[Path], object]] = {
    "generate": lambda path: checkpoint_utils.load_model_ensemble([str(path)], task=task()),
    "ensemble": lambda path: checkpoint_utils.load_model_ensemble(
        [str(EARLIER / "gumbel.pt"), str(path)], task=task()
    ),
    "validate": lambda path: checkpoint_utils.load_model_ensemble_and_task([str(path)]),
    "restore": restore,
}
DISGUISES: dict[str, Callable[[State, str], object]] = {
    "of stock's": lambda state, code: state["cfg"].update(
        model={"_name": "wav2vec", "conv_feature_layers": code}, task={"_name": "audio_pretraining"}
    ),
    "of stock's, for our task": lambda state, code: state["cfg"].update(
        model={"_name": "wav2vec", "conv_feature_layers": code}
    ),
    "of stock's, unnamed": lambda state, code: state["cfg"].update(
        model={"wav2vec": {"conv_feature_layers": code}}
    ),
    "of stock's, with our words": lambda state, code: (
        state["cfg"].update(model={"_name": "wav2vec", "conv_feature_layers": code}),
        state["model"].update({"about.version_1": torch.zeros(3, dtype=torch.int32)}),
    ),
    "wav2vec2": lambda state, code: state["cfg"].update(
        model={"_name": "wav2vec2", "conv_feature_layers": code}
    ),
    "fconv": lambda state, code: state["cfg"].update(model={"_name": "fconv", "encoder_layers": code}),
    "args beside cfg": lambda state, code: state.update(
        args={"arch": "wav2vec", "conv_feature_layers": code}
    ),
    "args of 2019": lambda state, code: state.update(
        cfg=None, args=Namespace(arch="wav2vec", task="audio_pretraining", conv_feature_layers=code)
    ),
    "of ours": lambda state, code: state["cfg"]["model"].update(conv_feature_layers=code),
    "in pieces": lambda state, code: state["cfg"].update(
        model={"_name": "wav2vec", "a": code[:5], "b": code[5:], "conv_feature_layers": "${.a}${.b}"},
        task={"_name": "audio_pretraining"},
    ),
    "criterion": lambda state, code: state["cfg"].update(criterion={"_name": "wav2vec", "log_keys": code}),
    "task": lambda state, code: state["cfg"].update(
        task={"_name": "audio_pretraining", "precompute_mask_config": {"feature_encoder_spec": code}}
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_options_that_fairseq_would_evaluate_never_run(disguise: str, way: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = written(tmp_path, lambda state: DISGUISES[disguise](state, evil(marker)))
    with pytest.raises(CheckpointError, match=r"theirs\.pt") as caught:
        WAYS[way](path)
    assert not marker.exists() and "\n" not in str(caught.value)
    with torch.serialization.safe_globals([Namespace]), pytest.raises(CheckpointError, match=r"theirs\.pt"):
        WAYS[way](path)  # as who loads stock's old files has it
    assert not marker.exists()


def test_the_same_file_runs_where_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above can fail."""
    monkeypatch.setattr(
        checkpoint_utils, "load_checkpoint_to_cpu", checkpoint_utils.load_checkpoint_to_cpu.__wrapped__
    )
    marker = tmp_path / "marker"
    with pytest.raises(Exception):  # noqa: B017  its weights fit nothing
        WAYS["validate"](written(tmp_path, lambda state: DISGUISES["of stock's"](state, evil(marker))))
    assert marker.exists()


@pytest.mark.parametrize("name", NAMES)
def test_what_our_trainer_wrote_is_taken(name: str) -> None:
    look_at(EARLIER / f"{name}.pt")


def test_stock_s_models_for_stock_s_tasks_are_left_alone(tmp_path: Path) -> None:
    model, options = stock_model(vq_type="gumbel")
    write_whole(tmp_path / "stock.pt", model, options)
    (loaded,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "stock.pt")])
    assert type(loaded) is type(model)
    with pytest.raises(CheckpointError, match=r"holds the model 'wav2vec'; .*`vqw2v import"):
        checkpoint_utils.load_model_ensemble([str(tmp_path / "stock.pt")], task=task())
    assert "model" in checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "stock.pt"))  # for nobody's task


def test_a_stranger_s_file_that_torch_does_not_read_is_one_sentence(tmp_path: Path) -> None:
    torch.save({"model": {}, "args": Path}, tmp_path / "strange.pt")
    with pytest.raises(CheckpointError, match=r"strange\.pt"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "strange.pt"))


def test_a_model_of_stock_s_trains_on_with_our_task(tmp_path: Path) -> None:
    """The file's options are not built then: the trainer has built its own."""
    model, options = stock_model(vq_type="none")
    write_whole(tmp_path / "stock.pt", model, options)
    with pytest.raises(Exception, match="distributed_training"):
        restore(tmp_path / "stock.pt", "wav2vec")  # beyond the look: this trainer has no model
    with pytest.raises(CheckpointError, match="holds the model 'wav2vec'"):
        restore(tmp_path / "stock.pt")


def test_our_task_builds_our_models_alone_from_files() -> None:
    for cfg in ({"_name": "wav2vec"}, {"_name": None}, {"wav2vec": {}}, {"arch": "fconv"}, {"_name": "x"}):
        with pytest.raises(CheckpointError, match="expected one of ours: vq_wav2vec"):
            task().build_model(OmegaConf.create(cfg), from_checkpoint=True)


STRANGE: dict[str, Callable[[State], object]] = {
    "`cfg.model` does not fit": lambda state: state["cfg"]["model"].update(compile=["x"]),
    "`cfg.task` does not fit": lambda state: state["cfg"]["task"].update(min_sample_size="x"),
    "`cfg.task._name` is 'translation'": lambda state: state["cfg"]["task"].update(_name="translation"),
    "`cfg.task` is None": lambda state: state["cfg"].pop("task"),
    "`cfg.criterion._name` is ['a']": lambda state: state["cfg"]["criterion"].update(_name=["a"]),
    "`cfg.task.data` is '${oc.env:HOME}'": lambda state: state["cfg"]["task"].update(data="${oc.env:HOME}"),
    "`args` is not None": lambda state: state.update(args={}),
    "`optimizer_history` is []": lambda state: state.update(optimizer_history=[]),
    "`optimizer_history[-1].num_updates` is nan": lambda state: state["optimizer_history"][-1].update(
        num_updates=math.nan
    ),
    "`extra_state` is None": lambda state: state.pop("extra_state"),
    "`extra_state.train_iterator.epoch` is 'x'": lambda state: state["extra_state"]["train_iterator"].update(
        epoch="x"
    ),
    "`extra_state.metrics.train` holds": lambda state: state["extra_state"]["metrics"].update(
        train=[(1, "a", "print", {})]
    ),
    "`last_optimizer_state` is 5": lambda state: state.update(last_optimizer_state=5),
    "`task_state` is [1]": lambda state: state.update(task_state=[1]),
}


@pytest.mark.parametrize("says", STRANGE)
@pytest.mark.parametrize("way", ["generate", "restore"])
def test_what_fairseq_reads_beside_the_weights_is_named(says: str, way: str, tmp_path: Path) -> None:
    path = written(tmp_path, STRANGE[says])
    with pytest.raises(CheckpointError) as caught:
        WAYS[way](path)
    assert says in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_acoustic_model_s_options_are_those_of_its_network(tmp_path: Path) -> None:
    """fairseq builds from these, and the header has been checked against the weights."""
    path = written(tmp_path, lambda state: state["cfg"]["model"].update(conv_layers="[(9999, 9999)]"), "ctc")
    with pytest.raises(CheckpointError, match=r"`conv_layers` is '\[\(9999, 9999\)\]', and the network has"):
        look_at(path)


@pytest.mark.parametrize("way", WAYS)
def test_a_fifo_is_not_waited_for(way: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match=r"pipe\.pt is a FIFO; expected a file"):
        WAYS[way](tmp_path / "pipe.pt")


def test_looking_twice_is_looking_once() -> None:
    before = checkpoint_utils.load_checkpoint_to_cpu
    look_first()
    assert checkpoint_utils.load_checkpoint_to_cpu is before


@pytest.mark.parametrize(
    "text",
    [
        "exit()",
        " (lambda: 1)()",
        "[x for x in y]",
        "[0 for cls.__class_getitem__ in [exec]]",
        "f'{x}'",
        "a[b]",
        "(x := y)",
        b"exit()",
        "'%s' % exit()",
        "-" * 100_000 + "1",
    ],
)
def test_what_does_more_than_make_a_value_is_told(text: str | bytes) -> None:
    assert could_do_harm(text)


@pytest.mark.parametrize(
    "text",
    [
        "[(512, 10, 5)] + [(512, 3, 2)] * 4",
        "(0.9, 0.98)",
        "True",
        "gelu",
        "/data/some folder (1)/x.pt",
        "checkpoint_best.pt",
        "",
        "{'a': -1.5e-3}",
        "a b",
        "\0",
    ],
)
def test_what_stock_s_options_say_is_let_pass(text: str) -> None:
    assert not could_do_harm(text) and copy.copy(text) == text


def test_what_no_parser_takes_is_no_expression() -> None:
    for text in ("[(1, 2", "wav \0 wav", b"\xff\xfe", "a sentence of words"):
        assert not could_do_harm(text)


def test_texts_are_found_however_options_hold_them() -> None:
    held = {
        "layers": ["a", ("b", {"c"}, frozenset({"d"}))],
        "old": Namespace(conv=b"e", inner=Namespace(deep="f")),
        "number": 3,
        "omega": OmegaConf.create({"list": ["g", ["h"]], "lost": "${nowhere}", "gone": ["${nowhere}"]}),
    }
    found = {text if isinstance(text, str) else text.decode(): where for where, text in texts(held, "o")}
    assert sorted(found) == list("abcdefgh")
    assert found["f"] == "o.old.inner.deep" and found["g"] == "o.omega.list"
    referring = OmegaConf.create({"list": ["g", ["h"]], "whole": "${list}"})
    assert sorted(text for _, text in texts(referring, "o")) == ["g", "g", "h", "h"]


@pytest.mark.parametrize("part", ["cfg.model", "cfg.task", "cfg.criterion", "args"])
def test_every_part_of_a_file_s_options_is_looked_at(part: str) -> None:
    def state(text: str) -> State:
        options = OmegaConf.create({"model": {"layers": "[1]"}, "task": {"n": 1}, "criterion": None})
        if part == "args":
            return {"cfg": options, "args": Namespace(layers=text)}
        options[part.removeprefix("cfg.")] = {"layers": text}
        return {"cfg": options, "args": None}

    _refuse_harm(state("[(512, 10, 5)] * 2"), Path("stock.pt"))
    with pytest.raises(CheckpointError, match=rf"stock\.pt is refused .*`{part}\.layers` is"):
        _refuse_harm(state("__import__('os').getcwd()"), Path("stock.pt"))


@pytest.mark.parametrize(
    ("model", "task", "ours"),
    [
        ("wav2vec", "audio_pretraining", False),
        ("vq_bert_tiny", "masked_lm", True),
        ("wav2vec", "vq_audio_pretraining", True),
    ],
)
def test_a_file_is_ours_by_its_model_or_by_its_task(
    model: str, task: str, ours: bool, tmp_path: Path
) -> None:
    cfg = {"model": {"_name": model}, "task": {"_name": task}}
    torch.save({"model": {}, "cfg": cfg}, tmp_path / "some.pt")
    assert _says_ours(tmp_path / "some.pt") is ours


def test_a_file_without_options_harms_nobody() -> None:
    for state in ({}, {"cfg": None}, {"cfg": {}}, [1, 2]):
        _refuse_harm(state, Path("stock.pt"))


@pytest.mark.parametrize("name", ["wav2vec", "vq_bert_tiny", "roberta", "none"])
def test_a_task_is_for_its_own_model(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"the model is '{name}'; expected"):
        task().build_model(Namespace(_name=name))
    need_our_model(Namespace(_name="vq_wav2vec"), VqAudioPretrainingTask.trains)
    need_our_model(Namespace(_name="vq_wav2vec"))  # of a task that is for any of ours


def test_a_training_does_not_begin_anew_where_a_checkpoint_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for path, kind in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe.pt", "a FIFO"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(CheckpointError, match=f"{path} is {kind}; expected a file"):
            restore(path)


def test_every_yaml_s_model_is_one_that_its_task_is_for() -> None:
    seen = set()
    for path in Path(__file__).parents[2].glob("examples/*/*.yaml"):
        settings = OmegaConf.load(path)
        need_our_model(settings.model, TASK_REGISTRY[settings.task._name].trains)
        seen.add(settings.task._name)
    assert seen == {
        name for name, task in TASK_REGISTRY.items() if task.__module__.startswith("vqw2v_plugin")
    }
