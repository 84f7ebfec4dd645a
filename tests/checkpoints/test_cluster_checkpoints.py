"""Clusters on disk: what is asked of audio goes with them, and no feature is divided by nothing."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.checkpoints.clusters import KIND, ClusterSettings, cluster_network, load_clusters
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.format import load_any, write_checkpoint, write_exported
from vqw2v_plugin.checkpoints.kinds import Audio, Header, Restored
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.modules.quantizers.clusters import Clusters, ClustersConfig
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec


def of_log_mels(rate: int = 16_000) -> Restored[Any]:
    clusters = Clusters(10, ClustersConfig(4, 2, deltas=1))
    torch.manual_seed(0)
    clusters.entries.data.normal_()
    clusters.mean, clusters.scale = torch.randn(20), torch.rand(20) + 0.5
    network = cluster_network(ClusterSettings("logmel", 10, clusters.config, bands=10), clusters, {})
    return Restored(Header(KIND.model, KIND.settings(network), Audio(rate, False)), network.eval())


@pytest.mark.parametrize("written", ["file", "folder"])
def test_what_was_written_is_what_is_read(tmp_path: Path, written: str) -> None:
    first, path = of_log_mels(8_000), tmp_path / "clusters"
    if written == "file":
        write_checkpoint(path, first.header, first.weights)
    else:
        write_exported(path, first.header, first.weights)
    found = load_clusters(path)
    assert found.header.audio == Audio(8_000, False)
    assert found.network.settings == first.network.settings
    assert all(torch.equal(value, first.weights[key]) for key, value in found.weights.items())
    assert found.summary == "clusters of layer logmel, 2 × 4 codes, 8000 Hz"
    tokenizer, wav = Tokenizer.load(path), 0.1 * torch.randn(4_000)
    assert (tokenizer.sample_rate, tokenizer.geometry.stride) == (8_000, 80)
    assert tokenizer.encode(wav, 8_000).shape == (48, 2)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_that_is_not_positive_is_refused_by_name(tmp_path: Path, scale: float) -> None:
    restored = of_log_mels()
    restored.network.clusters.scale[3] = scale
    write_checkpoint(tmp_path / "c.pt", restored.header, restored.weights)
    with pytest.raises(CheckpointError, match=r"c\.pt.*`clusters.scale` holds numbers that are not positive"):
        load_clusters(tmp_path / "c.pt")


def test_clusters_of_a_layer_of_another_size_are_refused(tmp_path: Path) -> None:
    restored = of_log_mels()
    settings = {**restored.header.settings, "bands": 12}
    header = Header(KIND.model, settings, Audio())
    write_checkpoint(tmp_path / "c.pt", header, restored.weights)
    with pytest.raises(
        CheckpointError, match="clusters of 10 features a frame, of which layer 'logmel' has 12"
    ):
        Tokenizer.load(tmp_path / "c.pt")


def test_what_a_network_hears_is_kept_with_the_clusters_of_its_layer(
    tmp_path: Path, tiny: Callable[..., VqWav2Vec]
) -> None:
    save_checkpoint(Imported(Loaded(tiny(), 8_000, True), False, 0, []), tmp_path / "n.pt")
    part, clusters = load_any(tmp_path / "n.pt"), Clusters(16, ClustersConfig(4))
    network = cluster_network(ClusterSettings("z", 16, clusters.config), clusters, {"checkpoint": part})
    whole = Restored(Header(KIND.model, KIND.settings(network), Audio(8_000, True)), network.eval())
    write_checkpoint(tmp_path / "c.pt", whole.header, whole.weights)
    found = load_clusters(tmp_path / "c.pt").network.part("checkpoint")
    assert found is not None and found.header.audio == Audio(8_000, True) == part.header.audio
    assert found.header.extra == part.header.extra and found.header.settings == part.header.settings


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"parts": {"pieces": {}}}, "`parts` has 'pieces'; expected only checkpoint and bert"),
        (
            {"parts": {"bert": {"model": "gpt"}}},
            "`parts.bert.model` is no model that is known; expected one of",
        ),
        (
            {"parts": {"bert": {"model": ["vq_bert"]}}},
            "`parts.bert.model` is no model that is known; expected",
        ),
        ({"parts": {"checkpoint": 3}}, "`parts.checkpoint.model` is no model that is known; expected one of"),
        ({"dim": 0}, "`dim` is 0; expected 1 to 1,048,576"),
        ({"dim": (1 << 20) + 1}, "`dim` is 1048577; expected 1 to 1,048,576"),
    ],
)
def test_settings_that_no_clusters_have_are_refused(changes: dict[str, Any], says: str) -> None:
    header = of_log_mels().header
    with pytest.raises(ValueError, match=says):
        KIND.build(dataclasses.replace(header, settings={**header.settings, **changes}))
