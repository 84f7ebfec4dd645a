"""Batches of masked speech: reproducible, packed, each code beside the frame that it is of."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sounds import noise
from torch.utils.data import DataLoader

from vqw2v_plugin.audio.drawn_changes import DrawnChanges
from vqw2v_plugin.audio.pcm_cache import PcmCache
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.modules.bert.speech import NO_CODE, SpeechInput
from vqw2v_plugin.stores.features import FeatureError
from vqw2v_plugin.stores.frames import TokenFrames
from vqw2v_plugin.stores.symbols import NUM_SPECIAL, TOKENS, UNK, TokenError, write_dict
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.training.datasets import speech
from vqw2v_plugin.training.datasets.base import Unreadable
from vqw2v_plugin.training.datasets.speech import Spans, SpeechDataset

SIZES = [9_000, 3_000, 6_000, 1_200, 4_000]
CODES = 100
Made = Callable[..., SpeechDataset]


def write_tokens(
    folder: Path, sizes: dict[str, int], field: int = 400, rate: int = 16_000, **about: object
) -> None:
    """The code of frame t is t; a symbol for each."""
    with TokenWriter(folder, "train", CODES + NUM_SPECIAL) as writer:
        for utt, size in sizes.items():
            frames = (size - field) // 160 + 1
            writer.add(utt, frames, np.arange(frames) % CODES + NUM_SPECIAL)
    write_dict(folder / "dict.txt", [(str(i), 1) for i in range(CODES)])
    times = {"stride": 160, "receptive_field": field, "sample_rate": rate}
    TOKENS.write_about(folder, {"num_groups": 1, "num_codes": CODES, **times, **about})


@pytest.fixture
def made(tmp_path: Path) -> Made:
    rows = []
    for i, size in enumerate(SIZES):
        soundfile.write(tmp_path / f"{i}.wav", noise(size, i), 16_000)
        rows.append({"path": f"{i}.wav", "samples": size})
    write_manifest(tmp_path / "train.tsv", tmp_path, rows)

    def make(
        field: int = 400, stack: int = 2, tokens: dict[str, int] | None = None, **options: object
    ) -> SpeechDataset:
        if tokens is None:
            tokens = {str(i): size for i, size in enumerate(SIZES)}
        write_tokens(tmp_path / "tokens", tokens, field)
        return SpeechDataset(
            Manifest(tmp_path / "train.tsv"),
            **{"sample_rate": 16_000, "max_sample_size": 20_000, "min_sample_size": 1_000, **options},
            tokens=TokenFrames(tmp_path / "tokens", "train"),
            heard=SpeechInput(int(options.get("sample_rate", 16_000)), 10, stack),  # type: ignore[call-overload]
            spans=Spans(0.08, 10),
        )

    return make


def test_of_whole_utterances_frame_t_has_code_t(made: Made) -> None:
    """Of 3,000 samples there are 17 log-mels, of which 16 are joined by twos, and as many codes."""
    dataset = made()
    crop = dataset[1]
    assert crop.frames.shape == (8, 20) and crop.codes.tolist() == [[2 * t, 2 * t + 1] for t in range(8)]
    assert made(stack=3)[1].codes.tolist() == [[3 * t, 3 * t + 1, 3 * t + 2] for t in range(5)]


def test_codes_that_see_more_than_a_log_mel_lack_at_the_end(made: Made) -> None:
    """465 samples a code: 1,200 samples have 5 of them (until 1,105) and 6 log-mels; centres 32.5 apart."""
    assert made(field=465)[3].codes.tolist() == [[0, 1], [2, 3], [4, NO_CODE]]
    assert made(field=400)[3].codes.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("field", [400, 465])
def test_a_crop_s_codes_are_those_of_its_place(made: Made, field: int) -> None:
    """Strides are the same: the centres of a frame and its code differ by half of one at most."""
    dataset, begins = made(field=field, max_sample_size=2_000), set()
    for epoch in range(1, 8):
        dataset.set_epoch(epoch)
        begin, crop = dataset.crop(0).begin, dataset[0]
        begins.add(begin)
        codes = crop.codes.flatten()
        assert len(codes) == 10 and bool((codes.diff() == 1).all())
        assert abs((begin + 200) - (160 * int(codes[0]) + field / 2)) <= 80
    assert len(begins) > 4


def test_audio_heard_at_another_rate_than_its_codes_has_them_in_their_places(made: Made) -> None:
    whole = made(sample_rate=8_000, min_sample_size=500)
    assert whole.sizes.tolist() == [size // 2 for size in SIZES]
    assert whole[1].codes.tolist() == [[2 * t, 2 * t + 1] for t in range(8)]
    crops = made(sample_rate=8_000, max_sample_size=1_000, min_sample_size=500)
    for epoch in range(1, 6):
        crops.set_epoch(epoch)
        begin, codes = crops.crop(0).begin, crops[0].codes.flatten()
        assert len(codes) == 10 and bool((codes.diff() == 1).all())
        assert abs((begin + 100) / 8_000 - (160 * int(codes[0]) + 200) / 16_000) <= 0.005


def test_what_is_drawn_depends_on_seed_epoch_and_index_alone(made: Made) -> None:
    one, two = made(max_sample_size=2_000), made(max_sample_size=2_000)
    torch.manual_seed(1)
    forwards = [one[i] for i in range(5)]
    torch.manual_seed(2)
    backwards = [two[i] for i in reversed(range(5))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert torch.equal(a.mask, b.mask) and torch.equal(a.frames, b.frames)
    alike = [crop.mask.tolist() for crop in forwards if len(crop.mask) == len(forwards[0].mask)]
    assert len(alike) > 2 and len({*map(tuple, alike)}) > 1  # each has masks of its own
    one.set_epoch(2)
    assert not torch.equal(one[0].frames, forwards[0].frames)
    one.set_epoch(1)
    assert torch.equal(one[0].frames, forwards[0].frames)


def test_spans_are_as_long_as_is_said_or_about_as_long(made: Made) -> None:
    """Of 27 frames; a span at the end may be cut."""
    dataset = made()
    shorter = {}
    for stdev in (0.0, 5.0):
        dataset.spans, inner = Spans(0.05, 6, stdev), []
        for epoch in range(1, 30):
            dataset.set_epoch(epoch)
            edges = np.diff(np.pad(dataset[0].mask.numpy().astype(int), 1))
            begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
            inner += [end - begin for begin, end in zip(begins, ends, strict=True) if end < 27]
        shorter[stdev] = sum(size < 6 for size in inner) / len(inner)
    assert shorter[0.0] == 0 and 0.2 < shorter[5.0] < 0.6


def test_workers_and_a_cache_change_nothing(made: Made, tmp_path: Path) -> None:
    cached = made(cache=PcmCache(tmp_path / "cache", 16_000), max_sample_size=2_000)
    dataset = made(max_sample_size=2_000)
    options = {"batch_sampler": [[0, 1], [2], [3, 4]]}
    apart = DataLoader(cached, num_workers=2, collate_fn=cached.collater, **options)
    for a, b in zip(apart, DataLoader(dataset, collate_fn=dataset.collater, **options), strict=True):
        assert torch.equal(a["net_input"]["frames"], b["net_input"]["frames"])
        assert torch.equal(a["target"], b["target"]) and a["net_input"]["counts"] == b["net_input"]["counts"]


def test_what_is_heard_may_be_changed_and_its_codes_stay(made: Made) -> None:
    plain, noisy = made(), made(changes=DrawnChanges(("noise",), 1.0))
    assert torch.equal(plain[0].codes, noisy[0].codes) and torch.equal(plain[0].mask, noisy[0].mask)
    assert plain[0].frames.shape == noisy[0].frames.shape
    assert not torch.allclose(plain[0].frames, noisy[0].frames, atol=0.1)


def test_a_batch_is_packed_and_asks_for_the_codes_of_masked_frames(made: Made) -> None:
    dataset = made()
    crops = [dataset[i] for i in (0, 2, 4)]
    batch = dataset.collater(crops)
    given = batch["net_input"]
    assert given["lengths"] == [27, 18, 11] and given["frames"].shape == (56, 20)
    codes = torch.cat([crop.codes for crop in crops])
    assert torch.equal(batch["target"], codes[given["masked"]]) and 0 < sum(given["counts"]) < 56
    assert batch["scored"] == batch["target"].numel() and batch["ntokens"] == 112
    assert batch["utts"] == ["0", "2", "4"] and batch["nsentences"] == 3


def test_batches_are_filled_since_nothing_is_padded(made: Made) -> None:
    batches = made().batch_by_size(np.array([0, 2, 4, 1, 3]), max_tokens=15_000)
    assert [batch.tolist() for batch in batches] == [[0, 2], [4, 1, 3]]


def test_the_blind_guess_is_the_most_frequent_code(made: Made, tmp_path: Path) -> None:
    made()
    with TokenWriter(tmp_path / "tokens", "train", CODES + NUM_SPECIAL) as writer:
        for i, size in enumerate(SIZES):
            frames = (size - 400) // 160 + 1
            ids = np.full(frames, 9 + NUM_SPECIAL)
            ids[: frames // 3] = UNK  # more frequent than any other but 9, and no code
            ids[-2:] = 3 + NUM_SPECIAL
            writer.add(str(i), frames, ids)
    dataset = SpeechDataset(
        Manifest(tmp_path / "train.tsv"),
        sample_rate=16_000,
        max_sample_size=20_000,
        tokens=TokenFrames(tmp_path / "tokens", "train"),
        heard=SpeechInput(16_000, 10),
        spans=Spans(1.0, 1),
        min_sample_size=1_000,
    )
    assert dataset.common.tolist() == [9, 9]
    batch = dataset.collater([dataset[0]])
    assert batch["common"] == int((batch["target"] == 9).sum()) > 0
    assert batch["scored"] == int((batch["target"] != NO_CODE).sum()) < batch["target"].numel()
    assert batch["ntokens"] == batch["scored"]


@pytest.mark.parametrize(("most", "expected"), [(1000, [4, 1]), (2, [0, 1])])
def test_the_most_frequent_code_is_that_of_utterances_from_all_over(
    most: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all five of them, or of the first, the third and the fifth."""

    class Held(dict[str, np.ndarray]):
        @property
        def places(self) -> dict[str, np.ndarray]:
            return self

    pairs = [([0, 1], 3), ([4, 3], 4), ([0, 2], 2), ([4, 1], 2), ([2, 1], 3)]
    held = Held({str(i): np.array([pair] * times) for i, (pair, times) in enumerate(pairs)})
    monkeypatch.setattr(speech, "_COUNTED", most)
    assert speech._most_frequent(held, 5).tolist() == expected  # type: ignore[arg-type]


def test_the_blind_guess_of_joined_frames_is_each_one_s_pair_after_the_other(
    made: Made, tmp_path: Path
) -> None:
    """As their codes are: of three frames 2-1 the six codes 2 1 2 1 2 1."""
    made()
    write_dict(tmp_path / "tokens" / "dict.txt", [("2-1", 1), *[(f"{i}-{i}", 1) for i in range(4)]])
    with TokenWriter(tmp_path / "tokens", "train", CODES + NUM_SPECIAL) as writer:
        for i, size in enumerate(SIZES):
            frames = (size - 400) // 160 + 1
            writer.add(str(i), frames, np.full(frames, NUM_SPECIAL))
    about = TOKENS.read_about(tmp_path / "tokens")
    TOKENS.write_about(tmp_path / "tokens", {**about, "num_groups": 2, "num_codes": 4})
    dataset = SpeechDataset(
        Manifest(tmp_path / "train.tsv"),
        sample_rate=16_000,
        max_sample_size=20_000,
        min_sample_size=1_000,
        tokens=TokenFrames(tmp_path / "tokens", "train"),
        heard=SpeechInput(16_000, 10, 3),
        spans=Spans(0.5, 2),
    )
    assert dataset.common.tolist() == [2, 1] * 3 == dataset[1].codes[0].tolist()
    batch = dataset.collater([dataset[0], dataset[1]])
    assert batch["common"] == batch["scored"] == batch["target"].numel() > 0


def test_utterances_without_codes_are_refused_by_name(made: Made) -> None:
    with pytest.raises(TokenError, match=r"no tokens of 2 of the 5 utterances in .*train\.tsv \(2, 3\)"):
        made(tokens={str(i): SIZES[i] for i in (0, 1, 4)})


def test_those_that_discretize_could_not_read_are_left_out(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made()
    (tmp_path / "tokens" / "train.refused.tsv").write_text("utt\tpath\treason\n2\t2.wav\tis empty\n")
    with caplog.at_level(logging.WARNING):
        dataset = made(tokens={str(i): SIZES[i] for i in (0, 1, 3, 4)})
    assert len(dataset) == 4 and dataset.crop(2).utt == "3" and "left out 1 utterances" in caplog.text


def test_more_codes_than_the_folder_says_that_there_are_stop_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "read_code_sizes", lambda folder: (1, CODES - 1))
    with pytest.raises(
        FeatureError, match=f"has symbols of 1 codes up to {CODES - 1}, .* `num_codes` {CODES - 1}"
    ):
        made()


def test_codes_of_other_audio_are_refused_by_name(made: Made) -> None:
    with pytest.raises(TokenError, match=r"has 17 tokens of '2', whose audio in .* gives 36"):
        made(tokens={**{str(i): size for i, size in enumerate(SIZES)}, "2": 3_000})


def test_one_frame_more_or_less_is_a_matter_of_rounding_and_two_are_not(made: Made) -> None:
    sizes = {str(i): size for i, size in enumerate(SIZES)}
    for frames in (-1, 1):
        assert len(made(tokens={**sizes, "2": 6_000 + 160 * frames})) == 5
        with pytest.raises(TokenError, match=f"has {36 + 2 * frames} tokens of '2', whose audio"):
            made(tokens={**sizes, "2": 6_000 + 320 * frames})


def test_audio_of_another_length_than_its_manifest_says_is_named_and_skipped(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = made()
    soundfile.write(tmp_path / "1.wav", noise(6_000, 1), 8_000)  # by its column 3,000 samples, now 6,000
    found = dataset[1]
    assert isinstance(found, Unreadable) and "has 6,000 samples at 16000 Hz, expected 3,000" in found.reason


def test_a_crop_too_short_for_a_frame_is_said(made: Made) -> None:
    with pytest.raises(ValueError, match="`min_sample_size` is 500; expected 560 samples at least"):
        made(min_sample_size=500)


def test_other_tokens_are_other_data(made: Made, tmp_path: Path) -> None:
    first = made()
    assert first.digest() == made().digest() != made(field=465).digest()
    same, other = made(), made()
    with TokenWriter(tmp_path / "others", "train", CODES + NUM_SPECIAL) as writer:
        for utt, frames in same.tokens.store.rows:  # as many of each
            writer.add(utt, frames, np.full(frames, NUM_SPECIAL))
    write_dict(tmp_path / "others" / "dict.txt", [(str(i), 1) for i in range(CODES)])
    TOKENS.write_about(tmp_path / "others", TOKENS.read_about(tmp_path / "tokens"))
    other.tokens = TokenFrames(tmp_path / "others", "train")
    assert first.digest() == same.digest() != other.digest()
