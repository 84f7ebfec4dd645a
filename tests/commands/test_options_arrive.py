"""What `manifest`, `transcribe`, `cluster` and `abx` are told arrives where their work begins."""

from pathlib import Path
from typing import Any

import pytest

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.analysis.abx import Plan
from vqw2v_plugin.corpora.collect import CollectOptions
from vqw2v_plugin.corpora.gather import Sources
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.corpora.rows import Limits
from vqw2v_plugin.corpora.splits import SplitPlan
from vqw2v_plugin.decoding.settings import PART_SECONDS, DecoderSettings
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.jobs.cluster import ClusterOptions
from vqw2v_plugin.modules.quantizers.clusters import ClustersConfig


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a function of ours an end where its arguments are kept."""

    def catch(name: str) -> list[tuple[Any, ...]]:
        seen: list[tuple[Any, ...]] = []

        def caught(*arguments: Any) -> None:
            seen.append(arguments)
            raise ValueError("caught")

        monkeypatch.setattr(f"vqw2v_plugin.{name}", caught)
        return seen

    return catch


def test_a_corpus_is_collected_as_it_was_asked_for(arrived: Any) -> None:
    seen = arrived("corpora.collect.collect")
    assert main("manifest c o".split()) == 2
    assert seen[0] == (["c"], "o", CollectOptions(Sources(columns={})))
    listed = "--kind table --ext .FLAC,wav --column text=said --column utt=who --audio a --times t"
    splits = "--valid 0.1 --test 0.2 --seed 4 --speaker-disjoint --resplit --speaker-from 1 --split-from 2"
    rest = "--min 0.5 --max 9 --workers 3 --strict --trim 0.2"
    assert main(f"manifest c d o {listed} {splits} {rest}".split()) == 2
    columns = {"text": "said", "utt": "who"}
    sources = Sources("table", ("flac", "wav"), columns, "a", "t", speaker_from="1", split_from="2")
    plan = SplitPlan(0.1, 0.2, 4, speaker_disjoint=True, anew=True)
    assert seen[1] == (["c", "d"], "o", CollectOptions(sources, Limits(0.5, 9), plan, 3, True, 0.2))
    for one in ("--speaker-disjoint", "--resplit"):
        assert main(["manifest", "c", "o", one]) == 2
    assert [options.plan for _, _, options in seen[2:]] == [
        SplitPlan(speaker_disjoint=True),
        SplitPlan(anew=True),
    ]


def test_files_are_transcribed_as_it_was_asked_for(arrived: Any) -> None:
    seen = arrived("transcriber.Transcriber.load")
    assert main("transcribe a.pt f.wav".split()) == 2
    assert seen[0] == ("a.pt", DecoderSettings(), None, None, "cpu", PART_SECONDS, None, None)
    words = "--front f.pt --bert b.pt --pieces p --pca c --device cuda:1 --limit 7.5"
    assert main(f"transcribe a.pt f.wav {words}".split()) == 2
    assert seen[1] == ("a.pt", DecoderSettings(), "f.pt", "b.pt", "cuda:1", 7.5, "p", "c")


def test_clusters_are_found_as_it_was_asked_for(arrived: Any, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    seen, out = arrived("jobs.cluster.ClusterJob"), tmp_path / "out"
    begun = ["cluster", "-", str(tmp_path / "m.tsv"), str(out), "--layer", "mfcc:12"]
    sizes = "--codes 7 --groups 2 --deltas 1 --standardize none --bands 20 --sample-rate 8000 --dtype bf16"
    effort = "--frames 99 --passes 8 --seed 6 --workers 3 --shard-minutes 2.5 --refresh --strict --memory 0.5"
    assert main([*begun, *sizes.split(), *effort.split()]) == 2
    ((features, asked, config, manifest, folder, options),) = seen
    assert asked == FeatureOptions("mfcc:12", bands=20, sample_rate=8000, dtype="bf16", memory=2**29)
    assert config == ClustersConfig(7, 2, 1, "none") and folder == out and features.dim == 12
    assert manifest.path == str(tmp_path / "m.tsv")
    assert options == ClusterOptions(
        3, shard_minutes=2.5, refresh=True, strict=True, frames=99, passes=8, seed=6
    )
    for beyond in (-1, 2**63):
        assert main([*begun, "--seed", str(beyond)]) == 2
    assert len(seen) == 1  # which no generator takes


def test_phones_are_compared_as_it_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Plan] = []

    def caught(items: object, distance: str, plan: Plan, far: object) -> None:
        seen.append(plan)
        raise ValueError(distance)

    class Source:
        layer, split = "z", "train"

    monkeypatch.setattr("vqw2v_plugin.stores.frames.open_frames", lambda *_: Source)
    monkeypatch.setattr("vqw2v_plugin.corpora.ctm.read_ctm", lambda path: {})
    looked: list[tuple[Any, ...]] = []

    def items(source: object, segments: object, *rest: Any) -> Any:
        looked.append(rest)
        return type("Found", (), {"items": None})

    monkeypatch.setattr("vqw2v_plugin.analysis.abx_items.find_items", items)
    monkeypatch.setattr("vqw2v_plugin.analysis.abx.abx", caught)
    begun = ["abx", str(tmp_path), "--phones", "p.ctm"]
    assert main(begun) == 2 and main([*begun, "--context", "none"]) == 2
    words = "--context none --items 6 --speakers 3 --seed 9 --silence a,b --distance cosine"
    assert main([*begun, *words.split()]) == 2
    assert seen == [Plan(10, 5, 1), Plan(3, 5, 1), Plan(6, 3, 9)]
    assert [context for _, context, _ in looked] == ["triphone", "none", "none"]
    assert looked[2][0] is None and looked[2][2] == ["a", "b"]
