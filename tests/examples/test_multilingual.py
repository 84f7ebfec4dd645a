"""One language or domain against several: the same compute, what is held out, and speech by telephone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from recipe_files import check_order, scripts_of, value_of, words_of

from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.corpora.mixture import read_mixture


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    names = ("prepare", "compare", "telephone", "domain", "draw")
    with scripts_of("multilingual", *names) as found:
        yield SimpleNamespace(**dict(zip(names, found, strict=True)))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """100 German and 40 English utterances, of which the first two are there."""
    for number in range(2):
        wave = 0.1 * np.sin(np.arange(16_000) * (0.1 + number)).astype(np.float32)  # 250 and 2,800 Hz
        soundfile.write(tmp_path / f"u{number}.wav", wave, 16_000)
    rows = [
        {"path": f"u{i}.wav", "samples": 16_000, "speaker": f"s{i % 5}", "lang": "de" if i < 100 else "en"}
        for i in range(140)
    ]
    write_manifest(tmp_path / "multi.tsv", tmp_path, rows, ("path", "samples", "speaker", "lang"))
    return tmp_path / "multi.tsv"


def asked(scripts: Any, monkeypatch: pytest.MonkeyPatch, script: str, run: Path, *more: str) -> Any:
    monkeypatch.setattr("sys.argv", [f"{script}.py", str(run), "multi.tsv", "corpora", *more])
    module = getattr(scripts, script)
    return (module.languages if script == "compare" else module.domains)(module.parse_args())


def test_minutes_are_of_each_clip_s_own_rate(scripts: Any, tmp_path: Path) -> None:
    rows = [{"path": f"u{i}.wav", "samples": 8_000 * 30, "rate": 8_000} for i in range(4)]
    write_manifest(tmp_path / "calls.tsv", tmp_path, rows, ("path", "samples", "rate"))
    clips = scripts.draw.rows_of(tmp_path / "calls.tsv", None)
    assert scripts.draw.enough(clips, 1) == 2 and scripts.draw.enough(clips, 1.5) == 3
    with pytest.raises(ValueError, match=r"`--minutes` has 3, and there are 2\.0 in all; ask for fewer"):
        scripts.draw.enough(clips, 3)


@pytest.mark.parametrize("script", ["prepare", "draw", "telephone"])
def test_pieces_of_recordings_stay_those_pieces(scripts: Any, tmp_path: Path, script: str) -> None:
    columns = ("path", "samples", "start", "rate", "utt", "lang")
    rows = [
        dict(zip(columns, ("a.wav", 800, 900 * i, 8_000, f"u{i:02}", "de"), strict=True)) for i in range(40)
    ]
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 40_000), 8_000)
    write_manifest(tmp_path / "all.tsv", tmp_path, rows, columns)
    out, table = tmp_path / "out", tmp_path / "all.tsv"
    if script == "prepare":
        scripts.prepare.prepare(out, table, [1], 0.2)
    elif script == "draw":
        scripts.draw.prepare(out, [table], None, [0.03], [1])
        out = out / "minutes_0.03_1"
    else:
        scripts.telephone.prepare(out, table, tmp_path, [], 0.3, 0.2)
        out = out / "manifests"
    for split in ("train", "valid"):
        held = Manifest(out / f"{split}.tsv")
        assert len(held)
        for row in (held[i] for i in range(len(held))):
            assert (row.start, row.rate, row.samples) == (900 * int(row.utt[-2:]), 8_000, 800)


def test_a_rate_is_of_all_rows_or_of_none(scripts: Any) -> None:
    rows = [Utterance("a.wav", rate=rate, samples=9) for rate in (None, 8_000)]
    assert scripts.prepare.columns_of(rows[1:]) == ("path", "samples", "utt", "speaker", "lang", "rate")
    assert "rate" not in scripts.prepare.columns_of(rows[:1])
    with pytest.raises(ValueError, match="some rows have a `rate` and others none"):
        scripts.prepare.columns_of(rows)


def test_each_language_has_its_share_held_out(scripts: Any, manifest: Path, tmp_path: Path) -> None:
    scripts.prepare.prepare(tmp_path / "out", manifest, [1, 0.5], 0.1)
    splits = {split: Manifest(tmp_path / "out" / f"{split}.tsv") for split in ("train", "valid")}
    langs = {split: held.column("lang") for split, held in splits.items()}
    assert sorted([*splits["train"].column("utt"), *splits["valid"].column("utt")]) == sorted(
        f"u{i}" for i in range(140)
    )
    assert 3 <= langs["valid"].count("de") <= 20 and 1 <= langs["valid"].count("en") <= 10
    plan = read_mixture(tmp_path / "out" / "mixture_0.5.yaml")
    assert (plan.alpha, plan.max_repeat, plan.entries[0].by) == (0.5, 1000, "lang")
    assert plan.entries[0].data == str(tmp_path / "out")
    write_manifest(tmp_path / "none.tsv", tmp_path, [])
    with pytest.raises(ValueError, match="has no column lang"):
        scripts.prepare.prepare(tmp_path / "out", tmp_path / "none.tsv", [1], 0.1)


def test_all_trainings_have_the_same_compute(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = asked(
        scripts, monkeypatch, "compare", tmp_path, "--updates", "80", "--bf16", "--alphas", "0.5", "0"
    )
    stages = list(scripts.compare.stages(plan))
    check_order(stages, tmp_path)
    trainings = [words_of(stages, f"train_{name}") for name in ("en", "all_0.5", "all_0")]
    for words in trainings:
        assert {"optimization.max_update=80", "lr_scheduler.warmup_updates=10", "common.bf16=true"} <= set(
            words
        )
    assert sum(a != b for a, b in zip(*trainings[1:], strict=True)) == 3  # the mixture, and two folders
    assert "dataset.train_subset=train_en" in trainings[0]
    assert f"task.data={tmp_path}/data/manifests/mixture_1.yaml" in trainings[0]
    assert value_of(words_of(stages, "map_en"), "--by") == "lang"
    assert (
        value_of(words_of(stages, "codes_en"), "--tokenizers") == f"en={tmp_path}/train_en/checkpoint_last.pt"
    )
    small = Path(scripts.compare.__file__).with_name("small.yaml")
    plan = asked(scripts, monkeypatch, "compare", tmp_path, "--yaml", str(small), "--no-map")
    assert "lr_scheduler.total_num_update=3000" in plan.overrides and not plan.maps


def test_the_table_has_what_is_finished(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = asked(scripts, monkeypatch, "compare", tmp_path)
    (tmp_path / "codes_all_1").mkdir()
    found = [dict.fromkeys(scripts.compare.HEAD[1:], "x") | {"set": "emodb_de.test", "PNMI": "0.197"}]
    (tmp_path / "codes_all_1" / "codes.json").write_text(json.dumps(found))
    scripts.compare.write_table(plan, {"codes_all_1"})
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert len(lines) == 3 and lines[2].startswith("| all languages, α 1 | emodb_de.test | x | x | 0.197 |")


def test_a_domain_is_asked_of_with_it_and_without(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = asked(scripts, monkeypatch, "domain", tmp_path, "--sets", "a/test", "--share", "0.2")
    stages = list(scripts.compare.stages(plan))
    check_order(stages, tmp_path)
    assert plan.sets == ["a/test", "a_phone/test"] and [row.name for row in plan.rows] == [
        *("without", "with_1", "with_0.5")
    ]
    assert value_of(words_of(stages, "data"), "--share") == "0.2"


def test_a_telephone_leaves_the_band_and_the_length(scripts: Any) -> None:
    seconds = np.arange(8_000) / 8_000
    low, middle = (np.sin(2 * np.pi * hertz * seconds).astype(np.float32) * 0.5 for hertz in (100, 1_000))
    heard = scripts.telephone.by_telephone(low + middle, np.random.default_rng(1))
    power = np.abs(np.fft.rfft(heard)) ** 2
    assert len(heard) == 8_000 and heard.dtype == np.float32 and len(set(heard.tolist())) <= 255
    assert power[1_000] > 100 * power[100] and power[1_000] > 0.8 * power.sum()


def test_what_is_called_is_a_part_of_what_is_said(
    scripts: Any, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpora/a").mkdir(parents=True)
    (tmp_path / "corpora/a/test.tsv").write_text(
        f"utt\tpath\tspeaker\tn_samples\tphone_times_s\nx\t{tmp_path}/u1.wav\ts\t16000\t0:1:a\n"
    )
    monkeypatch.setattr(scripts.telephone, "read_audio", lambda *_: np.full(800, 0.1, np.float32))
    prepare = scripts.telephone.prepare
    prepare(tmp_path / "out", manifest, tmp_path / "corpora", ["a/test"], 0.2, 0.1)
    called = Manifest(tmp_path / "out/manifests/phone/train.tsv")
    utts = {utt.removeprefix("phone-") for utt in called.column("utt")}
    assert utts < set(Manifest(tmp_path / "out/manifests/train.tsv").column("utt")) and 10 < len(utts) < 45
    assert soundfile.info(called[0].path).samplerate == 8_000 and called[0].samples == 800
    rows = (tmp_path / "out/corpora/a_phone/test.tsv").read_text().splitlines()
    assert rows[1] == "x\ttest/x.wav\ts\t800\t0:1:a" and (tmp_path / "out/corpora/a/test.tsv").is_file()
    with pytest.raises(ValueError, match="--share"):
        prepare(tmp_path / "out", manifest, tmp_path / "corpora", ["a/test"], 0, 0.1)


def test_what_a_training_is_told_besides(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = asked(scripts, monkeypatch, "compare", tmp_path)
    other = asked(scripts, monkeypatch, "compare", tmp_path, "--gpu", "--seed", "3")
    assert {"common.cpu=true", "common.bf16=false", "common.seed=1"} <= set(plain.overrides)
    assert {"common.cpu=false", "common.seed=3"} <= set(other.overrides)
    assert [row.name for row in plain.rows] == ["en", "all_1", "all_0.5"] and plain.jobs == 1
    words = words_of(list(scripts.compare.stages(plain)), "map_all_0.5")
    assert [Path(word).name for word in words[3:5]] == ["valid.tsv", "train.tsv"]
    domain = asked(scripts, monkeypatch, "domain", tmp_path, "--sets", "a/test")
    stages = list(scripts.compare.stages(domain))
    for name in ("without", "with_1", "with_0.5"):
        data = f"task.data={tmp_path}/data/manifests/{name}.yaml"
        assert {data, "dataset.train_subset=train"} <= set(words_of(stages, f"train_{name}"))
    assert not domain.maps and value_of(words_of(stages, "data"), "--share") == "0.1"


def test_a_telephone_s_band_ends_at_3400_hz_and_its_noise_is_10_to_20_db_below(scripts: Any) -> None:
    seconds = np.arange(16_000) / 8_000
    tones = [np.sin(2 * np.pi * hertz * seconds).astype(np.float32) * 0.3 for hertz in (280, 1_000, 3_700)]
    below = []
    for seed in range(8):
        heard = scripts.telephone.by_telephone(sum(tones), np.random.default_rng(seed))
        power = np.abs(np.fft.rfft(heard)) ** 2
        assert power[2_000] > 100 * max(power[560], power[7_400])
        below.append(10 * np.log10(power[2_000] / (power.sum() - power[2_000])))
    assert 9 < min(below) and max(below) < 21 and max(below) - min(below) > 3


def test_a_call_depends_on_its_utterance_s_name_alone(
    scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone = np.sin(np.arange(800) * 0.8).astype(np.float32)
    monkeypatch.setattr(scripts.telephone, "read_audio", lambda *_: tone)
    paths = [tmp_path / f"{name}.wav" for name in "abc"]
    for path, utt in zip(paths, ("u", "u", "v"), strict=True):
        assert scripts.telephone.write_call("x.wav", utt, path) == 800
    one, same, other = (path.read_bytes() for path in paths)
    assert one == same != other


def test_mixtures_are_without_the_domain_and_with_it(
    scripts: Any, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.telephone, "read_audio", lambda *_: np.full(800, 0.1, np.float32))
    (tmp_path / "corpora/a").mkdir(parents=True)
    (tmp_path / "corpora/a/test.tsv").write_text("utt\tpath\tn_samples\n")
    (tmp_path / "corpora/a/phone_times_test.tsv").write_text("times\n")
    scripts.telephone.prepare(tmp_path / "out", manifest, tmp_path / "corpora", ["a/test"], 0.1, 0.1)
    for name, alpha, domains in (
        ("without", 1, ["read"]),
        ("with_1", 1, ["read", "phone"]),
        ("with_0.5", 0.5, ["read", "phone"]),
    ):
        plan = read_mixture(tmp_path / "out" / "manifests" / f"{name}.yaml")
        assert (plan.alpha, plan.max_repeat, [entry.domain for entry in plan.entries]) == (
            alpha,
            1000,
            domains,
        )
        assert plan.entries[-1].data.endswith("/phone") == (len(domains) > 1)
    assert (tmp_path / "out/corpora/a_phone/phone_times_test.tsv").read_text() == "times\n"


def test_a_shorter_training_warms_up_for_an_eighth_and_a_longer_one_as_its_yaml_says(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of small.yaml 300 of 3,000 updates, of vq_small.yaml 200."""
    small = Path(scripts.compare.__file__).with_name("small.yaml")
    for options, updates, warm in (
        (("--yaml", str(small)), 3000, 300),
        (("--yaml", str(small), "--updates", "2000"), 2000, 250),
        ((), 3000, 200),
    ):
        plan = asked(scripts, monkeypatch, "compare", tmp_path, *options)
        wanted = {f"optimization.max_update={updates}", f"lr_scheduler.warmup_updates={warm}"}
        assert wanted <= set(plan.overrides)


def test_all_mixtures_are_made_and_all_sets_are_asked_for(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = asked(scripts, monkeypatch, "compare", tmp_path, "--alphas", "0.5", "--sets", "a/dev", "b/test")
    stages = list(scripts.compare.stages(plan))
    made = words_of(stages, "data")
    assert made[2:] == [
        *(str(tmp_path / "data/manifests"), str(Path("multi.tsv").resolve())),
        *("--alphas", "0.5", "1.0"),  # one language alone is a part of the mixture by hours
    ]
    scored = words_of(stages, "codes_en")
    assert scored[2] == str(Path("corpora").resolve())
    assert scored[scored.index("--sets") + 1 : scored.index("--workers")] == ["a/dev", "b/test"]
    assert value_of(scored, "--out") == str(tmp_path / "codes_en/codes.json")
    domain = asked(scripts, monkeypatch, "domain", tmp_path, "--sets", "a/dev", "b/test")
    stages = list(scripts.compare.stages(domain))
    called, scored = (words_of(stages, name) for name in ("data", "codes_with_0.5"))
    assert called[2:5] == [
        str(tmp_path / "data"),
        *(str(Path(n).resolve()) for n in ("multi.tsv", "corpora")),
    ]
    assert called[called.index("--sets") + 1 : called.index("--share")] == ["a/dev", "b/test"]
    assert scored[2] == str(tmp_path / "data/corpora") and domain.jobs == 1
    wanted = ["a/dev", "a_phone/dev", "b/test", "b_phone/test"]
    assert scored[scored.index("--sets") + 1 : scored.index("--workers")] == wanted


def test_how_much_there_is_of_each_language_is_told(
    scripts: Any, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts.prepare.prepare(tmp_path / "out", manifest, [1], 0.1)
    assert capsys.readouterr().out == "de: 100 utterances, 0.03 h\nen: 40 utterances, 0.01 h\n"


@pytest.mark.parametrize("level", [0.02, 0.5])
def test_a_call_is_as_loud_as_what_was_said(scripts: Any, level: float) -> None:
    tone = level * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 8_000).astype(np.float32)
    heard = scripts.telephone.by_telephone(tone, np.random.default_rng(1))
    assert np.dot(heard, tone) / np.dot(tone, tone) == pytest.approx(1, abs=0.03)


def test_quotation_marks_in_a_set_s_table_stay(
    scripts: Any, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.telephone, "read_audio", lambda *_: np.full(800, 0.1, np.float32))
    (tmp_path / "corpora/a").mkdir(parents=True)
    rows = [f'x{i}\t"{i}.wav\t16000\t"so\n' for i in range(2)]
    (tmp_path / "corpora/a/test.tsv").write_text("utt\tpath\tn_samples\ttext\n" + "".join(rows))
    scripts.telephone.prepare(tmp_path / "out", manifest, tmp_path / "corpora", ["a/test"], 0.1, 0.1)
    found = (tmp_path / "out/corpora/a_phone/test.tsv").read_text().splitlines()
    assert found[1:] == ['x0\ttest/x0.wav\t800\t"so', 'x1\ttest/x1.wav\t800\t"so']
