"""Mixtures: shares as asked, in passes, the same whoever asks, and each batch as its corpora make it."""

import itertools
import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sounds import noise

from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.corpora.mixture import Entry, MixtureError
from vqw2v_plugin.training import mixing
from vqw2v_plugin.training.datasets.audio import AudioCropDataset
from vqw2v_plugin.training.datasets.base import BatchDataset
from vqw2v_plugin.training.datasets.mixture import MixtureDataset
from vqw2v_plugin.training.mixing import Mixer, told

COUNTS = {"de": 40, "en": 300, "fr": 7}
AN_HOUR = 3600.0


class Numbers(BatchDataset[int]):
    """Items that are what they are drawn by; each is of so many seconds."""

    def __init__(self, name: str, sizes: Sequence[int], broken: Sequence[int] = ()) -> None:
        super().__init__(name, np.array(sizes, dtype=np.int64), seed=5)
        self.broken = broken

    def load(self, index: int) -> int:
        if index in self.broken:
            raise AudioError(f"{self.name}/{index}: broken")
        return self.draw_seed(index)

    def collate(self, items: Sequence[int], num_skipped: int) -> dict[str, Any]:
        return {"seeds": list(items), "skipped": num_skipped}

    def hours(self, items: Any) -> tuple[float, float]:
        return (float(self.sizes[items].sum() / AN_HOUR),) * 2

    def digest(self) -> str:
        return self.name

    def too_long(self, index: int) -> str:
        return "seconds"

    def column(self, name: str) -> list[str]:
        return (
            super().column(name) if name != "lang" else [["en", "de"][i % 3 == 0] for i in range(len(self))]
        )


def numbers(entry: Entry, split: str) -> Numbers:
    """As many as the folder is called, of 5 to 15 s."""
    count = COUNTS[entry.lang or "en"]
    rng = np.random.default_rng(len(split))
    return Numbers(f"{entry.data}/{split}", rng.integers(5, 15, count).tolist())


def mixed(
    folder: Path, text: str, split: str = "train", trains: bool = True, seed: int = 1
) -> MixtureDataset:
    for lang in COUNTS:
        (folder / lang).mkdir(exist_ok=True)
        for name in ("train", "valid"):
            (folder / lang / f"{name}.tsv").touch()
    (folder / "mixture.yaml").write_text(text, encoding="utf-8")
    found = Mixer("tsv", numbers, seed).load(str(folder / "mixture.yaml"), split, trains)
    assert isinstance(found, MixtureDataset)
    return found


def listed(langs: Sequence[str] = tuple(COUNTS), **settings: float) -> str:
    lines = [f"{name}: {value}" for name, value in settings.items()]
    entries = ", ".join(f"{{data: {lang}, lang: {lang}}}" for lang in langs)
    return "\n".join([*lines, f"corpora: [{entries}]"])


def epochs_of(dataset: MixtureDataset, number: int) -> list[np.ndarray]:
    found = []
    for epoch in range(1, number + 1):
        dataset.set_epoch(epoch)
        found.append(dataset.drawn())
    return found


def langs_of(dataset: MixtureDataset, indices: np.ndarray) -> list[str]:
    return [dataset.members[int(c)].lang for c in dataset._corpus_of[indices % len(dataset)]]


@pytest.mark.parametrize("alpha", [0, 0.3, 0.5, 1])
def test_a_language_is_heard_for_its_share(tmp_path: Path, alpha: float) -> None:
    dataset = mixed(tmp_path, listed(alpha=alpha, max_repeat=100))
    assert dataset.draws is not None
    indices = np.concatenate(epochs_of(dataset, 5))
    heard = Counter[str]()
    for lang, size in zip(langs_of(dataset, indices), dataset.num_tokens_vec(indices).tolist(), strict=True):
        heard[lang] += size
    hours = np.array([c.hours for c in dataset.draws.corpora])
    wanted = (hours / hours.sum()) ** alpha
    wanted /= wanted.sum()
    for lang, share in zip(COUNTS, wanted, strict=True):
        bound = 3 * np.sqrt(share * (1 - share) / len(indices))  # of as many independent draws
        assert abs(heard[lang] / heard.total() - share) < bound
    assert heard.total() / AN_HOUR == pytest.approx(5 * hours.sum(), rel=0.02)


@pytest.mark.parametrize("alpha", [0, 0.5, 1])
def test_nothing_is_lost_or_doubled_within_a_pass(tmp_path: Path, alpha: float) -> None:
    dataset = mixed(tmp_path, listed(alpha=alpha, max_repeat=100, epoch_hours=0.31))
    drawn = np.concatenate(epochs_of(dataset, 9))
    assert len(set(drawn.tolist())) == len(drawn)  # an index is an item and its pass
    langs = np.array(langs_of(dataset, drawn))
    for lang, count in COUNTS.items():
        passes = drawn[langs == lang] // len(dataset)
        sizes = [int((passes == number).sum()) for number in range(passes.max() + 1)]
        assert (np.diff(passes) >= 0).all() and sizes[:-1] == [count] * (len(sizes) - 1)


def test_by_hours_an_epoch_is_every_utterance_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    dataset = mixed(tmp_path, listed(alpha=1))
    one, two = (epoch % len(dataset) for epoch in epochs_of(dataset, 2))
    assert sorted(one.tolist()) == sorted(two.tolist()) == list(range(len(dataset)))
    assert one.tolist() != two.tolist()


def test_a_seed_may_be_negative(tmp_path: Path) -> None:
    dataset = mixed(tmp_path, listed(alpha=1), seed=-3)
    dataset.parts[0].seed = -5
    assert len(dataset.drawn()) == len(dataset) and isinstance(dataset[0].item, int)


def test_what_is_drawn_depends_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    first = epochs_of(mixed(tmp_path, listed(alpha=0.5)), 3)
    again = mixed(tmp_path, listed(alpha=0.5))
    again.set_epoch(3)
    np.random.seed(3)  # noqa: NPY002 (a global state that must not matter)
    assert np.array_equal(again.drawn(), first[2])
    assert not np.array_equal(first[1], first[2])
    other = mixed(tmp_path, listed(alpha=0.5), seed=2)
    other.set_epoch(3)
    assert len(other.drawn()) == len(first[2]) and not np.array_equal(other.drawn(), first[2])


def test_an_utterance_has_the_draws_of_its_pass_in_any_process(tmp_path: Path) -> None:
    dataset = mixed(tmp_path, listed(alpha=0, max_repeat=100))
    dataset.set_epoch(4)
    alone = numbers(Entry("fr", lang="fr"), "train")
    for index in dataset.drawn()[-3:].tolist():
        times, item = divmod(index, len(dataset))
        alone.set_epoch(times + 1)
        assert dataset[index].item == alone[item - COUNTS["de"] - COUNTS["en"]]
        assert pickle.loads(pickle.dumps(dataset))[index] == dataset[index]


def test_batches_are_the_same_from_any_of_them_on_and_ranks_share_them(tmp_path: Path) -> None:
    from fairseq.data.iterators import EpochBatchIterator

    def iterator(rank: int, ranks: int = 3) -> Any:
        dataset = mixed(tmp_path, listed(alpha=0.5))
        dataset.set_epoch(2)
        np.random.seed(1)  # noqa: NPY002 (as fairseq does)
        batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=150)
        return EpochBatchIterator(
            dataset, dataset.collater, batches, num_shards=ranks, shard_id=rank, seed=1, epoch=2
        )

    def ids(found: Any) -> list[list[int]]:
        return [batch["id"].tolist() for batch in found if batch]

    shards = [ids(iterator(rank).next_epoch_itr()) for rank in range(3)]
    every = list(itertools.chain(*itertools.chain(*shards)))
    assert len(set(every)) == len(every) == len(epochs_of(mixed(tmp_path, listed(alpha=0.5)), 2)[1])
    begun, gone_on = iterator(1), iterator(1)
    stepped = begun.next_epoch_itr()
    before = ids(itertools.islice(stepped, 2))
    gone_on.load_state_dict({**begun.state_dict(), "epoch": 2, "iterations_in_epoch": 2})
    assert before + ids(gone_on.next_epoch_itr()) == shards[1]


def test_a_batch_is_of_several_languages_and_says_of_which(tmp_path: Path) -> None:
    dataset = mixed(tmp_path, listed(alpha=0, max_repeat=100))
    indices = dataset.ordered_indices()
    assert (np.diff(dataset.num_tokens_vec(indices)) <= 0).all()
    batch = dataset.collater([dataset[i] for i in indices[:40]])
    assert [dataset.kinds[kind][0] for kind in batch["kinds"]] == langs_of(dataset, indices[:40])
    assert set(batch["kinds"]) == set(range(batch["num_kinds"])) == {0, 1, 2}
    assert batch["id"].tolist() == indices[:40].tolist()


def test_validation_hears_each_once_in_all_or_by_language_or_domain(tmp_path: Path) -> None:
    text = "corpora: [{data: de, lang: de, domain: read}, {data: en, lang: en, domain: phone}, {data: fr}]"
    whole = mixed(tmp_path, text, "valid", trains=False)
    assert sorted(whole.ordered_indices().tolist()) == list(range(sum(COUNTS.values()) - 7 + 300))
    assert len(mixed(tmp_path, text, "valid_de", trains=False)) == COUNTS["de"]
    assert len(mixed(tmp_path, text, "valid_phone", trains=False)) == COUNTS["en"]
    with pytest.raises(MixtureError, match="no corpus has the split 'valid_ru'"):
        mixed(tmp_path, text, "valid_ru", trains=False)
    with pytest.raises(
        MixtureError, match=r"no corpus has the split 'test'; .* or domain \(de, en, phone, re"
    ):
        mixed(tmp_path, text, "test", trains=False)
    with pytest.raises(MixtureError, match=r"with the name of a language or domain$"):
        mixed(tmp_path, "corpora: [{data: fr}]", "test", trains=False)
    (tmp_path / "en" / "valid_de.tsv").touch()  # a split of its own, of which its domain is asked for
    assert len(mixed(tmp_path, text, "valid_de_phone", trains=False)) == COUNTS["en"]


def test_one_language_of_them_may_be_trained_on(tmp_path: Path) -> None:
    dataset = mixed(tmp_path, listed(alpha=0.5), "train_de")
    assert dataset.draws is not None and dataset.draws.share.tolist() == [1]
    assert len(dataset.drawn()) == COUNTS["de"]


def test_a_manifest_is_taken_apart_by_its_column(tmp_path: Path) -> None:
    text = "alpha: 0\ncorpora: [{data: en, by: lang}]"
    dataset = mixed(tmp_path, text)
    assert [(m.lang, len(m.items)) for m in dataset.members] == [("de", 100), ("en", 200)]
    seconds = dataset.num_tokens_vec(dataset.drawn())
    german = np.array(langs_of(dataset, dataset.drawn())) == "de"
    assert seconds[german].sum() == pytest.approx(seconds[~german].sum(), rel=0.05)
    phone = mixed(tmp_path, "corpora: [{data: en, by: lang, domain: phone}]")
    assert [(m.lang, m.domain) for m in phone.members] == [("de", "phone"), ("en", "phone")]
    valid = mixed(tmp_path, text, "valid_de", trains=False)
    assert sorted(valid.ordered_indices().tolist()) == list(range(0, 300, 3))
    with pytest.raises(MixtureError, match=r"mixture.yaml:1: `by` is 'domain', but .*no column 'domain'"):
        mixed(tmp_path, "corpora: [{data: en, by: domain}]")


def test_repeating_a_language_too_often_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MixtureError, match=r"fr \(fr, 0.0\d h\) would be heard 1\d\.\d times while all 0.9"):
        mixed(tmp_path, listed(alpha=0))
    assert mixed(tmp_path, listed(alpha=0, max_repeat=20)).draws
    assert mixed(tmp_path, listed(alpha=0.5, epoch_hours=100)).draws  # longer epochs repeat nothing more


def test_corpora_of_a_language_have_shares_and_orders_of_their_own(tmp_path: Path) -> None:
    """One of them is of utterances three times as long; within a language that may count for nothing."""
    mixed(tmp_path, listed())
    (tmp_path / "mixture.yaml").write_text(
        "alpha: 1\nalpha_within: 0\ncorpora: [{data: de, lang: x}, {data: en, lang: x}]"
    )

    def make(entry: Entry, split: str) -> Numbers:
        return Numbers(entry.data, [9 if entry.data.endswith("de") else 27] * 60)

    dataset = Mixer("tsv", make).load(str(tmp_path / "mixture.yaml"), "train", True)
    assert isinstance(dataset, MixtureDataset) and dataset.draws is not None
    assert dataset.draws.share.tolist() == [0.5, 0.5]
    drawn = np.concatenate(epochs_of(dataset, 3))
    ones, others = (drawn[(drawn % 120 >= 60) == long] % 60 for long in (False, True))
    assert sorted(ones[:60].tolist()) == sorted(others[:60].tolist()) == list(range(60))
    assert ones[:60].tolist() != others[:60].tolist()


def test_what_another_epoch_would_draw_changes_nothing_of_this_one() -> None:
    dataset = Numbers("de", [9] * 3)
    now = [dataset[i] for i in range(3)]
    then = [dataset.in_epoch(4)[i] for i in range(3)]
    assert [dataset[i] for i in range(3)] == now and not {*now} & {*then}
    dataset.set_epoch(4)
    assert [dataset[i] for i in range(3)] == then


def test_another_mixture_has_another_digest(tmp_path: Path) -> None:
    texts = [listed(alpha=1), listed(alpha=0.5), listed(alpha=1, epoch_hours=1), listed(["de", "en"])]
    digests = [mixed(tmp_path, text).digest() for text in texts]
    assert len(set(digests)) == len(texts) and mixed(tmp_path, texts[0]).digest() == digests[0]


def test_what_cannot_be_read_is_counted_once_however_often_it_is_drawn(tmp_path: Path) -> None:
    def make(entry: Entry, split: str) -> Numbers:
        return Numbers(entry.data, [9, 9, 9], broken=[1] if entry.lang == "fr" else [])

    mixed(tmp_path, listed())
    dataset = Mixer("tsv", make).load(str(tmp_path / "mixture.yaml"), "train", True)
    fr_1 = 7
    batch = dataset.collater([dataset[fr_1 + 9 * times] for times in range(3)] + [dataset[0]])
    assert dataset.num_skipped == 1 and batch["skipped"] == 3 and batch["id"].tolist() == [0]


def test_the_table_counts_the_epochs_that_there_will_be(tmp_path: Path) -> None:
    dataset = mixed(tmp_path, listed(alpha=0.5))
    settings = {"optimization": {"max_update": 100, "max_epoch": 0, "update_freq": [2]}}
    lines = told(dataset, 79, settings).splitlines()
    assert "and there will be 2.5 epochs of 40 updates" in lines[0] and len(lines) == 5
    assert "there will be" not in told(dataset, 79, {})
    assert "3.0 epochs" in told(dataset, 79, {"optimization": {"max_update": 900, "max_epoch": 3}})


@pytest.mark.parametrize("pad", [False, True])
def test_crops_of_several_folders_make_the_batches_of_one(tmp_path: Path, pad: bool) -> None:
    """Crops, seeds of masks and batches are those that an utterance has alone."""
    for number, lang in enumerate(("de", "en")):
        rows = []
        for i in range(3):
            size = 5_000 + 500 * i
            path = tmp_path / lang / f"{lang}{i}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, noise(size, 10 * number + i), 16_000)
            rows.append({"path": path.name, "samples": size})
        write_manifest(tmp_path / lang / "train.tsv", tmp_path / lang, rows)
    (tmp_path / "mixture.yaml").write_text(listed(["de", "en"]), encoding="utf-8")

    def make(entry: Entry, split: str) -> AudioCropDataset:
        return AudioCropDataset(Manifest(f"{entry.data}/{split}.tsv"), 16_000, 4_000, pad=pad)

    dataset = Mixer("tsv", make).load(str(tmp_path / "mixture.yaml"), "train", True)
    batch = dataset.collater([dataset[i] for i in (1, 6 + 4)])
    alone = make(Entry(str(tmp_path / "en")), "train")
    alone.set_epoch(2)
    own = alone.collater([alone[1]])
    assert batch["utts"] == ["de1", "en1"]
    assert torch.equal(batch["net_input"]["source"][1], own["net_input"]["source"][0])
    assert not pad or batch["net_input"]["seeds"][1] == own["net_input"]["seeds"][0]
    with pytest.raises(
        ValueError, match=r"max_tokens \(10\) must be at least the longest crop's 4000 samples"
    ):
        dataset.batch_by_size(dataset.ordered_indices(), max_tokens=10)


def test_how_much_crops_hear_and_parts_of_an_epoch_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"optimization": {"max_update": 30, "max_epoch": 9, "update_freq": [1]}}
    whole = mixed(tmp_path, listed(alpha=1))
    assert "(crops" not in told(whole, 90, settings)
    assert "and there will be 0.33 epochs of 90 updates" in told(whole, 90, settings)
    hours = Numbers.hours
    monkeypatch.setattr(
        Numbers, "hours", lambda held, items: (hours(held, items)[0], hours(held, items)[0] / 4)
    )
    cropped = mixed(tmp_path, listed(alpha=1))
    assert cropped.draws is not None
    all_hours = sum(corpus.hours for corpus in cropped.draws.corpora)
    head = told(cropped, 90, settings).splitlines()[0]
    assert (
        f"{all_hours / 4:.2f} h are heard an epoch (crops hear {all_hours / 4:.2f} of {all_hours:.2f} h)"
        in head
    )


def test_of_dev_and_valid_the_one_that_a_folder_has_is_validated_on(tmp_path: Path) -> None:
    mixed(tmp_path, listed(["de", "en"]))
    for lang in ("de", "en"):
        (tmp_path / lang / "valid.tsv").rename(tmp_path / lang / "dev.tsv")
    for split, langs in (("valid", ["de", "en"]), ("valid_en", ["en"])):
        found = Mixer("tsv", numbers).load(str(tmp_path / "mixture.yaml"), split, False)
        assert isinstance(found, MixtureDataset) and [m.lang for m in found.members] == langs


def test_values_of_a_column_are_names_and_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = "corpora: [{data: en, by: lang}]"
    monkeypatch.setattr(mixing, "_MOST_CORPORA", 2)
    assert len(mixed(tmp_path, by).members) == 2
    with pytest.raises(MixtureError, match=r"mixture\.yaml: names 3 corpora; expected at most 2"):
        mixed(tmp_path, listed(alpha=1))
    monkeypatch.setattr(mixing, "_MOST_CORPORA", 1)
    with pytest.raises(
        MixtureError, match=r"mixture\.yaml:1: `by: lang` makes 2 corpora; expected at most 1"
    ):
        mixed(tmp_path, by)
    monkeypatch.undo()
    monkeypatch.setattr(Numbers, "column", lambda held, name: ["a b"] * len(held))
    with pytest.raises(
        MixtureError, match=r"mixture\.yaml:1 \(.*en/train\): `lang` is 'a b'; expected a name"
    ):
        mixed(tmp_path, by)


def test_a_column_may_be_of_domains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Numbers, "column", lambda held, name: [["read", "phone"][i % 3 == 0] for i in range(300)]
    )
    dataset = mixed(tmp_path, "corpora: [{data: en, by: domain, lang: en}]")
    found = [(m.lang, m.domain, len(m.items)) for m in dataset.members]
    assert found == [("en", "phone", 100), ("en", "read", 200)]
