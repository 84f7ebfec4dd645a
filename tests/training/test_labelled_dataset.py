"""Batches for acoustic models: little padding, all utterances once, bad files skipped."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("fairseq")
from fake_speech import STAMP, write_features
from feature_folders import write_frames

from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.corpora.batches import BatchLimits, cut_padded
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.stores.features import FeatureError
from vqw2v_plugin.training.datasets.base import digest_of, pad_batch
from vqw2v_plugin.training.datasets.label_join import UnequalRows
from vqw2v_plugin.training.datasets.labelled import (
    AudioSource,
    FeatureSource,
    LabelledDataset,
    input_dim,
    input_spec,
    open_source,
    unknown_speakers,
)
from vqw2v_plugin.training.datasets.several import (
    folders_of,
    joined,
    layer_dim,
    layer_specs,
    open_sources,
)


class Lengths:
    """A source of which only the lengths matter."""

    name = "lengths"

    def __init__(self, sizes: np.ndarray) -> None:
        self.sizes, self.utts = sizes, [f"u{i}" for i in range(len(sizes))]

    def read(self, index: int) -> np.ndarray:
        return np.full((int(self.sizes[index]), 2), index, np.float32)


def learning(sizes: np.ndarray) -> LabelledDataset:
    return LabelledDataset(Lengths(sizes), np.arange(len(sizes)), UnequalRows([[1, 2]] * len(sizes)))


def batches_of(dataset: LabelledDataset, epoch: int, **limits: int) -> list[list[int]]:
    np.random.seed(epoch)  # noqa: NPY002 (as fairseq does)
    return [b.tolist() for b in dataset.batch_by_size(dataset.ordered_indices(), **limits)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_done_to_an_utterance_s_features_is_not_done_to_the_store(
    tmp_path: Path, dtype: type
) -> None:
    write_frames(tmp_path, "train", {"u": np.ones((3, 2), dtype)}, {"layer": "z"})
    source = FeatureSource(tmp_path, "train")
    assert source.read(0).flags.writeable and not np.shares_memory(source.read(0), source.store.frames)
    heard = LabelledDataset(source, np.arange(1), UnequalRows([[1]])).load(0).source
    heard.zero_()
    assert heard.dtype == torch.float32 and source.read(0).tolist() == [[1.0, 1.0]] * 3


def test_batches_hold_each_utterance_once_with_little_padding() -> None:
    sizes = np.random.default_rng(0).integers(50, 1500, 2000)
    dataset = learning(sizes)
    batches = batches_of(dataset, 1, max_tokens=20_000)
    assert sorted(i for batch in batches for i in batch) == list(range(2000))
    padded = sum(len(batch) * sizes[batch].max() for batch in batches)
    assert all(len(batch) * sizes[batch].max() <= 20_000 for batch in batches)
    assert sizes.sum() / padded > 0.96
    assert max(map(len, batches_of(dataset, 1, max_tokens=20_000, max_sentences=8))) == 8


def test_epochs_differ_and_each_is_its_own() -> None:
    dataset = learning(np.random.default_rng(0).integers(50, 500, 300))
    assert batches_of(dataset, 1, max_tokens=3000) == batches_of(dataset, 1, max_tokens=3000)
    assert batches_of(dataset, 1, max_tokens=3000) != batches_of(dataset, 2, max_tokens=3000)
    assert not dataset.can_reuse_epoch_itr_across_epochs
    nearly_equal = learning(np.arange(1000, 1030))
    assert batches_of(nearly_equal, 1, max_sentences=4) != batches_of(nearly_equal, 2, max_sentences=4)


def test_what_is_too_long_for_a_batch_is_named_in_training_and_alone_in_decoding() -> None:
    sizes = np.array([10, 90, 20])
    with pytest.raises(
        ValueError, match=r"max_tokens \(50\) must be at least the longest utterance's 90 \(u1\)"
    ):
        batches_of(learning(sizes), 1, max_tokens=50)
    decoded = LabelledDataset(Lengths(sizes), np.arange(3), None, [None] * 3)
    assert sorted(map(sorted, batches_of(decoded, 1, max_tokens=50))) == [[0, 2], [1]]


def test_batches_that_can_be_scored_come_last() -> None:
    printed = [np.array([4, 2]) if i % 3 else None for i in range(30)]
    dataset = LabelledDataset(Lengths(np.arange(1, 31)), np.arange(30), None, printed)
    batches = batches_of(dataset, 1, max_sentences=4)
    scored = [dataset.collater([dataset[i] for i in batch])["target"] is not None for batch in batches]
    assert scored == sorted(scored) and scored[-1] and not scored[0]
    assert sorted(i for batch in batches for i in batch) == list(range(30))


def test_a_batch_pads_with_zeros_and_knows_its_lengths() -> None:
    columns = UnequalRows([[1, 2, 3], [4]])
    dataset = LabelledDataset(Lengths(np.array([3, 5])), np.arange(2), columns)
    batch = dataset.collater([dataset[0], dataset[1]])
    assert batch["net_input"]["source"].shape == (2, 5, 2) and batch["utts"] == ["u0", "u1"]
    assert batch["net_input"]["lengths"].tolist() == [3, 5] and not batch["net_input"]["source"][0, 3:].any()
    assert batch["targets"].tolist() == [[1, 2, 3], [4, 0, 0]] and batch["target_lengths"].tolist() == [3, 1]
    assert (batch["ntokens"], batch["nsentences"]) == (4, 2)
    assert dataset.collater([]) == {}


@pytest.mark.parametrize("shape", [(), (3,)], ids=["audio", "features"])
def test_padding_is_behind_the_ends_and_masked(shape: tuple[int, ...]) -> None:
    rows = [torch.ones(size, *shape) for size in (2, 4, 1)]
    padded = pad_batch(rows, value=-7.0)
    assert padded.values.shape == (3, 4, *shape) and padded.lengths.tolist() == [2, 4, 1]
    assert padded.mask.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1]]
    assert (padded.values[padded.mask] == -7).all() and (padded.values[~padded.mask] == 1).all()


def test_cutting_an_order_keeps_it() -> None:
    indices, sizes = np.array([5, 3, 9, 1]), np.array([4, 4, 2, 7])
    assert [b.tolist() for b in cut_padded(indices, sizes, BatchLimits(8))] == [[5, 3], [9], [1]]
    assert [b.tolist() for b in cut_padded(indices, sizes, BatchLimits(max_sentences=3))] == [[5, 3, 9], [1]]
    assert cut_padded(indices[:0], sizes[:0], BatchLimits(8)) == []


def test_features_and_audio_are_told_apart(tmp_path: Path) -> None:
    write_features(tmp_path / "mel", "train", ["x", "y"], ["ab|", "a|"])
    source = open_source(tmp_path / "mel", "train", 16_000)
    assert (
        isinstance(source, FeatureSource) and source.utts == ["x", "y"] and input_dim(tmp_path / "mel") == 8
    )
    assert source.read(0).dtype == np.float32 and len(source.read(0)) == source.sizes[0]
    assert input_spec(tmp_path / "mel", 16_000) == FeatureSpec.from_json(STAMP)

    wavs = manifest_of(tmp_path / "wav", [8000, 4000])
    source = open_source(wavs, "train", 16_000)
    assert isinstance(source, AudioSource) and source.sizes.tolist() == [16_000, 8000]
    assert source.read(1).shape == (8000,)
    assert input_dim(wavs) == 0 and input_spec(wavs, 16_000) == FeatureSpec(sample_rate=16_000)
    with pytest.raises(
        FeatureError, match=r"neither features nor test\.tsv \(the manifests there are: train\.tsv"
    ):
        open_source(wavs, "test", 16_000)


def manifest_of(folder: Path, sizes: list[int]) -> Path:
    folder.mkdir()
    for i, size in enumerate(sizes):
        soundfile.write(folder / f"{i}.flac", np.random.default_rng(i).normal(0, 0.1, size), 8000)
    rows = [{"path": f"{i}.flac", "samples": size} for i, size in enumerate(sizes)]
    write_manifest(folder / "train.tsv", folder, rows)
    return folder


def test_a_file_that_cannot_be_read_is_skipped_in_training_and_silence_in_decoding(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = manifest_of(tmp_path / "wav", [800, 1600, 2400])
    (folder / "2.flac").write_bytes(b"no audio")
    source = AudioSource(Manifest(folder / "train.tsv"), 8000)
    dataset = LabelledDataset(source, np.arange(3), UnequalRows([[1]] * 3))
    batch = dataset.collater([dataset[i] for i in range(3)])
    assert batch["id"].tolist() == [0, 1] and batch["targets"].shape == (2, 1)
    assert dataset.collater([dataset[2]]) == {}
    assert batches_of(dataset, 1, max_sentences=1)[0] != [2]  # the first is to be a readable one
    dataset.report_skipped()
    assert "1 of 3 utterances could not be read" in caplog.text and "2.flac" in caplog.text
    decoded = LabelledDataset(source, np.arange(3), None, [None] * 3)
    assert torch.equal(decoded[2].source, torch.zeros(2400))
    assert decoded.num_skipped == 1 and caplog.text.count("skipped: ") == 2  # in training once, and here
    with pytest.raises(AudioError):
        LabelledDataset(source, np.arange(3), UnequalRows([[1]] * 3), strict_audio=True)[2]
    with pytest.raises(AudioError, match=r"2\.flac"):  # who asks for that gets no silence either
        LabelledDataset(source, np.arange(3), None, [None] * 3, strict_audio=True)[2]
    with pytest.raises(AudioError, match="none of its 1 utterances could be read"):
        batches_of(LabelledDataset(source, np.array([2]), UnequalRows([[1]])), 1, max_sentences=1)
    (folder / "1.flac").write_bytes(b"nor this")
    rest = LabelledDataset(source, np.array([2, 1]), UnequalRows([[1]] * 2))
    with pytest.raises(AudioError, match=r"the first of these errors: .*2\.flac"):
        batches_of(rest, 1, max_sentences=1)
    caplog.clear()
    rest.set_epoch(2)
    assert "2 of 2 utterances could not be read so far" in caplog.text


def test_a_digest_is_of_what_is_heard_and_what_is_said(tmp_path: Path) -> None:
    names = {"utts": ["u0", "u1"], "spoken": ["ab|", "c|"]}

    def digest(folder: str, columns: list[list[int]], rows: list[int], **stamp: object) -> str:
        write_features(tmp_path / folder, "train", **names, **stamp)
        source = FeatureSource(tmp_path / folder, "train")
        return LabelledDataset(source, np.array(rows), UnequalRows(columns)).digest()

    first = digest("a", [[1, 2], [3]], [0, 1])
    assert first == digest("moved", [[1, 2], [3]], [0, 1])
    others = [
        digest("b", [[1, 2], [2]], [0, 1]),
        digest("c", [[1], [2, 3]], [0, 1]),
        digest("d", [[1, 2]], [0]),
        digest("e", [[1, 2], [3]], [0, 1], layer="c"),
        digest("f", [[1, 2], [3]], [1, 0]),
    ]
    assert len({first, *others}) == 6
    frames = np.ones((9, 8), np.float16)
    write_frames(tmp_path / "g", "train", {"u0": frames, "u1": frames}, STAMP)
    write_frames(tmp_path / "h", "train", {"u0": frames, "u1": frames[:7]}, STAMP)
    assert len({FeatureSource(tmp_path / name, "train").digest() for name in "gh"}) == 2  # of other audio


def test_features_are_taken_where_a_manifest_lies_beside_them(tmp_path: Path) -> None:
    folder = manifest_of(tmp_path / "wav", [800])
    assert isinstance(open_source(folder, "train", 8000), AudioSource)
    write_frames(folder, "train", {"u": np.ones((3, 2), np.float32)}, {"layer": "z"})
    assert isinstance(open_source(folder, "train", 8000), FeatureSource)


def test_a_clip_is_known_by_its_manifest_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = manifest_of(tmp_path / "wav", [800])
    whole = AudioSource(Manifest(folder / "train.tsv"), 8000).clip(0)
    monkeypatch.chdir(folder)
    assert AudioSource(Manifest("train.tsv"), 8000).clip(0) == whole


def test_a_digest_tells_its_parts_apart() -> None:
    assert digest_of("ab", "c") == sha256(b"2 ab1 c").hexdigest()
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of("\udcff") != digest_of("\udcfe")  # names of files that are not UTF-8


def test_what_is_printed_is_padded_by_the_dictionary_s_pad() -> None:
    printed = [np.array([5, 6, 2]), np.array([2])]
    dataset = LabelledDataset(Lengths(np.array([3, 5])), np.arange(2), None, printed, pad=1)
    assert dataset.collater([dataset[0], dataset[1]])["target"].tolist() == [[5, 6, 2], [2, 1, 1]]


def test_audio_is_kept_from_the_precision_of_training(tmp_path: Path) -> None:
    source = AudioSource(Manifest(manifest_of(tmp_path / "wav", [800, 1600]) / "train.tsv"), 8000)
    heard = LabelledDataset(source, np.arange(2), UnequalRows([[1]] * 2))
    assert heard.collater([heard[0], heard[1]])["net_input"]["source"].dtype == torch.float64
    features = learning(np.array([3, 5]))
    assert features.collater([features[0]])["net_input"]["source"].dtype == torch.float32


def test_a_model_that_goes_by_clips_or_masks_is_told_of_each_utterance(tmp_path: Path) -> None:
    source = AudioSource(Manifest(manifest_of(tmp_path / "wav", [800, 1600, 2400]) / "train.tsv"), 8000)
    plain = LabelledDataset(source, np.array([2, 0]), UnequalRows([[1]] * 2))
    assert not {"clips", "seeds"} & plain.collater([plain[0]])["net_input"].keys()
    dataset = LabelledDataset(source, np.array([2, 0]), UnequalRows([[1]] * 2), mask_seed=4)
    dataset.tells_clips = True
    seeds = []
    for epoch in (1, 2, 1):
        dataset.set_epoch(epoch)
        given = dataset.collater([dataset[0], dataset[1]])["net_input"]
        seeds.append(given["seeds"])
    assert seeds[0] == seeds[2] and len({*seeds[0], *seeds[1]}) == 4
    assert [(Path(clip.path).name, clip.samples) for clip in given["clips"]] == [
        ("2.flac", 2400),
        ("0.flac", 800),
    ]
    assert given["clips"] == [source.clip(2), source.clip(0)]
    other = LabelledDataset(source, np.array([2, 0]), UnequalRows([[1]] * 2), mask_seed=5)
    assert other.collater([other[0]])["net_input"]["seeds"] != seeds[0][:1]


def test_who_speaks_is_known_where_the_manifest_says(tmp_path: Path) -> None:
    folder = manifest_of(tmp_path / "wav", [800])
    told = unknown_speakers(AudioSource(Manifest(folder / "train.tsv"), 8000))
    assert told is not None and "train.tsv: has no column speaker, so each utterance goes by its own" in told
    row = {"path": "0.flac", "samples": 800, "speaker": "x"}
    write_manifest(folder / "train.tsv", folder, [row], list(row))
    knows = AudioSource(Manifest(folder / "train.tsv"), 8000)
    assert unknown_speakers(knows) is None
    strangers = AudioSource(Manifest(manifest_of(tmp_path / "more", [800, 400]) / "train.tsv"), 8000)
    whole = joined([knows, strangers])  # who speaks is known of all, or of none
    assert unknown_speakers(joined([knows, knows])) is None and unknown_speakers(whole) is not None
    assert [whole.clip(i) for i in range(3)] == [knows.clip(0), strangers.clip(0), strangers.clip(1)]


def test_several_splits_are_one_behind_the_other(tmp_path: Path) -> None:
    for split, sizes in (("a", (2, 3)), ("b", (1,)), ("c", (4,))):
        frames = {
            f"{split}{i}": np.full((size, 1), 10 * ord(split) + i, np.float32) for i, size in enumerate(sizes)
        }
        write_frames(tmp_path, split, frames, {"layer": "z"})
    parts = [FeatureSource(tmp_path, split) for split in "abc"]
    whole = joined(parts)
    assert whole.name == f"{tmp_path}/a,b,c" and whole.utts == ["a0", "a1", "b0", "c0"]
    assert whole.sizes.tolist() == [2, 3, 1, 4]
    assert [whole.read(i).tolist()[0] for i in range(4)] == [[970], [971], [980], [990]]
    digests = {joined(order).digest() for order in (parts, parts[::-1], parts[:2])}
    assert len(digests) == 3 and joined(parts[:1]) is parts[0]


def test_layers_that_are_mixed_are_read_side_by_side_and_of_one_size(tmp_path: Path) -> None:
    for name, dim in (("one", 2), ("two", 2), ("wide", 3)):
        frames = {"u": np.full((4, dim), len(name), np.float32)}
        write_frames(tmp_path / name, "train", frames, {"layer": name})
    one, two, wide = (str(tmp_path / name) for name in ("one", "two", "wide"))
    assert folders_of(f"{one}:{two}") == [one, two] and folders_of(one) == [one]
    (tmp_path / "a:b").mkdir()
    assert folders_of(str(tmp_path / "a:b")) == [str(tmp_path / "a:b")]  # a folder of that name
    source = open_sources([one, wide], "train", 16_000)
    assert source.read(0).tolist() == [[3.0, 3.0, 4.0, 4.0, 4.0]] * 4
    assert layer_dim([one, two]) == 2 and folders_of(":") == [":"]
    assert source.digest() != open_sources([one, two], "train", 16_000).digest()
    with pytest.raises(FeatureError, match=r"data=.*/wide: has 3 features a frame, .*/one has 2; layers"):
        layer_dim([one, two, wide])
    write_frames(tmp_path / "two", "train", {"u": np.zeros((5, 2), np.float32)}, {"layer": "two"})
    with pytest.raises(FeatureError, match=r"two/train: u has 5 frames, and 4 in .*one/train; layers"):
        open_sources([one, two], "train", 16_000)
    for folder, sizes in ((one, (2, 3)), (two, (3, 2))):  # as many in all
        frames = {name: np.zeros((size, 2), np.float32) for name, size in zip("uv", sizes, strict=True)}
        write_frames(Path(folder), "train", frames, {"layer": "z"})
    with pytest.raises(FeatureError, match=r"two/train: u has 3 frames, and 2 in .*one/train; layers"):
        open_sources([one, two], "train", 16_000)


def test_of_dev_and_valid_the_manifest_that_is_there_is_read(tmp_path: Path) -> None:
    folder = manifest_of(tmp_path / "wav", [8000])
    (folder / "train.tsv").rename(folder / "dev.tsv")
    assert open_source(folder, "valid", 16_000).utts == ["0"]


def test_of_several_folders_none_is_of_audio(tmp_path: Path) -> None:
    write_frames(tmp_path / "mel", "train", {"u": np.zeros((4, 2), np.float32)}, {"layer": "logmel"})
    mel, wav = str(tmp_path / "mel"), str(manifest_of(tmp_path / "wav", [800]))
    for folders in ([mel, wav], [wav, mel]):
        with pytest.raises(
            FeatureError, match=r"data=.*/wav: holds no features; of several folders each holds"
        ):
            layer_specs(folders, 16_000)
    assert [spec.layer for spec in layer_specs([mel, mel], 16_000)] == ["logmel"] * 2
    assert layer_specs([wav], 8_000) == [FeatureSpec(sample_rate=8_000)]
