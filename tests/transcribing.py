"""What tests of `vqw2v transcribe` share: acoustic models of random weights, files, words by hand."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from torch import nn

from vqw2v_plugin.checkpoints.about import About, describe
from vqw2v_plugin.checkpoints.acoustic import load_acoustic, make_network
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.corpora.manifest import Utterance
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.modules.acoustic.network import AcousticConfig
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.text.units import Units, ctc_units

CTC = ctc_units(["|", *"abcdefgh"])
LOGMEL = {"layer": "logmel", "dim": 20, "sample_rate": 16_000, "stride": 160, "store": "fp32"}


def save(path: Path, stamp: dict[str, object], units: Units = CTC) -> str:
    """An acoustic model of random weights that says something else at every frame."""
    torch.manual_seed(1)
    config = AcousticConfig(int(str(stamp["dim"])), len(units), "[(16, 5, 2), (16, 3)]")
    holder = nn.Module()
    holder.network = make_network(config, units)
    nn.init.normal_(holder.network.stack.projection.weight, std=0.5)
    with torch.no_grad():
        holder.network.stack.projection.bias[units.boundary] += 3.0  # words are short
    if holder.network.transitions is not None:
        nn.init.normal_(holder.network.transitions, std=0.1)
    seconds = 2 * int(str(stamp["stride"])) / int(str(stamp["sample_rate"]))
    holder.about = About(describe(units, config, seconds, FeatureSpec.from_json(stamp)))
    torch.save({"model": holder.state_dict(), "cfg": {"model": {"_name": "vq_wav2letter"}}}, path)
    return str(path)


def write_files(folder: Path) -> list[str]:
    """A file at 16 kHz, one at 44.1 kHz in stereo, and three that are none."""
    rng = np.random.default_rng(0)
    sf.write(folder / "a.wav", rng.normal(0, 0.1, 16_000), 16_000)
    sf.write(folder / "b c.flac", rng.normal(0, 0.1, (40_000, 2)), 44_100)
    sf.write(folder / "short.wav", rng.normal(0, 0.1, 50), 16_000)
    (folder / "text.wav").write_text("hello")
    return [str(folder / name) for name in ("a.wav", "text.wav", "short.wav", "missing.wav", "b c.flac")]


def save_with_front(network: VqWav2Vec, folder: Path) -> tuple[str, str]:
    """An acoustic model of quantized features and, beside it, the checkpoint that makes these."""
    loaded = Loaded(network.eval(), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), folder / "front.pt")
    digest = hashlib.sha256((folder / "front.pt").read_bytes()).hexdigest()
    stamp = {"layer": "q", "dim": 16, "sample_rate": 16_000, "stride": 40, "dtype": "fp32", "store": "fp32"}
    stamp |= {"checkpoint": {"name": "front.pt", "sha256": digest}}
    return save(folder / "acoustic.pt", stamp), str(folder / "front.pt")


def whole(path: str) -> Utterance:
    return Utterance(path, sf.info(path).frames, utt=path)


def by_hand(model: str, source: Callable[[Utterance], torch.Tensor], path: str) -> list[tuple[object, ...]]:
    """Features, network and decoder, one after the other."""
    acoustic = load_acoustic(model)
    features = source(whole(path))
    heard = acoustic.network(features[None], torch.tensor([len(features)]))
    steps = None if acoustic.transitions is None else acoustic.transitions.numpy()
    seconds = acoustic.frame_seconds
    best = GreedyDecoder(acoustic.units, steps, seconds).decode(heard.emissions[0].numpy())[0]
    return [(w.text, round(w.begin * seconds, 3), round(w.end * seconds, 3)) for w in best.words]
