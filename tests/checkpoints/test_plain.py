"""What a trainer's file holds beside its weights: of a size that ends, and what fairseq's trainer writes."""

import copy
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vqw2v_plugin.checkpoints import plain
from vqw2v_plugin.checkpoints.checks import is_repeated
from vqw2v_plugin.checkpoints.plain import check_size, check_trainer_state

TRAINED = torch.load(Path(__file__).parent / "earlier" / "gumbel.pt", weights_only=True)
State = dict[str, Any]


MANY = tuple(range(200))


@pytest.mark.parametrize(
    "held",
    [
        [list(MANY)],
        {"a": MANY},
        {MANY: 1},
        dict.fromkeys(MANY),
        Namespace(a=[MANY]),
        set(MANY),
        (frozenset(MANY),),
        [[0] * 20] * 10,  # one list named ten times
    ],
    ids=["list", "value", "key", "keys", "namespace", "set", "frozenset", "twice"],
)
def test_values_are_counted_wherever_they_are_held(held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_MOST", 150)
    with pytest.raises(ValueError, match="`x` holds more than 150 values"):
        check_size({"y": 1, "x": held})


def test_what_a_trainer_s_depth_and_size_are_is_taken() -> None:
    nested: Any = 1
    for _ in range(90):
        nested = [nested]
    check_size({"x": nested, "y": [0] * 100_000})
    with pytest.raises(ValueError, match="lists in lists without end"):
        check_size({"x": [[[[[[[[[[[[nested]]]]]]]]]]]]})


def test_a_tensor_is_repeated_once_its_memory_is_less_than_its_numbers() -> None:
    assert is_repeated(torch.zeros(1).expand(2)) and not is_repeated(torch.zeros(2))
    assert not is_repeated(torch.zeros(4)[1:3]) and not is_repeated(torch.zeros(2, 3).T)


def test_what_the_trainer_wrote_is_sound() -> None:
    check_trainer_state(TRAINED)


WRONG: list[tuple[Callable[[State], object], str]] = [
    (
        lambda s: s["optimizer_history"][-1].update(num_updates=-1),
        "`optimizer_history[-1].num_updates` is -1",
    ),
    (lambda s: s["optimizer_history"][-1].update(num_updates=1 << 53), "num_updates` is 9007199254740992"),
    (lambda s: s["optimizer_history"][-1].update(num_updates=True), "num_updates` is True"),
    (lambda s: s["optimizer_history"].append({"num_updates": -2}), "num_updates` is -2"),
    (lambda s: s["optimizer_history"].insert(0, 5), "`optimizer_history` is"),
    (lambda s: s["optimizer_history"][-1].update(criterion_name=3), "criterion_name` is 3; expected a name"),
    (lambda s: s["optimizer_history"][-1].update(optimizer_name=3), "optimizer_name` is 3; expected a name"),
    (lambda s: s["optimizer_history"][-1].update(lr_scheduler_state=[1]), "lr_scheduler_state` is [1]"),
    (lambda s: s["optimizer_history"][-1].pop("lr_scheduler_state"), "expected an `lr_scheduler_state`"),
    (lambda s: s["optimizer_history"][-1].update(optimizer={}), "and no `optimizer`"),
    (
        lambda s: s["extra_state"]["train_iterator"].update(iterations_in_epoch=-1),
        "`extra_state.train_iterator.iterations_in_epoch` is -1",
    ),
    (
        lambda s: s["extra_state"]["train_iterator"].update(epoch=1.0),
        "`extra_state.train_iterator.epoch` is 1.0; expected a number of at least 0",
    ),
    (
        lambda s: s["extra_state"]["metrics"].update(train=[(1, "a", "os.system", {})]),
        "`extra_state.metrics.train` holds",
    ),
    (
        lambda s: s["extra_state"]["metrics"].update(valid=(1, "a", "Meters", {})),
        "`extra_state.metrics.valid`",
    ),
    (lambda s: s.update(task_state=3), "`task_state` is 3; expected names and their values"),
    (lambda s: s.update(last_optimizer_state=[1]), "`last_optimizer_state` is [1]; expected names"),
    (lambda s: s.update(optimizer_history=[]), "`optimizer_history` is []; expected a list of what each run"),
    (lambda s: s["extra_state"].update(train_iterator=3), "`extra_state.train_iterator` is 3"),
    (lambda s: s["extra_state"].update(metrics=3), "`extra_state.metrics` is 3"),
    (
        lambda s: s["extra_state"]["metrics"].update(train=[(1, "a", "AverageMeter", 3)]),
        "`extra_state.metrics.train` holds",
    ),
    (
        lambda s: s["extra_state"]["metrics"].update(train=[(1, "a", "AverageMeter")]),
        "`extra_state.metrics.train` holds",
    ),
    (lambda s: s["extra_state"]["metrics"].update(train=[1, 2]), "`extra_state.metrics.train` holds"),
    (lambda s: s["cfg"]["criterion"].update(x="${a}"), "`cfg.criterion.x` is '${a}'"),
    (lambda s: s["cfg"]["model"].update(x=b"${a}"), "`cfg.model.x` is b'${a}'"),
    (lambda s: s["cfg"]["model"].update(x=[["a", "${b}"]]), "`cfg.model.x` is '${b}'"),
    (lambda s: s["cfg"]["task"].update(x={"y": {"z": ("${b}",)}}), "`cfg.task.x.y.z` is '${b}'"),
    (lambda s: s["cfg"].update(criterion=3), "`cfg.criterion` is 3"),
    (lambda s: s["cfg"].update(generation="x"), "`cfg.generation` is 'x'; expected names and their values"),
    (lambda s: s["cfg"].update(generation={}), "`cfg.generation` lacks `print_alignment`"),
    (lambda s: s["cfg"]["generation"].update(print_alignment="${a}"), "`cfg.generation.print_alignment` is"),
    (lambda s: s.update(args=Namespace()), "`args` is not None"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=range(len(WRONG)))
def test_what_the_trainer_does_not_write_so_is_named(change: Callable[[State], object], says: str) -> None:
    state = copy.deepcopy({name: value for name, value in TRAINED.items() if name != "model"})
    change(state)
    with pytest.raises(ValueError) as caught:
        check_trainer_state(state)
    assert says in str(caught.value)


def test_a_counter_may_be_missing_or_nothing_yet() -> None:
    state = copy.deepcopy({name: value for name, value in TRAINED.items() if name != "model"})
    state["optimizer_history"][-1].update(num_updates=0)
    del state["extra_state"]["train_iterator"]["epoch"]
    for name in ("task_state", "last_optimizer_state"):
        state[name] = None
    check_trainer_state(state)
