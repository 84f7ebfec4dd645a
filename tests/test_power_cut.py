"""What is published outlives a power cut whole, and the same command then ends with the same bytes."""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from corpus_runs import FEW, content, corpus, saved
from power_cut import Disk, after_cut, published, recorded

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

KEPT = (".lock", ".headers")  # locks, and a cache


@dataclass(frozen=True)
class Case:
    """Commands that write below OUT; a cut run goes on by the same ones."""

    commands: Sequence[Sequence[str]]
    vouches: str = ""  # with this file all others are there
    environs: Sequence[dict[str, str]] = ({},)
    refuses: bool = False  # what is there already

    def run(self, out: Path, is_there: bool = False) -> None:
        for command in self.commands:
            words = [word.replace("OUT", str(out)) for word in command]
            for environ in self.environs:
                with pytest.MonkeyPatch.context() as patch:
                    for name, value in environ.items():
                        patch.setenv(name, value)
                    assert main(words) == (2 if self.refuses and is_there else 0)


RANKS = tuple({"RANK": str(i), "WORLD_SIZE": "2"} for i in range(2))


@pytest.fixture
def cases(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> dict[str, Case]:
    checkpoint, manifest = saved(tiny(quantizer="gumbel"), tmp_path), str(corpus(tmp_path, files=6))
    text = tmp_path / "text"
    text.write_text("a b a\nb a b\n" * 9)
    texts = tmp_path / "texts"
    texts.write_text("".join(f"train{i}\tab ba\n" for i in range(6)))
    discretize = ["discretize", checkpoint, manifest, "OUT", *FEW, "--workers", "1"]
    features = ["features", "-", manifest, "OUT", "--layer", "logmel", *FEW, "--workers", "1"]
    labels = ["labels", manifest, "OUT", "--text", str(texts), "--unit", "letters"]
    return {
        "discretize": Case([discretize], "train.idx"),
        "extras": Case([[*discretize, "--run-length", "--text", "--npy"]], "train.idx"),
        "ranks": Case([discretize], "train.idx", RANKS),
        "features": Case([features], "train.ends.npy"),
        "labels": Case([labels], "labels.json"),
        "lm": Case([["lm", str(text), "OUT/lm.arpa", "--order", "2"]]),
        "export": Case([["export", checkpoint, "OUT"]], "config.json", refuses=True),
        "manifest": Case([["manifest", str(tmp_path / "audio-train"), "OUT", "--workers", "1"]], "valid.tsv"),
    }


NAMES = ("discretize", "extras", "ranks", "features", "labels", "lm", "export", "manifest")


def replay(case: Case, out: Path, rng: random.Random, times: int) -> None:
    """Looks at what is published after a cut anywhere, and goes on after some."""
    out.mkdir()
    with recorded(out) as log:
        case.run(out)
    whole, names = content(out), published(log)
    assert whole == after_cut(log, len(log.ops), rng, keep_all=True).public

    def state(cut: int, is_kill: bool) -> Disk:
        disk = after_cut(log, cut, rng, keep_all=is_kill)
        for path, held in disk.public.items():
            assert held in names[path], f"{path} is not whole after a cut before {cut}"
        if case.vouches in disk.public:
            assert {path: disk.public.get(path) for path in whole} == whole, f"cut before {cut}"
        return disk

    for cut in range(len(log.ops) + 1):
        for is_kill in (True, False, False):
            state(cut, is_kill)
    for _ in range(times):
        cut = rng.randint(0, len(log.ops))
        disk = state(cut, is_kill=rng.random() < 0.2)
        disk.write(out)
        case.run(out, is_there=case.vouches in disk.public)
        assert content(out) == whole, f"cut before {cut}"
        left = [name for name in os.listdir(out) if name.startswith(".") and not name.startswith(KEPT)]
        assert not left, f"cut before {cut}"


@pytest.mark.parametrize("name", NAMES)
def test_a_power_cut_takes_nothing_that_is_published(
    cases: dict[str, Case], tmp_path: Path, name: str
) -> None:
    replay(cases[name], tmp_path / "out", random.Random(name), times=3)


def test_an_export_that_was_killed_between_its_files_is_gone_on_with(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    """Though weights that lie there alone are somebody else's, and refused."""
    out, case, rng = tmp_path / "out", cases["export"], random.Random(0)
    out.mkdir()
    with recorded(out) as log:
        case.run(out)
    whole = content(out)
    disks = [after_cut(log, cut, rng, keep_all=True) for cut in range(len(log.ops))]
    halves = [disk for disk in disks if sorted(disk.public) == ["README.md", "model.safetensors"]]
    assert halves
    for disk in halves:
        disk.write(out)
        case.run(out)
        assert content(out) == whole
    Disk(dict(halves[0].public)).write(out)
    case.run(out, is_there=True)
    assert sorted(os.listdir(out)) == ["README.md", "model.safetensors"]


def test_an_export_that_replaces_another_never_mixes_them(
    tiny: Callable[..., VqWav2Vec], tmp_path: Path
) -> None:
    """At a cut the folder holds one of the two, or what is no checkpoint."""
    (tmp_path / "b").mkdir()
    checkpoints = [saved(tiny(quantizer="gumbel"), tmp_path), saved(tiny(quantizer="kmeans"), tmp_path / "b")]
    out, wholes, rng = tmp_path / "out", [], random.Random(0)
    out.mkdir()
    with recorded(out) as log:
        for checkpoint in checkpoints:
            assert main(["export", checkpoint, str(out), "--force"]) == 0
            wholes.append(content(out))
    for cut in range(len(log.ops) + 1):
        for is_kill in (True, False, False, False):
            held = after_cut(log, cut, rng, keep_all=is_kill).public
            assert "config.json" not in held or held in wholes, f"cut before {cut}"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_thirty_power_cuts_of_each_command_take_nothing_that_is_published(
    cases: dict[str, Case], tmp_path: Path, name: str
) -> None:
    replay(cases[name], tmp_path / "out", random.Random(f"slow {name}"), times=30)
