"""A fine-tuned checkpoint is enough to hear with; it begins from what was pretrained or fine-tuned."""

from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from finetuned import STILL, UNITS, save_fine_tuned, tiny_fine_tuned
from wav2vec2s import noise, tiny_wav2vec2

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.acoustic import load_acoustic
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.finetuned import KIND, about_of, begun, columns_of, read_start
from vqw2v_plugin.checkpoints.format import load, load_any, write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio, Header
from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint
from vqw2v_plugin.checkpoints.wav2vec2 import KIND as WAV2VEC2
from vqw2v_plugin.features.ears import FineTunedEars, load_ears
from vqw2v_plugin.features.registry import load_features
from vqw2v_plugin.text.units import asg_units

BOTH = {"quantize_input": True, "quantize_targets": True}


def pretrained(path: Path, audio: Audio | None = None, **settings: Any) -> Any:
    network = tiny_wav2vec2(**settings).eval()
    header = Header(WAV2VEC2.model, WAV2VEC2.settings(network), audio or Audio())
    write_checkpoint(path, header, network.state_dict())
    return network


@pytest.mark.parametrize("units", [UNITS, asg_units(["|", *"ab"])], ids=["ctc", "asg"])
def test_file_folder_and_file_again_are_the_same(units: Any, tmp_path: Path) -> None:
    network = tiny_fine_tuned(units=units).eval()
    save_fine_tuned(tmp_path / "a.pt", network, units, Audio(8_000, True))
    export_folder(tmp_path / "a.pt", tmp_path / "folder")
    again = import_checkpoint(tmp_path / "folder")
    write_checkpoint(tmp_path / "b.pt", again.header, again.weights)
    wav, size = noise(900)[None], torch.tensor([900])
    for path in ("a.pt", "folder", "b.pt"):
        found = load(tmp_path / path, KIND)
        assert columns_of(found.header) == units and found.header.audio == Audio(8_000, True)
        assert found.network.config == network.config and not found.network.training
        with torch.no_grad():
            assert torch.equal(found.network(wav, size).emissions, network(wav, size).emissions)


@pytest.mark.parametrize(
    "settings",
    [{}, {**BOTH, "latent_dim": 8}, {**BOTH, "same_quantizer": True, "latent_dim": 12}],
    ids=["z", "codes", "codes by the same"],
)
def test_it_begins_with_the_states_of_what_was_pretrained(settings: dict[str, Any], tmp_path: Path) -> None:
    network = pretrained(tmp_path / "p.pt", Audio(16_000, True), **settings)
    start = read_start(tmp_path / "p.pt")
    assert start.audio == Audio(16_000, True)
    made = begun(start, STILL, UNITS).eval()
    wav = noise(900)[None]
    for mine, theirs in zip(made.wav2vec2.states(wav)[0], network.states(wav)[0], strict=True):
        assert torch.equal(mine, theirs)
    assert not made.projection.bias.any() and made.projection.weight.std() > 0.1
    # and again from what was fine-tuned, with other letters
    with torch.no_grad():
        made.wav2vec2.mask.add_(1)
    save_fine_tuned(tmp_path / "f.pt", made, audio=Audio(8_000, True))
    assert read_start(tmp_path / "f.pt").audio == Audio(8_000, True)
    again = begun(read_start(tmp_path / "f.pt"), STILL, asg_units(["|", "x"])).eval()
    assert torch.equal(again.wav2vec2.mask, made.wav2vec2.mask) and again.config.num_columns == 4
    assert torch.equal(again.wav2vec2.states(wav)[0][-1], made.wav2vec2.states(wav)[0][-1])


def test_its_layers_are_features_and_clusters_like_a_pretrained_one_s(tmp_path: Path) -> None:
    network = tiny_fine_tuned().eval()
    path = save_fine_tuned(tmp_path / "a.pt", network)
    wav = noise(900)
    soundfile.write(tmp_path / "a.wav", wav.numpy(), 16_000, subtype="FLOAT")
    found = load_features("w2v2:1", str(path)).of(str(tmp_path / "a.wav"))
    torch.testing.assert_close(found, network.wav2vec2.states(wav[None])[0][1])
    with pytest.raises(CheckpointError, match="holds the model 'vq_wav2vec2_ctc'; expected 'vq_wav2vec'"):
        load_features("z", str(path))
    (tmp_path / "t.tsv").write_text(f"{tmp_path}\na.wav\t900\n")
    words = ["cluster", str(path), str(tmp_path / "t.tsv"), str(tmp_path / "c"), "--layer", "w2v2:1"]
    assert main([*words, "--codes", "3"]) == 0
    path.unlink()  # the clusters have it in them
    assert main(["encode", str(tmp_path / "c"), str(tmp_path / "a.wav")]) == 0


@pytest.mark.parametrize("normalize", [False, True])
def test_what_it_hears_of_a_file_is_what_it_hears_in_a_batch(normalize: bool, tmp_path: Path) -> None:
    from vqw2v_plugin.modules.finetuned.network import unit_clips

    network = tiny_fine_tuned().eval()
    path = save_fine_tuned(tmp_path / "a.pt", network, audio=Audio(16_000, normalize))
    wav, size = noise(900) + 0.1, torch.tensor([900])
    soundfile.write(tmp_path / "a.wav", wav.numpy(), 16_000, subtype="FLOAT")
    ears = load_ears(path)
    assert isinstance(ears, FineTunedEars) and ears.frame_seconds == 20 / 16_000
    from vqw2v_plugin.audio.clip import Clip

    batch = wav[None].double()
    with torch.no_grad():
        wanted = network(unit_clips(batch, size) if normalize else batch, size).emissions[0]
    torch.testing.assert_close(ears.emissions(Clip(str(tmp_path / "a.wav"))), wanted)
    with pytest.raises(CheckpointError, match=r"hears audio itself, without features; leave out front\.pt"):
        load_ears(path, front="front.pt")


def test_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    path = save_fine_tuned(tmp_path / "a.pt", tiny_fine_tuned())
    with pytest.raises(
        CheckpointError, match="holds the model 'vq_wav2vec2_ctc'; expected an acoustic model"
    ):
        load_acoustic(path)
    ctc = Path(__file__).parent / "earlier" / "ctc.pt"
    with pytest.raises(CheckpointError, match="'vq_wav2letter'; expected 'vq_wav2vec2' or a fine-tuned"):
        read_start(ctc)
    with pytest.raises(CheckpointError, match="holds the model 'vq_wav2letter'; expected a fine-tuned"):
        load(ctc, KIND)


def changed(path: Path, change: Any) -> Path:
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["task_state"].pop("wav2vec2"), "`task_state.wav2vec2` is None; expected the settings"),
        (lambda s: s["task_state"]["wav2vec2"].pop("normalize"), "expected the settings of a wav2vec 2.0"),
        (lambda s: s["task_state"].update(acoustic=3), "`symbols` is missing"),
        (
            lambda s: s["task_state"]["acoustic"].update(repeats=10**9),
            "`repeats` is 1000000000; expected 0 to",
        ),
        (lambda s: s["task_state"]["acoustic"].update(repeats=-1), "`repeats` is -1; expected 0 to"),
        (
            lambda s: s["task_state"]["acoustic"].update(symbols=["|", "x", "b", "c", "d"]),
            "is not what its options",
        ),
        (lambda s: s["cfg"]["model"].update(dropout=0.5), "is not what its options and its task's state say"),
        (lambda s: s["cfg"]["model"].update(layerdrop="x"), "`layerdrop` is 'x'; expected float"),
        (lambda s: s["model"].pop("about.version_1"), "lacks `about.version_1`"),
        (lambda s: s["model"].pop("network.projection.bias"), "`projection.bias` is missing"),
        (lambda s: s["model"].update(front=torch.zeros(1)), "`front` has no place in the network"),
        (
            lambda s: s["task_state"]["wav2vec2"]["settings"].update(encoder_layers=10**9),
            "is not what its options",
        ),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(change: Any, message: str, tmp_path: Path) -> None:
    path = changed(save_fine_tuned(tmp_path / "a.pt", tiny_fine_tuned()), change)
    with pytest.raises(CheckpointError) as error:
        load_any(path)
    assert str(path) in str(error.value) and message in str(error.value), error.value


def test_a_model_says_how_often_its_frames_come_at_the_rate_that_it_hears() -> None:
    config = tiny_fine_tuned().config
    for rate in (8_000, 16_000):
        said = about_of(config, UNITS, Audio(rate, True)).content
        assert said["frame_seconds"] == 20 / rate
        assert said["features"] == {"sample_rate": rate, "normalize": True}


def test_times_are_told_at_the_rate_that_it_hears(tmp_path: Path) -> None:
    path = save_fine_tuned(tmp_path / "a.pt", tiny_fine_tuned(), audio=Audio(8_000))
    ears = load_ears(path)
    assert (ears.sample_rate, ears.frame_seconds, ears.units) == (8_000, 20 / 8_000, UNITS)
