"""`--weights FILE`: the best of what `tune` wrote, in place of the options' own; other files are named."""

import json
from pathlib import Path

import pytest

from vqw2v_plugin.decoding.settings import BeamSettings, DecoderSettings
from vqw2v_plugin.decoding.tuned import unlike_defaults, with_tuned

GOOD = '{"best": [{"lm_weight": 1.5, "word_score": -1, "sil_score": 0.25, "rate": 3.0}, {"lm_weight": 9}]}'


WORDS = DecoderSettings("lexicon", "x.txt", "y.arpa")


def tuned(path: Path, *options: object) -> Path:
    path.write_text(json.dumps({**json.loads(GOOD), "options": options}))
    return path


def test_the_best_ones_replace_those_of_the_options_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "tuned-dev.json"
    path.write_text(GOOD)
    settings = DecoderSettings("lexicon", "x.txt", beam=BeamSettings(beam=7, lm_weight=4.0))
    found = with_tuned(settings, path)
    assert found.beam == BeamSettings(beam=7, lm_weight=1.5, word_score=-1.0, sil_score=0.25)
    assert (found.lexicon, found.lm) == ("x.txt", None) and with_tuned(settings, None) is settings
    assert with_tuned(DecoderSettings("free", beam=BeamSettings(log_add=True)), path).beam.log_add


def test_the_beam_is_that_of_tune_unless_the_user_gave_another(tmp_path: Path) -> None:
    path = tuned(
        tmp_path / "t.json",
        *("--decoder", "lexicon", "--lexicon", "/other.txt", "--beam", "50", "--beam-threshold", "9.5"),
        *("--beam-tokens", "5", "--lm-weight", "1.5", "--log-add"),
    )
    best = {"lm_weight": 1.5, "word_score": -1.0, "sil_score": 0.25}
    found = with_tuned(WORDS, path)
    assert found.beam == BeamSettings(50, 9.5, 5, log_add=True, **best)
    assert (found.lexicon, found.lm) == ("x.txt", "y.arpa")  # files are the user's to name
    assert with_tuned(WORDS, path, {"beam"}).beam == BeamSettings(500, 9.5, 5, log_add=True, **best)
    assert unlike_defaults(BeamSettings()) == set()
    assert unlike_defaults(BeamSettings(7, beam_tokens=3, lm_weight=9)) == {"beam", "beam_tokens"}
    assert unlike_defaults(BeamSettings(beam_threshold=9.0, log_add=True)) == {"beam_threshold", "log_add"}


def test_to_a_greedy_decoder_they_are_of_no_use_which_is_said_with_what_they_are_for(tmp_path: Path) -> None:
    path = tuned(
        tmp_path / "t.json", "--decoder", "lexicon", "--lexicon", "/a b.txt", "--lm", "/y", "--beam", "5"
    )
    said = "of no use to the decoder 'greedy'.*`--decoder lexicon --lexicon '/a b.txt' --lm /y`"
    with pytest.raises(ValueError, match=said):
        with_tuned(DecoderSettings(), path)
    with pytest.raises(ValueError, match="`--decoder lexicon --lexicon LEXICON --lm LM`"):
        with_tuned(DecoderSettings(), tuned(path))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--beam", "many"), "its `beam` is 'many'; expected a file that `vqw2v tune` wrote"),
        (("--beam",), "its `beam` is ''"),
        (("--beam", "9" * 30), r"t\.json: `beam` is"),
        (("--beam-threshold", "nan"), r"t\.json: `beam_threshold` is nan"),
    ],
)
def test_a_beam_that_is_none_is_named(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        with_tuned(WORDS, tuned(tmp_path / "t.json", *options))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"best": []}',
        '{"best": 3}',
        '{"best": [{"lm_weight": 1}]}',
        GOOD.replace("1.5", '"1.5"'),
        GOOD.replace("1.5", "true"),
        GOOD.replace("1.5", "NaN"),
        GOOD.replace("1.5", "1e999"),
        GOOD.replace("1.5", "1" * 400),
    ],
)
def test_another_file_is_named_with_what_was_expected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tuned-dev.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"tuned-dev\.json: .*expected a file that `vqw2v tune` wrote"):
        with_tuned(WORDS, path)
    with pytest.raises(ValueError, match="no such file or directory"):
        with_tuned(WORDS, tmp_path / "gone.json")
