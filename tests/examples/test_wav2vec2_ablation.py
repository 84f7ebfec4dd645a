"""The 2 × 2 of what is quantized: networks differ in what they are to show, the table has what is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from recipe_files import check_order, scripts_of, value_of, words_of

from vqw2v_plugin.checkpoints.wav2vec2 import make_wav2vec2
from vqw2v_plugin.modules.wav2vec2.config import SMALL, Wav2Vec2Config


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    with scripts_of("wav2vec2", "ablation") as (ablation,):
        yield ablation


def plan(script: Any, monkeypatch: pytest.MonkeyPatch, run: Path, *more: str) -> Any:
    monkeypatch.setattr("sys.argv", ["ablation.py", str(run), *more])
    return script.Plan.of(script.parse_args())


def test_networks_of_a_seed_differ_in_what_is_quantized_alone(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stages = list(script.stages(plan(script, monkeypatch, tmp_path, "--seeds", "1", "2", "--updates", "240")))
    check_order(stages, tmp_path)
    names = [f"{kind.replace(', ', '_')}_2" for kind in script.KINDS]
    commands = [words_of(stages, name) for name in names]
    for words, (inputs, targets) in zip(commands, script.KINDS.values(), strict=True):
        assert f"++model.quantize_input={str(inputs).lower()}" in words
        assert f"++model.quantize_targets={str(targets).lower()}" in words
        assert {"common.seed=2", "optimization.max_update=240", "lr_scheduler.warmup_updates=20"} <= set(
            words
        )
    for words in commands[1:]:  # two folders besides
        assert 3 <= sum(a != b for a, b in zip(commands[0], words, strict=True)) <= 4
    for name in names:
        assert value_of(words_of(stages, f"features_{name}"), "--layer") == "w2v2:2"
        assert value_of(words_of(stages, f"abx_{name}"), "--context") == "none"


@pytest.mark.parametrize("kind", range(4))
def test_each_kind_makes_a_network(script: Any, kind: int) -> None:
    inputs, targets = list(script.KINDS.values())[kind]
    sizes = {name: yaml.safe_load(str(value)) for name, value in script.SIZES.items()}
    config = Wav2Vec2Config(**{**vars(SMALL), **sizes, "quantize_input": inputs, "quantize_targets": targets})
    network = make_wav2vec2(config)
    assert network.has_codes == (inputs or targets)
    assert 2e5 < sum(p.numel() for p in network.parameters()) < 1e6


def test_the_table_has_what_is_finished(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = plan(script, monkeypatch, tmp_path, "--seeds", "1", "2")
    rates = {"continuous_quantized_1": 0.1, "continuous_quantized_2": 0.12, "untrained_1": 0.3, "logmel": 0.2}
    for name, rate in {**rates, "quantized_quantized_1": 0.9}.items():
        (tmp_path / f"abx_{name}").mkdir()
        (tmp_path / f"abx_{name}/abx.json").write_text(json.dumps({"within": rate, "across": rate / 2}))
    script.write_table(made, {f"abx_{name}" for name in rates})
    assert (tmp_path / "results.md").read_text().splitlines()[2:] == [
        "| continuous, quantized (2) | 11.0 ± 1.4 | 5.5 ± 0.7 |",
        "| nothing learnt | 30.0 | 15.0 |",
        "| log-mel | 20.0 | 10.0 |",
    ]


def test_the_network_that_learns_nothing_takes_one_update_at_a_rate_of_zero(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    more = ("--seeds", "2", "--layer", "3", "--minutes", "1.5")
    stages = list(script.stages(plan(script, monkeypatch, tmp_path, *more)))
    fresh, learnt = (set(words_of(stages, name)) for name in ("untrained_2", "quantized_continuous_2"))
    still = {"optimization.lr=[0.0]", "optimization.max_update=1", "lr_scheduler.total_num_update=2"}
    assert still | {"lr_scheduler.warmup_updates=0", "++model.quantize_input=false"} <= fresh
    assert {
        "optimization.lr=[0.001]",
        "optimization.max_update=400",
        "lr_scheduler.warmup_updates=33",
    } <= learnt
    assert {"++model.quantize_input=true", "++model.quantize_targets=false"} <= learnt
    assert {"criterion.loss_weights=[0.1,0]", "task.max_sample_size=48000"} <= learnt & fresh
    assert value_of(words_of(stages, "features_untrained_2"), "--layer") == "w2v2:3"
    assert value_of(words_of(stages, "corpus"), "--minutes") == "1.5"


def test_all_networks_are_of_one_small_size_and_hear_twelve_minutes_of_three_seeds(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = plan(script, monkeypatch, tmp_path)
    stages = list(script.stages(made))
    assert value_of(words_of(stages, "corpus"), "--minutes") == "12"
    assert sorted({row.seed for row in made.rows}) == [1, 2, 3] and len(made.rows) == 15
    for row in made.rows:
        words = set(words_of(stages, row.name))
        sizes = {"++model.encoder_layers=4", "++model.layer_norm_first=true", "++model.dropout=0"}
        assert sizes | {"++model.latent_vars=32", "common.cpu=true"} <= words
        told = words_of(stages, f"abx_{row.name}")
        assert (told[2], value_of(told, "--split")) == (str(tmp_path / f"features_{row.name}/data"), "test")
        heard = words_of(stages, f"features_{row.name}")
        assert heard[2:4] == [str(tmp_path / row.name / "checkpoint_last.pt"), str(made.data / "test.tsv")]
