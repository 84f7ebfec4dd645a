"""Between a clip and its emissions: a clip too short is named, and files of no use are refused."""

from pathlib import Path

import pytest
from finetuned import save_fine_tuned, tiny_fine_tuned
from sounds import Sound, noise

from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.features.ears import load_ears


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    return str(save_fine_tuned(tmp_path / "a.pt", tiny_fine_tuned(), audio=Audio(16_000)))


@pytest.mark.parametrize("name", ["front", "bert", "pieces", "pca"])
def test_what_hears_audio_itself_needs_no_other_file(checkpoint: str, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"hears audio itself, without features; leave out other\.pt"):
        load_ears(checkpoint, **{name: "other.pt"})


def test_a_clip_too_short_for_a_frame_is_refused_by_name(checkpoint: str, sound: Sound) -> None:
    ears = load_ears(checkpoint)
    least = ears.geometry.receptive_field
    path = str(sound("short.wav", noise(least)))
    assert len(ears.emissions(Clip(path))) == 1
    with pytest.raises(AudioError, match=rf"short\.wav: {least - 1} samples at 16000 Hz are too short"):
        ears.read(Clip(path, least - 1))
