"""fairseq's options of a plain config: the same names and values in, on either command line, and back."""

import argparse
import dataclasses
import typing
from typing import Any

import pytest

pytest.importorskip("fairseq")
from fairseq.dataclass.utils import gen_parser_from_dataclass, merge_with_parent
from omegaconf import OmegaConf

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.checkpoints.bert import build_bert
from vqw2v_plugin.checkpoints.wav2vec import build_network
from vqw2v_plugin.models.vq_bert import LEFT_TO_ARCH, VqBertModelConfig
from vqw2v_plugin.models.vq_wav2vec import VqWav2VecModelConfig
from vqw2v_plugin.modules.bert.config import BertConfig
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig
from vqw2v_plugin.training.options import options_of, plain_settings

PAIRS = [(VqWav2VecConfig, VqWav2VecModelConfig), (BertConfig, VqBertModelConfig)]


def on_the_command_line(options: type, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    gen_parser_from_dataclass(parser, options())
    return parser.parse_args(words)


def in_yaml(options: type, **settings: Any) -> Any:
    """As fairseq merges a yaml's group into what is registered."""
    cfg = OmegaConf.create({"model": settings, "optimization": {"max_update": 70}})
    return merge_with_parent(options(), cfg.model)


@pytest.mark.parametrize(("config", "options"), PAIRS)
def test_every_setting_is_an_option_with_its_default_and_a_help(config: type, options: type) -> None:
    parser = argparse.ArgumentParser()
    gen_parser_from_dataclass(parser, options())
    actions = {action.dest: action for action in parser._actions}
    plain = plain_settings(config, in_yaml(options))
    for setting in dataclasses.fields(config):
        name = setting.name
        if name == "max_update":  # fairseq's own, which every model may read
            assert plain[name] == 70 and name not in actions
            continue
        left = config is BertConfig and name in LEFT_TO_ARCH
        assert plain[name] == (None if left else getattr(config(), name))
        assert actions[name].help
    parser.format_help()  # a single % in a help would end it


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ((), True),
        (("--log-compression",), True),
        (("--log-compression", "false"), False),
        (("--log-compression", "No"), False),
        (("--log-compression", "1"), True),
    ],
)
def test_what_is_on_by_default_is_turned_off_by_a_word(words: tuple[str, ...], value: bool) -> None:
    found = plain_settings(VqWav2VecConfig, on_the_command_line(VqWav2VecModelConfig, *words))
    assert found["log_compression"] is value and found["skip_connections_agg"] is True


@pytest.mark.parametrize("value", [False, "false", "False", 0])
def test_yaml_has_bools_and_words(value: Any) -> None:
    found = plain_settings(VqWav2VecConfig, in_yaml(VqWav2VecModelConfig, log_compression=value))
    assert found["log_compression"] is False
    with pytest.raises(ValueError, match="`log_compression` is 'maybe'; expected true or false"):
        plain_settings(VqWav2VecConfig, in_yaml(VqWav2VecModelConfig, log_compression="maybe"))


def test_what_is_off_by_default_is_a_flag() -> None:
    found = plain_settings(VqWav2VecConfig, on_the_command_line(VqWav2VecModelConfig, "--balanced-classes"))
    assert found["balanced_classes"] is True and found["no_conv_bias"] is False


def test_lists_come_back_as_lists() -> None:
    said = on_the_command_line(VqWav2VecModelConfig, "--vq-temp", "(2, 0.5, 0.9)")
    written = in_yaml(VqWav2VecModelConfig, vq_temp=[2, 0.5, 0.9])
    for cfg in (said, written):
        assert plain_settings(VqWav2VecConfig, cfg)["vq_temp"] == [2.0, 0.5, 0.9]
    assert VqWav2VecConfig(**plain_settings(VqWav2VecConfig, written)).vq_temp == [2.0, 0.5, 0.9]


def test_what_a_config_does_not_know_is_left_out() -> None:
    cfg = in_yaml(VqWav2VecModelConfig, collapse_share=0.2)
    assert set(plain_settings(VqWav2VecConfig, cfg)) == {f.name for f in dataclasses.fields(VqWav2VecConfig)}


def test_an_option_without_a_help_is_noticed() -> None:
    @dataclasses.dataclass(frozen=True)
    class Two:
        one: int = 1
        other: int = 2

    with pytest.raises(KeyError, match="other"):
        options_of(Two, {"one": "the first"})


@pytest.mark.parametrize("word", ["false", "False", "no", "0", False])
def test_files_of_fairseq_s_keep_their_words(word: Any) -> None:
    network = build_network({"log_compression": word, "skip_connections_agg": "true"})
    assert network.config.log_compression is False and network.config.skip_connections_agg is True
    bert = build_bert({"_name": "vq_bert_tiny", "layernorm_embedding": word}, Symbols(("0", "1")))
    assert bert.config.layernorm_embedding is False


@pytest.mark.parametrize("config", [VqWav2VecConfig, BertConfig])
def test_settings_are_plain(config: type) -> None:
    """Frozen, of JSON's types, and no word of a command line in them."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().dropout = 0.5
    for name, kind in typing.get_type_hints(config).items():
        assert kind in (int, float, bool, str, int | None, list[float]), name
    assert not any(setting.metadata for setting in dataclasses.fields(config))


@pytest.mark.parametrize("text", ["(2", "x", "(2,'x')", "[" * 5_000, "{}[0]"])
def test_a_list_that_cannot_be_read_is_named(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        on_the_command_line(VqWav2VecModelConfig, f"--vq-temp={text}")
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"argument --vq-temp: is {text[:20]!r}"[:-1] in said and said.endswith("floats such as '(2,1)'")
    assert on_the_command_line(VqWav2VecModelConfig, "--vq-temp=(2,1)").vq_temp == [2.0, 1.0]
