"""What fairseq sees of wav2vec-U: whose turn it is, archs, the stride and the runs of decoding."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

fairseq = pytest.importorskip("fairseq")
from fairseq.models import ARCH_MODEL_REGISTRY

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.checkpoints.unpaired import LOSS
from vqw2v_plugin.models.vq_wav2vec_u import VqWav2VecUConfig, VqWav2VecUModel, network_config
from vqw2v_plugin.modules.unpaired.config import UnpairedConfig
from vqw2v_plugin.modules.unpaired.network import Step
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.text.units import Units

SPEC = FeatureSpec(layer="c", stride=160, sample_rate=16_000, dim=6)
SMALL = {"discriminator_dim": 4, "generator_kernel": 1}
UNITS = Units(tuple("abcd"), "phones", None, loss=LOSS)


def build(**given: Any) -> VqWav2VecUModel:
    torch.manual_seed(0)
    task = SimpleNamespace(units=UNITS, feature_dim=6, feature_spec=SPEC)
    return VqWav2VecUModel.build_model(VqWav2VecUConfig(**{**SMALL, **given}), task)


def test_generator_and_adversary_take_turns_and_the_generator_is_first() -> None:
    model, x, lengths = build().train(), torch.randn(2, 9, 6), torch.tensor([9, 7])
    text, sizes = torch.tensor([[0, 1, 2], [3, 2, 0]]), torch.tensor([3, 2])
    turns = [("generator", "dense_g"), ("discriminator", "dense_d")] * 2
    for update, (group, term) in enumerate(turns):
        model.set_num_updates(update)
        step = model(x, lengths, text, sizes)
        assert model.learns == group and isinstance(step, Step) and term in step.terms


def test_each_weight_is_of_the_one_that_learns_it() -> None:
    groups = {name.split(".")[1]: p.param_group for name, p in build().named_parameters()}
    assert groups == {"generator": "generator", "discriminator": "discriminator"}


@pytest.mark.parametrize(("arch", "file"), [("vq_wav2vec_u", "w2vu"), ("vq_wav2vec_u_2", "w2vu2")])
def test_an_arch_has_the_settings_of_fairseq_s_yaml(arch: str, file: str) -> None:
    path = Path(fairseq.__path__[0], f"examples/wav2vec/unsupervised/config/gan/{file}.yaml")
    if not path.is_file():
        pytest.skip("this fairseq has no examples in its wheel")
    theirs = yaml.safe_load(path.read_text())["model"]
    ours = vars(network_config(SimpleNamespace(_name=arch), 6, 4))
    apart = {"input_dim", "mmi_weight"}  # of features and clusters that are at hand
    shared = {name: theirs[name] for name in theirs.keys() & ours.keys() - apart}
    assert len(shared) > 15 and {name: ours[name] for name in shared} == shared
    assert ours["segments"] == theirs["segmentation"]["type"].lower() == "join"
    assert ours["mean_pool_join"] is theirs["segmentation"]["mean_pool_join"]
    assert arch == "vq_wav2vec_u" or ARCH_MODEL_REGISTRY[arch] is VqWav2VecUModel


def test_what_the_yaml_does_not_say_is_nothing_new() -> None:
    config = UnpairedConfig()
    assert (config.skipgram_weight, config.mmi_weight, config.stock_padding) == (0.0, 0.0, False)
    assert (config.subsample_rate, config.skipgram_start_weight, config.skipgram_repeats) == (0.25, 0.1, 1.0)


def test_what_is_given_stands_in_an_arch_s_place() -> None:
    cfg = SimpleNamespace(
        _name="vq_wav2vec_u_2", generator_stride=2, generator_residual=False, code_penalty=0.0
    )
    found = network_config(cfg, 6, 4)
    assert (found.generator_stride, found.generator_residual, found.code_penalty) == (2, False, 0.0)
    assert (found.input_dim, found.num_columns, found.generator_kernel) == (6, 4, 9)


def test_another_stride_in_decoding_has_other_times() -> None:
    model = build(generator_kernel=9, generator_stride=3)
    assert model.frame_seconds == pytest.approx(0.03) and model.frames(30) == 10
    model.stride_by(2)
    assert model.frame_seconds == pytest.approx(0.02) and model.frames(30) == 15
    assert model(torch.randn(1, 30, 6), torch.tensor([30])).emissions.size(1) == 15


def test_runs_are_joined_in_decoding_only_where_that_is_asked() -> None:
    model, x = build().eval(), torch.randn(1, 1, 6).expand(1, 9, 6)  # one run
    frames = [int(model(x, torch.tensor([9]), joined=joined).lengths) for joined in (None, False, True)]
    model.decodes_runs = True
    assert [*frames, int(model(x, torch.tensor([9])).lengths)] == [9, 9, 1, 1]
    assert int(model(x, torch.tensor([9]), joined=False).lengths) == 9  # whoever asks is asked first
    assert model.max_positions() > 10**9


def test_it_says_how_large_either_is(caplog: pytest.LogCaptureFixture) -> None:
    """A kernel of one frame from 6 features to 4 phones; three convolutions of six phones."""
    with caplog.at_level(logging.INFO):
        build()
    adversary = (4 * 4 * 6 + 4) * 2 + 4 * 6 + 1
    said = f"6 features (c) to 4 phones, {6 * 4} parameters, against an adversary of {adversary}"
    assert caplog.messages == [f"vq_wav2vec_u: {said}"]


def test_clusters_are_what_the_generator_is_to_name() -> None:
    model = build(mmi_weight=1.0, target_dim=5, generator_residual=True).train()
    x, lengths = torch.randn(1, 9, 6), torch.tensor([9])
    text, targets = (
        (torch.tensor([[0, 1, 2]]), torch.tensor([3])),
        torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]]),
    )
    assert "mmi" in model(x, lengths, *text, targets).terms
    assert "mmi" not in model(x, lengths, *text).terms
