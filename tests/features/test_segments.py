"""Segments are told apart by clusters of the very features that they are of."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.audio.silence import without_silence
from vqw2v_plugin.checkpoints.clusters import KIND, ClusterSettings, cluster_network
from vqw2v_plugin.checkpoints.files import CheckpointError, checkpoint_hash
from vqw2v_plugin.checkpoints.format import write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio, Header
from vqw2v_plugin.corpora.ctm import Segments
from vqw2v_plugin.corpora.manifest import Utterance
from vqw2v_plugin.features.base import Features
from vqw2v_plugin.features.registry import load_features
from vqw2v_plugin.features.segments import SegmentFeatures, SpokenFeatures
from vqw2v_plugin.modules.quantizers.clusters import Clusters, ClustersConfig
from vqw2v_plugin.stores.feature_spec import FileId

FILE = FileId("other.pt", "ab" * 32)
OTHER: dict[str, Any] = {
    "layer": "mfcc:5",
    "checkpoint": FILE,
    "bert": FILE,
    "pieces": FILE,
    "run_length": True,
    "bands": 30,
    "sample_rate": 8_000,
    "dim": 5,
    "normalize": True,
}


def mfcc() -> Features:
    return load_features("mfcc:4", bands=20)


def clusters(path: Path, features: dict[str, Any]) -> str:
    """Of MFCC, with what is said of them."""
    made = Clusters(4, ClustersConfig(3))
    network = cluster_network(ClusterSettings("mfcc:4", 4, made.config, bands=20), made, {})
    header = Header(KIND.model, KIND.settings(network), Audio(), made_from={"features": features})
    write_checkpoint(path, header, network.state_dict())
    return str(path)


@pytest.mark.parametrize("name", OTHER)
def test_clusters_of_other_features_are_refused_by_what_differs(tmp_path: Path, name: str) -> None:
    path, features = clusters(tmp_path / "c.pt", mfcc().spec.to_json()), mfcc()
    features.spec = replace(features.spec, **{name: OTHER[name]})
    with pytest.raises(CheckpointError, match=rf"c\.pt: its clusters are of features whose `{name}` is "):
        SegmentFeatures(SpokenFeatures(features, "keep"), path)


def test_clusters_of_these_features_are_told_with_their_hash(tmp_path: Path) -> None:
    path = clusters(tmp_path / "c.pt", mfcc().spec.to_json())
    for silence in ("keep", "energy"):  # which is left out of the audio of these frames alone
        spec = SegmentFeatures(SpokenFeatures(mfcc(), silence), path, pairs=silence == "keep").spec
        assert spec.clusters == FileId("c.pt", checkpoint_hash(path)) and spec.segments == "runs"
        assert (spec.pooled, spec.silence) == ((2, None) if silence == "keep" else (None, "energy"))
    clusters(tmp_path / "c.pt.bad", {"stride": "x"})
    with pytest.raises(CheckpointError, match="what it says of its features is damaged: `stride` is 'x'"):
        SegmentFeatures(SpokenFeatures(mfcc(), "keep"), str(tmp_path / "c.pt.bad"))


def test_a_frame_belongs_to_the_span_that_its_middle_lies_in() -> None:
    wav = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
    utterance, features = Utterance("a.wav", samples=len(wav), utt="a"), SpokenFeatures(mfcc(), "keep")
    edges = np.array([0.05, 0.127, 0.2, 0.3171, 0.5])  # at 10 ms a frame, each of 25 ms
    spans = {"a": Segments(edges[:-1], edges[1:], ("x",) * 4)}
    frames = features.of_read(wav, utterance).numpy()
    middles = (160 * np.arange(len(frames)) + 200) / 16_000
    means = [frames[(begin <= middles) & (middles < end)].mean(0) for begin, end in itertools.pairwise(edges)]
    np.testing.assert_allclose(
        SegmentFeatures(features, spans=spans).of_read(wav, utterance).numpy(), means, rtol=1e-4, atol=1e-5
    )


def test_spans_are_of_utterances_that_have_some_and_of_the_whole_audio(tmp_path: Path) -> None:
    wav = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
    some, none = Segments(np.array([0.0]), np.array([0.2]), ("x",)), Segments(np.zeros(0), np.zeros(0), ())
    features = SegmentFeatures(SpokenFeatures(mfcc(), "keep"), spans={"a": some, "b": none})
    assert features.of_read(wav, Utterance("a.wav", utt="a")).shape == (1, 4)
    for clip, name in (
        (Utterance("b.wav", utt="b"), "b"),
        (Utterance("c.wav", utt="c"), "c"),
        (Clip("a.wav"), "the audio"),
    ):
        with pytest.raises(AudioError, match=f"^{name}: has no spans in the file of `--spans`; leave it out"):
            features.of_read(wav, clip)
    path = clusters(tmp_path / "c.pt", mfcc().spec.to_json())
    for silence, also in (("keep", path), ("energy", None)):
        with pytest.raises(ValueError, match="`--spans` are times of the whole audio, and rows of their own"):
            SegmentFeatures(SpokenFeatures(mfcc(), silence), also, spans={"a": some})


def test_samples_are_heard_without_their_silence_as_clips_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wav = (np.repeat([0.3, 0.0, 0.3], 6_400) * rng.normal(0, 0.3, 19_200)).astype(np.float32)
    said, clip = without_silence(wav, 16_000, "energy"), Clip("a.wav")
    assert len(said) < len(wav)
    path = clusters(tmp_path / "c.pt", mfcc().spec.to_json())
    for made in (
        SpokenFeatures(mfcc(), "energy"),
        SegmentFeatures(SpokenFeatures(mfcc(), "energy")),
        SegmentFeatures(SpokenFeatures(mfcc(), "energy"), path),
    ):
        heard = made(torch.from_numpy(wav))
        assert torch.equal(heard, made.of_read(wav, clip))
        if made.spec.segments is None:
            assert torch.equal(heard, mfcc()(torch.from_numpy(said)))
        with pytest.raises(AudioError, match="without its silence: 99 samples at 16000 Hz are too short"):
            made(torch.from_numpy(wav[:99]))


def test_numbers_of_rows_vary_where_silence_goes_or_rows_are_of_several_frames(tmp_path: Path) -> None:
    path = clusters(tmp_path / "c.pt", mfcc().spec.to_json())
    for silence, varies in (("keep", False), ("energy", True)):
        spoken = SpokenFeatures(mfcc(), silence)
        assert spoken.varies == SegmentFeatures(spoken).varies == varies
        assert SpokenFeatures(spoken, "keep").varies == varies
        assert SegmentFeatures(spoken, path).varies
