"""What `discretize` and `features` are told reaches the job as it was said."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.commands import cluster, discretize, features, segment
from vqw2v_plugin.commands.corpus_arguments import device_for, num_workers, report_end
from vqw2v_plugin.common.locks import Rank
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.jobs.cluster import ClusterOutcome
from vqw2v_plugin.jobs.discretize import DiscretizeOptions
from vqw2v_plugin.jobs.featurize import FeaturizeOptions
from vqw2v_plugin.jobs.split_job import Outcome, Refused
from vqw2v_plugin.stores.features import FEATURES
from vqw2v_plugin.stores.symbols import TOKENS

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


@pytest.mark.parametrize("command", ["features", "segment", "discretize"])
def test_each_of_several_processes_asks_for_its_own_gpu(
    monkeypatch: pytest.MonkeyPatch, manifest: str, tmp_path: Path, command: str
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen = catch(monkeypatch, f"commands.{command}.device_for")
    layer = [] if command == "discretize" else ["--layer", "z"]
    assert main([command, "m.pt", manifest, str(tmp_path / "out"), "--device", "cuda", *layer]) == 2
    assert seen == [("cuda", Rank(1, 2))]


def test_features_are_stored_as_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, manifest: str, tmp_path: Path
) -> None:
    seen, out = catch(monkeypatch, "jobs.featurize.featurize"), str(tmp_path / "out")
    assert main(["features", "-", manifest, out, "--layer", "logmel", "--store", "fp32", *MANY]) == 2
    features, listed, folder, options, rank = seen[0]
    assert (listed.path, folder, rank) == (manifest, out, Rank()) and features.dim == 80
    expected = {"workers": 3, "shard_minutes": 2.5, "refresh": True, "strict": True, "store": "fp32"}
    assert options == FeaturizeOptions(**expected)


@pytest.mark.parametrize("alone", ["run_length", "text", "npy"])
def test_tokens_are_made_as_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, manifest: str, tmp_path: Path, alone: str
) -> None:
    class Model:
        device, numbers = torch.device("cpu"), "fp32"

    loaded: list[tuple[Any, ...]] = []
    monkeypatch.setattr("vqw2v_plugin.tokenizer.Tokenizer.load", lambda *told: loaded.append(told) or Model)
    seen, out = catch(monkeypatch, "jobs.discretize.discretize"), str(tmp_path / "out")
    asked = ["--dict", "d.txt", "--dtype", "bf16", "--device", "cuda:1", f"--{alone.replace('_', '-')}"]
    assert main(["discretize", "m.pt", manifest, out, *asked, *MANY]) == 2
    assert loaded == [("m.pt", "cuda:1", "bf16")] and seen[0][0] is Model and seen[0][1] == "m.pt"
    expected = {"dtype": "bf16", "workers": 3, "memory": 2**29, "shard_minutes": 2.5, "dictionary": "d.txt"}
    assert seen[0][4] == DiscretizeOptions(**expected, refresh=True, strict=True, **{alone: True})


def test_a_lone_process_takes_all_cores_and_each_of_several_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda who: set(range(6)), raising=False)
    assert num_workers(None, "cpu", Rank()) == 6 and num_workers(None, "cpu", Rank(1, 2)) == 1
    assert num_workers(None, "cuda", Rank()) == num_workers(None, "cuda", Rank(1, 2)) == 4  # feed the card
    assert num_workers(2, "cpu", Rank(1, 2)) == 2
    with pytest.raises(ValueError, match="`--workers` is 0"):
        num_workers(0, "cpu", Rank())


@pytest.mark.parametrize("command", ["features", "segment", "discretize"])
def test_a_process_knows_which_of_how_many_it_is_and_leaves_the_others_their_cores(
    monkeypatch: pytest.MonkeyPatch, manifest: str, tmp_path: Path, command: str
) -> None:
    loaded = SimpleNamespace(device=torch.device("cpu"), numbers="fp32")
    monkeypatch.setattr("vqw2v_plugin.tokenizer.Tokenizer.load", lambda *told: loaded)
    monkeypatch.setattr("os.sched_getaffinity", lambda who: set(range(6)), raising=False)
    job = {"features": "featurize.featurize", "segment": "segment.segment"}.get(
        command, "discretize.discretize"
    )
    seen, out, told = catch(monkeypatch, f"jobs.{job}"), str(tmp_path / "out"), list[object]()
    monkeypatch.setattr(discretize, "print_agreement", lambda *_: told.append(1))
    asked = ["-", manifest, out, "--layer", "logmel"] if command != "discretize" else ["m.pt", manifest, out]
    assert main([command, *asked]) == 2
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert main([command, *asked]) == 2
    place = 4 if command == "discretize" else 3
    found = [(each[place].workers, each[place + 1]) for each in seen]
    assert found == [(6, Rank()), (1, Rank(2, 3))]
    assert len(told) == (command == "discretize")  # once is enough for all of them


def test_each_of_several_processes_takes_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    for local, device in (("0", "cuda:0"), ("3", "cuda:3"), ("5", "cuda:1")):
        monkeypatch.setenv("LOCAL_RANK", local)
        assert device_for("cuda", Rank(5, 8)) == device
        assert device_for("cuda", Rank()) == "cuda" and device_for("cuda:2", Rank(5, 8)) == "cuda:2"
        assert device_for("cpu", Rank(5, 8)) == "cpu"


@pytest.mark.parametrize(
    ("state", "published", "says"),
    [
        ("published", True, ""),
        ("there", False, "out/train: is there already, of this manifest and with these settings\n"),
        ("waiting", False, "out/train: this process has done its share; the last one to end puts all"),
    ],
)
def test_how_a_run_ended_is_told(
    state: str, published: bool, says: str, manifest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = Manifest(manifest)
    assert report_end(Outcome(state), "out/train", listed) == published
    shown = capsys.readouterr()
    assert shown.out.startswith(says) and bool(shown.out) == bool(says) and shown.err == ""


def test_ten_missing_utterances_are_named_and_all_are_counted(
    manifest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tuple(Refused(f"u{i}", "a.wav", f"no sound {i}\udcff") for i in range(12))
    assert report_end(Outcome("published", missing), "out/train", Manifest(manifest))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:10] == [f"vqw2v: missing: u{i}: no sound {i}\\xff" for i in range(10)] and len(lines) == 11
    assert lines[10].startswith("vqw2v: 12 of 1 utterances are missing; out/train.refused.tsv names them")


def test_tokens_outside_the_dictionary_are_told_as_a_share_of_all_tokens(
    manifest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"utterances": 1000, "frames": 8000, "tokens": 4000, "unknown": 100}
    row["unknown_symbols"] = {f"{i}-0": 1 for i in range(7)}  # type: ignore[assignment]
    for made_by, said in (("train", "made from train"), (None, "given")):
        about = {"splits": {"train": row}, "dictionary": {"symbols": 1234, "made_by": made_by}}
        TOKENS.write_about(tmp_path, about)
        discretize._report(Outcome("published"), str(tmp_path), Manifest(manifest))
        assert capsys.readouterr().out.splitlines() == [
            f"{tmp_path}/train: 1,000 utterances, 8,000 frames, 4,000 tokens",
            f"{tmp_path}/dict.txt: 1,234 symbols, {said}",
            "  100 tokens (2.50%) are not in the dictionary and became <unk>: 0-0, 1-0, 2-0, 3-0, 4-0 …",
        ]
    discretize._report(Outcome("there"), str(tmp_path), Manifest(manifest))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_features_that_are_there_are_not_told_once_more(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vqw2v_plugin.jobs.featurize.featurize", lambda *_: Outcome("there"))
    assert main(["features", "-", manifest, str(tmp_path / "out"), "--layer", "logmel"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_features_are_told_with_their_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"utterances": 1000, "frames": 8000}
    about = {"splits": {"dev": row}, "dim": 80, "store": "fp16", "sample_rate": 16_000, "stride": 160}
    FEATURES.write_about(tmp_path, about)
    features._report(str(tmp_path), "dev")
    said = f"{tmp_path}/dev: 1,000 utterances, 8,000 frames of 80 in fp16, 100 a second\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("device", "dtype", "total", "asks"),
    [
        ("cpu", "fp32", 2000, False),
        ("cpu", "bf16", 2000, True),
        ("cuda", "tf32", 2000, True),
        ("cuda", "tf32", 0, False),  # where no file could be read
    ],
)
def test_codes_are_held_against_fp32_on_a_cpu_where_they_may_differ(
    device: str,
    dtype: str,
    total: int,
    asks: bool,
    manifest: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = SimpleNamespace(device=torch.device(device), numbers=dtype)
    monkeypatch.setattr("vqw2v_plugin.tokenizer.Tokenizer.load", lambda path: "exact")
    monkeypatch.setattr("vqw2v_plugin.jobs.discretize.agreement", lambda *told: (7, total, 1999))
    discretize.print_agreement("m.pt", cast(Tokenizer, model), Manifest(manifest))
    said = "99.95% of the 2,000 codes of 7 utterances are those of fp32 on the CPU\n"
    assert capsys.readouterr().out == (said if asks else "")


@pytest.mark.parametrize("what", ["segments", "frames"])
def test_segments_are_told_with_how_many_a_second_has(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the audio as it is, at whatever rate it lies on the disk."""
    rows = [{"path": f"{i}.wav", "samples": 40_000, "rate": 8_000} for i in range(2)]
    write_manifest(tmp_path / "dev.tsv", tmp_path, rows, ("path", "samples", "rate"))
    about = {"splits": {"dev": {"utterances": 1000, "frames": 1234}}, "dim": 9, "store": "fp32"}
    more = {"segments": "runs"} if what == "segments" else {}
    FEATURES.write_about(tmp_path, {**about, **more, "sample_rate": 16_000, "stride": 160})
    segment._report(str(tmp_path), "dev", Manifest(tmp_path / "dev.tsv"))
    said = f"{tmp_path}/dev: 1,000 utterances, 1,234 {what} of 9 in fp32, 123.4 a second of audio\n"
    assert capsys.readouterr().out == said


def test_clusters_are_told_with_what_they_were_found_of(
    manifest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made_from = {"frames_drawn": 12_345, "passes_made": 7, "distance": 1.23456}
    found = SimpleNamespace(header=SimpleNamespace(made_from=made_from), summary="5 codes")
    missing = (Refused("u", "a.wav", "no sound"),)
    for state, refused in (("published", missing), ("there", ())):
        outcome = SimpleNamespace(state=state, refused=refused, found=found)
        cluster._report(cast(ClusterOutcome, outcome), "out", Manifest(manifest))
        shown = capsys.readouterr()
        told = "12,345 frames, 7 passes; squared, a frame lies 1.235 from its centres\n"
        assert shown.out.endswith(f"out: 5 codes\n  {told}")
        assert ("is there already" in shown.out) == (state == "there")
        assert ("1 of 1 utterances are missing: these clusters" in shown.err) == bool(refused)
