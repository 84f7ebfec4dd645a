"""What is encoded beside a GPU: batches of what fits, in order, and failures that are one utterance's own."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from corpus_runs import content

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.audio.reading import AudioError, Samples
from vqw2v_plugin.common.locks import Rank
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.features.registry import load_features
from vqw2v_plugin.jobs import shard_run
from vqw2v_plugin.jobs.discretize import DiscretizeOptions, discretize
from vqw2v_plugin.jobs.featurize import FeaturizeOptions, featurize
from vqw2v_plugin.jobs.work import Ahead, Heard, Read, Together, encoded
from vqw2v_plugin.modules.kernels import devices, launching
from vqw2v_plugin.modules.wav2vec import many_clips
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.shards import Rows


class Here:
    """In place of other processes."""

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def read_here(begin: Callable[..., Any], items: Iterable[Any], how: object) -> Iterator[Any]:
    return (begin(item, Here())() for item in items)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many clips each batch had."""
    counts: list[int] = []
    begin = Tokenizer.begin

    def counted(self: Tokenizer, heard: Any) -> Any:
        counts.append(len(heard))
        return begin(self, heard)

    monkeypatch.setattr(Tokenizer, "begin", counted)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(launching, "have_triton", lambda: False)
    monkeypatch.setattr(many_clips, "_SAMPLES", 30_000)
    monkeypatch.setattr(shard_run, "read_ahead", read_here)
    return counts


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Among others a file that cannot be read, one too short for a frame, and one beyond a row."""
    sizes = {f"{i}": 1500 + 250 * i for i in range(12)} | {
        "bad": 3000,
        "short": 50,
        "long": 40_000,
        "last": 900,
    }
    for name, samples in sizes.items():
        sf.write(tmp_path / f"{name}.wav", np.random.default_rng(samples).normal(0, 0.1, samples), 16_000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF of no use")
    rows = [{"path": f"{name}.wav", "samples": samples} for name, samples in sizes.items()]
    write_manifest(tmp_path / "train.tsv", tmp_path, rows)
    return Manifest(tmp_path / "train.tsv")


def test_batches_change_no_byte(
    checkpoint: str, manifest: Manifest, tmp_path: Path, as_on_a_gpu: list[int]
) -> None:
    for name, readers in (("alone", 0), ("together", 2)):
        tokenizer = Tokenizer.load(checkpoint)
        options = DiscretizeOptions(readers=readers, shard_minutes=0.03)
        outcome = discretize(tokenizer, checkpoint, manifest, str(tmp_path / name), options, Rank())
        assert [row.utt for row in outcome.refused] == ["bad", "short"]
        assert "too short for a frame" in outcome.refused[1].reason
    assert content(tmp_path / "together") == content(tmp_path / "alone")
    assert max(as_on_a_gpu) > 3 and sum(as_on_a_gpu) >= 10


def test_what_was_made_beside_a_gpu_is_not_made_again_where_a_file_is_mended(
    checkpoint: str, manifest: Manifest, tmp_path: Path, as_on_a_gpu: list[int]
) -> None:
    tokenizer = Tokenizer.load(checkpoint)
    options, out = DiscretizeOptions(readers=2, shard_minutes=0.03), str(tmp_path / "out")
    assert len(discretize(tokenizer, checkpoint, manifest, out, options, Rank()).refused) == 2
    sf.write(tmp_path / "bad.wav", np.random.default_rng(1).normal(0, 0.1, 3_000), 16_000)
    as_on_a_gpu.clear()
    outcome = discretize(tokenizer, checkpoint, manifest, out, options, Rank())
    assert [row.utt for row in outcome.refused] == ["short"]
    assert as_on_a_gpu == [2]  # those that had failed, and no others
    discretize(tokenizer, checkpoint, manifest, str(tmp_path / "anew"), options, Rank())
    tokens = [(tmp_path / name / "train.bin").read_bytes() for name in ("out", "anew")]
    assert tokens[0] == tokens[1]


def test_features_are_those_alone(
    checkpoint: str, manifest: Manifest, tmp_path: Path, as_on_a_gpu: list[int]
) -> None:
    stores = []
    for name, readers in (("alone", 0), ("together", 2)):
        options = FeaturizeOptions(readers=readers, store="fp32")
        out = str(tmp_path / name)
        assert len(featurize(load_features("z", checkpoint), manifest, out, options, Rank()).refused) == 2
        stores.append(FeatureStore(out, "train"))
    assert len(stores[0]) == len(stores[1]) == 14
    for i in range(14):
        np.testing.assert_allclose(stores[0][i], stores[1][i], atol=5e-6)


def read(shard: int, samples: int) -> Read:
    utterance = Utterance(f"{samples}.wav", samples, utt=str(samples))
    return Read(shard, np.zeros(samples, np.float32), f"file {samples}", utterance)


def alone(utterance: Utterance, audio: Samples) -> Rows:
    if len(audio) == 3:
        raise AudioError("3.wav: is too loud")
    return np.full((1, 1), -len(audio))


def together(fails: type[Exception] | None = None, later: bool = False) -> tuple[Together, list[list[int]]]:
    """Of five samples at most; and the batches that were begun."""
    begun: list[list[int]] = []

    def begin(heard: Heard) -> Callable[[], list[Rows]]:
        begun.append([len(audio) for _, audio in heard])

        def found() -> list[Rows]:
            if fails and later:
                raise fails("too much")
            return [np.full((1, 1), len(audio)) for _, audio in heard]

        if fails and not later:
            raise fails("too much")
        return found

    return Together(lambda samples: sum(samples) <= 5, begin), begun


def results(items: list[Read], way: Together) -> list[object]:
    found = encoded(items, Ahead(1, lambda utterance: np.zeros(0, np.float32), alone, way))
    return [rows if isinstance(rows, str) else (int(np.asarray(rows)[0, 0]), file) for rows, file in found]


def test_results_stay_in_order_and_a_batch_in_its_shard() -> None:
    kept = Read(0, np.full((1, 1), 99), "kept")
    unread = Read(0, "why not", "bad", Utterance("bad.wav", 9))
    items = [read(0, 1), kept, read(0, 2), unread, read(0, 4), read(1, 1), read(1, 6), read(1, 2)]
    way, begun = together()
    found = results(items, way)
    assert begun == [[1, 2], [4], [1], [2]]
    numbers = [(1, "file 1"), (99, "kept"), (2, "file 2"), "why not", (4, "file 4"), (1, "file 1")]
    assert found == [*numbers, (-6, "file 6"), (2, "file 2")]  # what does not fit goes alone


def test_a_batch_is_begun_before_the_one_before_is_waited_for() -> None:
    way, begun = together()
    items = (read(0, 4) for _ in range(4))
    found = encoded(items, Ahead(1, lambda utterance: np.zeros(0, np.float32), alone, way))
    next(found)
    assert len(begun) == 2


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("error", [AudioError, MemoryError])
def test_a_batch_that_fails_is_made_one_by_one(error: type[Exception], later: bool) -> None:
    found = results([read(0, 1), read(0, 3), read(0, 2)], together(error, later)[0])
    assert found == [(-1, "file 1"), "3.wav: is too loud", (-2, "file 2")]


@pytest.mark.parametrize("later", [False, True])
def test_an_error_that_is_no_file_s_ends_the_run(later: bool) -> None:
    with pytest.raises(RuntimeError, match="too much"):
        results([read(0, 1)], together(RuntimeError, later)[0])
