"""`vqw2v usage --by` as it is typed: groups of any column, of several manifests, and the page of them."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wav2vec2s
from report_tables import NARROW, table_of
from small_run import mark

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.analysis.group_codes import grouped
from vqw2v_plugin.analysis.report_page.groups import groups_section
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.corpora.manifest import Manifest, ManifestError, write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.recipes.folder import RunFolder

COLUMNS = ("path", "samples", "utt", "speaker", "lang", "domain")
SMALL = ("--least-seconds", "0.5", "--group-minutes", "0.05")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two manifests: low hums are `lo` and `mi`, hisses `hi`; one has no language, `few` is too short."""
    folder = tmp_path_factory.mktemp("corpus")
    rng, rows = np.random.default_rng(0), []
    for i in range(22):
        lang = ("lo", "mi", "hi")[i % 3] if i < 20 else ("", "few")[i - 20]
        noise = rng.normal(0, 0.1, 8_000)
        wav = noise if lang == "hi" else np.convolve(noise, np.ones(60) / 12, "same")
        soundfile.write(folder / f"u{i}.wav", wav[:2_000] if lang == "few" else wav, 16_000)
        size = 2_000 if lang == "few" else 8_000
        row = {"path": f"u{i}.wav", "samples": size, "utt": f"u{i % 11}", "speaker": f"s{i % 2}"}
        rows.append({**row, "lang": lang, "domain": f"d{i % 4}"})
    write_manifest(folder / "one.tsv", folder, rows[:11], COLUMNS)
    write_manifest(folder / "two.tsv", folder, rows[11:], COLUMNS)
    return folder


@pytest.fixture
def by(
    corpus: Path, tiny: Callable[..., VqWav2Vec], capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    def run(*options: str, code: int = 0, manifests: tuple[str, ...] = ("one", "two")) -> str:
        network = tiny(quantizer="gumbel").eval()
        save_checkpoint(Imported(Loaded(network, 16_000, False), False, 0, []), corpus / "c.pt", True)
        named = [str(corpus / f"{name}.tsv") for name in manifests]
        assert main(["usage", str(corpus / "c.pt"), *named, *options]) == code
        shown = capsys.readouterr()
        return shown.err if code else shown.out

    return run


def test_groups_of_several_manifests_are_laid_side_by_side(by: Callable[..., str], corpus: Path) -> None:
    shown = by("--by", "lang", *SMALL)
    assert "two.tsv: 1 of 11 utterances have no lang, and are left out" in shown
    assert "left out, with less than 0.5 s or two utterances: few" in shown
    found = re.search(r"3 groups by lang, ([\d,]+) frames of each, 2 × 8 codes", shown)
    assert "18 utterances of 3 groups are encoded" in shown  # of 20: 3 s of each
    assert found is not None and "the nearest joined first: (hi (lo mi))" in shown
    again = by("--by", "domain", *SMALL, manifests=("one",))
    assert "4 groups by domain" in again


def test_a_wav2vec_2_s_codes_have_a_map_too(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav2vec2s.saved(corpus / "w.pt")
    assert main(["usage", str(corpus / "w.pt"), str(corpus / "one.tsv"), "--by", "speaker", *SMALL]) == 0
    assert "2 groups by speaker" in capsys.readouterr().out


def test_each_utterance_of_several_manifests_has_a_name(corpus: Path) -> None:
    groups = grouped([Manifest(corpus / f"{name}.tsv") for name in ("one", "two")], "speaker")
    named = [row.utt for rows in groups.values() for row in rows]
    assert len(named) == len(set(named)) == 22 and {"u3", "u3@2"} <= set(named)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--by", "accent"], "has no column 'accent'; it has path, samples, utt, speaker, lang, domain"),
        (["--by", "lang", "--phones", "a.ctm"], "`--phones` does not go with `--by`"),
        (["--by", "lang", "--robust", "3"], "`--robust` does not go with `--by`"),
        (["--by", "lang", "--untrained"], "`--untrained` does not go with `--by`"),
        (["--by", "lang", "--mfcc"], "`--mfcc` does not go with `--by`"),
        (["--by", "lang", "--least-frames", "0"], "`--least-frames` is 0; expected 1 to"),
        (["--by", "lang", "--group-minutes", "0"], "`--group-minutes` is 0; expected 0.01 to"),
        (["--by", "lang", "--least-seconds", "400"], "`--least-seconds` is 400; expected 0 to 300"),
        (["--by", "lang", "--least-seconds", "200"], "0 values of `lang` have 200 s of audio; expected 2 to"),
        (["--png", "a.png"], "expected one, or `--by COLUMN`"),
        ([], "2 manifests are named; expected one, or `--by COLUMN`"),
    ],
)
def test_what_cannot_be_grouped_is_said(by: Callable[..., str], options: list[str], says: str) -> None:
    assert says in by(*options, code=2)


def test_a_manifest_that_lacks_the_column_is_named(by: Callable[..., str], corpus: Path) -> None:
    rows = [{"path": "u1.wav", "samples": 8_000}]
    write_manifest(corpus / "plain.tsv", corpus, rows)
    assert "plain.tsv has no column 'lang'" in by("--by", "lang", code=2, manifests=("one", "plain"))
    with pytest.raises(ManifestError, match=r"plain\.tsv has no column"):
        grouped([Manifest(corpus / "plain.tsv")], "lang")
    assert "`--by` wants manifests" in by("--by", "lang", code=2, manifests=())
    assert "`--png` draws what `--by" in by("--png", "a.png", code=2, manifests=("one",))


def test_counts_are_a_table_and_the_map_a_picture(by: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture, table = tmp_path / "map.png", tmp_path / "counts.tsv"
    by("--by", "lang", *SMALL, "--png", str(picture), "--out", str(table))
    assert picture.read_bytes().startswith(b"\x89PNG") and table.read_text().count("\n") == 1 + 3 * 16


def test_a_folder_in_the_picture_s_place_is_named_before_anything_is_encoded(
    by: Callable[..., str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    said = by("--by", "lang", "--least-seconds", "200", "--png", str(tmp_path), code=2)
    assert str(tmp_path) in said


def test_without_matplotlib_the_extra_is_named(
    by: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'vqw2v_plugin[report]'" in by("--by", "lang", *SMALL, "--png", "a.png", code=2)


def test_the_page_shows_shares_figures_and_codes_to_hear(by: Callable[..., str], tmp_path: Path) -> None:
    assert groups_section(RunView(RunFolder(_run(tmp_path)), PageOptions())) is None
    by("--by", "lang", *SMALL, "--out", str(tmp_path / "run/map/map.json"))
    about = json.loads((tmp_path / "run/map/map.json").read_text())
    view = RunView(RunFolder(tmp_path / "run"), PageOptions())
    section = groups_section(view)
    assert section is not None and not view.troubles and not view.usage
    (shares,) = table_of(section.body, 0)
    assert shares["by one alone"] == f"{100 * about['spread']['one']:.1f}{NARROW}"
    assert [row[""] for row in table_of(section.body, 1)] == ["hi", "lo", "mi"]
    codes = table_of(section.body, 2)
    assert {row["group"] for row in codes} <= {"hi", "lo", "mi"} and len(codes) > 3
    heard = section.body.count("<audio")
    assert 3 <= heard <= 9 and "data:audio/flac;base64," in section.body
    assert section.body.count("<svg") == 1

    for path in about["files"].values():
        path["path"] = "/dev/zero"  # whoever wrote the file may name anything
    about["files"].popitem()
    (tmp_path / "run/map/map.json").write_text(json.dumps(about))
    view = RunView(RunFolder(tmp_path / "run"), PageOptions())
    section = groups_section(view)
    assert section is not None and "<audio" not in section.body
    (tmp_path / "run/map/map.json").write_text(json.dumps({**about, "halves": [1, 2]}))
    view = RunView(RunFolder(tmp_path / "run"), PageOptions())
    assert groups_section(view) is None and "is not what `vqw2v usage --by` writes" in view.troubles[0]


def _run(folder: Path) -> Path:
    mark(folder / "run/map", "vqw2v usage c.pt one.tsv --by lang", done=True)
    return folder / "run"
