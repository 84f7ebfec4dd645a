"""What the page's sections share: which splits and codes are counted, what state a stage is in."""

import dataclasses
import html
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_run import FIELD, RATE, STRIDE, make_run, make_training, mark, rows_of, save_trained

from vqw2v_plugin.analysis import run_view
from vqw2v_plugin.analysis.code_sources import CodeSource, find_sources
from vqw2v_plugin.analysis.phone_codes import Codes, phone_code_table
from vqw2v_plugin.analysis.report_page.assemble import _stages, _tiles
from vqw2v_plugin.analysis.report_page.codes import _top_tokens
from vqw2v_plugin.analysis.report_page.svg import percent
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.corpora.manifest import Utterance, write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.recipes.folder import LOG, RunFolder, Stamp, finish
from vqw2v_plugin.stores.frames import FrameTimes
from vqw2v_plugin.tokenizer import Tokenizer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_tokens_that_the_dictionary_lacks_are_not_counted(run: Path) -> None:
    path = run / "tokens/data/dict.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))  # 3-1 is unknown now
    view = RunView(RunFolder(run), PageOptions())
    (each,) = view.statistics
    assert {token for token, _ in each.ranks} == {"0-0", "1-0", "2-1"}
    assert each.usage.num_frames < 6 * 98
    assert each.table is not None and "3-1" not in each.table.tokens


@dataclasses.dataclass(frozen=True)
class Given(CodeSource):
    """Codes that are known from the start."""

    given: Mapping[str, Codes]

    def codes(self, rows: Iterable[Utterance]) -> dict[str, Codes]:
        return {row.utt: self.given[row.utt] for row in rows}


def test_a_frame_counts_if_every_group_has_a_code(run: Path) -> None:
    codes = np.array([[0, 1], [-1, 1], [2, -1], [0, 1], [1, 0]])
    source = Given("given", "", 2, 3, FrameTimes(STRIDE, FIELD, RATE), {"a": codes})
    rows = [Utterance("", 1000, utt="a")]
    each = RunView(RunFolder(run), PageOptions())._count(source, "test", rows, {})
    assert each is not None and each.usage.num_frames == 3
    assert each.counts.tolist() == [[2, 1, 0], [1, 2, 0]]
    assert each.ranks == [("0-1", pytest.approx(2 / 3)), ("1-0", pytest.approx(1 / 3))]


def test_splits_with_phone_times_come_first_and_the_largest_before_the_others(
    run: Path, tmp_path: Path
) -> None:
    for name, samples, has_phones in (("a", 10, True), ("b", 30, True), ("c", 90, False), ("d", 95, False)):
        soundfile.write(tmp_path / "x.wav", np.zeros(100), RATE)
        row = {"path": "x.wav", "samples": samples // 2, "utt": name}
        rows = [row, {**row, "utt": f"{name}2"}] if name != "a" else [{**row, "samples": 20}]
        write_manifest(tmp_path / f"{name}.tsv", tmp_path, rows, list(row))
        if has_phones:
            (tmp_path / f"{name}.phones.ctm").write_text(f"{name} 1 0 0.1 AA\n")
    view = RunView(RunFolder(run), PageOptions(corpus=str(tmp_path)))
    assert [split.name for split in view._counted_splits()] == ["b", "a", "d", "c"]


def test_a_stage_has_failed_where_its_log_ends_in_an_error(run: Path) -> None:
    said = {
        "refused": "vqw2v: error: of a try before\nvqw2v: error: no such file\n",
        "broken": "Traceback (most recent call last):\n  File x\nValueError: no such codebook\n",
        "running": "vqw2v: error: long ago\n" + "and on\n" * 5,
    }
    for name, text in said.items():
        mark(run / name, f"vqw2v {name}")
        (run / name / LOG).write_text(text)
    (run / "tokens" / LOG).write_text(said["refused"])  # of an earlier try
    view = RunView(RunFolder(run), PageOptions())
    found = {stage.name: (view.state(stage), view.failure(stage)) for stage in view.run.stages}
    assert found["refused"] == ("failed", "vqw2v: error: no such file")
    assert found["broken"] == ("failed", "ValueError: no such codebook")
    assert found["running"] == ("unfinished", "") and found["tokens"] == ("done", "")
    assert '<span class="state failed">failed</span>' in _stages(view)


def test_codes_are_counted_over_the_split_with_phones(run: Path) -> None:
    (each,) = RunView(RunFolder(run), PageOptions()).statistics
    assert (each.split, each.num_utterances, each.usage.num_frames) == ("test", 6, 6 * 98)
    assert each.counts.sum(axis=1).tolist() == [6 * 98] * 2
    assert each.table is not None and set(each.table.phones) == {"SIL", "l", "h"}
    assert 0.85 < each.table.phone_purity < 1 and sum(share for _, share in each.ranks) == pytest.approx(1)


def test_tokens_alone_are_counted_without_their_corpus(run: Path) -> None:
    shutil.rmtree(run / "corpus")
    (each,) = RunView(RunFolder(run), PageOptions()).statistics
    assert each.table is None and each.usage.num_frames == 6 * 98


def test_without_tokens_the_checkpoint_is_asked(run: Path, tiny: Callable[..., VqWav2Vec]) -> None:
    path = save_trained(tiny(quantizer="kmeans"), run)
    shutil.rmtree(run / "tokens")
    view = RunView(RunFolder(run), PageOptions(encode_minutes=2.5 / 60))
    (each,) = view.statistics
    assert each.source.name == "pretrain" and each.num_utterances == 3  # of a second each
    codes = each.source.codes(rows_of(run)[:1])
    wanted = Tokenizer.load(path).encode_file(rows_of(run)[0].path)
    assert (codes[rows_of(run)[0].utt] == wanted.numpy()).all()
    assert not RunView(RunFolder(run), PageOptions(encode_minutes=0)).sources


def test_a_checkpoint_is_asked_where_there_is_audio_and_that_is_said(
    run: Path, tiny: Callable[..., VqWav2Vec]
) -> None:
    save_trained(tiny(quantizer="kmeans"), run)
    told: list[str] = []
    view = RunView(RunFolder(run), PageOptions(), told.append)
    assert [each.source.name for each in view.statistics] == ["tokens", "pretrain"]
    assert told == ["encoding 6 utterances with RUN/pretrain/checkpoint_last.pt"]  # tokens are read
    shutil.rmtree(run / "corpus")
    view = RunView(RunFolder(run), PageOptions())
    assert [source.name for source in view.sources] == ["tokens"] and not view.troubles


def test_utterances_that_gave_no_code_are_not_counted(run: Path) -> None:
    (source,), _ = find_sources(RunFolder(run))
    rows = [*rows_of(run), Utterance("", 16_000, utt="nobody")]
    each = RunView(RunFolder(run), PageOptions())._count(source, "test", rows, {})
    assert each is not None and each.num_utterances == 6


def test_manifests_outside_of_the_run_are_found_through_its_commands(run: Path, tmp_path: Path) -> None:
    shutil.move(run / "corpus/data", tmp_path / "elsewhere")
    text = (tmp_path / "elsewhere/test.tsv").read_text()
    (tmp_path / "elsewhere/test.tsv").write_text(
        text.replace(str(run / "corpus/data"), str(tmp_path / "elsewhere"))
    )
    assert not RunView(RunFolder(run), PageOptions()).splits
    finish(run / "pretrain", Stamp((f"fairseq-hydra-train task.data={tmp_path / 'elsewhere'}",)))
    view = RunView(RunFolder(run), PageOptions())
    assert [split.name for split in view.splits] == ["test"] and view.statistics[0].table is not None


def test_the_tiles_show_the_shares_and_the_best_of_each_result(run: Path) -> None:
    for name, change in (("abx.json", {"across": 0.2, "within": 0.3}), ("errors-test.json", {"rate": 80.0})):
        (path,) = run.rglob(name)
        more = path.with_name(name.replace(".json", "-more.json"))
        more.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    view = RunView(RunFolder(run), PageOptions())
    tiles = dict(re.findall('<div class="tile"><b>([^<]*)</b><span>([^<]*)</span>', _tiles(view)))
    (each,) = view.statistics
    assert each.table is not None
    told = {
        percent(each.table.information.share): "of what there is to know of a phone is in its token",
        f"{each.usage.joint_perplexity:,.0f}": "perplexity of the 4 tokens in use, tokens",
        "400": "bits a second, the codes' nominal rate",  # 100 frames of 2 groups of 4 codes
        "20.0\u202f%": "ABX error across speakers, tokens: codes",
        "66.7\u202f%": "of words wrong, decode on test",
    }
    assert len(tiles) == len(told)
    assert all(tiles[html.escape(value)].startswith(html.escape(what)) for value, what in told.items()), tiles


def test_of_several_sources_two_have_tiles_and_what_nobody_measured_has_none(run: Path) -> None:
    view = RunView(RunFolder(run), PageOptions())
    (each,), (abx,) = view.statistics, view.abx
    others = [
        dataclasses.replace(each, source=dataclasses.replace(each.source, name=name), table=table)
        for name, table in (("first", each.table), ("second", None), ("third", each.table))
    ]
    about = {name: value for name, value in abx.about.items() if name != "across"}
    view.__dict__.update(statistics=others, errors=[], abx=[dataclasses.replace(abx, about=about)])
    names = re.findall('<div class="tile"><b>[^<]*</b><span>([^<]*)</span>', _tiles(view))
    assert [name.rpartition(", ")[2] for name in names] == [
        *("first", "first", "second"),  # what is told of phones, and perplexities
        "the codes&#x27; nominal rate",
    ]


def test_a_phone_that_two_tokens_stand_for_as_often_has_a_perplexity_of_two() -> None:
    table = phone_code_table(np.array([[0], [1], [2], [2]]), ["a", "a", "b", "b"])
    rows = re.findall("<tr><td>(.*?)</td></tr>", _top_tokens(table))
    cells = {row[0]: re.sub("<[^>]*>", " ", row).split() for row in rows}
    assert cells["a"][1:3] == ["2", "2.0"] and cells["b"][1:3] == ["2", "1.0"]


def test_counts_of_a_long_split_come_from_all_over_it(run: Path, tiny: Callable[..., VqWav2Vec]) -> None:
    save_trained(tiny(quantizer="kmeans"), run)
    shutil.rmtree(run / "tokens")
    view = RunView(RunFolder(run), PageOptions(encode_minutes=2.5 / 60))
    rows = view._budget(view.sources[0], rows_of(run))
    numbers = [int(row.utt[-2:]) for row in rows]
    assert numbers == sorted(numbers) and np.ptp(numbers) >= 3


def test_of_tokens_as_many_frames_are_counted_as_can_be_read_quickly(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for most, utterances in ((6 * 100, 6), (2.5 * 100, 3)):  # a hundred frames a second, a second each
        monkeypatch.setattr(run_view, "_MOST_FRAMES", most)
        (each,) = RunView(RunFolder(run), PageOptions(encode_minutes=0)).statistics
        assert each.num_utterances == utterances


def test_an_utterance_lasts_as_long_as_its_own_rate_says(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_view, "_MOST_FRAMES", 2.5 * 100)
    view = RunView(RunFolder(run), PageOptions(encode_minutes=0))
    for rate, utterances in ((8_000, 3), (16_000, 3), (48_000, 3), (None, 3)):  # of a second each
        rows = [Utterance("", rate or RATE, rate=rate, utt=str(i)) for i in range(6)]
        assert len(view._budget(view.sources[0], rows)) == utterances


def test_a_training_s_curve_is_in_whichever_of_its_logs_goes_further(run: Path) -> None:
    (run / "pretrain/hydra_train.log").rename(run / "pretrain" / LOG)  # as of fairseq-train
    assert RunView(RunFolder(run), PageOptions()).trainings["pretrain"].updates == 100
    make_training(run / "pretrain", last=50)
    assert RunView(RunFolder(run), PageOptions()).trainings["pretrain"].updates == 100


def test_a_split_that_is_asked_for_is_counted_or_none_is(run: Path) -> None:
    data = run / "corpus/data"
    text = (data / "test.tsv").read_text().replace("speaker", "stranger")
    for i in range(6):
        (data / f"stranger{i % 3}-{i:02d}.wav").write_bytes(
            (data / f"speaker{i % 3}-{i:02d}.wav").read_bytes()
        )
    (data / "dev.tsv").write_text(text)
    assert [each.split for each in RunView(RunFolder(run), PageOptions(split="test")).statistics] == ["test"]
    view = RunView(RunFolder(run), PageOptions(split="dev"))  # its utterances have no tokens
    assert view.statistics == []
    assert view.troubles == ["tokens has no codes for dev: is it of another corpus?"]


def test_stages_that_others_need_or_the_last_one_lists_are_planned_until_they_begin(run: Path) -> None:
    mark(run / "words", "vqw2v words", "decode", "letters", "acoustic")
    mark(run / "tune", "vqw2v tune", "letters", "words")
    mark(run / "report", "vqw2v report", "tune", "summary", "acoustic")
    assert RunView(RunFolder(run), PageOptions()).planned == ["letters", "acoustic", "summary"]
    listed = RunView(RunFolder(run, without=run / "report"), PageOptions())
    assert listed.planned == ["summary", "acoustic", "letters"]  # in the last one's order
    mark(run / "letters", "vqw2v letters")
    assert RunView(RunFolder(run), PageOptions()).planned == ["acoustic", "summary"]
