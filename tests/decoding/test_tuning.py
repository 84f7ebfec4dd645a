"""Tuning: what it finds is what decoding everything finds, whatever is given up and however many work."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_emissions import SENTENCES, UNITS, fake_emissions
from scipy.stats import qmc

from vqw2v_plugin.common.progress import Progress
from vqw2v_plugin.decoding.hypothesis import Hypothesis, TimedText
from vqw2v_plugin.decoding.scoring import Errors, ErrorScore, Judge, count_errors
from vqw2v_plugin.decoding.settings import BeamSettings, Effort, Range, Space, Weights
from vqw2v_plugin.decoding.trials import DevSet, Trials, join, units_of
from vqw2v_plugin.decoding.tuning import neighbours, spread, tune
from vqw2v_plugin.stores.emissions import EmissionWriter, read_emissions
from vqw2v_plugin.stores.labels import Labels, write_labels
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import read_text
from vqw2v_plugin.text.units import asg_units, ctc_units

DEV = DevSet(lambda i: fake_emissions(SENTENCES[i], seed=i, noise=2.2), SENTENCES)
GRID = [Weights(lm, word, 0.0) for lm in (0.0, 1.0, 2.0, 5.0, 9.0) for word in (-6.0, 0.0, 2.0, 9.0)]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> object:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    from vqw2v_plugin.decoding.beam import LexiconDecoder

    folder = tmp_path_factory.mktemp("lm")
    (folder / "text").write_text("\n".join(SENTENCES) + "\n")
    write_arpa(train_ngram(read_text(str(folder / "text")), 3), folder / "lm.arpa")
    words = sorted(set(" ".join(SENTENCES).split()))
    spellings = {word: [tuple(word)] for word in words}
    return LexiconDecoder(UNITS, spellings, str(folder / "lm.arpa"), None, BeamSettings(beam=20))


def by_hand(decoder: object, point: Weights) -> Errors:
    errors, own = Errors(), decoder.with_settings(**point._asdict())  # type: ignore[attr-defined]
    for i, text in enumerate(SENTENCES):
        errors += count_errors(text.split(), own.decode(DEV.emissions(i))[0].text.split())
    return errors


def test_points_given_up_change_nothing(decoder: object) -> None:
    with Trials(decoder, DEV, Judge(), keep=3) as few, Trials(decoder, DEV, Judge(), keep=len(GRID)) as all_:
        few.run(GRID, "few")
        all_.run(GRID, "all")
    assert few.best() == all_.best()[:3]
    assert few.given_up and not all_.given_up and len(few.scores) + len(few.given_up) == len(GRID)
    assert [score.errors for _, score in few.best()] == [by_hand(decoder, point) for point, _ in few.best()]
    worst = max(score.errors.total for score in all_.scores.values())
    assert all_.best()[0][1].errors.total < worst


def test_processes_find_the_same(decoder: object) -> None:
    found = []
    for workers in (1, 2):
        with Trials(decoder, DEV, Judge(), workers) as trials:
            found.append(tune(trials, Space(), GRID[0], Effort(4, 3), lambda *said: None))
    assert found[0] == found[1]


def test_tuning_is_never_worse_than_its_start_and_says_where_it_is(decoder: object) -> None:
    said: list[tuple[str, Weights, ErrorScore]] = []
    start = Weights(0.0, 9.0, 0.0)
    with Trials(decoder, DEV, Judge()) as trials:
        best = tune(trials, Space(), start, Effort(8, 6), lambda *found: said.append(found))
    rates = [score.errors.rate for _, _, score in said]
    assert rates == sorted(rates, reverse=True) and said[0][1] == start
    assert best[0] == said[-1][1:]
    assert best[0][1].errors.total < said[0][2].errors.total
    assert best[0][1].errors.rate == pytest.approx(by_hand(decoder, best[0][0]).rate)


def test_what_is_fixed_stays(decoder: object) -> None:
    space = Space(Range(1.5, 1.5), Range(-1, 1)).without("sil_score")
    assert space.free == [1]
    with Trials(decoder, DEV, Judge(), keep=99) as trials:
        tune(trials, space, space.start(BeamSettings()), Effort(4, 2), lambda *said: None)
        assert {(point.lm_weight, point.sil_score) for point in trials.scores} == {(1.5, 0.0)}
        assert len(trials.scores) > 4


def test_points_fill_the_ranges_and_come_again_with_the_seed() -> None:
    space, points = Space(), spread(Space(), 30, 3)
    assert points == spread(space, 30, 3) != spread(space, 30, 4)
    for found, values in zip(space.ranges, zip(*points, strict=True), strict=True):
        thirds = [int(2.999 * (value - found.low) / found.width) for value in values]
        assert all(8 <= thirds.count(third) <= 12 for third in range(3))


def test_steps_go_beyond_a_range_but_no_lm_weight_is_negative() -> None:
    around = neighbours(Weights(0.0, 6.0, 0.0), Space(), 0.1)
    assert Weights(0.5, 6.0, 0.0) in around and Weights(0.0, 7.0, 0.0) in around
    assert Weights(0.0, 6.0, 0.0) not in around and min(point.lm_weight for point in around) == 0.0
    around = neighbours(Weights(0.2, 6.0, 0.0), Space(), 0.1)
    assert {point.lm_weight for point in around} == {0.0, 0.2, 0.7}  # 0.2 - 0.5 ends at 0


def test_steps_go_up_and_down_along_each_weight_and_scores_may_be_negative() -> None:
    lm, words, silence = ((1.5, 0.5, 0.1), (0.5, 0.5, 0.1)), ((1, 1.5, 0.1), (1, -0.5, 0.1)), (0.5, -0.3)
    wanted = {Weights(*point) for point in (*lm, *words, *((1, 0.5, last) for last in silence))}
    assert set(neighbours(Weights(1.0, 0.5, 0.1), Space(), 0.1)) == wanted
    fixed = neighbours(Weights(1.0, -3.5, 0.0), Space(lm_weight=Range(1.0, 1.0)).without("sil_score"), 0.1)
    assert set(fixed) == {Weights(1.0, -4.5, 0.0), Weights(1.0, -2.5, 0.0)}  # what is fixed stays


def test_what_is_counted() -> None:
    segment = [TimedText(text, i, i + 1, 1.0) for i, text in enumerate(["AH0", "|", "zh", "q"])]
    said = Hypothesis(tuple(segment), (TimedText("a", 0, 1, 1.0), TimedText("b", 1, 2, 1.0)), 0.0, 0.0)
    score = Judge()("a c", said)
    assert (score.errors.total, score.errors.length, score.finer.total, score.finer.length) == (1, 2, 1, 3)
    assert Judge("characters")("a c", said).errors.length == 3
    units = ctc_units(["|", "AH0", "zh"], "phones")
    assert Judge("phones").reference(["AH0", "|", "zh"], None, units) == "AH0 zh"
    assert Judge("phones", "stress")("AH zh q", said).errors.total == 0
    assert Judge().reference(["a", "b", "|", "c", "|"], None, UNITS) == "ab c"
    assert Judge().reference(["a", "b", "|"], "said", UNITS) == "said"
    finer = ErrorScore(Errors(1), Errors(substitutions=1))
    assert ErrorScore(Errors(1)).order < finer.order < ErrorScore(Errors(deletions=1)).order


def test_mistakes_are_named(decoder: object) -> None:
    for wrong, message in (
        (lambda: Range(2, 1), "2 1 is no range"),
        (lambda: Range(0, float("nan")), "no range"),
        (lambda: Range(0, float("inf")), "0 inf is no range"),
        (lambda: Range(-float("inf"), 0), "-inf 0 is no range"),
        (lambda: Space(Range(-1, 1)), "the LM weight's range begins at -1"),
        (lambda: Effort(0, 0), "not both 0"),
        (lambda: Effort(5, -1), "`points` is 5, `rounds` -1; expected 0 or more"),
        (lambda: Judge("word"), "expected one of words, characters, phones"),
        (lambda: Judge("phones", "40"), "`error_fold` is '40'"),
        (lambda: Judge("words", "39"), "it folds phones"),
        (lambda: Trials(decoder, DEV, Judge(), 0), "`workers` is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


class Told:
    """A decoder that says what a function of the point and the utterance says; it counts how often."""

    def __init__(self, says: Callable[[Weights, int], str], asked: list[Weights], point: Weights = GRID[0]):
        self.says, self.asked, self.point = says, asked, point

    def with_settings(self, nbest: int, **weights: float) -> "Told":
        return Told(self.says, self.asked, Weights(**weights))

    def decode(self, number: int) -> list[Hypothesis]:
        self.asked.append(self.point)
        words = enumerate(self.says(self.point, number).split())
        return [Hypothesis((), tuple(TimedText(word, i, i + 1, 1.0) for i, word in words), 0.0, 0.0)]


def told(says: Callable[[Weights, int], str], references: list[str], **options: int) -> Trials:
    return Trials(Told(says, []), DevSet(lambda i: i, references), Judge(), **options)  # type: ignore[arg-type]


def at(lm_weight: float) -> Weights:
    return Weights(lm_weight, 0.0, 0.0)


def test_of_points_with_as_many_errors_that_with_the_nearer_words_is_better() -> None:
    trials = told(
        lambda point, _: {0: "ab xx", 1: "ab cx", 2: "ab xx"}[int(point.lm_weight)], ["ab cd"], keep=1
    )
    trials.run([at(0), at(1), at(2)], "")
    assert trials.best()[0][0] == at(1)


def test_the_keep_best_are_kept_the_first_asked_for_before_its_equals() -> None:
    said = {0: "a b c d", 1: "x x x x", 2: "x x c d", 3: "x b c d", 4: "a x c d"}
    trials = told(lambda point, _: said[int(point.lm_weight)], ["a b c d"] * 9, keep=3)
    trials.run([at(1), at(0), at(2), at(4), at(3)], "")
    assert [point for point, _ in trials.best()] == [at(0), at(4), at(3)]
    assert not trials.given_up & {at(1), at(0), at(2)}


def test_of_equal_points_the_first_asked_for_is_the_best_whichever_ends_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials, late = told(lambda *_: "a", ["a"], keep=1), Future[ErrorScore]()
    submit, points = trials._submit, [at(0), at(1), at(2)]

    def one_is_slow(point: Weights, part: int) -> Future[ErrorScore]:
        if point == at(2):
            late.set_result(submit(at(0), part).result())
        return late if point == at(0) else submit(point, part)

    monkeypatch.setattr(trials, "_submit", one_is_slow)
    trials.run(points, "")
    assert next(iter(trials.scores)) == at(1) and set(trials.scores) == set(points)
    assert trials.best()[0][0] == at(0)


def test_points_that_were_given_up_are_not_like_the_others() -> None:
    trials = told(lambda point, _: "a" if point.lm_weight < 2 else "b", ["a"] * 9, keep=1)
    trials.run([at(0), at(1), at(2)], "")
    best = trials.best()[0][1]
    assert at(2) in trials.given_up and at(2) not in trials.scores
    assert not trials.are_alike(best) and trials.are_alike(best, [at(0), at(1)])
    assert not trials.are_alike(best, [at(1), at(2)])


def test_a_point_is_decoded_once_and_parts_are_drawn_by_the_seed() -> None:
    trials = told(lambda point, number: "a", ["a"] * 20)
    trials.run([at(1), at(1)], "")
    trials.run([at(1)], "again")
    assert trials.work.decoder.asked == [at(1)] * 20  # type: ignore[union-attr]
    drawn = [told(lambda *_: "a", ["a"] * 20, seed=seed).parts for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(sorted(i for part in parts for i in part) == list(range(20)) for parts in drawn)


@pytest.mark.parametrize("best", [0.43, 1.19, 2.37, 3.05])
def test_steps_follow_the_characters_to_the_best_point_and_end_there(best: float) -> None:
    def says(point: Weights, number: int) -> str:
        return "a" + "b" * round(100 * abs(point.lm_weight - best)) + "c"

    trials, said = told(says, ["a"]), []
    space = Space().without("word_score", "sil_score")
    found = tune(trials, space, at(0.0), Effort(0, 60), lambda what, *_: said.append(what))
    assert abs(found[0][0].lm_weight - best) <= 0.02
    assert len(said) < 40


def test_points_are_halton_s_shifted() -> None:
    space, shift = Space(), np.random.default_rng(7).random(3)
    shares = (qmc.Halton(3, scramble=False).random(12)[1:] + shift) % 1
    low, width = (np.array([getattr(r, name) for r in space.ranges]) for name in ("low", "width"))
    assert np.array(spread(space, 11, 7)) == pytest.approx(low + width * shares, abs=0.0051)


def test_steps_are_never_smaller_than_a_weight_s_last_digit_nor_minus_nothing() -> None:
    narrow = Space(Range(1.0, 1.02)).without("word_score", "sil_score")
    assert set(neighbours(at(1.0), narrow, 1 / 6)) == {at(1.01), at(0.99)}
    around = neighbours(Weights(0.0, 0.1, 0.0), Space(word_score=Range(0.0, 1.0)), 0.104)
    assert Weights(0.0, 0.0, 0.0) in around and "-0.0" not in str(around)


def test_a_dev_set_of_nothing_said_tunes_nothing(tmp_path: Path) -> None:
    with EmissionWriter(tmp_path / "e", "dev", UNITS.to_json(), 0.01) as writer:
        for utt in ("a", "b"):
            writer.add(utt, np.zeros((3, len(UNITS)), np.float32))
    silent = Labels(("a", "b"), ((), ()), ("", ""))
    for split, labels in (("dev", silent), ("said", replace(silent, words=("", "x")))):
        write_labels(tmp_path / split, "letters", {"dev": labels}, [("a", 1)], {})
    saved = read_emissions(tmp_path / "e", "dev")
    with pytest.raises(ValueError, match=r"the transcripts of dev are empty; expected words to count"):
        join(saved, tmp_path / "dev", "dev", UNITS, Judge())
    assert list(join(saved, tmp_path / "said", "dev", UNITS, Judge()).references) == ["", "x"]


def test_work_that_is_given_up_is_taken_off_what_is_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the clock of what is left is right: all that is counted is done at the end."""
    shown: list[Progress] = []

    class Seen(Progress):
        def __exit__(self, *error: object) -> None:
            shown.append(self)
            super().__exit__(*error)

    monkeypatch.setattr("vqw2v_plugin.decoding.trials.Progress", Seen)
    trials = told(lambda point, _: "a" if point == at(0) else "b", ["a"] * 16, keep=1)
    trials.run([at(0), at(1)], "")
    assert trials.given_up == {at(1)} and 16 < shown[0].done < 32 and shown[0].total == shown[0].done


def test_emissions_are_those_of_their_own_transcript_where_some_have_none(tmp_path: Path) -> None:
    with EmissionWriter(tmp_path / "e", "dev", UNITS.to_json(), 0.01) as writer:
        for number, utt in enumerate("abc"):
            writer.add(utt, np.full((3, len(UNITS)), number, np.float32))
    told = Labels(("c", "b"), (("a",), ("a",)), ("third", "second"))
    write_labels(tmp_path / "l", "letters", {"dev": told}, [("a", 1)], {})
    dev = join(read_emissions(tmp_path / "e", "dev"), tmp_path / "l", "dev", UNITS, Judge())
    assert list(dev.references) == ["second", "third"]
    bare = Labels(("c", "b"), (("a", "|", "b"), ("b", "a", "|")), None)  # without their texts
    write_labels(tmp_path / "bare", "letters", {"dev": bare}, [("a", 1)], {})
    without = join(read_emissions(tmp_path / "e", "dev"), tmp_path / "bare", "dev", UNITS, Judge())
    assert list(without.references) == ["ba", "a b"]
    assert [float(dev.emissions(i)[0, 0]) for i in range(len(dev))] == [1.0, 2.0]


def test_columns_that_are_none_are_named_with_the_file_that_says_so(tmp_path: Path) -> None:
    for kind, said in (("letters", ""), ("runes", "`kind` of units is 'runes'")):
        with EmissionWriter(tmp_path, "dev", {**UNITS.to_json(), "kind": kind}, 0.01) as writer:
            writer.add("a", np.zeros((2, len(UNITS)), np.float32))
        saved = read_emissions(tmp_path, "dev")
        if not said:
            assert units_of(saved) == UNITS
            continue
        with pytest.raises(ValueError) as error:
            units_of(saved)
        assert str(error.value).startswith(f"{tmp_path / 'features.json'}: {said}")


def test_transitions_that_the_loss_has_not_are_named_with_the_file_that_holds_them(tmp_path: Path) -> None:
    own = asg_units(["|", "a"], num_repeats=1)
    square = np.zeros((3, 3), np.float32)
    for number, (units, given, said) in enumerate(
        (
            (own, square, None),
            (own, None, "`transitions` are missing: ASG"),
            (
                UNITS,
                np.zeros((len(UNITS), len(UNITS)), np.float32),
                "`transitions` were given for a CTC",
            ),
        )
    ):
        folder = tmp_path / str(number)
        with EmissionWriter(folder, "dev", units.to_json(), 0.01, given) as writer:
            writer.add("a", np.zeros((2, len(units)), np.float32))
        if said is None:
            assert units_of(read_emissions(folder, "dev")) == own
            continue
        with pytest.raises(ValueError) as error:
            units_of(read_emissions(folder, "dev"))
        assert str(error.value).startswith(f"{folder / 'features.json'}: {said}")
