"""A checkpoint of wav2vec 2.0: what it says is what was built, in words that fairseq's options have."""

from typing import Any

import pytest
from wav2vec2s import config_of, tiny_wav2vec2

from vqw2v_plugin.checkpoints.kinds import Audio, Header, Restored
from vqw2v_plugin.checkpoints.wav2vec2 import KIND, make_wav2vec2
from vqw2v_plugin.modules.wav2vec2.config import ARCHS


@pytest.mark.parametrize("name", ARCHS)
def test_what_a_trainer_s_file_does_not_say_is_its_arch_s(name: str) -> None:
    """Which may be of a time before an option; `None` says as little."""
    said = {"_name": name, "latent_vars": 64, "dropout": None, "of_another_time": 3}
    header = KIND.header({"cfg": {"model": said, "task": {"sample_rate": 8000, "normalize": True}}})
    assert header.settings == {**vars(ARCHS[name]), "latent_vars": 64}
    assert header.audio == Audio(8000, True)


@pytest.mark.parametrize("settings", [{}, {"quantize_targets": False, "quantize_input": True}])
def test_what_is_written_is_read(settings: dict[str, Any]) -> None:
    network = tiny_wav2vec2(**settings)
    header = Header(KIND.model, KIND.settings(network), Audio(8000, True))
    state = KIND.state(header)
    # a switch that is on by itself is a word for fairseq's parser, the others are flags
    said = state["cfg"]["model"]["quantize_targets"]
    assert said == str(network.config.quantize_targets).lower()
    assert state["cfg"]["model"]["quantize_input"] is network.config.quantize_input
    again = KIND.header(state)
    assert again.audio == header.audio and KIND.build(again).config == network.config


def test_a_quantizer_s_settings_are_called_as_wav2vec2_calls_them() -> None:
    for settings, name in (
        ({"latent_vars": 9, "latent_groups": 5}, "latent_groups"),
        ({"latent_temp": [0.0]}, "latent_temp"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`") as error:
            make_wav2vec2(config_of(**settings))
        assert "`vq_" not in str(error.value)


def test_what_it_is_is_told_in_a_line() -> None:
    network = tiny_wav2vec2(latent_groups=3, latent_dim=12)
    told = KIND.summary(Restored(Header(KIND.model, KIND.settings(network), Audio(8000)), network))
    assert told == "2 layers of 24, quantizer gumbel, 3 × 9 codes, 8000 Hz"
    plain = tiny_wav2vec2(quantizer="none")
    told = KIND.summary(Restored(Header(KIND.model, KIND.settings(plain)), plain))
    assert told == "2 layers of 24, quantizer none, 16000 Hz"


def test_a_temperature_falls_over_the_whole_training_s_updates() -> None:
    """Over seven tenths of them, from the first number to the second."""
    network = tiny_wav2vec2(latent_temp=[2.0, 0.5], max_update=1000)
    for updates, wanted in ((0, 2.0), (350, 1.25), (700, 0.5), (1000, 0.5)):
        network.set_num_updates(updates)
        assert network.quantizer.temperature == pytest.approx(wanted, abs=0.01)
