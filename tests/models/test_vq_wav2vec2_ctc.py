"""What fairseq sees of a fine-tuned wav2vec 2.0: its weights, what it hears, what learns at first."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from finetuned import UNITS
from wav2vec2s import TINY, noise, saved

pytest.importorskip("fairseq")
import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.checkpoints.finetuned import STATE
from vqw2v_plugin.models.vq_wav2vec2_ctc import VqWav2Vec2CtcConfig, VqWav2Vec2CtcModel
from vqw2v_plugin.modules.finetuned.network import unit_clips
from vqw2v_plugin.training.finetuning import SIZES

SMALL = {name: value for name, value in TINY.items() if name in SIZES}


def build(known: Any = None, rate: int = 16_000, noted: Any = None, **given: Any) -> VqWav2Vec2CtcModel:
    torch.manual_seed(0)
    notes = {} if noted is None else noted
    task = SimpleNamespace(feature_dim=0, units=UNITS, cfg=SimpleNamespace(sample_rate=rate))
    task.known = lambda name: known if name == STATE else None
    task.note = notes.__setitem__
    settings = given if known is not None or "w2v_path" in given else {**SMALL, **given}
    return VqWav2Vec2CtcModel.build_model(VqWav2Vec2CtcConfig(_name="vq_wav2vec2_ctc", **settings), task)


def test_it_says_what_it_begins_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path / "p.pt")
    for given, origin in (({}, ""), ({"w2v_path": str(tmp_path / "p.pt")}, f" from {tmp_path / 'p.pt'}")):
        caplog.clear()
        with caplog.at_level("INFO"):
            build(**given)
        said = f"vq_wav2vec2_ctc: 2 layers of 24{origin}, {len(UNITS)} symbols with CTC, "
        assert caplog.messages[-1].startswith(said)
        assert caplog.messages[-1].endswith(" parameters; a frame of emissions every 1.25 ms")


def test_what_it_began_from_is_noted_and_not_read_again(tmp_path: Path) -> None:
    saved(tmp_path / "p.pt", normalize=True)
    first, noted, again = {}, {}, str(tmp_path / "gone.pt")
    assert build(noted=first, w2v_path=str(tmp_path / "p.pt")).audio.normalize
    found = build(first[STATE], noted=noted, w2v_path=again)
    assert found.audio.normalize and noted == first and list(first) == [STATE]


@pytest.mark.parametrize("normalize", [True, False])
def test_each_clip_is_heard_at_one_loudness_only_where_it_was_learnt_so(normalize: bool) -> None:
    own = {"extractor_mode": "layer_norm", "conv_bias": True}  # which hears how loud it is
    model, lengths = build(normalize=normalize, **own).eval(), torch.tensor([900, 600])
    wav = 5 * torch.stack([noise(900), noise(900, 1)]).double() + 1
    heard = unit_clips(wav, lengths) if normalize else wav
    found, wanted = model(wav, lengths).emissions, model.network(heard, lengths).emissions
    torch.testing.assert_close(found, wanted)
    louder = model(7 * wav, lengths).emissions
    assert torch.allclose(louder, found, atol=1e-3) == normalize


def test_masks_are_those_of_the_seeds() -> None:
    model, lengths = build(mask_prob=0.5, mask_length=2, layerdrop=0.0).train(), torch.tensor([900])
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(5)  # of dropout
        found.append(model(noise(900)[None], lengths, [seed]).emissions)
    first, again, other = found
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_frame_is_as_long_as_its_rate_says() -> None:
    assert build(rate=8_000).frame_seconds == 20 / 8_000 and build().frame_seconds == 20 / 16_000


def test_so_many_updates_the_linear_layer_is_alone() -> None:
    model, held = build(freeze_finetune_updates=2), []
    for update in range(4):
        model.set_num_updates(update)
        held.append(model.network.is_held)
    assert held == [True, True, False, False]
