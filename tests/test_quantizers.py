import ast
import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest

from vqw2v_plugin import quantizers
from vqw2v_plugin.checkpoints.wav2vec import build_network
from vqw2v_plugin.quantizers import build_quantizer, quantizer_names, register_quantizer

OPTIONS = {"vq_vars": 8, "vq_groups": 2, "vq_dim": 0, "combine_groups": False, "vq_depth": 2, "max_update": 9}


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("kmean", "{}", r"'kmean'; expected one of none, gumbel, kmeans.*did you mean 'kmeans'"),
        ("gumbel", "{", "no JSON"),
        ("gumbel", "[1]", "JSON object"),
        ("gumbel", '{"temp_fractoin": 0.5}', r"knows head_dim, temp_.*did you mean 'temp_fraction'"),
        ("gumbel", '{"head_dim": "wide"}', r"`quantizer_args.head_dim` is \"wide\"; expected int"),
        ("gumbel", '{"head_dim": true}', r"`quantizer_args.head_dim` is true; expected int"),
        ("gumbel", '{"temp_fraction": true}', r"`quantizer_args.temp_fraction` is true; expected float"),
        ("gumbel", '{"vq_vars": 3}', "is an option of the model"),
        ("none", '{"head_dim": 3}', "takes none"),
    ],
)
def test_what_is_wrong_with_a_quantizer_s_options_is_said(name: str, args: str, says: str) -> None:
    options = {**OPTIONS, "vq_temp": [2.0, 0.5], "activation": "relu"}
    with pytest.raises(ValueError, match=says):
        build_quantizer(name, 12, options, args)


def test_an_author_needs_this_module_alone() -> None:
    """All that our own quantizers take from the contract, a stranger's finds beside `register_quantizer`."""
    assert list(quantizers.__all__) == sorted(quantizers.__all__)
    assert all(hasattr(quantizers, name) for name in quantizers.__all__)
    beside = ("base", "health", "signs", "clusters")  # the contract, what looks after it, what is none
    for path in (Path(quantizers.__file__).parent / "modules" / "quantizers").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").startswith("kernels"):
                continue  # the same sums, quicker: nobody needs them
            if node.level and path.stem not in beside:
                missing = {alias.name for alias in node.names} - set(quantizers.__all__)
                assert not missing, f"{path.name} imports {missing}"


def test_own_arguments_reach_the_quantizer() -> None:
    quantizer = build_quantizer("gumbel", 12, OPTIONS, '{"head_dim": 7, "temp_fraction": 1}')
    assert quantizer.head[0].out_features == 7
    assert quantizer.config.temp_fraction == 1.0 and isinstance(quantizer.config.temp_fraction, float)


def test_an_option_that_is_zero_is_no_default() -> None:
    weights = [build_quantizer("kmeans", 12, {**OPTIONS, **said}).gamma for said in ({}, {"vq_gamma": 0.0})]
    assert weights == [0.25, 0.0]


def test_a_name_is_registered_once() -> None:
    from vqw2v_plugin.modules.quantizers.gumbel import GumbelQuantizer

    with pytest.raises(ValueError, match="duplicate"):
        register_quantizer("gumbel")(GumbelQuantizer)
    with pytest.raises(ValueError, match="must extend"):
        register_quantizer("not_one")(dict)  # type: ignore[type-var]
    assert "not_one" not in quantizer_names()


def test_the_table_where_fairseq_does_not_run_keeps_the_same_promises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "fairseq", raising=False)
    register, table = quantizers._open_registry()
    assert register("mine")(quantizers.NoQuantizer) is quantizers.NoQuantizer
    with pytest.raises(ValueError, match="duplicate"):
        register("mine")(quantizers.FsqQuantizer)
    with pytest.raises(ValueError, match="must extend"):
        register("another")(dict)  # type: ignore[type-var]
    assert table == {"mine": quantizers.NoQuantizer}


def test_what_a_config_makes_itself_is_no_setting() -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        width: int = 2
        area: int = dataclasses.field(default=4, init=False)

    class Mine(quantizers.NoQuantizer):
        pass

    Mine.Config = Config
    assert quantizers._config(Mine, "mine", {"area": 9}, {"width": 3}) == Config(3)
    with pytest.raises(ValueError, match=r"holds 'area'; 'mine' knows width"):
        quantizers._config(Mine, "mine", {}, {"area": 9})


def test_quantizers_need_no_fairseq() -> None:
    code = (
        "import sys, vqw2v_plugin.quantizers as q;"
        "assert 'fairseq' not in sys.modules; print(*q.quantizer_names())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"none", "gumbel", "kmeans"} <= set(out.split())


def test_where_fairseq_runs_the_registry_is_fairseq_s_and_no_config_group() -> None:
    code = (
        "import fairseq.registry as r, vqw2v_plugin.quantizers as q; assert 'quantizer' not in r.REGISTRIES;"
        "print(q.register_quantizer.__module__)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "fairseq.registry"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"activation": "swish"}, "`activation` is 'swish'; expected relu or gelu"),
        ({"aggregator": "lstm"}, "`aggregator`"),
        ({"quantizer_position": "middle"}, "`quantizer_position`"),
        ({"log_compression": "maybe"}, "`log_compression` is 'maybe'; expected true or false"),
        ({"offset": "soon"}, "`offset` is 'soon'"),
        ({"dropout": 1.5}, "`dropout` is 1.5"),
        ({"num_negatives": 0}, "at least one negative"),
        ({"residual_scale": -1.0}, "`residual_scale` is -1.0; expected a positive number"),
        ({"residual_scale": math.nan}, "`residual_scale` is nan"),
        ({"aggregator": "gru", "gru_dim": 0}, "`gru_dim` is 0; expected at least 1"),
        ({"sample_distance": 0}, "`sample_distance` is 0; expected at least 1 frame"),
        ({"quantizer": "kmeans", "vq_gamma": math.nan}, "`vq_gamma` is nan"),
        ({"quantizer": "gumbel", "vq_temp": [math.inf, 0.5], "max_update": 9}, "`vq_temp` is"),
        ({"conv_aggregator_layers": "[(4, 3, 2)]"}, "stride 2"),
        ({"quantizer": "kmeans", "vq_groups": 3}, r"\(512\) must be divisible by `vq_groups` \(3\)"),
    ],
)
def test_a_network_s_wrong_setting_is_named(setting: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build_network(setting)


@pytest.mark.parametrize("value", ["true", "True", True])
def test_on_off_options_take_words_and_bools(value: object) -> None:
    assert build_network({"log_compression": value, "skip_connections_agg": False}).encoder.log_compression


@pytest.mark.parametrize("args", ["[" * 100_000, '{"x": ' + "9" * 5_000 + "}", "{"])
def test_arguments_that_cannot_be_read_are_one_sentence(args: str) -> None:
    with pytest.raises(ValueError, match=r"^`quantizer_args` \(.{1,140}\) is no JSON: .{1,200}$"):
        build_quantizer("kmeans", 8, {}, args)
