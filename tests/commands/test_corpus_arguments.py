"""What `discretize` and `features` are told reaches the job as it was said."""

from pathlib import Path
from typing import Any

import pytest

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.commands.corpus_arguments import device_for, num_workers
from vqw2v_plugin.common.locks import Rank
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.jobs.discretize import DiscretizeOptions
from vqw2v_plugin.jobs.featurize import FeaturizeOptions

MANY = ["--memory", "0.5", "--shard-minutes", "2.5", "--workers", "3", "--refresh", "--strict"]


class Caught(ValueError):
    """Ends a command where its work would begin."""


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": "a.wav", "samples": 1}])
    return str(tmp_path / "train.tsv")


def catch(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []

    def caught(*arguments: Any) -> None:
        seen.append(arguments)
        raise Caught("caught")

    monkeypatch.setattr(f"vqw2v_plugin.{name}", caught)
    return seen


def test_features_are_made_as_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, manifest: str, tmp_path: Path
) -> None:
    seen = catch(monkeypatch, "features.registry.make_features")
    files = ["--layer", "bert:3", "--bert", "b.pt", "--pieces", "p", "--run-length", "--dtype", "bf16"]
    spectrum = ["--bands", "23", "--sample-rate", "8000"]
    assert main(["features", "m.pt", manifest, str(tmp_path / "out"), *files, *spectrum, *MANY]) == 2
    asked = FeatureOptions("bert:3", "m.pt", "b.pt", "p", True, 23, 8000, "bf16", 2**29)
    assert seen == [(asked,)]
    assert main(["features", "-", manifest, str(tmp_path / "out"), "--layer", "logmel"]) == 2
    assert seen[1] == (FeatureOptions("logmel", memory=2**30),)


def test_features_are_stored_as_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, manifest: str, tmp_path: Path
) -> None:
    seen, out = catch(monkeypatch, "jobs.featurize.featurize"), str(tmp_path / "out")
    assert main(["features", "-", manifest, out, "--layer", "logmel", "--store", "fp32", *MANY]) == 2
    features, listed, folder, options, rank = seen[0]
    assert (listed.path, folder, rank) == (manifest, out, Rank()) and features.dim == 80
    assert options == FeaturizeOptions(3, 2.5, True, True, "fp32")


@pytest.mark.parametrize("alone", ["run_length", "text", "npy"])
def test_tokens_are_made_as_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, manifest: str, tmp_path: Path, alone: str
) -> None:
    import torch

    class Model:
        device, dtype = torch.device("cpu"), torch.float32

    loaded: list[tuple[Any, ...]] = []
    monkeypatch.setattr("vqw2v_plugin.tokenizer.Tokenizer.load", lambda *told: loaded.append(told) or Model)
    seen, out = catch(monkeypatch, "jobs.discretize.discretize"), str(tmp_path / "out")
    asked = ["--dict", "d.txt", "--dtype", "bf16", "--device", "cuda:1", f"--{alone.replace('_', '-')}"]
    assert main(["discretize", "m.pt", manifest, out, *asked, *MANY]) == 2
    assert loaded == [("m.pt", "cuda:1", "bf16")] and seen[0][0] is Model and seen[0][1] == "m.pt"
    expected = {"dtype": "bf16", "workers": 3, "memory": 0.5, "shard_minutes": 2.5, "dictionary": "d.txt"}
    assert seen[0][4] == DiscretizeOptions(**expected, refresh=True, strict=True, **{alone: True})


def test_a_lone_process_takes_all_cores_and_each_of_several_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda who: set(range(6)), raising=False)
    assert num_workers(None, "cpu", Rank()) == 6 and num_workers(None, "cpu", Rank(1, 2)) == 1
    assert num_workers(None, "cuda", Rank()) == num_workers(None, "cuda", Rank(1, 2)) == 4  # feed the card
    assert num_workers(2, "cpu", Rank(1, 2)) == 2
    with pytest.raises(ValueError, match="`--workers` is 0"):
        num_workers(0, "cpu", Rank())


def test_each_of_several_processes_takes_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    for local, device in (("0", "cuda:0"), ("3", "cuda:3"), ("5", "cuda:1")):
        monkeypatch.setenv("LOCAL_RANK", local)
        assert device_for("cuda", Rank(5, 8)) == device
        assert device_for("cuda", Rank()) == "cuda" and device_for("cuda:2", Rank(5, 8)) == "cuda:2"
        assert device_for("cpu", Rank(5, 8)) == "cpu"
