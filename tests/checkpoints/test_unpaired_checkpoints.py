"""wav2vec-U on disk: what its options are held to, and what it is told as."""

from dataclasses import replace
from pathlib import Path

import pytest

from vqw2v_plugin.checkpoints.format import load_any
from vqw2v_plugin.checkpoints.kinds import KINDS
from vqw2v_plugin.checkpoints.unpaired import ARCHS, KIND, NAME

EARLIER = Path(__file__).parent / "earlier"
W2VU2 = {  # of fairseq's w2vu2.yaml
    "generator_kernel": 9,
    "generator_stride": 3,
    "generator_batch_norm": 30,
    "generator_residual": True,
    "discriminator_kernel": 8,
    "gradient_penalty": 1.0,
    "code_penalty": 3.0,
    "smoothness_weight": 1.5,
}


def test_the_second_arch_is_fairseq_s_of_wav2vec_u_2() -> None:
    assert ARCHS == {NAME: {}, f"{NAME}_2": W2VU2}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wav2vec_u", "3 phones without labels, over features logmel"),
        ("utterance", "3 classes of utterances, over features logmel, logmel"),
    ],
)
def test_what_it_is_is_told_in_a_line(name: str, told: str) -> None:
    assert load_any(EARLIER / f"{name}.pt").summary == told


@pytest.mark.parametrize("name", ["wav2vec_u", "asg"])
@pytest.mark.parametrize("seconds", [0.0, -0.01])
def test_frames_come_after_some_time(name: str, seconds: float) -> None:
    header = load_any(EARLIER / f"{name}.pt").header
    wrong = replace(header, extra={**header.extra, "frame_seconds": seconds})
    with pytest.raises(
        ValueError, match=f"`frame_seconds` is {seconds}; expected seconds from frame to frame"
    ):
        KINDS[header.model].build(wrong)


def test_a_trainer_s_options_are_those_of_its_network() -> None:
    """Where they say nothing, those of its arch; and switches may be words."""
    header = load_any(EARLIER / "wav2vec_u.pt").header
    own = KIND.state(header)["cfg"]["model"]
    KIND.check_options(header, NAME, own)
    KIND.check_options(header, NAME, {**own, "generator_bias": "False", "discriminator_causal": "true"})
    early = {name: value for name, value in header.settings.items() if name != "generator_bias"}
    KIND.check_options(replace(header, settings=early), NAME, own)  # before there was such a setting
    for option, value in (("generator_bias", "true"), ("code_penalty", 3.0), ("segments", "none")):
        with pytest.raises(ValueError, match=f"`{option}` is .*, and the network has .*; expected the same"):
            KIND.check_options(header, NAME, {**own, option: value})
    with pytest.raises(ValueError, match="`generator_kernel` is 4, and the network has 3; expected the same"):
        KIND.check_options(header, NAME, {**own, "generator_kernel": None})
    less = {name: value for name, value in own.items() if name not in W2VU2}
    second = replace(header, settings={**header.settings, **W2VU2})
    KIND.check_options(second, f"{NAME}_2", less)
    with pytest.raises(ValueError, match="`generator_stride` is 3, and the network has 1; expected the same"):
        KIND.check_options(header, f"{NAME}_2", {**own, "generator_stride": None})
    with pytest.raises(ValueError, match=f"the model is '{NAME}_3'; expected one of {NAME}, {NAME}_2"):
        KIND.check_options(header, f"{NAME}_3", own)


def test_a_loss_of_labels_is_none_of_what_learns_without(tmp_path: Path) -> None:
    header = load_any(EARLIER / "wav2vec_u.pt").header
    wrong = replace(header, extra={**header.extra, "loss": "ctc", "blank": 0})
    with pytest.raises(ValueError, match="`loss` is 'ctc'; expected wav2vec_u"):
        KIND.build(wrong)
