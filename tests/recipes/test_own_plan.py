"""A recipe for one's own corpus: sizes that fit utterances, labels and machine, and a yaml that says why."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from vqw2v_plugin.corpora.batches import BatchLimits, cut_padded
from vqw2v_plugin.modules.acoustic.conv_stack import ConvStack, parse_stack
from vqw2v_plugin.recipes.own_corpus import CorpusLook, SplitLook
from vqw2v_plugin.recipes.own_files import yaml_text
from vqw2v_plugin.recipes.own_plan import FrontPlan, Plan, _learnt_from, plan_for, receptive_frames, spectra
from vqw2v_plugin.recipes.own_script import Given, script_text
from vqw2v_plugin.recipes.own_words import advised, expected, expected_range, told, what_helps


def look(
    count: int = 300,
    seconds: float = 3.0,
    text: str = "turn on the light",
    speakers: int = 1,
    edge: float = 0.0,
    rate: int = 16_000,
    test_text: str = "",
) -> CorpusLook:
    def split(name: str, number: int, said: str) -> SplitLook:
        voices = frozenset(f"s{i}" for i in range(speakers))
        return SplitLook(name, (seconds * 0.9, *[seconds] * (number - 1)), (said,) * number, voices)

    labels = (len(text.replace(" ", "")) + len(text.split())) / seconds
    parts = split("train", count, text), split("valid", 40, text), split("test", 40, test_text or text)
    return CorpusLook(*parts, "text", rate, edge, labels)


def planned(gpus: int = 0, **corpus: object) -> Plan:
    seen = look(**corpus)  # type: ignore[arg-type]
    return plan_for(seen, spectra(seen), gpus)


@pytest.mark.parametrize("seconds", [0.5, 1.5, 3.0, 12.0])
@pytest.mark.parametrize("count", [50, 3000, 50_000])
@pytest.mark.parametrize("gpus", [0, 4])
def test_a_frame_sees_a_part_of_an_utterance_and_labels_have_room(
    seconds: float, count: int, gpus: int
) -> None:
    text = " ".join(["abcdefgh"] * max(1, round(1.2 * seconds)))
    plan = planned(gpus, count=count, seconds=seconds, text=text)
    assert plan.receptive_seconds <= 0.35 * seconds
    frames = seconds * 100 / plan.stride
    assert frames >= 2 * len(text) and 1 <= plan.stride <= 3
    assert plan.max_tokens >= seconds * 100 and plan.time_mask_width <= max(2, 10 * seconds)
    full = count // (plan.max_tokens // round(seconds * 100))  # batches, all utterances but one being alike
    assert plan.batches in (full, full + 1) and plan.epochs == plan.updates / plan.batches


def test_batches_are_counted_as_training_cuts_them_without_what_it_cannot_learn() -> None:
    rng = np.random.default_rng(0)
    seconds = (*rng.uniform(1.0, 6.0, 299).tolist(), 0.2)
    train = SplitLook("train", seconds, ("turn on the light",) * 300, frozenset())
    seen = replace(look(), train=train)
    plan = plan_for(seen, spectra(seen))
    sizes = np.round(np.array(seconds[:-1]) * 100).astype(np.int64)  # the last has no room for its letters
    cuts = cut_padded(np.arange(299), np.sort(sizes)[::-1], BatchLimits(plan.max_tokens))
    assert abs(plan.batches - len(cuts)) <= 1 and plan.batches > sizes.sum() / plan.max_tokens
    assert _learnt_from(seen, plan.front, plan.stride).sum() == sizes.sum()
    nowhere = replace(seen, train=replace(train, seconds=(0.1,) * 300))
    assert len(_learnt_from(nowhere, plan.front, plan.stride)) == 300


@pytest.mark.parametrize(
    ("count", "seconds", "text", "edge", "took"),  # as three trainings went on a core, 1,200 updates
    [(220, 4.6, "abcdefgh " * 10, 0.2, 4.3), (300, 2.35, "abcdefg " * 3, 0.1, 1.8)],
)
def test_the_time_is_what_such_trainings_took(
    count: int, seconds: float, text: str, edge: float, took: float
) -> None:
    plan = planned(count=count, seconds=seconds, text=text.strip(), edge=edge)
    assert plan.minutes * 1200 / plan.updates == pytest.approx(took, rel=0.3)


def test_a_hint_to_train_longer_is_about_valid_s_loss_since_uer_always_falls() -> None:
    seen = look()
    text = yaml_text(seen, plan_for(seen, spectra(seen)))
    assert "only if valid's loss still falls at the end: uer does anyway" in text
    assert "dropout: 0.3" in text and "0.4 only if valid's loss has risen" in text


def test_the_script_says_which_stage_it_is_at_and_leaves_no_next_step_to_the_user() -> None:
    seen = look()
    text = script_text(seen, plan_for(seen, spectra(seen)), Given(Path("/m"), ["/corpus"], 1))
    said = re.findall(r'^echo "== (\d) of (\d): (.*)"$', text, re.MULTILINE)
    assert [each[:2] for each in said] == [(str(i), "8") for i in range(1, 9)]
    assert [name for _, _, name in said][:4] == ["manifests", "labels", "language model", "features"]
    assert said[4][2].startswith("training, about ") and "export VQW2V_NEXT=0" in text
    made = script_text(seen, plan_for(seen, spectra(seen)), Given(Path("/m")))  # manifests that are there
    assert 'echo "== 1 of 7: labels"' in made and "vqw2v manifest" not in made


def test_that_features_do_not_go_by_speaker_is_said_with_its_figures_where_there_are_several() -> None:
    for speakers in (0, 1, 4):
        seen = look(speakers=speakers)
        text = script_text(seen, plan_for(seen, spectra(seen)), Given(Path("/m")))
        assert ("lexicon 2.2 and 1.3 %" in text) == (speakers > 1)
        assert all(line.startswith("#") for line in text.splitlines() if "standardize" in line)


def test_the_receptive_field_is_the_stack_s() -> None:
    plan = planned()
    layers = parse_stack(plan.conv_layers, 0.0)
    stack = ConvStack(plan.front.dim, 5, layers, "gelu", "layer")
    seen = stack.receptive_field
    assert seen == receptive_frames(plan.kernel, plan.layers, plan.stride) and stack.stride == plan.stride


def test_little_data_has_cepstra_and_narrow_stacks_and_much_has_more_of_everything() -> None:
    small, large = planned(count=200), planned(count=40_000, seconds=10.0, text="a b " * 30)
    assert small.front.is_cepstra and small.feature_masks == 0 and small.front.dim == 39
    assert large.front.layer == "logmel" and large.feature_masks == 2
    assert small.channels < large.channels and small.updates < large.updates
    assert small.receptive_seconds < large.receptive_seconds and small.max_tokens < large.max_tokens
    assert planned(4, count=40_000, seconds=10.0).max_tokens > large.max_tokens
    assert planned(rate=8000).front.sample_rate == 8000 and planned(rate=44_100).front.sample_rate == 16_000


def test_silence_at_the_ends_is_trimmed_and_does_not_count() -> None:
    plain, padded = planned(seconds=2.0), planned(seconds=3.0, edge=1.2)
    assert plain.trim is None and padded.trim == 0.1
    assert padded.stride == plain.stride and padded.receptive_seconds <= 0.35 * 2.0


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_yaml_is_what_was_planned_and_says_why(gpus: int) -> None:
    seen = look()
    plan = plan_for(seen, spectra(seen), gpus)
    text = yaml_text(seen, plan)
    held = OmegaConf.create(text)
    assert held.model.conv_layers == plan.conv_layers and held.optimization.max_update == plan.updates
    assert held.dataset.max_tokens == plan.max_tokens and held.model.feature_masks == plan.feature_masks
    assert held.common.get("cpu") is (None if gpus else True) and held.common.get("bf16") is (
        bool(gpus) or None
    )
    for name in ("conv_layers", "max_tokens", "max_update", "label_fraction", "feature_masks", "dropout"):
        assert re.search(rf"^  {name}: .*  # \S", text, re.MULTILINE), name


def test_a_checkpoint_of_a_stranger_s_quantizer_goes_with_its_plugin() -> None:
    seen = look()
    plan = plan_for(seen, FrontPlan("c", 8, 0.01, "/a/b c.pt"))
    given = Given(Path("/m"), user_dir="/their plugin")
    assert "features '/a/b c.pt' /m/$split.tsv" in (text := script_text(seen, plan, given))
    assert "--layer c --user-dir '/their plugin'\n" in text
    assert "--user-dir '" not in script_text(seen, plan, Given(Path("/m")))


def test_the_script_ends_with_the_whole_line_that_transcribes_and_with_what_was_expected() -> None:
    seen = look(test_text="open a new window on")
    text = script_text(seen, plan_for(seen, spectra(seen)), Given(Path("/m")))
    *_, transcribe, closing = text.splitlines()
    for option in ("--decoder lexicon", "--lexicon", "--lm", '--weights \\"$RUN/emissions/tuned-valid.json'):
        assert option in transcribe
    assert '"$RUN/test_words" --expect 80 100 --why \'80% of the words of the test stand in no' in closing
    assert expected_range(look()) == (0, 10) and expected_range(look(test_text="what else")) == (100, 100)
    assert "are known" in what_helps(look())


def test_it_says_what_to_expect_and_what_is_wrong_with_the_data() -> None:
    assert "single digits" in expected(look()) and "no fewer than" not in expected(look())
    assert "no fewer than 80%" in expected(look(test_text="open a new window on"))
    assert "70 to 100 %" in expected(look(test_text="what else"))
    seen = look(edge=1.2)
    plan = plan_for(seen, spectra(seen))
    assert any("--trim 0.1" in line for line in advised(seen, plan, trims=False))
    assert not any("--trim" in line for line in advised(seen, plan, trims=True))
    assert "300 utterances, 0.25 h, 1 speaker" in told(seen)[0]


def test_how_long_the_training_takes_is_told_before_it_begins() -> None:
    seen = look()
    plan = plan_for(seen, spectra(seen))
    assert plan.time == f"{max(1, round(plan.minutes))} min on a CPU core (computed, not measured)"
    assert f"training takes about {plan.time}" in advised(seen, plan, False)
    assert f"training, about {plan.time}" in script_text(seen, plan, Given(Path("/m")))
    assert replace(plan, minutes=600.0, gpus=2).time == "10 h on 2 GPUs (computed, not measured)"
