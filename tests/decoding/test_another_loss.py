"""A loss that is neither CTC nor ASG is one entry of the table and one module: here, softmaxes of frames."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from emissions import noise
from torch import Tensor

from vqw2v_plugin.checkpoints.acoustic import describe, load_acoustic, make_network
from vqw2v_plugin.decoding.beam import FreeDecoder, LexiconDecoder
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.decoding.settings import BeamSettings
from vqw2v_plugin.modules.acoustic import alignment, losses
from vqw2v_plugin.modules.acoustic.network import AcousticConfig
from vqw2v_plugin.stores.emissions import EmissionWriter, read_emissions
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.text.loss_kinds import LOSS_KINDS, LossKind
from vqw2v_plugin.text.units import Units, make_units

FRAMES = LossKind(
    name="frames",
    title="frames",
    criterion="vq_frames",
    has_blank=False,
    has_transitions=False,
    has_repeats=False,
    starts_with_boundary=False,
    search="ASG",
    frames_needed=len,
)


class FrameLoss(alignment.SequenceLoss):
    """Each label of a target has as many frames as the others."""

    def __init__(self) -> None:
        super().__init__()
        self.transitions = None

    def forward(self, emissions: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        rows = zip(emissions, lengths.tolist(), targets, target_lengths.tolist(), strict=True)
        found = []
        for row, frames, target, size in rows:
            wanted = target[torch.arange(frames) * size // frames]
            found.append(torch.nn.functional.cross_entropy(row[:frames], wanted, reduction="sum"))
        return torch.stack(found)

    @torch.no_grad()
    def best_path(self, emissions: Tensor, lengths: Tensor) -> alignment.Alignment:
        best, labels = emissions.log_softmax(-1).max(-1)
        behind = alignment.padding(lengths, emissions.size(1))
        scores = best.masked_fill(behind, 0.0).sum(1)
        return alignment.from_labels(labels.masked_fill(behind, alignment.NOTHING), scores)


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Units:
    monkeypatch.setitem(LOSS_KINDS, FRAMES.name, FRAMES)
    monkeypatch.setitem(losses.MODULES, FRAMES.name, lambda num_columns, blank: FrameLoss())
    return make_units(FRAMES, ["|", *"abc"])


def test_every_kind_of_loss_has_its_module() -> None:
    assert LOSS_KINDS.keys() == losses.MODULES.keys()
    for name, kind in LOSS_KINDS.items():
        made = losses.make_sequence_loss(name, 5, 0 if kind.has_blank else None)
        assert (made.transitions is not None) == kind.has_transitions and kind.name == name
    with pytest.raises(ValueError, match="`loss` is 'frames'; expected one of ctc, asg"):
        losses.make_sequence_loss("frames", 5)


def test_its_columns_are_the_labels(units: Units) -> None:
    labels = list("ab|a|")
    assert units.symbols == ("|", "a", "b", "c") and units.labels == {*"|abc"}
    assert units.encode(labels) == [1, 2, 0, 1, 0] and units.decode(units.encode(labels)) == labels


def test_it_learns_is_saved_and_read(units: Units, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make_network(AcousticConfig(3, len(units), "[(8, 3)]"), units)
    out = network(torch.randn(2, 9, 3), torch.tensor([9, 6]))
    assert out.transitions is None and network.transitions is None
    loss = network.sequence_loss(
        *(out.emissions, out.lengths, torch.tensor([[1, 2, 0], [3, 0, 0]]), torch.tensor([3, 2]))
    )
    loss.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    about = json.dumps(describe(units, network.config, 0.01, FeatureSpec(layer="z"))).encode()
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    state["about.version_1"] = torch.tensor(list(about), dtype=torch.int32)
    torch.save({"model": state}, tmp_path / "a.pt")
    assert load_acoustic(tmp_path / "a.pt").units == units


def test_its_emissions_say_which_loss_they_are_of(units: Units, tmp_path: Path) -> None:
    with EmissionWriter(tmp_path, "dev", units.to_json(), 0.01) as writer:
        writer.add("u", noise(3, 4, 0))
    assert Units.from_json(read_emissions(tmp_path, "dev").units) == units
    with pytest.raises(ValueError, match="`loss` is 'gone'"):
        Units.from_json({**units.to_json(), "loss": "gone"})


@pytest.mark.parametrize("seed", range(5))
def test_greedy_and_beam_find_the_best_frames(units: Units, seed: int) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    emissions = noise(12, 4, seed)
    log_probs = torch.from_numpy(emissions).log_softmax(-1)
    greedy = GreedyDecoder(units).decode(emissions)[0]
    free = FreeDecoder(units, settings=BeamSettings(beam=200)).decode(emissions)[0]
    assert free.labels == greedy.labels
    assert free.score == pytest.approx(float(log_probs.max(-1).values.sum()), abs=1e-3)
    assert greedy.score == pytest.approx(free.score, abs=1e-3)
    path = np.repeat([1, 2, 0, 3, 0], 3)
    sure = np.eye(4, dtype=np.float32)[path] * 20
    words = {"ab": [("a", "b")], "c": [("c",)], "a": [("a",)]}
    assert LexiconDecoder(units, words).decode(sure)[0].text == "ab c"


def test_transitions_are_refused(units: Units) -> None:
    with pytest.raises(ValueError, match="were given for a frames model, which has none"):
        GreedyDecoder(units, np.zeros((4, 4), np.float32))
