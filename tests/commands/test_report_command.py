"""`report` as it is typed: finished, half-finished and aborted runs, and the page in a real browser."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_run import make_run, make_training, mark

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.analysis.pictures import PNG
from vqw2v_plugin.analysis.report_page.png import png
from vqw2v_plugin.analysis.run_view import PageOptions
from vqw2v_plugin.recipes.folder import RunFolder
from vqw2v_plugin.recipes.runner import Stage, run_recipe

SECTIONS = [
    "Error rates",
    "Stages",
    "Learning curves",
    "Codebook",
    "Phones and codes",
    "Codes beside others",
    "ABX",
    "Speech and codes",
]
SECTIONS += ["Settings", "Versions and seeds"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")


class Page(HTMLParser):
    """What a page holds: its text, the values of its attributes, and whether every element is closed."""

    VOID = ("meta", "link", "br", "img", "input")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open, self.words, self.links, self.headings = [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open, self.open

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attributes: list) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in ("href", "src", "srcset", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
            if self.open[-1] == "h2":
                self.headings.append(data)


def report(run: Path, *options: str) -> Page:
    out = run.parent / "page.html"
    assert main(["report", str(run), str(out), *options]) == 0
    return Page(out)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_the_page_has_every_section_and_needs_nothing_else(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = report(run)
    assert page.headings == SECTIONS
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert "@import" not in page.source and not re.search(r"url\(", page.source)
    assert re.findall(r"https?://[^\"' )]*", page.source) == [
        "http://www.w3.org/2000/svg"
    ]  # a name, no address
    assert 'class="missing' not in page.source and "nothing to show" not in (said := capsys.readouterr().out)
    size = len(page.source.encode()) / 1e6
    assert said == f"{run.parent / 'page.html'}: {size:.1f} MB, {len(RunFolder(run).stages)} stages\n"


def test_the_page_says_what_was_found(run: Path) -> None:
    text = report(run).text
    for said in (
        "pretrain done",  # the table of stages
        "vq_wav2vec, 100 updates",
        "7.5 → 6.5",  # the loss of valid
        "Counted over 588 frames of 6 utterances of test",
        "2 × 4 75 %",
        "12.3 % 23.4 % 1,200 3,400",
        "noise 20 dB tempo 0.9 tokens: trained",
        "tokens: trained 2 × 4 60.0 % 55.1 % – 64.9 % 87.5 % 25.0 % 7.2 of 16 32.1 % 12.3 %",
        "tokens: untrained 2 × 4 – – – – 3.5 of 16 – –",
        "66.7 % WER, words 6 0 6 18",
        "high → sky 6",
        "pretrain common.seed 3",
        "tokens its command 9",
        "tokens tokens/data/abx.json 5",
        "vqw2v decode --seed 10",
    ):
        assert said in text, said


def test_heard_words_are_marked_where_they_were_not_said(run: Path) -> None:
    source = report(run, "--clips", "1").source
    assert '<mark title="said: high">sky</mark>' in source and '<mark title="not said">oh</mark>' in source


def test_the_sound_of_a_clip_is_in_the_page(run: Path) -> None:
    page = report(run, "--utt", "speaker1-04", "--clip-seconds", "0.5")
    (sound,) = (link for link in page.links if link.startswith("data:audio/flac;base64,"))
    wav, rate = soundfile.read(io.BytesIO(base64.b64decode(sound.partition(",")[2])))
    wanted, _ = soundfile.read(run / "corpus/data/speaker1-04.wav")
    assert rate == 16_000 and np.array_equal(wav, wanted[:8000])
    assert "speaker1-04" in page.text and "speaker2-05" not in page.text


def test_drawings_of_ones_own_are_in_the_page(run: Path, tmp_path: Path) -> None:
    drawing, other = tmp_path / "hours.png", tmp_path / "b=c.png"
    contents = [png(np.full((2, 3), shade, np.uint8), [(9, 9, 9), (0, 0, 0)]) for shade in (0, 1)]
    for path, content in zip((drawing, other), contents, strict=True):
        path.write_bytes(content)
    page = report(run, "--picture", f"{drawing}=Errors < 20 % = few", "--picture", str(other))
    assert page.headings == [*SECTIONS[:-2], "Pictures", *SECTIONS[-2:]]
    assert "Errors < 20 % = few" in page.text and "b=c.png" in page.text
    links = [f"data:image/png;base64,{base64.b64encode(content).decode()}" for content in contents]
    assert [link for link in page.links if link in links] == links


def test_a_drawing_that_is_none_is_named_before_anything_is_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (("text.png", b"no drawing"), ("large.png", PNG + bytes(100))):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr("vqw2v_plugin.analysis.pictures._LARGEST", 50)
    out = tmp_path / "page.html"
    for said, told in (
        ("text.png=Hours", "text.png is no PNG file; expected FILE.png"),
        ("large.png", "draw it smaller"),
        ("gone.png", "gone.png"),
    ):
        assert main(["report", str(run), str(out), "--picture", str(tmp_path / said)]) == 2
        assert told in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    ("gone", "section", "says"),
    [
        ("tokens", "Codebook", "vqw2v discretize"),
        ("tokens", "ABX", "vqw2v abx"),
        ("tokens", "Codes beside others", "vqw2v usage"),
        ("pretrain", "Learning curves", "fairseq-hydra-train"),
        ("decode", "Error rates", "fairseq-generate"),
        ("corpus", "Speech and codes", "vqw2v manifest"),
        ("corpus/data/test.phones.ctm", "Phones and codes", "test.phones.ctm"),
    ],
)
def test_what_is_missing_is_named_with_what_makes_it(run: Path, gone: str, section: str, says: str) -> None:
    path = run / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = report(run)
    part = page.source.partition(f">{section}</h2>")[2].partition("<h2")[0]
    assert 'class="missing' in part and says in part
    first, *others = SECTIONS  # error rates, where there are any
    place = others.index("Speech and codes") + 1
    assert page.headings == (SECTIONS if section != first else [*others[:place], first, *others[place:]])


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark(tmp_path / "run/corpus", "vqw2v toy X")
    page = report(tmp_path / "run")
    assert "corpus unfinished" in page.text and "goes on where it stopped" in page.text
    assert "Learning curves, Codebook, Phones and codes, Codes beside others, ABX" in capsys.readouterr().out


def test_an_aborted_training_shows_its_curve_and_its_end(run: Path) -> None:
    shutil.rmtree(run / "pretrain")
    mark(run / "pretrain", "fairseq-hydra-train x", "corpus", "align")
    make_training(run / "pretrain", last=40)
    log = "Traceback (most recent call last):\n  File 'x'\nMemoryError: no room\n"
    (run / "pretrain/log.txt").write_text(log)
    text = report(run).text
    assert "pretrain failed" in text and "ended with: MemoryError: no room" in text
    assert "40 of 100 updates" in text and "align not begun" in text


def test_the_recipes_own_last_stage_lists_what_has_not_begun(run: Path) -> None:
    mark(run / "report", "vqw2v report", "corpus", "later")
    out = run / "report/report.html"
    assert main(["report", str(run), str(out)]) == 0
    text = Page(out).text
    assert "later not begun" in text and "report unfinished" not in text


def test_a_stage_s_settings_show_its_commands_and_not_the_hashes_of_what_it_read(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("lr: 1")
    stages = [
        Stage("corpus", [["true"]], "First", 0.1),
        Stage("pretrain", [["echo", "trained"]], "Second", 0.1, needs=["corpus"], reads=[settings]),
    ]
    run_recipe(tmp_path / "run", stages)
    source = report(tmp_path / "run").source.partition(">Settings</h2>")[2].partition("<h2")[0]
    shells = re.findall('<pre class="shell">(.*?)</pre>', source)
    assert [re.sub("<[^>]*>", "", shell) for shell in shells] == ["true", "echo trained"]


def test_broken_files_of_a_killed_run_are_named_and_not_fatal(run: Path) -> None:
    (run / "tokens/data/test.bin").write_bytes(b"half")
    (run / "decode/errors-test.json").write_text('{"unit": "wo')
    (run / "corpus/data/test.words.ctm").write_text("speaker0-00 1 0.0 0.25 l\nspeaker0-00 1 0.")
    (run / "corpus/data/speaker1-04.wav").write_bytes(b"RIFF")
    text = report(run, "--utt", "speaker1-04", "--utt", "speaker0-00").text
    for said in ("test.bin: has 4 bytes", "errors-test.json cannot be read", "speaker1-04 cannot be shown"):
        assert said in text, said


def test_half_a_character_in_a_file_does_not_lose_the_page(run: Path) -> None:
    (errors,) = run.rglob("errors-*.json")
    errors.write_text(json.dumps({**json.loads(errors.read_text()), "unit": "\ud800"}))
    assert r"\ud800" in report(run).source


def test_labels_and_names_cannot_write_markup(run: Path) -> None:
    for path in (run / "corpus/data/test.phones.ctm", run / "decode/errors-test.json"):
        text = path.read_text()
        path.write_text(text.replace(" h\n", " <b>\n").replace("sky", "</script><script>alert(1)</script>"))
    source = report(run).source
    assert "alert(1)</script>" not in source and '<b>"' not in source and "&lt;b&gt;" in source


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--utt", "nobody"], "`--utt` nobody: is in none of the run's manifests (test)"),
        (["--split", "dev"], "`--split` is 'dev'; the run's splits are: test"),
        (["--corpus", "."], "holds no manifest"),
        (["--clips", "-1"], "`--clips` is -1"),
        (["--clip-seconds", "0"], "`--clip-seconds` is 0"),
        (["--encode-minutes", "-0.5"], "`--encode-minutes` is -0.5"),
    ],
)
def test_wrong_options_are_explained(
    run: Path,
    options: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["report", str(run), str(run / "x.html"), *options]) == 2
    assert says in capsys.readouterr().err and not (run / "x.html").exists()


def test_every_option_reaches_the_page(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PageOptions] = []

    def caught(folder: RunFolder, options: PageOptions, say: object) -> None:
        seen.append(options)
        raise ValueError("caught")

    monkeypatch.setattr("vqw2v_plugin.analysis.run_view.RunView", caught)
    options = "--utt a --utt b --clips 2 --clip-seconds 3 --corpus c --split dev --encode-minutes 0.5".split()
    assert main(["report", str(run), str(run / "x.html"), *options]) == 2
    assert main(["report", str(run), str(run / "x.HTM")]) == 2
    assert seen == [PageOptions(("a", "b"), 2, 3.0, 0.5, "c", "dev"), PageOptions()]


@pytest.mark.parametrize("out", [".", "page.txt", "page"])
def test_a_page_is_an_html_file(run: Path, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run), str(run / out)]) == 2
    assert "expected the name of a page" in capsys.readouterr().err


PROBE = """<script>
addEventListener("load", () => {
  const root = document.documentElement;
  const rows = {ready: root.dataset.ready, wide: root.scrollWidth - innerWidth};
  const tip = document.querySelector(".tip"), tips = {}, overlaps = [];
  for (const svg of document.querySelectorAll("svg[data-figure]")) {
    const box = svg.getBoundingClientRect(), kind = svg.dataset.figure;
    for (const [x, y] of [[.5, .5], [.3, .9], [.6, .85]]) {
      svg.dispatchEvent(new PointerEvent("pointermove",
        {clientX: box.left + box.width * x, clientY: box.top + box.height * y, bubbles: true}));
      if (!tip.hidden && tip.textContent) (tips[kind] = tips[kind] || []).push(tip.textContent);
    }
    const texts = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
    texts.forEach(([a, p], i) => texts.slice(i + 1).forEach(([b, q]) => {
      const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (across > 1 && down > 3) overlaps.push(kind + ": " + a + " / " + b);
    }));
  }
  document.title = JSON.stringify({...rows, tips, overlaps});
});
</script></body>"""


@pytest.fixture
def browser(tmp_path: Path) -> list[str]:
    named = os.environ.get("BROWSER_FOR_TESTS")
    path = named or next((found for found in map(shutil.which, BROWSERS) if found), None)
    if not path:
        pytest.skip("no browser is installed; BROWSER_FOR_TESTS may name a Chromium")
    quiet = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-sandbox"]
    return [
        path,
        *quiet,
        f"--user-data-dir={tmp_path}/profile",
        "--window-size=1300,2000",
        "--enable-logging=stderr",
    ]


def test_a_browser_shows_the_page_without_a_fault(run: Path, browser: list[str], tmp_path: Path) -> None:
    page = report(run)
    probed = tmp_path / "probed.html"
    probed.write_text(page.source.replace("</body>", PROBE), encoding="utf-8")
    shot = tmp_path / "page.png"
    for options in (["--dump-dom"], [f"--screenshot={shot}"]):
        done = subprocess.run(
            [*browser, "--virtual-time-budget=2000", *options, probed.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "Uncaught" not in done.stderr and "Refused" not in done.stderr
        if "--dump-dom" in options:
            title = re.search("<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None
    found = json.loads(title[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert found["ready"] == "yes" and found["wide"] <= 0
    assert set(found["tips"]) == {"curves", "bars", "heat", "clip"}
    assert any("token" in tip and "% of them are" in tip for tip in found["tips"]["heat"])
    assert any(tip.startswith("tokens: token ") for tip in found["tips"]["clip"])
    assert found["overlaps"] == []
    assert shot.stat().st_size > 50_000  # a blank page has a tenth of it
