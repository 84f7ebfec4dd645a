"""A file that lists corpora: what it says is text, and what is wrong in it is named with its line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.corpora.mixture import Entry, MixtureError, is_mixture, read_mixture
from vqw2v_plugin.corpora.shares import Corpus, Draws, shares

FILE = """
alpha: 0.5
max_repeat: 40
corpora:
  - {data: no/manifests, lang: no, domain: read}
  - data: /all
    by: lang
    weight: 2
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mixture.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def corpus(lang: str, hours: float, weight: float = 1.0, count: int = 100, heard: float = 1.0) -> Corpus:
    return Corpus(f"of_{lang}", lang, "", weight, count, hours, hours * heard)


def test_the_file_is_read_as_text_from_where_it_lies(tmp_path: Path) -> None:
    """`no` is Norwegian, which YAML would take for a switch."""
    plan = read_mixture(written(tmp_path, FILE))
    where = str(tmp_path / "mixture.yaml")
    assert (plan.alpha, plan.alpha_within, plan.max_repeat, plan.epoch_hours) == (0.5, 0.5, 40, None)
    assert plan.entries == (
        Entry(f"{tmp_path}/no/manifests", None, "no", "read", name="no", where=f"{where}:5"),
        Entry("/all", by="lang", weight=2, name="all", where=f"{where}:6"),
    )


def test_a_mixture_is_a_file_and_no_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    assert is_mixture("a/mixture.yaml") and is_mixture("b.yml")
    assert not is_mixture(tmp_path / "folder.yaml") and not is_mixture(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("alpha: 1", "has no `corpora`"),
        ("corpora: []", "`corpora` is a list of 0"),
        ("corpora: de", "`corpora` is 'de'"),
        ("corpora: [{lang: de}]", "no `data`"),
        ("corpora: [{data: a}]\nalhpa: 1", ":2: the file has a field 'alhpa'; expected alpha, alpha_within"),
        ("corpora: [{data: a}]\nalpha: 1\nalpha: 0", ":3: `alpha` is there a second time"),
        ("corpora: [{data: a}]\nalpha: 1.5", ":2: `alpha` is '1.5'; expected a number from 0 to 1"),
        ("corpora: [{data: a}]\nalpha: nan", "`alpha` is 'nan'"),
        ("corpora: [{data: a}]\nalpha: [1]", "`alpha` is a list of 1"),
        ("corpora: [{data: a}]\nmax_repeat: 0.5", "`max_repeat` is '0.5'"),
        ("corpora: [{data: a}]\nepoch_hours: 0", "`epoch_hours` is '0'"),
        ("corpora:\n- data: a\n- {data: b, weight: much}", ":3: `weight` is 'much'"),
        ("corpora: [{data: a, lang: 'a b'}]", "`lang` is 'a b'; expected a name without spaces"),
        ("corpora: [{data: a, lang: 'a,b'}]", "`lang` is 'a,b'"),
        ("corpora: [{data: a, domain: a/b}]", "`domain` is 'a/b'; expected a name without spaces"),
        ("corpora:\n- data: a\n  name: 'a:b'", ":3: `name` is 'a:b'; expected a name without spaces"),
        ("corpora: [{data: a, name: 'a|b'}]", "`name` is 'a|b'"),
        ("corpora: [{data: a, name: 'a\\b'}]", "`name` is "),
        ('corpora: [{data: a, name: "a\\u200bb"}]', "`name` is 'a\\u200bb'; expected a name without"),
        ('corpora: [{data: "a\\0b"}]', "`data` is 'a\\x00b'; expected a word"),
        ("? [a, b]\n: 1", ":1: the file has a field 'a list of 2'; expected alpha"),
        ("corpora: \x07", "is no YAML"),
        (f"corpora: [{{data: a, name: {'x' * 61}}}]", "slashes and colons, of at most 60 characters"),
        ("corpora: [{data: a, weight: 0}]", "`weight` is '0'; expected a number from 1e-06 to 1e+06"),
        (
            "corpora: [{data: a}]\nalpha_within: -0.1",
            "`alpha_within` is '-0.1'; expected a number from 0 to 1",
        ),
        ("corpora: [{data: a, by: speaker}]", "`by` is 'speaker'; expected lang or domain"),
        ("corpora: [{data: a, by: lang, lang: de}]", "`by: lang` and `lang` are both there"),
        ("corpora: [{data: a, dat: b}]", "has a field 'dat'"),
        ("corpora: [{data: [a]}]", "`data` is a list of 1"),
        ("corpora: [a, b]", "an entry of `corpora` is 'a'"),
        ("corpora: [{data: a}", ":1: is no YAML"),
        ("[" * 400, "is no YAML"),
        ("a: &a [x]\nb: *c", "is no YAML"),
        ("!!python/object/apply:os.system [echo]", "the file is a list of 1"),
        ("corpora: [{data: !!python/name:os.system '', lang: de}]", "`data` is empty"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(MixtureError) as error:
        read_mixture(written(tmp_path, text))
    assert str(tmp_path / "mixture.yaml") in str(error.value) and said in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MixtureError, match="expected a file that lists corpora"):
        read_mixture(tmp_path / "mixture.yaml")
    with pytest.raises(MixtureError, match="has more than"):
        read_mixture(written(tmp_path, "#" * (1 << 21)))
    (tmp_path / "mixture.yaml").write_bytes(b"corpora: \xff")
    with pytest.raises(MixtureError, match="is not UTF-8"):
        read_mixture(tmp_path / "mixture.yaml")


@pytest.mark.parametrize("alpha", [0, 0.3, 0.5, 1])
def test_a_language_has_its_hours_to_the_alpha_however_many_corpora_it_has(alpha: float) -> None:
    found = shares([corpus("de", 9), corpus("en", 64), corpus("de", 7)], alpha, 1)
    assert found.sum() == pytest.approx(1)
    assert (found[0] + found[2]) / found[1] == pytest.approx((16 / 64) ** alpha)
    assert found[0] / found[2] == pytest.approx(9 / 7)
    within = shares([corpus("de", 9), corpus("de", 16)], 1, 0.5)
    assert within.tolist() == pytest.approx([3 / 7, 4 / 7])


def test_a_weight_is_of_what_is_heard() -> None:
    plain, more = (shares([corpus("de", 9, weight), corpus("en", 3)], 0.5, 0.5) for weight in (1, 3))
    assert more[0] / more[1] == pytest.approx(3 * plain[0] / plain[1])


def test_by_hours_an_epoch_is_each_utterance_once() -> None:
    corpora = [corpus("de", 0.7, count=777), corpus("en", 64, count=10_001)]
    draws = Draws(tuple(corpora), shares(corpora, 1, 1), sum(c.heard for c in corpora))
    assert [draws.done(epoch) for epoch in (0, 1, 7)] == [[0, 0], [777, 10_001], [5_439, 70_007]]
    assert draws.repeats.tolist() == pytest.approx([1, 1])


def test_shares_are_of_what_is_heard_where_long_utterances_are_cropped() -> None:
    """Half of the English audio is left out in a pass, so that there are two passes."""
    corpora = (corpus("de", 5), corpus("en", 5, heard=0.5))
    draws = Draws(corpora, shares(corpora, 1, 1), 10)
    assert draws.passes.tolist() == pytest.approx([1, 2]) and draws.repeats.tolist() == pytest.approx([1, 1])


def test_less_than_a_draw_an_epoch_comes_now_and_then() -> None:
    corpora = (corpus("de", 1000, count=1000), corpus("en", 1, count=1))
    draws = Draws(corpora, shares(corpora, 1, 1), 300.3)
    counts = np.diff([draws.done(epoch)[1] for epoch in range(101)])
    assert set(counts.tolist()) == {0, 1} and counts.sum() == 30


def test_the_table_says_how_often_an_hour_is_heard() -> None:
    corpora = (corpus("de", 1), corpus("en", 4))
    table = Draws(corpora, shares(corpora, 0.5, 1), 5).table(12).splitlines()
    assert table[0].split("  ")[0] == "lang" and len({len(line) for line in table}) == 1
    assert table[1].split() == ["de", "-", "of_de", "1.00", "20.0%", "33.3%", "1.67", "20"]
    assert Draws(corpora, shares(corpora, 0.5, 1), 5).table(float("nan")).splitlines()[1].split()[-1] == "?"


def test_what_the_file_does_not_say_has_its_value_and_what_it_says_is_taken(tmp_path: Path) -> None:
    plan = read_mixture(written(tmp_path, "corpora: [{data: a}]"))
    assert (plan.alpha, plan.alpha_within, plan.max_repeat, plan.epoch_hours) == (1, 1, 10, None)
    text = "alpha: 0.5\nalpha_within: 0.2\nmax_repeat: 1\nepoch_hours: 7.5\n"
    text += f"corpora: [{{data: de/data, tokens: ../t, name: {'x' * 60}}}, {{data: en/tokens}}]"
    plan = read_mixture(written(tmp_path, text))
    assert (plan.alpha, plan.alpha_within, plan.max_repeat, plan.epoch_hours) == (0.5, 0.2, 1, 7.5)
    first, second = plan.entries
    assert (first.tokens, first.name) == (str(tmp_path.parent / "t"), "x" * 60)
    assert (second.tokens, second.name, second.weight) == (None, "en", 1)


def test_upsampling_is_told_of_as_many_hours_as_there_are() -> None:
    """Of 5 h a third is of 1 h and two thirds of 4 h, however long an epoch is."""
    corpora = (Corpus("d", "de", "read", 1, 100, 1, 1), corpus("en", 4))
    for hours in (5, 10):
        draws = Draws(corpora, shares(corpora, 0.5, 1), hours)
        assert draws.upsampling.tolist() == pytest.approx([5 / 3, 5 / 6])
        assert draws.repeats.tolist() == pytest.approx([hours / 3, hours / 6])
        cropped = (replace(corpora[0], heard=0.5), corpora[1])  # a pass hears half of the first
        draws = Draws(cropped, np.array([1 / 3, 2 / 3]), hours)
        assert draws.upsampling.tolist() == pytest.approx([5 / 3, 5 / 6])
    assert draws.table(1).splitlines()[1].split()[:3] == ["de", "read", "d"]


def test_of_half_a_draw_an_epoch_every_other_epoch_has_one() -> None:
    draws = Draws((corpus("en", 1, count=1),), np.ones(1), 0.5)
    assert [draws.done(epoch) for epoch in range(6)] == [[0], [1], [1], [2], [2], [3]]


@pytest.mark.parametrize(
    ("data", "name"), [("de/data", "de"), ("/far/de/tokens", "de"), ("/data/manifests", "/data/manifests")]
)
def test_a_corpus_is_called_by_its_folder(data: str, name: str, tmp_path: Path) -> None:
    (entry,) = read_mixture(written(tmp_path, f"corpora: [{{data: {data}}}]")).entries
    assert entry.name == name
