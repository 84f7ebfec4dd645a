"""The report's settings, seeds, clips, stages and curves say what the run's files say."""

import html
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from report_tables import table_of
from small_run import make_run, make_training, mark

from vqw2v_plugin.analysis.corpus_splits import label_words
from vqw2v_plugin.analysis.report_page import assemble, results, settings, speech, training
from vqw2v_plugin.analysis.run_results import Confusion
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.corpora.manifest import Utterance
from vqw2v_plugin.recipes.folder import BEGUN, DONE, LOG, RunFolder
from vqw2v_plugin.stores.labels import Labels, write_labels


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def view_of(run: Path, **options: Any) -> RunView:
    return RunView(RunFolder(run), PageOptions(**options))


def seeds_of(run: Path) -> list[tuple[str, str, int]]:
    return list(settings._seeds(view_of(run)))


def test_every_seed_is_named_with_where_it_stands(tmp_path: Path) -> None:
    run = tmp_path / "run"
    mark(run / "a", "vqw2v toy --seed 12 --other-seed=3")
    mark(run / "b", "fairseq-hydra-train common.seed=45 task.data=x")
    mark(run / "c", "vqw2v abx")
    (run / "c/abx-z.json").write_text('{"seed": 67}')
    (run / "c/corpus.json").write_text('{"arguments": {"seed": 89}, "seed": 1}')
    mark(run / "d", "fairseq-hydra-train common.seed=4")  # its log says what it took
    make_training(run / "d")
    mark(run / "e", "fairseq-hydra-train common.seed=4")
    log = "[now][fairseq_cli.train][INFO] - {'common': {'seed': 0}}\n"
    (run / "e/hydra_train.log").write_text(log)
    assert sorted(seeds_of(run)) == [
        ("a", "its command", 12),
        ("b", "its command", 45),
        ("c", "c/abx-z.json", 67),
        ("c", "c/corpus.json", 89),
        ("d", "common.seed", 3),
        ("e", "common.seed", 0),
    ]


def test_settings_are_shown_by_section_without_what_is_not_set(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "d/.hydra").mkdir(parents=True)
    (run / "d/.hydra/overrides.yaml").write_text(f"- task.data={run}/corpus\n")
    said = {
        "model": {"_name": "m", "dim": 3, "skip": None, "dropout": 0, "shared": False},
        "odd": {"x": 1},
        "task": {"data": f"{run}/corpus"},
        "checkpoint": {"patience": 5},
    }
    (run / "d/hydra_train.log").write_text(f"[now][fairseq_cli.train][INFO] - {said}\n")
    body = settings.settings_section(view_of(run)).body
    wanted = "task:\n  data: RUN/corpus\nmodel: m\n  dim: 3\n  dropout: 0\n  shared: False\n"
    assert f"<pre>{wanted}checkpoint:\n  patience: 5</pre>" in body
    assert "Its command was not written down." in body and "<pre>- task.data=RUN/corpus</pre>" in body


def test_a_command_is_shown_without_its_program_s_folder_and_without_overrides(tmp_path: Path) -> None:
    run = tmp_path / "run"
    mark(run / "d", f"/some/bin/fairseq-hydra-train --config-dir /x/y task.data={run}/corpus")
    (run / "d/.hydra").mkdir()
    (run / "d/.hydra/overrides.yaml").write_text("- common.seed=5\n")
    (run / "d" / LOG).write_text("".join(f"line {i}\n" for i in range(50)))
    body = settings.settings_section(view_of(run)).body
    shell = body.partition('<pre class="shell">')[2].partition("</pre>")[0]
    shell = html.unescape(re.sub("<[^>]*>", "", shell))
    assert shell == "fairseq-hydra-train --config-dir /x/y task.data=RUN/corpus"
    assert "common.seed=5" not in body
    printed = body.partition("What it printed")[2]
    assert "line 10\n" in printed and "line 49" in printed and "line 9\n" not in printed  # the last 40


def test_settings_without_a_log_are_hydra_s_and_what_a_log_says_is_shown_without_a_command(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    (run / "by_hand/.hydra").mkdir(parents=True)
    (run / "by_hand/.hydra/overrides.yaml").write_text("- model.dim=3\n")
    (run / "by_hand/.hydra/config.yaml").write_text(f"data: {run}/corpus\n")
    (run / "by_hand" / LOG).write_text("step by step\n")
    make_training(run / "logged")
    (run / "silent").mkdir()
    (run / "silent/lm.arpa").touch()
    parts = settings.settings_section(view_of(run)).body.split("<h3>")[1:]
    by_hand, logged = sorted(parts)  # and nothing of the third
    assert by_hand.startswith("by_hand<") and "<pre>- model.dim=3" in by_hand
    assert "<pre>data: RUN/corpus" in by_hand and "step by step" not in by_hand
    assert logged.startswith("logged<") and "model: vq_wav2vec" in logged


def test_what_a_stage_printed_is_shown_without_the_run_s_long_path(tmp_path: Path) -> None:
    mark(tmp_path / "run/d", "align")
    (tmp_path / "run/d" / LOG).write_text(f"wrote {tmp_path}/run/d/a.ctm\n")
    body = settings.settings_section(view_of(tmp_path / "run")).body
    assert "wrote RUN/d/a.ctm" in body and "<div><span>align</span></div>" in body


def test_a_version_that_nobody_recorded_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"torch": "2.6.0", "soxr": "1.0"}
    monkeypatch.setattr(settings, "distribution_version", lambda name: known.get(name, ""))
    found = dict(settings._versions())
    assert {"Python", "vqw2v_plugin", "torch", "soxr", "system"} == set(found)
    assert found["torch"] == "2.6.0"


def split_of(name: str, words: bool = True, phones: bool = True, number: int = 1) -> Any:
    rows = {f"{name}{i}": Utterance("", 48_000, utt=f"{name}{i}", speaker=str(i)) for i in range(number)}
    return SimpleNamespace(
        name=name,
        is_held_out=name.startswith(("test", "dev", "valid")),
        words={"": 1} if words else {},
        phones={"": 1} if phones else {},
        utterances=rows,
    )


def chosen(splits: list[Any], **fields: Any) -> list[str]:
    view = SimpleNamespace(splits=splits, options=PageOptions(), hypotheses={}, **fields)
    return [row.utt for _, row in speech._rows(cast(RunView, view))]


def test_clips_come_from_a_held_out_split_with_words_then_phones_then_from_test() -> None:
    train, dev, test = split_of("train"), split_of("dev"), split_of("test")
    assert chosen([train, dev, test]) == ["test0"]
    assert chosen([train, dev, split_of("test", words=False)]) == ["dev0"]
    assert chosen([train, dev, split_of("test", phones=False)]) == ["dev0"]
    assert chosen([split_of("test", words=False), split_of("dev", phones=False)]) == ["dev0"]
    assert chosen([train, split_of("valid", words=False, phones=False)]) == ["valid0"]
    assert chosen([split_of("train", phones=False), split_of("other")]) == ["other0"]


def test_clips_that_were_decoded_are_preferred() -> None:
    view = SimpleNamespace(
        splits=[split_of("test", number=9)],
        options=PageOptions(),
        hypotheses={"a": {"test7": {}}, "b": {"test5": {}, "gone": {}}},
    )
    assert [row.utt for _, row in speech._rows(cast(RunView, view))] == ["test5", "test7"]


def test_words_are_compared_without_regard_to_case_and_places_without_one_are_marked() -> None:
    assert speech._marked("The Cat sat", "the cat SAT") == "the cat sat"
    marked = speech._marked("the cat sat", "a cat down")
    assert marked.startswith('<mark title="said: the">a</mark> cat ')
    assert speech._marked("the cat", "cat") == '<del title="not heard">the</del> cat'
    assert speech._marked("", "cat") == "cat"


def test_a_clip_says_whose_it_is_and_what_nobody_heard_in_it(run: Path) -> None:
    view = view_of(run)
    (split,) = view.splits
    row = split.utterances["speaker0-00"]
    view.__dict__["hypotheses"] = {
        "deaf": {row.utt: {"utt": row.utt}},
        "timeless": {row.utt: {"text": "low"}},
    }
    lanes = [lane.kind for lane in speech._lanes(view, split, row)]
    assert lanes == ["words", "phones", "codes"]  # no times of what was heard
    for speaker, lang, told in (
        ("ann", "de", "test, speaker ann, de"),
        (None, "de", "test, de"),
        (None, None, "test"),
    ):
        shown = speech._article(view, split, replace(row, speaker=speaker, lang=lang))
        assert f'<h3>speaker0-00</h3><span class="lead">{told}</span>' in shown
    assert '<td class="lead">deaf</td><td><del title="not heard">low</del>' in shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a" * 15, "a" * 15), ("a" * 16, "a" * 14 + "…"), ("pretrain", "pretrain")],
)
def test_a_long_name_is_cut_to_fit_beside_its_lane(name: str, shown: str) -> None:
    assert speech._short(name) == shown


def test_a_clip_has_lanes_of_words_what_was_heard_phones_and_codes(run: Path) -> None:
    view = view_of(run)
    (split,) = view.splits
    row = split.utterances["speaker0-00"]
    heard = view.hypotheses["decode"]["speaker0-00"]
    view.__dict__["hypotheses"] = {f"decoder{i}": {"speaker0-00": heard} for i in range(6)}
    view.__dict__["errors"] = [replace(view.errors[0], name="decoder1")]
    view.__dict__["sources"] = [view.sources[0]] * 5
    lanes = [(lane.name, lane.kind) for lane in speech._lanes(view, split, row)]
    assert lanes == [
        ("words", "words"),
        *((f"decoder{i}", "heard") for i in (1, 5, 4, 3)),  # that with a rate, then the newest
        ("phones", "phones"),
        *[("tokens", "codes")] * 3,
    ]


def test_what_was_said_is_the_transcript_or_the_words_that_have_times(run: Path) -> None:
    view = view_of(run)
    (split,) = view.splits
    row = split.utterances["speaker0-00"]
    for extra, said in (({"text": "other words"}, "other words"), ({}, "low high low")):
        told = Utterance(row.path, row.samples, utt=row.utt, speaker=row.speaker, extra=extra)
        assert f'<td class="lead">said</td><td>{said}</td>' in speech._article(view, split, told)


def test_what_was_heard_is_laid_beside_the_labels_words_not_beside_a_text_with_its_stops(run: Path) -> None:
    (split,) = view_of(run).splits
    row = split.utterances["speaker0-00"]
    told = Utterance(
        row.path, row.samples, utt=row.utt, speaker=row.speaker, extra={"text": "Low, sky – Low."}
    )
    for labels in ("", "low sky oh"):  # labels of its own, or none: normalized as they would be
        if labels:
            write_labels(
                run / "labels",
                "letters",
                {split.name: Labels((row.utt,), (("l",),), (labels,))},
                [("l", 1)],
                {},
            )
        view = view_of(run)
        said = label_words(view.run, split.name).get(row.utt)
        assert said == (labels or None) and label_words(view.run, "train") == {}
        shown = speech._article(view, split, told, said)
        assert "<td>Low, sky – Low.</td>" in shown
        assert 'low sky low <mark title="not said">oh</mark>' in shown if not labels else "sky <mark" in shown
    (run / "labels" / f"{split.name}.utt").unlink()
    assert label_words(view_of(run).run, split.name) == {}


def made_of(run: Path) -> dict[str, tuple[str, str, str]]:
    rows = table_of(assemble._stages(view_of(run)))
    return {row["stage"]: (row["state"], row["took"], row["made"]) for row in rows}


def test_a_stage_s_row_says_its_state_its_time_and_what_it_made(run: Path) -> None:
    files = {
        "labels.json": "labels",
        "features.json": "features",
        "lm.arpa": "a language model",
        "abx-z.json": "ABX errors",
        "train.tsv": "manifests",
        "errors-x.json": "hypotheses and error rates",
        "usage-x.json": "what codes tell",
        "map-x.json": "which codes groups share",
        "other.txt": "a log",
    }
    for number, name in enumerate(files):
        mark(run / f"s{number}", "x", done=number == 0)
        (run / f"s{number}" / name).write_text("")
    os.utime(run / "s0" / BEGUN, (1000, 1000))
    os.utime(run / "s0" / DONE, (1300, 1300))
    (run / "bare").mkdir()
    (run / "bare/lm.arpa").write_text("")
    found = made_of(run)
    assert found["s0"] == ("done", "5 min", "labels")
    for number, what in enumerate(files.values()):
        assert found[f"s{number}"][2] == what
    assert found["s1"] == ("unfinished", "–", "features") and found["bare"][0] == "begun by hand"
    assert (
        found["pretrain"][2] == "vq_wav2vec, 100 updates"
        and found["tokens"][2] == "ABX errors, what codes tell, tokens"
    )


def test_a_training_without_marks_took_what_its_own_clock_says(run: Path) -> None:
    line = '2026-11-29 09:42:41 | INFO | train_inner | {{"loss": "3.4", "num_updates": "{}", "wall": "{}"}}\n'
    (run / "bare").mkdir()
    (run / "bare/train.log").write_text(line.format(10, 61) + line.format(20, 7260))
    assert made_of(run)["bare"] == ("begun by hand", "2.0 h", "a model, 20 updates")
    mark(run / "marked", "x", done=True)
    (run / "marked/train.log").write_text(line.format(10, 61))
    for name, at in ((BEGUN, 1000), (DONE, 1300)):
        os.utime(run / "marked" / name, (at, at))
    assert made_of(run)["marked"][1] == "5 min"


def test_an_unfinished_run_says_that_it_goes_on_and_a_finished_one_does_not(run: Path) -> None:
    assert "goes on where it stopped" not in assemble._stages(view_of(run))
    mark(run / "later", "x")
    assert "goes on where it stopped" in assemble._stages(view_of(run))


def test_a_run_whose_stage_has_failed_is_not_finished(run: Path) -> None:
    mark(run / "later", "x")
    (run / "later" / LOG).write_text("vqw2v: error: no such file\n")
    told = assemble._stages(view_of(run))
    assert "later ended with: vqw2v: error: no such file" in told and "goes on where it stopped" in told


def test_a_trouble_that_several_sections_met_is_named_once(run: Path) -> None:
    (run / "tokens/data/abx.json").write_text("[1, 2]")
    page, _ = assemble.make_report(view_of(run))
    assert page.count("abx.json has no error within or across speakers") == 1


def test_error_rates_come_first_the_best_of_a_split_before_others(run: Path) -> None:
    view = view_of(run)
    (rated,) = view.errors
    view.__dict__["errors"] = [replace(rated, rate=rated.rate + 1, name="worse"), rated]
    page, _ = assemble.make_report(view)
    assert page.index("<h2") < page.index(">Error rates</h2>") < page.index(">Stages</h2>")
    assert f"{rated.name} on {rated.split}, the lowest of 2 rates" in page
    table = page[page.index(">Error rates</h2>") : page.index(">Stages</h2>")]
    assert table.index(f"<b>{rated.name}</b>") < table.index("<b>worse</b>")
    shutil.rmtree(run / "decode")
    page, _ = assemble.make_report(view_of(run))
    assert page.index(">Stages</h2>") < page.index(">Error rates</h2>")


def test_error_rates_stand_by_their_splits_and_then_the_best_first(run: Path) -> None:
    view = view_of(run)
    (rated,) = view.errors
    given = [("test", 10.0), ("dev", 30.0), ("test", 5.0), ("dev", 20.0)]
    view.__dict__["errors"] = [replace(rated, split=split, rate=rate) for split, rate in given]
    rows = table_of(results.errors_section(view).body)
    assert [(row["split"], row["rate"].partition(".")[0]) for row in rows] == [
        *(("dev", "20"), ("dev", "30"), ("test", "5"), ("test", "10"))
    ]


def test_confusions_of_one_kind_alone_are_shown_beside_none_of_the_others(run: Path) -> None:
    view = view_of(run)
    (rated,) = view.errors
    none: dict[str, tuple[Confusion, ...]] = {"substitutions": (), "deletions": (), "insertions": ()}
    for frequent, shown in ((none, 0), ({**none, "deletions": (Confusion("the", "", 3),)}, 2)):
        view.__dict__["errors"] = [replace(rated, frequent=frequent)]
        body = results.errors_section(view).body
        assert body.count("none listed") == shown and ("most frequent errors" in body) == bool(shown)


def test_only_sections_with_nothing_to_show_are_named(run: Path) -> None:
    assert assemble.make_report(view_of(run))[1] == []
    shutil.rmtree(run / "decode")
    assert assemble.make_report(view_of(run))[1] == ["Error rates"]


def test_of_many_errors_those_seen_once_are_left_out(run: Path) -> None:
    view = view_of(run)
    (rated,) = view.errors
    pairs = (Confusion("the", "a", 3), *(Confusion(f"word{i}", "x", 1) for i in range(11)))
    once = tuple(Confusion(f"gone{i}", "", 1) for i in range(20))
    for total, shown in ((12, True), (13, False)):
        counts = {"substitutions": total, "deletions": 20, "insertions": 1}
        frequent = {"substitutions": pairs, "deletions": once, "insertions": (Confusion("", "oh", 1),)}
        view.__dict__["errors"] = [replace(rated, counts=counts, frequent=frequent)]
        body = results.errors_section(view).body
        assert "the → a" in body and ("word3 → x" in body) == shown
        assert "20, each another one" in body and "gone" not in body and "<td>oh</td>" in body


@pytest.fixture
def own_run(tmp_path: Path) -> Path:
    """As `vqw2v new` and its script leave it, as far as the page asks."""
    run = tmp_path / "own"
    (run / "acoustic").mkdir(parents=True)
    (run / "features").mkdir()
    (run / "features/features.json").write_text('{"sample_rate": 8000}')
    (run / "lm.arpa").write_text("")
    (run / "run.sh").write_text(
        'set -e\nvqw2v lm "$RUN/labels/train.wrd" "$RUN/lm.arpa"\n# said\nfor split in train; do\n'
        '    vqw2v features - m/$split.tsv "$RUN/features" \\\n        --layer logmel\ndone\n'
        'fairseq-hydra-train --config-dir "$RUN" \\\n    checkpoint.save_dir="${RUN}/acoustic"\n'
        'echo "next: vqw2v transcribe"\n'
    )
    task = {"_name": "vq_acoustic", "data": f"{run}/features", "sample_rate": 16_000}
    log = f"[now][fairseq_cli.train][INFO] - { ({'task': task}) }\n"
    (run / "acoustic/hydra_train.log").write_text(log)
    return run


@pytest.mark.parametrize("task", ["vq_acoustic", "vq_utterance"])
def test_a_run_of_letters_alone_says_of_codes_one_line(own_run: Path, task: str) -> None:
    log = own_run / "acoustic/hydra_train.log"
    log.write_text(log.read_text().replace("vq_acoustic", task))
    page, lacking = assemble.make_report(view_of(own_run))
    assert lacking[-1:] == ["Codes"] and not {"Codebook", "ABX"} & set(lacking)
    assert "This run has no codes" in page and "vqw2v abx" not in page and "vqw2v usage" not in page
    log.write_text(log.read_text().replace(task, "vq_audio_pretraining"))
    assert "Codebook" in assemble.make_report(view_of(own_run))[1]  # codes are on their way


def test_what_is_known_of_codes_is_shown_whatever_the_run_learns_from(own_run: Path, run: Path) -> None:
    known = view_of(run)
    for name in ("usage", "abx", "sources"):
        view = view_of(own_run)
        view.__dict__.update({"sources": [], "usage": [], "abx": [], "statistics": []})
        view.__dict__[name] = getattr(known, name)
        page, lacking = assemble.make_report(view)
        assert "This run has no codes" not in page and "Codebook" in lacking, name


def test_a_training_from_labels_beside_another_says_nothing_of_there_being_no_codes(own_run: Path) -> None:
    make_training(own_run / "pretraining")
    assert "This run has no codes" not in assemble.make_report(view_of(own_run))[0]


@pytest.mark.parametrize("others", [(), ("summary",)])
def test_a_run_is_not_finished_while_a_stage_that_others_need_is_still_to_begin(
    tmp_path: Path, others: tuple[str, ...]
) -> None:
    mark(tmp_path / "run/words", "vqw2v words", *others, done=True)
    told = assemble._stages(view_of(tmp_path / "run"))
    assert ("The run is not finished" in told) == bool(others)


def test_what_a_script_made_shows_its_commands_and_the_features_own_rate(own_run: Path) -> None:
    view = view_of(own_run)
    made, acoustic = sorted(view.run.stages, key=lambda stage: stage.name == "acoustic")
    assert made.commands == (
        f'vqw2v lm "{own_run}/labels/train.wrd" "{own_run}/lm.arpa"',
        f'vqw2v features - m/$split.tsv "{own_run}/features" --layer logmel',
    )
    assert acoustic.commands == (
        f'fairseq-hydra-train --config-dir "{own_run}" checkpoint.save_dir="{own_run}/acoustic"',
    )
    assert [row["state"] for row in table_of(assemble._stages(view))] == ["by run.sh"] * 2
    (own_run / "acoustic" / DONE).write_text("x\n")
    states = {row["stage"]: row["state"] for row in table_of(assemble._stages(view_of(own_run)))}
    assert states == {"own": "by run.sh", "acoustic": "done"}
    body = settings.settings_section(view).body
    assert "was not written down" not in body and "sample_rate: 8000" in body and "16000" not in body
    (own_run / "features/features.json").write_text("[1")
    assert "sample_rate: 16000" in settings.settings_section(view_of(own_run)).body


def test_a_training_shows_valid_s_change_its_last_sign_of_life_and_eight_warnings(tmp_path: Path) -> None:
    run = tmp_path / "run"
    mark(run / "t", "fairseq-hydra-train")
    make_training(run / "t", last=50)
    log = run / "t/hydra_train.log"
    more = "".join(f"[now][vqw2v_plugin.training][WARNING] - beware {i}\n" for i in range(10))
    log.write_text(log.read_text() + more)
    for number, file in enumerate(sorted((run / "t").iterdir())):
        os.utime(file, (86_400 * 365 * (number + 1), 86_400 * 365 * (number + 1)))
    latest = max(file.stat().st_mtime for file in log.parent.iterdir())
    last = time.strftime("%Y", time.localtime(latest))
    section = training.training_section(view_of(run))
    assert "vq_wav2vec with" not in section.body and "50 of 100 updates" in section.body
    assert f"unfinished; last sign of life {last}" in section.body
    assert '<b>loss</b> <span class="s1">7.5 → 7.5</span>' in section.body
    assert "What the log warns of (10)" in section.body
    assert [f"beware {i}<" in section.body for i in range(10)] == [True] * 8 + [False] * 2
    assert section.parts == ()


def test_a_training_that_has_logged_no_update_is_shown_with_what_it_says_of_itself(tmp_path: Path) -> None:
    run = tmp_path / "run"
    mark(run / "t", "fairseq-hydra-train")
    make_training(run / "t", last=0)
    (run / "t" / LOG).write_text("Traceback (most recent call last):\nValueError: no such codebook\n")
    body = training.training_section(view_of(run)).body
    assert re.sub("<[^>]*>", " ", body).split()[0] == "t" and "0 of 100 updates; failed" in body
    assert "It ended with: ValueError: no such codebook" in body and "has logged no update yet" in body


def test_a_training_that_is_done_says_in_what_time_and_what_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    mark(run / "t", "fairseq-hydra-train", done=True)
    for name, at in ((BEGUN, 1000), (DONE, 1300)):
        os.utime(run / "t" / name, (at, at))
    said = {"model": {"_name": "vq_wav2vec"}, "criterion": {"_name": "vq_cpc"}}
    log = f"[now][fairseq_cli.train][INFO] - {said}\n"
    line = "[now][train_inner][INFO] - epoch 001: 1 / 9 loss={}, num_updates={}\n"
    (run / "t/hydra_train.log").write_text(log + line.format(3.5, 10) + line.format(2.5, 2000))
    body = training.training_section(view_of(run)).body
    assert "vq_wav2vec with vq_cpc; 2,000 updates; done in 5 min." in body  # nobody says of how many
    assert '<b>loss</b> <span class="s0">3.5 → 2.5</span>' in body  # the training's own
    dev = "[now][dev][INFO] - epoch 001 | valid on 'dev' subset | loss {} | num_updates {}\n"
    with open(run / "t/hydra_train.log", "a") as file:
        file.write(dev.format(4.5, 2000) + dev.format(1.5, 3000))
    body = training.training_section(view_of(run)).body
    assert '<b>loss</b> <span class="s1">4.5 → 1.5</span>' in body  # or of what was not learnt from


def test_the_codebook_over_time_has_its_metrics_and_a_line_for_each_group(run: Path) -> None:
    (run / "plain").mkdir()
    line = "[now][train_inner][INFO] - epoch 001: 1 / 9 loss=3.5, num_updates=10\n"
    (run / "plain/hydra_train.log").write_text(line)  # of no codebook
    body = training.codebook_over_time(view_of(run))
    assert re.findall("<h3>(.*?)</h3>", body) == ["pretrain: over time"]
    named = re.findall("<figcaption><b>(.*?)</b> <span.*?>(.*?)</span>", body)
    assert named == [
        ("code_perplexity", "2.9 → 2"),
        ("group_share", "a line a group"),
        ("dead_codes", "0 → 2"),
    ]
    curves = re.findall('<path class="line (s[0-9])"', body)
    assert curves == ["s0", "s2", "s3", "s0"]  # groups are neither the training's colour nor valid's


def test_several_trainings_are_parts_of_the_contents(run: Path) -> None:
    make_training(run / "again")
    assert sorted(training.training_section(view_of(run)).parts) == ["again", "pretrain"]


def test_no_more_than_twelve_curves_of_a_training_are_drawn(tmp_path: Path) -> None:
    values = ", ".join(f"m{i:02d}={i}" for i in range(20))
    (tmp_path / "t").mkdir()
    line = f"[now][train_inner][INFO] - epoch 001: 1 / 99 loss=1, {values}, num_updates=1\n"
    (tmp_path / "t/hydra_train.log").write_text(line)
    body = training.training_section(view_of(tmp_path)).body
    assert re.findall("<figcaption><b>(.*?)</b>", body) == ["loss", *(f"m{i:02d}" for i in range(11))]
