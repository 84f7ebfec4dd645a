"""A recipe for one's own corpus: sizes that fit utterances, labels and machine, and a yaml that says why."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from vqw2v_plugin.corpora.batches import BatchLimits, cut_padded
from vqw2v_plugin.modules.acoustic.conv_stack import ConvStack, parse_stack
from vqw2v_plugin.recipes import own_plan
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


def test_letters_that_are_alike_want_a_frame_between_them_and_a_word_one_behind_it() -> None:
    front = FrontPlan("logmel", 80, 0.01)
    for said, stride, least in (("ab", 1, 3), ("aab", 1, 5), ("aab a", 1, 7), ("aab", 3, 15)):
        seconds = (0.01 * (least - 1), 0.01 * least, 1.0)
        held = replace(look(), train=SplitLook("train", seconds, (said,) * 3, frozenset()))
        assert _learnt_from(held, front, stride).tolist() == [least, 100]


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
    for count, seconds, layer in ((300, 3.0, "mfcc:13"), (40_000, 10.0, "logmel")):
        for rate, heard in ((8_000, 8_000), (11_025, 11_025), (16_000, 16_000), (44_100, 16_000)):
            front = spectra(look(count, seconds, rate=rate))
            assert (front.layer, front.sample_rate) == (layer, heard)


def test_silence_at_the_ends_is_trimmed_and_does_not_count() -> None:
    plain, padded = planned(seconds=2.0), planned(seconds=3.0, edge=1.2)
    assert plain.trim is None and padded.trim == 0.1
    assert padded.stride == plain.stride and padded.receptive_seconds <= 0.35 * 2.0
    assert padded.time_mask_width == plain.time_mask_width == 20  # a tenth of 2 s, 0.1 s kept at each end


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


@pytest.mark.parametrize(
    ("hours", "dropout", "channels", "order", "layer"),
    [
        (0.49, 0.3, 128, 3, "mfcc:13"),
        (0.51, 0.2, 128, 3, "mfcc:13"),
        (1.01, 0.2, 192, 3, "mfcc:13"),
        (4.9, 0.2, 192, 3, "mfcc:13"),
        (5.1, 0.1, 256, 4, "mfcc:13"),
        (19.9, 0.1, 256, 4, "mfcc:13"),
        (20.1, 0.1, 256, 4, "logmel"),
        (51.0, 0.1, 256, 4, "logmel"),
    ],
)
def test_a_model_grows_with_the_hours(
    hours: float, dropout: float, channels: int, order: int, layer: str
) -> None:
    plan = planned(count=10, seconds=3600 * hours / 9.9)  # one of ten is shorter by a tenth
    assert (plan.dropout, plan.channels, plan.order, plan.front.layer) == (dropout, channels, order, layer)
    assert plan.lr == 0.002
    if hours > 50:  # a GPU affords more
        large = planned(1, count=10, seconds=3600 * hours / 9.9)
        assert (large.channels, large.lr) == (512, 0.001)


@pytest.mark.parametrize(
    ("hours", "batches", "gpus", "updates"),
    [
        (0.4, 10, 0, 2400),
        (0.6, 10, 0, 600),
        (0.6, 71, 0, 2100),  # 30 epochs, in hundreds
        (1.5, 100, 0, 2000),
        (30, 100, 0, 1000),
        (30, 100, 1, 4000),
        (30, 5_000, 0, 12_000),
        (30, 5_000, 4, 100_000),
    ],
)
def test_updates_are_epochs_within_what_a_night_allows(
    hours: float, batches: int, gpus: int, updates: int
) -> None:
    assert own_plan._updates(hours, batches, gpus) == updates


@pytest.mark.parametrize(
    ("frames", "longest", "gpus", "tokens"),
    [
        (10_000, 300, 0, 1_500),
        (10_000, 3_000, 0, 3_500),  # the longest, and a twentieth
        (100_000, 300, 0, 5_000),
        (1_000_000, 300, 0, 8_000),
        (1_000_000, 300, 1, 50_000),
        (10_000_000, 300, 1, 60_000),
    ],
)
def test_a_batch_is_a_twentieth_of_an_epoch_within_what_a_machine_holds(
    frames: float, longest: float, gpus: int, tokens: int
) -> None:
    assert own_plan._batch(frames, longest, gpus) == tokens


def test_a_frame_of_emissions_strides_as_far_as_labels_allow() -> None:
    """Two frames a label of a hundred a second."""
    assert [own_plan._stride(labels, 0.01) for labels in (10, 20, 26, 40, 60)] == [3, 2, 1, 1, 1]
    assert own_plan._stride(10, 0.02) == 2


@pytest.mark.parametrize(
    ("hours", "frames", "stack"),
    [(2.0, 104, (7, 5)), (2.0, 102, (7, 4)), (1.9, 104, (5, 4)), (1.9, 50, (5, 3)), (1.9, 20, (3, 3))],
)
def test_a_stack_is_the_widest_that_sees_three_tenths(
    hours: float, frames: float, stack: tuple[int, int]
) -> None:
    assert own_plan._stack(hours, frames, 1) == stack


def test_two_stretches_are_hidden_and_bands_only_of_a_spectrum() -> None:
    spectrum, cepstra = FrontPlan("logmel", 80, 0.01), FrontPlan("mfcc:13", 39, 0.01)
    assert [own_plan._masks(spectrum, frames) for frames in (10, 300, 1000)] == [
        (2, 2, 2, 8),
        (2, 30, 2, 8),
        (2, 40, 2, 8),
    ]
    assert own_plan._masks(cepstra, 300)[:3] == (2, 30, 0)


def test_there_are_twenty_looks_at_valid_and_two_gpus_take_half_as_long() -> None:
    plan = planned(count=50, seconds=1.5)
    assert 19 <= plan.epochs / plan.validate_interval <= 21
    one, two = planned(1), planned(2)
    assert one.updates == two.updates and one.minutes == pytest.approx(2 * two.minutes)


@pytest.mark.parametrize(("edge", "trim"), [(0.3, None), (0.31, 0.1)])
def test_silence_of_more_than_three_tenths_is_trimmed(edge: float, trim: float | None) -> None:
    assert planned(edge=edge).trim == trim


def test_the_yaml_s_schedule_and_looks_are_of_the_plan() -> None:
    seen = look()
    plan = plan_for(seen, spectra(seen))
    held = OmegaConf.create(yaml_text(replace(seen, valid=replace(seen.valid, name="dev")), plan))
    assert held.checkpoint.best_checkpoint_metric == "uer" and held.checkpoint.no_epoch_checkpoints
    assert held.checkpoint.save_interval == held.dataset.validate_interval == plan.validate_interval
    assert held.dataset.valid_subset == "dev" and held.optimization.lr == [plan.lr]
    falls = held.lr_scheduler
    assert (falls._name, falls.lr_period_updates, falls.warmup_updates) == ("cosine", plan.updates, 120)
    assert falls.warmup_init_lr < falls.min_lr < plan.lr and held.model.time_masks == 2
    text = yaml_text(seen, plan)
    assert (
        f"{plan.max_tokens / 100:.0f} s with padding" in text
        and "sized to 0.25 h of speech and a CPU" in text
    )
    assert f"of emissions every {10 * plan.stride} ms" in text and "up to 0.30 s" in text


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_script_s_features_and_decoding_are_for_the_machine(gpus: int) -> None:
    seen = look(rate=8_000)
    text = script_text(seen, plan_for(seen, spectra(seen), gpus), Given(Path("/m")))
    assert "--layer mfcc:13 --bands 40 --sample-rate 8000 --deltas 2\n" in text
    assert text.count("--task vq_acoustic --cpu ") == (0 if gpus else 3) and "--order 3" in text
    layer = plan_for(seen, FrontPlan("c", 8, 0.01, "/c.pt"), gpus)
    assert f"--layer c{' --device cuda' * gpus}\n" in script_text(seen, layer, Given(Path("/m")))


def test_a_listing_names_its_folders_before_the_manifests_and_its_options_behind() -> None:
    seen, listing = look(), ["/a b", "/c", "--column", "text=what is said"]
    given = Given(Path("/m"), listing, 2, "what is said")
    text = script_text(seen, plan_for(seen, spectra(seen)), given)
    assert "vqw2v manifest '/a b' /c \"$RUN/manifests\" --column 'text=what is said'\n" in text
    assert "--unit letters --text 'what is said'\n" in text and "Much silence" not in text
    trimmed = Given(Path("/m"), ["/c", "--trim", "0.1"], 1)
    assert "Much silence at the ends" in script_text(seen, plan_for(seen, spectra(seen)), trimmed)


def of_hours(hours: float) -> CorpusLook:
    """Of an open vocabulary: one word of 49 is new."""
    return look(10, 3600 * hours / 9.9, test_text="turn on the light " * 12 + "window")


@pytest.mark.parametrize(
    ("hours", "low", "high"),
    [(0.9, 70, 100), (1.1, 40, 80), (9.9, 40, 80), (10.1, 15, 50), (99, 15, 50), (101, 5, 20)],
)
def test_more_hours_promise_fewer_errors(hours: float, low: int, high: int) -> None:
    assert expected_range(of_hours(hours)) == (low, high)
    assert f"expect {low} to {high} % word errors with {hours:.1f} h" in expected(of_hours(hours))
    assert "no fewer than 2%" in expected(of_hours(hours))


@pytest.mark.parametrize(
    ("hours", "low", "high"), [(0.9, 70, 100), (1.1, 50, 80), (10.1, 50, 100), (101, 50, 100)]
)
def test_no_fewer_errors_are_promised_than_words_are_new(hours: float, low: int, high: int) -> None:
    assert expected_range(look(10, 3600 * hours / 9.9, test_text="turn on what else")) == (low, high)


def test_few_words_of_other_speakers_are_harder() -> None:
    seen = look()
    others = replace(seen, test=replace(seen.test, speakers=frozenset({"new"})))
    assert expected_range(others) == (10, 30) and "10 to 30 % word errors: few words" in expected(others)
    assert "speakers it never heard" in expected(others)


def test_lengths_and_texts_are_told_and_a_split_once() -> None:
    seen = look(speakers=3, edge=0.26)
    train = replace(seen.train, seconds=tuple(map(float, range(1, 102))))
    said = told(replace(seen, train=train, test=seen.valid))
    assert said[0].count("valid: 40 utterances, 0.03 h, 3 speakers") == 1 and "test" not in said[0]
    assert said[1].startswith("seconds: 6.0, 51.0, 96.0 (5, 50 and 95 % are shorter), 0.3 of them silence")
    assert "the column 'text'; 6 letters a second; 4 words in training; 0.0% of the words of valid" in said[2]
    unknown = replace(seen, train=replace(train, speakers=frozenset()))
    assert "speakers not known" in told(unknown)[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"count": 19}, "19 utterances in valid choose a checkpoint by chance"),
        ({"speakers": 5}, "`vqw2v manifest … --speaker-disjoint` parts them"),
        ({"speakers": 5, "others": True}, ""),
        ({"speakers": 5, "unknown": True}, ""),
        ({"alone": True}, "valid is what weights are chosen by and what is decoded: rates come out low"),
    ],
)
def test_what_makes_rates_of_little_worth_is_said(change: dict[str, int], says: str) -> None:
    seen = look(speakers=change.get("speakers", 4))
    count = change.get("count", 20)
    valid = replace(seen.valid, texts=seen.valid.texts[:count], seconds=seen.valid.seconds[:count])
    seen = replace(seen, valid=valid, test=valid if "alone" in change else seen.test)
    if change.get("others"):
        seen = replace(seen, test=replace(seen.test, speakers=frozenset({"new"})))
    if change.get("unknown"):
        seen = replace(seen, test=replace(seen.test, speakers=frozenset()))
    lines = advised(seen, plan_for(seen, spectra(seen)), False)[2:]
    assert lines == [] if not says else [line for line in lines if says in line] == lines != []


def test_what_is_chosen_is_chosen_on_valid_and_what_is_told_is_of_test() -> None:
    seen = look()
    text = script_text(seen, plan_for(seen, spectra(seen)), Given(Path("/a b")))
    for line in (
        '--gen-subset valid --emissions "$RUN/emissions" --results-path "$RUN/valid_greedy"\n',
        'vqw2v tune "$RUN/emissions" --split valid --labels "$RUN/labels"',
        '--gen-subset test --decoder greedy --results-path "$RUN/test_greedy"\n',
        "--gen-subset test --decoder lexicon",
        '--weights "$RUN/emissions/tuned-valid.json" --results-path "$RUN/test_words"\n',
        'vqw2v report "$RUN" "$RUN/report.html" --corpus \'/a b\'\n',
    ):
        assert text.count(line) == 1, line
