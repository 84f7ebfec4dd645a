"""A BERT over speech on disk: what it hears and restores is in its file, and nothing else is asked."""

from pathlib import Path
from typing import Any

import pytest
import torch
from speech_bert import restored, saved_speech_bert

from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.format import load, load_any, write_exported
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.checkpoints.speech import KIND
from vqw2v_plugin.modules.bert.config import SPEECH_ARCHS

EARLIER = Path(__file__).parent / "earlier"


@pytest.mark.parametrize(
    "settings", [{}, {"stack": 1, "normalize_bands": False, "num_groups": 2, "position": "learned"}], ids=str
)
def test_what_was_written_is_what_is_read(settings: dict[str, Any], tmp_path: Path) -> None:
    first = restored(8_000, True, **settings)
    saved_speech_bert(tmp_path / "a.pt", sample_rate=8_000, normalize=True, **settings)
    write_exported(tmp_path / "folder", first.header, first.weights)
    for name in ("a.pt", "folder"):
        found = load(tmp_path / name, KIND)
        assert found.network.config == first.network.config and not found.network.training
        assert found.header.audio == Audio(8_000, True)
        assert all(torch.equal(value, first.weights[key]) for key, value in found.weights.items())
    assert (
        found.summary == f"2 layers of 16 over 10 bands, {settings.get('num_groups', 1)} × 7 codes, 8000 Hz"
    )


def test_a_trainer_s_file_says_what_its_task_and_arch_were_told() -> None:
    config = load(EARLIER / "speech.pt", KIND).network.config
    assert (config.bands, config.stack, config.num_groups, config.num_codes) == (20, 2, 2, 6)
    assert (config.encoder_layers, config.position, config.normalize_bands) == (2, "rotary", True)


@pytest.mark.parametrize("codes", [None, {}, {"num_codes": 7}, {"num_codes": 7, "num_groups": 1, "x": 1}, 5])
def test_a_file_that_does_not_say_its_codes_is_refused(codes: Any, tmp_path: Path) -> None:
    state = torch.load(EARLIER / "speech.pt", weights_only=True)
    state["task_state"]["codes"] = codes
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt: `task_state\.codes` is .*; expected num_groups and"):
        load_any(tmp_path / "a.pt")


def test_a_rate_that_has_no_log_mels_is_refused(tmp_path: Path) -> None:
    first = restored(200)
    write_exported(tmp_path / "folder", first.header, first.weights)
    with pytest.raises(CheckpointError, match="`sample_rate` is 200; expected 400 to"):
        load_any(tmp_path / "folder")


def test_bands_that_no_spectrum_has_are_refused(tmp_path: Path) -> None:
    found = restored(bands=5_000)
    write_exported(tmp_path / "folder", found.header, found.weights)
    with pytest.raises(CheckpointError, match="`bands` is 5,000; expected 1 to 4,096"):
        load(tmp_path / "folder", KIND)


@pytest.mark.parametrize("name", SPEECH_ARCHS)
def test_what_a_trainer_s_file_does_not_say_is_its_arch_s(name: str) -> None:
    """`None` says as little; what it hears is its task's to say."""
    model = {"_name": name, "encoder_layers": 3, "encoder_embed_dim": None, "dropout": 0.0, "of_fairseq": 1}
    task = {"bands": 30, "sample_rate": 8_000, "normalize": True}
    codes = {"num_groups": 2, "num_codes": 7}
    header = KIND.header({"cfg": {"model": model, "task": task}, "task_state": {"codes": codes}})
    arch = vars(SPEECH_ARCHS[name])
    unsaid = {"stack", "normalize_bands"}
    said = {**arch, "encoder_layers": 3, "dropout": 0.0, "bands": 30, **codes}
    assert header.settings == {key: value for key, value in said.items() if key not in unsaid}
    assert header.audio == Audio(8_000, True)
