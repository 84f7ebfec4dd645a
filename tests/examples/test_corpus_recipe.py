"""The recipe for corpora: its yaml exist, and any number of GPUs keeps the papers' batch."""

import io
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from recipe_files import check_order, scripts_of, value_of, words_of

from vqw2v_plugin.recipes.runner import Stage

ROOT = Path(__file__).resolve().parents[2]


def commands(tmp_path: Path, *options: str) -> list[list[str]]:
    arguments = [str(tmp_path / "corpus"), str(tmp_path / "run"), *options, "--dry-run"]
    shown = io.StringIO()
    with scripts_of("corpus", "recipe") as (recipe,), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["recipe.py", *arguments])
        with redirect_stdout(shown):
            assert recipe.main() == 0
    return [shlex.split(line) for line in shown.getvalue().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("librispeech", ["--quantizer", "kmeans"]),
        ("timit", ["--bert", "small"]),
        ("wsj", ["--bert", "small_compute", "--quantizer", "fsq"]),
    ],
)
def test_every_training_has_its_yaml(kind: str, options: list[str], tmp_path: Path) -> None:
    listed = commands(tmp_path, "--kind", kind, *options)
    trainings = [c for c in listed if Path(c[0]).name == "fairseq-hydra-train"]
    assert len(trainings) == 3
    for words in trainings:
        config = words[words.index("--config-dir") + 1], words[words.index("--config-name") + 1]
        assert (Path(config[0]) / f"{config[1]}.yaml").is_file()


def test_fewer_gpus_gather_the_same_batch(tmp_path: Path) -> None:
    for gpus in (1, 2, 4):
        gumbel, bert = (
            next(c for c in commands(tmp_path, "--kind", "wsj", "--gpus", str(gpus)) if c[4] == name)
            for name in ("gumbel", "base")
        )
        assert f"distributed_training.distributed_world_size={gpus}" in gumbel
        assert f"+optimization.update_freq=[{8 // gpus}]" in gumbel
        assert f"optimization.update_freq=[{32 // gpus}]" in bert
    assert not any("update_freq" in w for c in commands(tmp_path, "--kind", "wsj", "--gpus", "8") for w in c)


def test_gpus_train_in_bf16_unless_told_otherwise(tmp_path: Path) -> None:
    def said(*options: str) -> list[bool]:
        listed = commands(tmp_path, "--kind", "timit", *options)
        return ["common.bf16=true" in c for c in listed if Path(c[0]).name == "fairseq-hydra-train"]

    assert said() == [True] * 3
    assert said("--fp32") == said("--gpus", "0") == [False] * 3


def test_librispeech_sees_its_speech_as_long_as_wsj_does(tmp_path: Path) -> None:
    *_, acoustic = (c for c in commands(tmp_path, "--kind", "librispeech") if c[4:5] == ["wsj"])
    assert "optimization.max_epoch=85" in acoustic


def test_audio_to_pretrain_on_is_listed_by_itself(tmp_path: Path) -> None:
    listed = commands(tmp_path, "--kind", "timit", "--pretrain", str(tmp_path / "more"))
    assert [c[2] for c in listed[:2]] == [str(tmp_path / "corpus"), str(tmp_path / "more")]
    assert f"task.data={tmp_path / 'run' / 'pretrain' / 'data'}" in listed[2]


@pytest.fixture(scope="module")
def recipe() -> Iterator[ModuleType]:
    with scripts_of("corpus", "recipe") as (module,):
        yield module


def listed(recipe: ModuleType, run: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> list[Stage]:
    """The stages that the recipe would run."""
    ran: list[list[Stage]] = []
    monkeypatch.setattr(recipe, "run_recipe", lambda folder, stages: ran.append(stages))
    monkeypatch.setattr("sys.argv", ["recipe.py", str(run.parent / "corpus"), str(run), *options])
    assert recipe.main() == 0
    return ran[0]


@pytest.mark.parametrize(
    ("kind", "decoded"),
    [
        ("librispeech", ["valid", "test-clean", "test-other"]),
        ("timit", ["valid", "test"]),
        ("wsj", ["valid", "test"]),
    ],
)
@pytest.mark.parametrize("options", [(), ("--pretrain", "more", "--quantizer", "fsq", "--bert", "small")])
def test_each_stage_reads_what_the_stages_that_it_needs_have_made(
    recipe: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    decoded: list[str],
    options: tuple[str, ...],
) -> None:
    run = tmp_path / "run"
    stages = listed(recipe, run, monkeypatch, "--kind", kind, *options)
    check_order(stages, run)
    assert [stage.name for stage in stages if stage.name.startswith("words_")] == [
        f"words_{s}" for s in decoded
    ]
    for name in ("features", "labels"):
        said = [
            Path(w).stem
            for c in next(s for s in stages if s.name == name).commands
            for w in c
            if w.endswith(".tsv")
        ]
        assert said == ["train", *decoded]
    said = [Path(c[3]).stem for c in next(s for s in stages if s.name == "tokens").commands]
    assert said == ["train", "valid"]
    for split in decoded:
        words = words_of(stages, f"words_{split}")
        assert value_of(words, "--gen-subset") == split
        if kind == "timit":
            assert value_of(words, "--decoder") == "greedy" and value_of(words, "--error-unit") == "phones"
        else:
            assert value_of(words, "--lexicon") == str(run / "labels/data/lexicon.ltr.txt")
            assert value_of(words, "--lm") == str(run / "lm/lm.arpa") and value_of(words, "--beam") == "500"
    assert any(stage.name == "lm" for stage in stages) == (kind != "timit")
    spelled = words_of(stages, "labels")
    said = spelled[spelled.index("--text") :]
    assert (
        " ".join(said)
        == {
            "librispeech": "--text text --unit letters",
            "timit": "--text phones --unit phones --fold 39 --no-boundary",
            "wsj": "--text text --unit letters --keep '.",
        }[kind]
    )
    if options:
        assert "--kind" not in words_of(stages, "pretrain")  # it may be of any


def test_what_is_asked_for_reaches_the_stages(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    options = (
        "--kind",
        "wsj",
        "--gpus",
        "0",
        "--updates",
        "7",
        "--lm-text",
        "a.txt",
        "--quantizer",
        "kmeans",
    )
    stages = listed(recipe, run, monkeypatch, *options)
    for name in ("kmeans", "bert", "acoustic"):
        words = words_of(stages, name)
        assert {"common.cpu=true", "optimization.max_update=7", "lr_scheduler.warmup_updates=0"} <= set(words)
        assert next(s for s in stages if s.name == name).updates == 7
    assert words_of(stages, "lm")[2] == "a.txt" and value_of(words_of(stages, "lm"), "--order") == "4"
    assert value_of(words_of(stages, "manifests"), "--kind") == "wsj"
    assert not any("--device" in command for stage in stages for command in stage.commands)
    assert {
        stage.minutes for stage in stages if stage.name in ("kmeans", "bert", "acoustic", "features")
    } == {1}
    kmeans, *_ = (f"{run}/{name}/checkpoint_best.pt" for name in ("kmeans", "bert"))
    assert words_of(stages, "tokens")[2] == words_of(stages, "features")[2] == kmeans
    onto = listed(recipe, run, monkeypatch, "--kind", "wsj")
    for name in ("tokens", "features"):
        assert value_of(words_of(onto, name), "--device") == "cuda"
    assert not any("common.cpu=true" in command for stage in onto for command in stage.commands)
    assert words_of(onto, "lm")[2] == str(run / "labels/data/train.wrd")


def test_more_gpus_take_less_time_up_to_the_yaml_s(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def minutes(gpus: int) -> dict[str, float]:
        stages = listed(recipe, tmp_path / "run", monkeypatch, "--kind", "wsj", "--gpus", str(gpus))
        return {s.name: s.minutes for s in stages if s.name in ("gumbel", "bert", "acoustic")}

    assert minutes(1) == {"gumbel": 660, "bert": 3480, "acoustic": 2520}
    assert minutes(8) == minutes(64) == {"gumbel": 82.5, "bert": 435, "acoustic": 315}


def timit(root: Path) -> None:
    """A few seconds in TIMIT's shape: two utterances to learn from for each that is tested."""
    rng = np.random.default_rng(0)
    phones = ["h#", "sh", "ix", "hv", "eh", "dcl", "jh", "ih", "dcl", "h#"]
    for utt in (
        "TRAIN/DR1/FCJF0/SX37",
        "TRAIN/DR1/FCJF0/SX127",
        "TEST/DR1/FAKS0/SI943",
        "TEST/DR1/MDAB0/SI1039",
    ):
        base = root / utt
        base.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(f"{base}.WAV", rng.normal(0, 0.1, 32_000), 16_000)
        times = [(3200 * i, 3200 * (i + 1), phone) for i, phone in enumerate(phones)]
        Path(f"{base}.PHN").write_text("".join(f"{begin} {end} {phone}\n" for begin, end, phone in times))
        Path(f"{base}.WRD").write_text("3200 28800 she\n")
        Path(f"{base}.TXT").write_text("0 32000 She.\n")


@pytest.mark.slow
def test_the_recipe_gets_from_a_few_files_to_phones(tmp_path: Path) -> None:
    timit(tmp_path / "TIMIT")
    command = [sys.executable, str(ROOT / "examples" / "corpus" / "recipe.py"), str(tmp_path / "TIMIT")]
    command += [str(tmp_path / "run"), "--kind", "timit", "--gpus", "0", "--updates", "2"]
    result = subprocess.run(
        [*command, "--bert", "small_compute"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for split in ("valid", "test"):
        errors = json.loads((tmp_path / "run" / f"words_{split}" / f"errors-{split}.json").read_text())
        assert errors["reference_length"] > 0 and errors["rate"] > 0
    assert "Phones and codes" in (tmp_path / "run" / "report" / "report.html").read_text()


def test_what_is_labelled_is_the_corpus_whatever_is_pretrained_on(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = tmp_path / "run", ("--pretrain", str(tmp_path / "more"), "--gpus", "2", "--updates", "7")
    stages = listed(recipe, run, monkeypatch, "--kind", "wsj", *options)
    for name, heard in (("tokens", "pretrain"), ("features", "manifests"), ("labels", "manifests")):
        (stage,) = (stage for stage in stages if stage.name == name)
        read = {Path(word).parent for words in stage.commands for word in words if word.endswith(".tsv")}
        assert read == {run / heard / "data"}, name
    for name in ("gumbel", "bert"):  # to try things out no batch is gathered
        assert any(word.endswith("optimization.update_freq=[1]") for word in words_of(stages, name))
