import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqw2v_plugin.modules.layers.conv_spec import ConvGeometry, ConvLayer, parse_conv_layers
from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig
from vqw2v_plugin.modules.wav2vec.encoder import Encoder

layers = st.lists(
    st.builds(ConvLayer, st.just(2), st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=4
)


def test_paper_encoder_sees_465_samples_every_160() -> None:
    geometry = ConvGeometry.of(parse_conv_layers(VqWav2VecConfig().conv_feature_layers))
    assert (geometry.receptive_field, geometry.stride) == (465, 160)
    assert geometry.frames_per_receptive_field == 3


@given(layers, st.integers(0, 2000))
def test_frames_for_samples_are_what_convolutions_give(spec: list[ConvLayer], samples: int) -> None:
    geometry = ConvGeometry.of(spec)
    length = samples
    for layer in spec:
        length = (length - layer.kernel) // layer.stride + 1 if length >= layer.kernel else 0
    assert geometry.frames(samples) == length


@given(layers, st.integers(1, 100))
def test_samples_for_frames_are_the_fewest(spec: list[ConvLayer], frames: int) -> None:
    geometry = ConvGeometry.of(spec)
    samples = geometry.samples(frames)
    assert geometry.frames(samples) == frames
    assert geometry.frames(samples - 1) == frames - 1


def test_plus_and_times_between_lists_are_read() -> None:
    assert parse_conv_layers("[(4, 3, 2)] + [(8, 1, 1)] * 2") == (
        ConvLayer(4, 3, 2),
        ConvLayer(8, 1, 1),
        ConvLayer(8, 1, 1),
    )


@pytest.mark.parametrize("spec", ["  [(4, 3, 2)]\n", "[[4, 3, 2]]", "[(4, 3, 2),]", "[\n  (4, 3, 2)\n]"])
def test_a_spec_may_be_written_otherwise(spec: str) -> None:
    assert parse_conv_layers(spec) == (ConvLayer(4, 3, 2),)


def test_a_thousand_layers_are_read_and_no_frames_need_no_samples() -> None:
    assert len(parse_conv_layers("[(4, 3, 2)] * 1000")) == 1000
    assert ConvGeometry(10, 5).samples(0) == 0 and ConvGeometry(10, 5).samples(-1) == 0


@pytest.mark.parametrize(
    "spec",
    [
        "[(4, 3)]",
        "[]",
        "[(4, 3, 0)]",
        "[(4, 3, 2.5)]",
        "[(4, 3, True)]",
        "[(4, 3, 2)] * 1001",
        "[(4, 3, 2)] * 600 + [(4, 3, 2)] * 401",
        "[(4, 3, 2)]" + " " * 100_000,
        "__import__('os').getcwd()",
        "[(4,3,2)",
        "[(4,3,2)] * -1",
        "[(4,3,2)] * [2]",
        "[(4,3,2)] + 2",
        "2 * [(4,3,2)]",
        "7",
    ],
)
def test_a_wrong_spec_is_refused_by_the_name_of_its_field(spec: str) -> None:
    with pytest.raises(ValueError, match="conv_feature_layers"):
        parse_conv_layers(spec, "conv_feature_layers")


def test_a_number_that_is_no_integer_is_shown() -> None:
    with pytest.raises(ValueError, match=r"`2.5` is neither a list, a tuple nor an integer"):
        parse_conv_layers("[(4, 3, 2.5)]")


def test_a_sum_of_more_lists_than_can_be_walked_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`conv layers` .* cannot be read: .*recursion depth"):
        parse_conv_layers("[(4, 3, 2)]" + "+[(4, 3, 2)]" * 5000)


@pytest.mark.parametrize(
    "spec",
    ["[(" + "4, " * 2000 + "4)]", "(4, " * 20 + "4," * 3000 + "4" + ")" * 20, "[[4], " + "x" * 9000 + "]"],
)
def test_a_long_spec_is_shown_by_its_beginning(spec: str) -> None:
    with pytest.raises(ValueError, match="…") as caught:
        parse_conv_layers(spec)
    assert len(str(caught.value)) < 2_500


def test_audio_shorter_than_the_receptive_field_is_refused_with_both_numbers() -> None:
    encoder = Encoder(parse_conv_layers("[(4, 10, 5), (4, 8, 4)]"))
    with pytest.raises(ValueError, match=r"3 samples .* 45"):
        encoder(torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("field", "stride", "frames"), [(465, 160, 3), (480, 160, 3), (481, 160, 4), (10, 5, 2), (1, 1, 1)]
)
def test_a_receptive_field_lasts_as_many_frames_as_have_begun_in_it(
    field: int, stride: int, frames: int
) -> None:
    assert ConvGeometry(field, stride).frames_per_receptive_field == frames
