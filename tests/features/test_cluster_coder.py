"""Clusters as a coder: what is asked of it reaches the layer whose clusters they are, and its networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus_runs import FEW, corpus
from torch import Tensor

from vqw2v_plugin import Tokenizer, load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.checkpoints.clusters import KIND as CLUSTERS
from vqw2v_plugin.checkpoints.clusters import ClusterSettings, cluster_network
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.format import write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio, Header, Restored
from vqw2v_plugin.checkpoints.wav2vec import KIND, Imported, Loaded, save_checkpoint
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.features.clusters import ClusterCoder, FileParts, load_coder
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.quantizers.clusters import Clusters, ClustersConfig
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Tiny = Callable[..., VqWav2Vec]


def network_of(tiny: Tiny) -> Restored[VqWav2Vec]:
    network = tiny(quantizer="kmeans").eval()
    return Restored(Header(KIND.model, KIND.settings(network), Audio(16_000, False)), network)


def clusters_of(tiny: Tiny, layer: str) -> Restored[Any]:
    """Of a layer that has 16 features a frame; mean and scale are not those of nothing."""
    clusters = Clusters(16, ClustersConfig(6))
    torch.manual_seed(3)
    clusters.entries.data.normal_()
    clusters.mean, clusters.scale = 0.1 * torch.randn(16), torch.rand(16) / 10 + 0.01
    parts = {"checkpoint": network_of(tiny)}
    network = cluster_network(ClusterSettings(layer, 16, clusters.config), clusters, parts)
    return Restored(Header(CLUSTERS.model, CLUSTERS.settings(network), Audio()), network.eval())


def wav() -> Tensor:
    return 0.1 * torch.randn(6_000, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("layer", ["z", "c", "q"])
def test_precision_and_memory_reach_the_layer_s_network(tiny: Tiny, layer: str) -> None:
    found = clusters_of(tiny, layer)
    for dtype in ("fp32", "bf16"):
        coder = ClusterCoder(found, dtype, memory=12_345)
        features = coder.features
        clips = features.coder.clips if layer == "q" else features.clips
        assert (coder.numbers, clips.numbers, clips.memory) == (dtype, dtype, 12_345)
        assert features.spec.dtype == dtype
        coder.allow(54_321)
        assert clips.memory == 54_321


@pytest.mark.parametrize(("layer", "model"), [("w2v2:1", "vq_wav2vec2"), ("speech:1", "vq_speech_bert")])
def test_clusters_of_a_layer_of_another_model_than_theirs_are_refused(
    tiny: Tiny, layer: str, model: str
) -> None:
    says = f"clusters of layer '{layer}' hold a vq_wav2vec as `checkpoint`; expected a {model}"
    with pytest.raises(CheckpointError, match=says):
        ClusterCoder(clusters_of(tiny, layer))
    says = "clusters of layer 'bert' hold no such part as `bert`; expected a vq_bert: make them anew"
    with pytest.raises(CheckpointError, match=says):
        ClusterCoder(clusters_of(tiny, "bert"))


def test_frames_that_get_codes_are_those_that_centres_are_compared_with(tiny: Tiny) -> None:
    coder = ClusterCoder(clusters_of(tiny, "z"))
    frames, codes = coder.quantizes(wav()), coder.codes(wav())
    assert torch.equal(codes, torch.cdist(frames, coder.clusters.entries[0]).argmin(1, keepdim=True))
    assert len(codes.unique()) > 1 and not frames.requires_grad


def test_codes_are_of_the_weights_as_they_are_after_a_refresh(tiny: Tiny) -> None:
    found = clusters_of(tiny, "z")
    coder = ClusterCoder(found)
    coder.quantizes(wav())
    with torch.no_grad():
        for p in found.network.parts["checkpoint"].encoder.parameters():
            p.mul_(1 + 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    coder.refresh()
    assert torch.equal(coder.quantizes(wav()), ClusterCoder(found).quantizes(wav()))


@pytest.mark.parametrize("kind", ["network", "clusters"])
def test_files_are_read_with_what_is_asked_for(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    restored = network_of(tiny) if kind == "network" else clusters_of(tiny, "z")
    path = tmp_path / "m.pt"
    write_checkpoint(path, restored.header, restored.weights)
    options = FeatureOptions("q", str(path), dtype="bf16", memory=777)
    for coder in (load_coder(path, "bf16", 777), FileParts(options).coder("codes")):
        clips = coder.clips if kind == "network" else coder.features.clips
        assert (coder.numbers, clips.numbers, clips.memory) == ("bf16", "bf16", 777)


def test_clusters_of_a_bert_of_run_length_tokens_hear_runs(tiny: Tiny, tmp_path: Path) -> None:
    manifest = corpus(tmp_path, files=6)
    path, bert = tmp_path / "m.pt", tmp_path / "bert.pt"
    save_checkpoint(Imported(Loaded(tiny(quantizer="gumbel").eval(), 16_000, False), False, 0, []), path)
    torch.manual_seed(0)
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32}
    symbols = Symbols(tuple(f"{i}-{j}" for i in range(8) for j in range(8)))
    save_bert(bert, build_bert({**sizes, "encoder_attention_heads": 2}, symbols))
    options = ["--layer", "bert", "--bert", bert, "--run-length", "--codes", 4, *FEW]
    assert main(["cluster", *map(str, [path, manifest, tmp_path / "out", *options])]) == 0
    tokenizer = Tokenizer.load(tmp_path / "out")
    clusters = tokenizer.coder.clusters  # type: ignore[attr-defined]
    clip = tmp_path / "audio-train" / "train0.flac"
    heard, frames = (
        load_features("bert", str(path), bert=str(bert), run_length=runs).of(clip) for runs in (True, False)
    )
    assert not torch.allclose(heard, frames)
    scaled = (heard - clusters.mean) / clusters.scale
    assert torch.equal(
        tokenizer.encode_file(clip), torch.cdist(scaled, clusters.entries[0]).argmin(1, keepdim=True)
    )
