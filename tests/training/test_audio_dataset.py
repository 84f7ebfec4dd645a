"""Batches of crops: reproducible, without padding, and not to be stopped by a bad file."""

import logging
import pickle
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
from vqw2v_plugin.audio.reading import AudioError, read_audio
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.corpora.sizes import sizes_at
from vqw2v_plugin.training.datasets.audio import AudioCropDataset, LoadedClip
from vqw2v_plugin.training.datasets.base import Unreadable

Corpus = Callable[[int], Manifest]


def dataset_of(manifest: Manifest, **options: object) -> AudioCropDataset:
    return AudioCropDataset(manifest, **{"sample_rate": 16_000, "max_sample_size": 4_000, **options})


def source(dataset: AudioCropDataset, index: int) -> torch.Tensor:
    clip = dataset[index]
    assert isinstance(clip, LoadedClip)
    return clip.source


def batch_of(dataset: AudioCropDataset, indices: range) -> dict:
    return dataset.collater([dataset[i] for i in indices])


def test_crops_depend_only_on_seed_epoch_and_index(corpus: Corpus) -> None:
    manifest = corpus(4)
    one, two = dataset_of(manifest), dataset_of(manifest)
    np.random.seed(1)  # noqa: NPY002 (a global state that must not matter)
    forwards = [source(one, i) for i in range(4)]
    np.random.seed(2)  # noqa: NPY002
    backwards = [source(two, i) for i in (3, 2, 1, 0)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    one.set_epoch(2)
    assert not torch.equal(source(one, 0), forwards[0])
    one.set_epoch(1)
    assert torch.equal(source(one, 0), forwards[0])
    assert not torch.equal(source(dataset_of(manifest, seed=2), 0), forwards[0])
    assert len(source(dataset_of(manifest, seed=-2), 0)) == len(forwards[0])  # fairseq takes any number


def test_crops_are_pieces_of_their_utterance_from_everywhere_in_it(corpus: Corpus) -> None:
    manifest = corpus(1)
    dataset = dataset_of(manifest, max_sample_size=100)
    whole = read_audio(manifest[0].path, 16_000)
    starts = []
    for epoch in range(1, 101):
        dataset.set_epoch(epoch)
        crop = source(dataset, 0).numpy()
        starts.append(whole.tobytes().find(crop.tobytes()) // whole.itemsize)
    assert 0 <= min(starts) < 600 and 5_300 < max(starts) <= 5_900


@pytest.mark.parametrize(("method", "persistent"), [("fork", False), ("fork", True), ("spawn", False)])
def test_workers_change_nothing(corpus: Corpus, method: str, persistent: bool) -> None:
    dataset = dataset_of(corpus(4))
    batches = [[0, 1], [2, 3]]
    options = {"collate_fn": dataset.collater, "batch_sampler": batches}
    loader = DataLoader(
        dataset, num_workers=2, multiprocessing_context=method, persistent_workers=persistent, **options
    )
    for epoch in (1, 2) if method == "fork" else (2,):
        dataset.set_epoch(epoch)  # must reach workers that are already running
        for apart, here in zip(loader, DataLoader(dataset, **options), strict=True):
            assert torch.equal(apart["net_input"]["source"], here["net_input"]["source"])


def test_a_pickled_dataset_draws_the_same(corpus: Corpus) -> None:
    dataset = dataset_of(corpus(2))
    dataset.set_epoch(3)
    assert torch.equal(source(pickle.loads(pickle.dumps(dataset)), 1), source(dataset, 1))


def test_batch_has_no_padding(corpus: Corpus) -> None:
    manifest = corpus(4)  # 6,000 to 10,500 samples
    batch = batch_of(dataset_of(manifest, max_sample_size=9_000), range(4))
    assert batch["net_input"]["source"].shape == (4, 6_000)
    assert (batch["net_input"]["source"] != 0).float().mean() > 0.99
    assert batch["id"].tolist() == [0, 1, 2, 3] and batch["id"].dtype == torch.int64
    assert batch["utts"] == ["clip0", "clip1", "clip2", "clip3"] and batch["skipped"] == 0
    for row, utterance in zip(batch["net_input"]["source"].numpy(), manifest, strict=True):
        assert row.tobytes() in read_audio(utterance.path, 16_000).tobytes()


def test_a_padded_batch_has_each_crop_changed_too(corpus: Corpus) -> None:
    changes = DrawnChanges(("noise",), 1.0)
    dataset = dataset_of(corpus(3), pad=True, changes=changes)
    heard = batch_of(dataset, range(3))["net_input"]
    assert heard["changed"].shape == heard["source"].shape
    for wav, other, length in zip(heard["source"], heard["changed"], heard["lengths"], strict=True):
        assert not torch.equal(wav, other) and not other[length:].any() and other[:length].any()
    assert torch.equal(batch_of(dataset, range(3))["net_input"]["changed"], heard["changed"])


def test_a_padded_batch_has_each_crop_whole_and_says_what_is_padding(corpus: Corpus) -> None:
    manifest = corpus(4)  # 6,000 to 10,500 samples
    dataset = dataset_of(manifest, max_sample_size=9_000, pad=True)
    batch = batch_of(dataset, range(4))
    wav, lengths = batch["net_input"]["source"], batch["net_input"]["lengths"]
    assert wav.shape == (4, 9_000) and lengths == [6_000, 7_500, 9_000, 9_000]
    for i, length in enumerate(lengths):
        assert torch.equal(wav[i, :length], source(dataset, i)) and not wav[i, length:].any()
    plain = batch_of(dataset_of(manifest, max_sample_size=9_000), range(4))
    assert set(plain["net_input"]) == {"source"}  # off by default
    seeds = batch["net_input"]["seeds"]
    assert len(set(seeds)) == 4 and batch_of(dataset, [2])["net_input"]["seeds"] == [seeds[2]]
    dataset.set_epoch(2)
    assert not set(batch_of(dataset, range(4))["net_input"]["seeds"]) & set(seeds)
    assert {k: v for k, v in batch.items() if k not in ("net_input", "id")} == {
        k: v for k, v in plain.items() if k not in ("net_input", "id")
    }


@pytest.mark.parametrize("normalize", [False, True])
def test_normalize_gives_zero_mean_and_unit_variance(corpus: Corpus, normalize: bool) -> None:
    crop = source(dataset_of(corpus(1), normalize=normalize), 0)
    assert abs(crop.std() - (1.0 if normalize else 0.1)) < 0.01 and abs(crop.mean()) < 0.01


def test_normalized_silence_is_zero(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.flac", np.zeros(6_000), 16_000)
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "s.flac", "samples": 6_000}])
    assert source(dataset_of(Manifest(tmp_path / "m.tsv"), normalize=True), 0).tolist() == [0.0] * 4_000


def test_cached_crops_are_the_decoded_ones(corpus: Corpus, tmp_path: Path) -> None:
    manifest = corpus(2)
    cached = dataset_of(manifest, cache=PcmCache(tmp_path / "cache", 16_000))
    for _ in range(2):
        assert torch.equal(source(cached, 1), source(dataset_of(manifest), 1))


@pytest.mark.parametrize("with_rate", [False, True])
def test_sizes_count_at_the_target_rate(tmp_path: Path, with_rate: bool) -> None:
    soundfile.write(tmp_path / "x.wav", np.stack([noise(3_000)] * 2, axis=1), 8_000)
    columns = ["path", "samples", "rate"] if with_rate else ["path", "samples"]
    write_manifest(
        tmp_path / "m.tsv", tmp_path, [{"path": "x.wav", "samples": 3_000, "rate": 8_000}], columns
    )
    dataset = dataset_of(Manifest(tmp_path / "m.tsv"), max_sample_size=9_000)
    assert dataset.sizes.tolist() == [6_000] and len(source(dataset, 0)) == 6_000 == dataset.size(0)


def test_segments_are_drawn_from_their_piece_only(tmp_path: Path) -> None:
    wave = noise(20_000)
    soundfile.write(tmp_path / "x.wav", wave, 16_000, subtype="FLOAT")
    rows = [{"path": "x.wav", "samples": 5_000, "start": start} for start in (0, 10_000)]
    write_manifest(tmp_path / "m.tsv", tmp_path, rows, ["path", "samples", "start"])
    dataset = dataset_of(Manifest(tmp_path / "m.tsv"), max_sample_size=9_000)
    np.testing.assert_array_equal(source(dataset, 1).numpy(), wave[10_000:15_000])


def test_short_utterances_are_left_out_and_counted(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        dataset = dataset_of(corpus(4), min_sample_size=7_500, max_sample_size=8_000)
    assert len(dataset) == 3 and dataset[0].utt == "clip1"
    assert (
        "left out 1 of 4 utterances shorter than min_sample_size=7500 samples (0.469 s): clip0 (6000)"
        in caplog.text
    )
    assert caplog.records[-1].message.endswith("clip0 (6000)")
    with pytest.raises(AudioError, match="none of its 4 utterances has min_sample_size=20000"):
        dataset_of(corpus(4), min_sample_size=20_000, max_sample_size=20_000)
    named = corpus(4)
    named.sizes[:] = named.sizes[::-1].copy()
    dataset_of(named, min_sample_size=7_500, max_sample_size=8_000)
    assert "clip3 (6000)" in caplog.text  # those that are short, not the first ones
    for files, end in ((4, "clip0 (6000), clip1 (7500), clip2 (9000)"), (5, "clip2 (9000), …")):
        dataset_of(corpus(files), min_sample_size=10_000, max_sample_size=20_000)
        assert caplog.records[-1].message.endswith(end)


def test_long_crops_come_first_and_ties_are_shuffled(corpus: Corpus) -> None:
    dataset = dataset_of(corpus(8), max_sample_size=9_000)
    orders = set()
    for seed in range(5):
        np.random.seed(seed)  # noqa: NPY002 (as fairseq does)
        order = dataset.ordered_indices()
        sizes = dataset.num_tokens_vec(order).tolist()
        assert sizes == sorted(sizes, reverse=True) and sizes == [dataset.num_tokens(i) for i in order]
        orders.add(tuple(order.tolist()))
    assert len(orders) > 1
    assert dataset_of(corpus(8), shuffle=False).ordered_indices().tolist() == list(range(8))


def test_no_utterance_is_lost_where_a_batch_is_below_the_multiple(corpus: Corpus) -> None:
    """fairseq drops such a last batch: always the shortest utterances, epoch after epoch."""
    dataset = dataset_of(corpus(11))
    indices = dataset.ordered_indices()
    longest = dataset.num_tokens(int(indices[0]))
    batches = dataset.batch_by_size(indices, max_tokens=4 * longest, required_batch_size_multiple=8)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(dataset)))


def test_batches_hold_at_most_max_tokens(corpus: Corpus) -> None:
    dataset = dataset_of(corpus(8))
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=12_000)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(8))
    assert all(dataset.num_tokens_vec(np.array(batch)).sum() <= 12_000 for batch in batches)
    assert dataset.filter_indices_by_size([1, 2], 1) == ([1, 2], [])
    with pytest.raises(
        ValueError, match=r"max_tokens \(3999\) must be at least the longest crop's 4000 samples"
    ):
        dataset.batch_by_size(dataset.ordered_indices(), max_tokens=3_999)
    assert len(dataset.batch_by_size(dataset.ordered_indices(), max_tokens=4_000)) == 8


def spoiled(corpus: Corpus, *bad: int) -> Manifest:
    manifest = corpus(8)
    for i in bad:
        path = Path(manifest[i].path)
        path.write_bytes(path.read_bytes()[:2_000])
    return manifest


def test_truncated_flac_is_skipped_and_named(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    dataset = dataset_of(spoiled(corpus, 1))
    for _ in range(3):
        batch = batch_of(dataset, range(3))
    assert batch["id"].tolist() == [0, 2] and batch["skipped"] == 1
    assert isinstance(dataset[1], Unreadable) and dataset.num_skipped == 1
    assert caplog.text.count("clip1.flac: breaks off or is corrupt") == 1
    dataset.set_epoch(2)
    dataset.set_epoch(3)
    assert caplog.text.count("1 of 8 utterances could not be read so far") == 1


def test_files_skipped_by_workers_are_counted_here(corpus: Corpus) -> None:
    dataset = dataset_of(spoiled(corpus, 1, 6))
    loader = DataLoader(dataset, collate_fn=dataset.collater, batch_size=2, num_workers=2)
    assert sum(batch["skipped"] for batch in loader) == 2 == dataset.num_skipped


def test_strict_raises(corpus: Corpus) -> None:
    with pytest.raises(AudioError, match=r"clip1\.flac: breaks off or is corrupt"):
        dataset_of(spoiled(corpus, 1), strict=True)[1]


def test_a_batch_of_bad_files_is_empty_and_never_the_first(corpus: Corpus) -> None:
    dataset = dataset_of(spoiled(corpus, *range(7)), shuffle=False)
    assert batch_of(dataset, range(4)) == {}
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_sentences=1)
    assert list(batches[0]) == [7] and sorted(int(b[0]) for b in batches) == list(range(8))


def test_a_corpus_of_bad_files_says_so(corpus: Corpus) -> None:
    dataset = dataset_of(spoiled(corpus, *range(8)), shuffle=False)
    with pytest.raises(AudioError, match=r"none of its 8 utterances could be read; .*clip0\.flac"):
        dataset.batch_by_size(dataset.ordered_indices(), max_sentences=1)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", "/no/such/root", [{"path": "x.wav", "samples": 9_000}])
    with pytest.raises(AudioError, match=r"m\.tsv:1: the root folder /no/such/root does not exist"):
        dataset_of(Manifest(tmp_path / "m.tsv"))


@pytest.mark.parametrize("sizes", [(0, 100), (200, 100)])
def test_impossible_sizes_are_refused(corpus: Corpus, sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="`max_sample_size` is a number of more than 20 digits"):
        dataset_of(corpus(1), max_sample_size=10**23)
    with pytest.raises(ValueError, match="must be at least 1 and at most max_sample_size"):
        dataset_of(corpus(1), min_sample_size=sizes[0], max_sample_size=sizes[1])


def test_a_file_of_an_unforeseen_rate_that_is_too_short_is_skipped(tmp_path: Path) -> None:
    rows = [{"path": f"{rate}.wav", "samples": 6_000} for rate in (16_000, 48_000)]
    for row, rate in zip(rows, (16_000, 48_000), strict=True):
        soundfile.write(tmp_path / str(row["path"]), noise(6_000), rate)
    write_manifest(tmp_path / "m.tsv", tmp_path, rows)
    dataset = dataset_of(Manifest(tmp_path / "m.tsv"), min_sample_size=4_000)
    bad = dataset[1]
    assert isinstance(bad, Unreadable) and "48000.wav: has 2000 samples at 16000 Hz, fewer than" in bad.reason


def test_the_rate_is_that_of_the_first_file_that_can_be_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "there.wav", noise(4_000), 8_000)
    write_manifest(
        tmp_path / "m.tsv", tmp_path, [{"path": n, "samples": 4_000} for n in ("gone.wav", "there.wav")]
    )
    assert sizes_at(Manifest(tmp_path / "m.tsv"), 16_000).tolist() == [8_000, 8_000]


def test_a_digest_is_of_the_rows_wherever_they_lie(tmp_path: Path) -> None:
    digests = []
    for root, samples in (("a", 9_000), ("moved", 9_000), ("a", 9_001)):
        (tmp_path / root).mkdir(exist_ok=True)
        write_manifest(tmp_path / "m.tsv", tmp_path / root, [{"path": "x.wav", "samples": samples}])
        digests.append(dataset_of(Manifest(tmp_path / "m.tsv")).digest())
    assert digests[0] == digests[1] != digests[2]


def test_without_any_readable_file_the_default_rate_is_assumed(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "gone.wav", "samples": 9_000}])
    assert dataset_of(Manifest(tmp_path / "m.tsv"), max_sample_size=9_000).sizes.tolist() == [9_000]


@pytest.mark.parametrize("rate", [0, -16_000, 1_000_001, 10**23])
def test_a_rate_that_is_none_is_named(tmp_path: Path, rate: int) -> None:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    with pytest.raises(ValueError, match=r"`sample_rate` is .*; expected 1 to 1,000,000"):
        sizes_at(Manifest(tmp_path / "train.tsv"), rate)


def test_a_clip_s_two_crops_are_drawn_apart(corpus: Corpus) -> None:
    dataset = dataset_of(corpus(2))
    clip = dataset[0]
    assert isinstance(clip, LoadedClip)
    first, second = np.random.default_rng(dataset.draw_key(0)).random(2)
    assert clip.position == second != first


def test_a_changed_twin_stands_beside_each_crop(corpus: Corpus) -> None:
    manifest, changes = corpus(4), DrawnChanges(("noise",), 1.0)
    plain, dataset = dataset_of(manifest), dataset_of(manifest, changes=changes)
    batch, same = batch_of(dataset, range(4))["net_input"], batch_of(plain, range(4))["net_input"]
    assert set(same) == {"source"} and torch.equal(batch["source"], same["source"])
    added = batch["changed"] - batch["source"]
    decibels = 10 * torch.log10(batch["source"].square().mean(1) / added.square().mean(1))
    assert bool((decibels > 4).all()) and bool((decibels < 21).all()) and len(decibels.unique()) == 4
    again = batch_of(dataset_of(manifest, changes=changes), range(4))["net_input"]
    assert torch.equal(again["changed"], batch["changed"])
    dataset.set_epoch(2)
    moved = batch_of(dataset, range(4))["net_input"]
    assert not torch.allclose(moved["changed"] - moved["source"], added)


def test_a_changed_twin_is_cropped_and_normalized_as_its_clip(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DrawnChanges, "__call__", lambda self, wav, rng, rate: 2 * wav + 0.1)
    dataset = dataset_of(corpus(4), changes=DrawnChanges(("noise",)), max_sample_size=9_000)
    batch = batch_of(dataset, range(4))["net_input"]
    torch.testing.assert_close(batch["changed"], 2 * batch["source"] + 0.1)
    normal = dataset_of(corpus(4), changes=DrawnChanges(("noise",)), normalize=True)
    batch = batch_of(normal, range(4))["net_input"]
    torch.testing.assert_close(batch["changed"], batch["source"], atol=2e-3, rtol=1e-2)


def test_each_crop_of_each_epoch_is_changed_by_a_draw_of_its_own_at_its_rate(corpus: Corpus) -> None:
    dataset, drawn = dataset_of(corpus(3), sample_rate=8_000, max_sample_size=2_000), []

    def changes(wav: np.ndarray, rng: np.random.Generator, rate: int) -> np.ndarray:
        drawn.append((rng.random(2).tolist(), rate, len(wav)))
        return wav

    dataset.changes = changes  # type: ignore[assignment]
    for epoch in (1, 2, 1):
        dataset.set_epoch(epoch)
        for i in range(3):
            dataset.crop(i)
    assert {(rate, size) for _, rate, size in drawn} == {(8_000, 2_000)}
    assert drawn[:3] == drawn[6:] and len({str(each) for each, _, _ in drawn}) == 6
    crops = [np.random.default_rng(dataset.draw_key(i)).random(2).tolist() for i in range(3)]
    assert not any(
        crop in [each for each, _, _ in drawn] for crop in crops
    )  # nor does it say where it is cut


def test_hours_are_of_whole_utterances_and_of_what_crops_hear(corpus: Corpus) -> None:
    dataset = dataset_of(corpus(4), max_sample_size=8_000, min_sample_size=7_000)
    assert [3600 * hours for hours in dataset.hours(np.array([0, 2]))] == pytest.approx(
        [(7_500 + 10_500) / 16_000, (7_500 + 8_000) / 16_000]
    )
    assert dataset.column("path") == ["clip1.flac", "clip2.flac", "clip3.flac"]  # the first is too short
