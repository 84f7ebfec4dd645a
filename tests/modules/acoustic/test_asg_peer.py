"""ASG on the case that flashlight publishes with its tests."""

import os
from pathlib import Path

import pytest
import torch
from asg_paths import path_score

from vqw2v_plugin.modules.acoustic import asg_scan
from vqw2v_plugin.modules.acoustic.asg import ASG


def test_flashlight_s_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its emissions and transitions (235 frames, 29 labels): the same scores of paths, both scans alike."""
    np = pytest.importorskip("numpy")
    folder = (
        Path(os.environ.get("VQW2V_DATA", "nowhere")).parent / "golden" / "peer_vectors" / "flashlight_text"
    )
    if not folder.is_dir():
        pytest.skip("no peers' vectors beside VQW2V_DATA")
    decoder = pytest.importorskip("flashlight.lib.text.decoder")
    frames, size = np.fromfile(folder / "TN.bin", np.int32).tolist()
    e = np.fromfile(folder / "emission.bin", np.float32).reshape(frames, size)
    g = np.fromfile(folder / "transition.bin", np.float32).reshape(size, size)
    options = decoder.LexiconFreeDecoderOptions(
        beam_size=50,
        beam_size_token=size,
        beam_threshold=100,
        lm_weight=0,
        sil_score=0,
        log_add=False,
        criterion_type=decoder.CriterionType.ASG,
    )
    beam = decoder.LexiconFreeDecoder(options, decoder.ZeroLM(), 0, -1, g.flatten().tolist())
    theirs = beam.decode(e.ctypes.data, frames, size)[0]
    emissions, lengths = torch.from_numpy(e).double(), torch.tensor([frames])
    asg = ASG(size)
    asg.transitions.data = torch.from_numpy(g)
    path = tuple(theirs.tokens[1:-1])  # theirs begins and ends with a silence of its own
    assert path_score(emissions, asg.transitions, path).item() == pytest.approx(
        theirs.emittingModelScore, abs=1e-3
    )
    best = asg.best_path(emissions[None], lengths)
    assert best.scores.item() > theirs.emittingModelScore
    assert path_score(emissions, asg.transitions, tuple(best.labels[0])).item() == pytest.approx(
        best.scores.item()
    )
    arguments = (asg_scan.finite(emissions[None]), asg_scan.finite(asg.transitions), lengths, True)
    by_products = asg_scan.all_paths(*arguments)
    monkeypatch.setattr(asg_scan, "LARGEST_SPAN", -1.0)
    by_logs = asg_scan.all_paths(*arguments)
    torch.testing.assert_close(vars(by_products), vars(by_logs))
    assert by_products.score.item() > best.scores.item()
