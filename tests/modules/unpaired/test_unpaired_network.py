"""Generator, segments, adversary and losses: against plain loops and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vqw2v_plugin.modules.unpaired import losses, skipgrams
from vqw2v_plugin.modules.unpaired.config import UnpairedConfig
from vqw2v_plugin.modules.unpaired.network import UnpairedNetwork, one_hot
from vqw2v_plugin.modules.unpaired.segments import chunks, join

V, D = 5, 4
PLAIN = UnpairedConfig(
    D, V, generator_dropout=0.0, discriminator_dim=6, discriminator_kernel=3, mean_pool_join=True,
    gradient_penalty=0.0,
)  # fmt: skip
KINDS = [
    PLAIN,
    replace(PLAIN, generator_kernel=9, generator_stride=3, generator_batch_norm=30.0, generator_residual=True,
            mmi_weight=0.5, target_dim=3),
    replace(PLAIN, segments="none", discriminator_causal=False, discriminator_depth=3),
    replace(PLAIN, segments="uniform_join", subsample_rate=0.5, generator_residual=True),
    replace(PLAIN, segments="uniform", subsample_rate=0.3, discriminator_max_pool=True, generator_bias=True),
    replace(PLAIN, skipgram_weight=2.0, skipgram_reach=3),
]  # fmt: skip


def network(config: UnpairedConfig) -> UnpairedNetwork:
    torch.manual_seed(0)
    made = UnpairedNetwork(config).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p) * 0.5)
    if config.skipgram_weight:
        made.compare_with(skipgrams.of_text([torch.tensor([0, 1, 2, 3, 1]), torch.tensor([4, 2])], V, 3))
    return made


def joined_by_hand(row: Tensor, length: int) -> list[Tensor]:
    """The frames of each run."""
    runs: list[list[Tensor]] = []
    before = -1
    for frame in row[:length]:
        best = int(frame.argmax())
        if best != before:
            runs.append([])
        runs[-1].append(frame)
        before = best
    return [torch.stack(run) for run in runs]


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    more=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_runs_are_joined_as_by_a_loop(lengths: list[int], more: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    size = max(1, max(lengths) + more)
    steps = torch.randint(3, (len(lengths), size), generator=generator)
    logits = torch.nn.functional.one_hot(steps, 3).double() * 9 + torch.rand(
        len(lengths), size, 3, generator=generator
    )
    means, counts = join(logits, torch.tensor(lengths), False)
    drawn, same = join(logits, torch.tensor(lengths), True, generator)
    assert torch.equal(counts, same) and means.shape == drawn.shape
    for row, length, mean, draw, count in zip(logits, lengths, means, drawn, counts.tolist(), strict=True):
        runs = joined_by_hand(row, length)
        assert count == len(runs) and not mean[count:].any() and not draw[count:].any()
        for run, of_mean, of_draw in zip(runs, mean, draw, strict=False):
            torch.testing.assert_close(of_mean, run.mean(0))
            assert any(torch.equal(of_draw, frame) for frame in run)


def test_each_frame_of_a_run_is_drawn_as_often() -> None:
    logits = torch.zeros(3000, 4, 2)
    logits[..., 0] = torch.arange(1, 5)
    drawn, counts = join(logits, torch.full((3000,), 3), True, torch.Generator().manual_seed(1))
    assert {*counts.tolist()} == {1} and {*drawn[:, 0, 0].tolist()} == {1, 2, 3}
    assert all(abs(float((drawn[:, 0, 0] == n).float().mean()) - 1 / 3) < 0.04 for n in (1, 2, 3))


def test_chunks_are_means_of_frames_or_one_of_them() -> None:
    x = torch.arange(1.0, 11).view(2, 5, 1)
    means, counts = chunks(x, torch.tensor([5, 3]), 2, False)
    assert means.squeeze(2).tolist() == [[1.5, 3.5, 5.0], [6.5, 8.0, 0.0]] and counts.tolist() == [3, 2]
    drawn, _ = chunks(x, torch.tensor([5, 3]), 2, True, torch.Generator().manual_seed(0))
    assert drawn[0, 2] == 5 and drawn[1, 1] == 8 and drawn[0, 0] in (1, 2) and drawn[1, 0] in (6, 7)


def test_each_frame_of_a_chunk_is_drawn_as_often_in_the_last_chunk_of_fewer_too() -> None:
    x = torch.arange(1.0, 8).view(1, 7, 1).expand(3000, -1, -1)
    drawn, counts = chunks(x, torch.full((3000,), 5), 3, True, torch.Generator().manual_seed(1))
    assert {*counts.tolist()} == {2} and not drawn[:, 2].any()
    for place, frames in ((0, (1, 2, 3)), (1, (4, 5))):
        picked = drawn[:, place, 0]
        assert {*picked.tolist()} == {*frames}
        assert all(abs(float((picked == n).float().mean()) - 1 / len(frames)) < 0.04 for n in frames)


@pytest.mark.parametrize("number", range(len(KINDS)))
@pytest.mark.parametrize("garbage", [1e6, torch.nan])
def test_padding_changes_no_score_and_no_loss(garbage: float, number: int) -> None:
    """Nor gradients; what stands behind an end may be anything."""
    made = network(replace(KINDS[number], gradient_penalty=0.7)).train()
    lengths, more = [2, 9, 5], 3
    sizes = torch.tensor(lengths)
    found: list[tuple[Tensor, ...]] = []
    for extra, value in ((0, 0.0), (more, garbage)):
        torch.manual_seed(3)
        x = torch.full((len(lengths), max(lengths) + extra, D), value, dtype=torch.float64)
        text = torch.full((len(lengths), max(lengths) + extra), 7)
        codes = torch.full(text.shape, -1)
        for i, length in enumerate(lengths):
            x[i, :length] = torch.randn(length, D, dtype=torch.float64)
            text[i, :length] = torch.randint(V, (length,))
            codes[i, :length] = torch.randint(3, (length,))
        targets = codes if made.config.mmi_weight else None
        loss = (
            made.generator_step(x, sizes, targets).loss + made.discriminator_step(x, sizes, text, sizes).loss
        )
        found.append((loss, *torch.autograd.grad(loss, list(made.parameters()), materialize_grads=True)))
    for once, again in zip(*found, strict=True):
        torch.testing.assert_close(once, again)


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_in_a_batch_as_alone(number: int) -> None:
    made = network(KINDS[number]).eval()
    x, lengths = torch.randn(3, 9, D, dtype=torch.float64), torch.tensor([9, 4, 6])
    out = made(x, lengths)
    text = one_hot(torch.randint(V, (3, 9)), lengths, V, torch.float64)
    scores = made.discriminator(text, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = made(x[i : i + 1, :length], lengths[i : i + 1])
        assert int(out.lengths[i]) == int(alone.lengths) and alone.emissions.size(1) >= int(alone.lengths)
        torch.testing.assert_close(out.emissions[i, : alone.lengths], alone.emissions[0, : alone.lengths])
        torch.testing.assert_close(made.discriminator(text[i : i + 1, :length])[0], scores[i])
        if made.config.segments in ("none", "uniform"):
            assert made.frames(length) == int(alone.lengths)


@pytest.mark.parametrize("number", [0, 1, 5])
def test_gradients_are_those_of_finite_differences(number: int) -> None:
    """Of what each of the two learns by, and the penalty's, which is a gradient's gradient."""
    made = network(replace(KINDS[number], gradient_penalty=1.5, smoothing=0.1)).train()
    x, lengths = torch.randn(2, 7, D, dtype=torch.float64), torch.tensor([7, 5])
    text, sizes = torch.randint(V, (2, 6)), torch.tensor([6, 4])
    codes = torch.randint(3, (2, 7)) if made.config.mmi_weight else None

    def loss_of(learns: str) -> Tensor:
        torch.manual_seed(4)
        if learns == "generator":
            return made.generator_step(x, lengths, codes).loss
        return made.discriminator_step(x, lengths, text, sizes).loss

    for learns in ("generator", "discriminator"):
        chosen = [p for name, p in made.named_parameters() if name.startswith(learns)]
        grads = torch.autograd.grad(loss_of(learns), chosen)
        for p, grad in zip(chosen, grads, strict=True):
            place, step = int(grad.abs().argmax()), 1e-6
            with torch.no_grad():
                p.view(-1)[place] += step
                above = float(loss_of(learns))
                p.view(-1)[place] -= 2 * step
                below = float(loss_of(learns))
                p.view(-1)[place] += step
            assert (above - below) / (2 * step) == pytest.approx(
                float(grad.reshape(-1)[place]), rel=1e-4, abs=1e-6
            )


def test_only_one_of_the_two_has_gradients() -> None:
    made = network(replace(PLAIN, gradient_penalty=1.0)).train()
    x, lengths = torch.randn(2, 7, D, dtype=torch.float64), torch.tensor([7, 5])
    for learns, step in (
        ("generator", lambda: made.generator_step(x, lengths)),
        ("discriminator", lambda: made.discriminator_step(x, lengths, torch.randint(V, (2, 6)), lengths - 1)),
    ):
        made.zero_grad()
        step().loss.backward()  # type: ignore[no-untyped-call]
        assert {name.partition(".")[0] for name, p in made.named_parameters() if p.grad is not None} == {
            learns
        }


@pytest.mark.parametrize("named", [True, False])
def test_on_several_ranks_no_parameter_is_without_a_gradient(
    named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DDP would wait for it for ever, or stop."""
    monkeypatch.setattr("vqw2v_plugin.modules.unpaired.network.is_one_of_many", lambda: True)
    made = network(replace(PLAIN, generator_residual=True, mmi_weight=0.5, target_dim=3)).train()
    x, lengths = torch.randn(2, 7, D, dtype=torch.float64), torch.tensor([7, 5])
    targets = torch.randint(3, (2, 7)) if named else None
    for step in (
        lambda: made.generator_step(x, lengths, targets),
        lambda: made.discriminator_step(x, lengths, torch.randint(V, (2, 6)), lengths - 1),
    ):
        made.zero_grad()
        step().loss.backward()  # type: ignore[no-untyped-call]
        assert not [name for name, p in made.named_parameters() if p.grad is None]


def test_the_penalty_of_a_linear_adversary_is_known() -> None:
    """Its gradient is w/T in each frame, whatever is mixed: of norm |w|/√T in each column."""
    weight = torch.tensor([3.0, 0.5], dtype=torch.float64)

    def judge(x: Tensor, lengths: Tensor | None) -> Tensor:
        return (x @ weight).mean(1)

    text, made = torch.rand(3, 4, 2, dtype=torch.float64), torch.rand(3, 4, 2, dtype=torch.float64)
    found = losses.gradient_penalty(judge, text, made, torch.rand(3, dtype=torch.float64))
    assert float(found) == pytest.approx(3 * (0.5**2 + 0.75**2))
    shares = torch.rand(
        3, dtype=torch.float64
    )  # with lengths, those that have no frame in common do not count
    found = losses.gradient_penalty(judge, text, made, shares, torch.tensor([4, 0, 1]))
    assert float(found) == pytest.approx(2 * (0.5**2 + 0.75**2))


def test_diversity_and_smoothness_by_hand() -> None:
    even = torch.full((6, V), 1 / V, dtype=torch.float64)
    assert float(losses.diversity(even)) == pytest.approx(0, abs=1e-5)
    assert float(losses.diversity(torch.eye(V, dtype=torch.float64)[[2, 2]])) == pytest.approx(
        1 - 1 / V, abs=1e-5
    )
    steps = torch.tensor([[[0.0], [2.0], [3.0]], [[1.0], [4.0], [9.0]]])
    lengths = torch.tensor([3, 2])
    assert float(losses.smoothness(steps, lengths)) == pytest.approx((4 + 1 + 9) / 3)
    assert float(losses.smoothness(steps, lengths, True)) == pytest.approx((4 + 1 + 9) / 4)
    assert float(losses.smoothness(steps[:, :1], lengths)) == 0


def test_a_discriminator_begins_anew_as_another_one_did() -> None:
    made = network(PLAIN).discriminator
    before = {name: p.clone() for name, p in made.named_parameters()}
    draws = torch.get_rng_state()
    made.begin_anew(3)
    first = {name: p.clone() for name, p in made.named_parameters()}
    made.begin_anew(4)
    made.begin_anew(3)
    assert torch.equal(draws, torch.get_rng_state())
    for name, p in made.named_parameters():
        assert torch.equal(p, first[name]) and not torch.equal(p, before[name])
        fan_in = dict(made.named_parameters())[f"{name.rpartition('.')[0]}.weight"][0].numel()
        assert float(p.detach().abs().max()) <= fan_in**-0.5


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("segments", "words", "`segments` is 'words'; expected none or uniform or join"),
        ("generator_kernel", 0, "`generator_kernel` is 0; expected at least 1"),
        ("discriminator_dim", 1 << 40, "expected 1,048,576 at most"),
        ("generator_pad", 0, "`generator_pad` is 0, so that the kernel of 4 frames loses"),
        ("generator_dropout", 1.0, "`generator_dropout` is 1.0; expected a probability"),
        ("gradient_penalty", -1.0, "`gradient_penalty` is -1.0; expected 0 or more"),
        ("code_penalty", float("nan"), "`code_penalty` is nan"),
        ("subsample_rate", 0.0, "`subsample_rate` is 0.0; expected a share"),
        ("skipgram_reach", 0, "`skipgram_reach` is 0; expected at least 1"),
        ("skipgram_weight", float("inf"), "`skipgram_weight` is inf; expected 0 or more"),
        ("skipgram_repeats", 0.5, "`skipgram_repeats` is 0.5; expected 1 to 100"),
        ("smoothing", 0.5, "`smoothing` is 0.5; expected 0 or more, less than 0.5"),
        ("mmi_weight", 1.0, "`mmi_weight` needs the residual branch"),
        ("stock_padding", "false", "`stock_padding` is 'false'; expected true or false"),
    ],
)
def test_settings_are_checked_by_name(field: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        replace(PLAIN, **{field: value})  # type: ignore[arg-type]


def test_each_weight_and_each_count_is_checked() -> None:
    weights = ("gradient_penalty", "code_penalty", "smoothness_weight", "mmi_weight", "generator_batch_norm")
    for name in (*weights, "skipgram_weight", "skipgram_start_weight"):
        with pytest.raises(ValueError, match=f"`{name}` is -1.0; expected 0 or more"):
            replace(PLAIN, **{name: -1.0})  # type: ignore[arg-type]
    generator = ("input_dim", "num_columns", "generator_kernel", "generator_stride", "generator_dilation")
    adversary = ("dim", "depth", "kernel", "dilation")
    for name in (*generator, *(f"discriminator_{part}" for part in adversary), "target_dim"):
        with pytest.raises(ValueError, match=f"`{name}` is 0; expected at least 1"):
            replace(PLAIN, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`generator_pad` is -2; expected at least -1"):
        replace(PLAIN, generator_pad=-2)
    with pytest.raises(ValueError, match="`generator_pad` is 1048577; expected 1,048,576 at most"):
        replace(PLAIN, generator_pad=(1 << 20) + 1)
    with pytest.raises(ValueError, match=r"`discriminator_dropout` is 1\.0; expected a probability"):
        replace(PLAIN, discriminator_dropout=1.0)
    replace(PLAIN, subsample_rate=1.0, skipgram_repeats=100.0, smoothing=0.49)


def test_features_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`features` are \[1, 3, 9\]; expected \[batch, frames, 4\]"):
        network(PLAIN)(torch.zeros(1, 3, 9), torch.tensor([3]))
    for shape in ((1, 0, 4), (3, 4)):
        with pytest.raises(ValueError, match=r"expected \[batch, frames, 4\]"):
            network(PLAIN)(torch.zeros(shape), torch.tensor([0]))
    with pytest.raises(ValueError, match="clusters are of frames"):
        replace(KINDS[3], mmi_weight=1.0)


def test_scores_come_at_another_stride_from_here_on() -> None:
    made, x = network(replace(PLAIN, segments="none")).eval(), torch.randn(1, 12, D, dtype=torch.float64)
    before = made(x, torch.tensor([12])).emissions
    made.generator.stride_by(3)
    after = made(x, torch.tensor([12]))
    assert int(after.lengths) == made.frames(12) == 5 and made.stride == 3
    torch.testing.assert_close(after.emissions, before[:, ::3])
    with pytest.raises(ValueError, match="`decode_stride` is 0; expected 1 or more"):
        made.generator.stride_by(0)


def test_a_batch_norm_begins_with_the_scale_that_is_asked_for() -> None:
    assert UnpairedNetwork(KINDS[1]).generator.norm.weight.unique().tolist() == [30.0]
    assert not hasattr(UnpairedNetwork(PLAIN).generator, "norm")


def test_pairs_and_first_phones_weigh_as_their_settings_say() -> None:
    x, lengths = torch.randn(2, 9, D, dtype=torch.float64), torch.tensor([9, 7])
    found = []
    for weight, start in ((1.0, 0.1), (3.0, 0.1), (1.0, 0.4)):
        made = network(replace(KINDS[5], skipgram_weight=weight, skipgram_start_weight=start)).train()
        terms = made.generator_step(x, lengths).terms
        found.append((float(terms["pairs"]), float(terms["starts"])))
    pairs, starts = found[0]
    assert pairs > 0 and starts > 0
    assert found[1] == pytest.approx((3 * pairs, 3 * starts)) and found[2] == pytest.approx(
        (pairs, 4 * starts)
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_adversary_is_right_above_0_of_what_was_generated_and_below_of_text(sign: float) -> None:
    made, lengths = network(PLAIN), torch.tensor([7, 5])
    made.discriminator.score.weight.data.zero_()
    made.discriminator.score.bias.data.fill_(sign)
    x, text = torch.randn(2, 7, D, dtype=torch.float64), torch.randint(V, (2, 7))
    figures = made.discriminator_step(x, lengths, text, lengths).figures
    assert float(figures["accuracy_dense"]) == (sign > 0) and float(figures["accuracy_token"]) == (sign < 0)


def test_how_many_phones_are_in_use_is_told_of_scores_and_of_the_best() -> None:
    made = network(replace(PLAIN, segments="none", generator_bias=True))
    made.generator.conv.weight.data.zero_()
    made.generator.conv.bias.data.copy_(torch.tensor([1.0, 1.0, -50.0, -50.0, -50.0]))
    figures = made.generator_step(torch.randn(1, 7, D, dtype=torch.float64), torch.tensor([7])).figures
    assert float(figures["prob_ppl"]) == pytest.approx(2, abs=1e-4)
    assert float(figures["code_ppl"]) == pytest.approx(1, abs=1e-4)


def test_the_penalty_is_of_training_and_of_the_first_frames_or_of_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, text, lengths = torch.randn(1, 9, D, dtype=torch.float64), torch.randint(V, (1, 9)), torch.tensor([9])
    common, told = losses.common_part, []
    monkeypatch.setattr(losses, "common_part", lambda *given: told.append(given[4]) or common(*given))
    for slices in (False, True):
        made = network(replace(PLAIN, gradient_penalty=1.0, probabilistic_grad_penalty_slicing=slices))
        for training in (True, False):
            terms = made.train(training).discriminator_step(x, lengths, text, lengths).terms
            assert ("grad_pen" in terms) == training
    assert told == [False, True]


def test_a_common_part_is_the_first_frames_or_any_as_many() -> None:
    text, made = torch.arange(8.0).view(1, 8, 1), torch.arange(5.0).view(1, 5, 1)
    sizes = torch.tensor([6]), torch.tensor([4])
    first, other, held = losses.common_part(text, sizes[0], made, sizes[1])
    assert first.flatten().tolist() == other.flatten().tolist() == [0, 1, 2, 3, 4] and held.tolist() == [4]
    drawn, starts = torch.Generator().manual_seed(1), set()
    for _ in range(40):
        part, other, held = losses.common_part(text, sizes[0], made, sizes[1], True, drawn)
        starts.add(start := int(part[0, 0]))
        assert part.flatten().tolist() == list(range(start, start + 5)) and torch.equal(other, made)
        assert int(held) == min(4, 6 - start)
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize(("segments", "option"), [("uniform", "mean_pool"), ("join", "mean_pool_join")])
def test_a_segment_is_one_of_its_frames_in_training_alone_unless_means_are_asked_for(
    segments: str, option: str
) -> None:
    x, lengths = torch.randn(2, 60, D, dtype=torch.float64), torch.tensor([60, 50])
    for means in (True, False):
        made = network(replace(PLAIN, segments=segments, **{option: means}))  # type: ignore[arg-type]
        for training in (True, False):
            one, other = (made.train(training)(x, lengths).emissions for _ in range(2))
            assert torch.equal(one, other) == (means or not training)


def test_all_draws_are_those_of_the_generator_that_is_given() -> None:
    config = replace(
        PLAIN, segments="uniform_join", subsample_rate=0.5, mean_pool=False, mean_pool_join=False,
        gradient_penalty=1.0, probabilistic_grad_penalty_slicing=True,
    )  # fmt: skip
    made, found = network(config).train(), []
    x, text = torch.randn(2, 60, D, dtype=torch.float64), torch.randint(V, (2, 60))
    for seed, other in ((5, 1), (5, 2), (6, 2)):
        made.draws = torch.Generator().manual_seed(seed)
        torch.manual_seed(other)
        step = made.discriminator_step(x, torch.tensor([60, 50]), text, torch.tensor([60, 40]))
        found.append(step.loss.item())
    assert found[0] == found[1] != found[2]


def test_phones_are_dropped_on_the_adversary_s_way_in_training_alone() -> None:
    made = network(replace(PLAIN, discriminator_dropout=0.5, discriminator_depth=1)).discriminator
    phones = torch.rand(2, 9, V, dtype=torch.float64)
    for training in (True, False):
        made.train(training)
        assert torch.equal(made(phones), made(phones)) != training


@pytest.mark.parametrize(
    ("spread", "causal", "offsets"),
    [(1, True, [0, 1, 2, 3]), (2, True, [0, 2, 4, 6]), (1, False, [-1, 0, 1, 2]), (2, False, [-3, -1, 1, 3])],
)
def test_an_adversary_s_layer_hears_frames_as_far_apart_as_is_asked(
    spread: int, causal: bool, offsets: list[int]
) -> None:
    """Of an even kernel more of the past, as stock has it; the scores' own layer has no spread."""
    made = network(
        replace(PLAIN, discriminator_kernel=4, discriminator_dilation=spread, discriminator_causal=causal)
    ).discriminator
    for layer in (made.embed, *made.inner, made.score):
        y = torch.zeros(1, layer.in_channels, 30, dtype=torch.float64)
        plain = made._conv(layer, y, None)
        y[..., 12] = 1
        moved = (made._conv(layer, y, None) != plain).any(1)[0].nonzero().flatten() - 12
        expected = offsets if layer is not made.score else [0, 1, 2, 3] if causal else [-1, 0, 1, 2]
        assert plain.size(2) == 30 and moved.tolist() == expected


def test_features_are_dropped_before_the_residual_layer_and_before_the_scores() -> None:
    x, lengths = torch.randn(2, 30, D, dtype=torch.float64), torch.tensor([30, 20])
    for residual in (True, False):
        config = replace(PLAIN, segments="none", generator_dropout=0.5, generator_residual=residual)
        made = network(config).generator
        for training in (True, False):
            one, other = (made.train(training)(x, lengths) for _ in range(2))
            assert torch.equal(one.logits, other.logits) != training
            if one.inter is not None and other.inter is not None:
                assert torch.equal(one.inter, other.inter) != training
        if residual:
            made.train().residual.weight.data.zero_()
            made.residual.bias.data.zero_()  # all that is left is what goes by
            assert not torch.equal(made(x, lengths).logits, made(x, lengths).logits)


def test_chunks_are_as_long_as_the_rate_is_nearest_to() -> None:
    sizes = [replace(PLAIN, segments="uniform", subsample_rate=rate).chunk for rate in (1.0, 0.6, 0.35, 0.25)]
    assert sizes == [1, 2, 3, 4] and replace(PLAIN, segments="join", subsample_rate=0.25).chunk == 1


@pytest.mark.parametrize("more", [0, 2, -1])
def test_clusters_are_named_of_the_frames_that_both_have(more: int) -> None:
    scores = torch.randn(2, 5, 3, dtype=torch.float64)
    targets = torch.tensor([[0, 2, -1, 1, -1, 2, 2], [1, -1, -1, 0, -1, 0, 0]])[:, : 5 + more]
    said = [(b, t) for b in range(2) for t in range(min(5, 5 + more)) if targets[b, t] >= 0]
    each = [-scores[b, t].log_softmax(-1)[targets[b, t]] for b, t in said]
    torch.testing.assert_close(losses.clusters(scores, targets), torch.stack(each).mean())


def test_a_frame_of_scores_is_as_many_of_features_as_chunk_and_stride_make() -> None:
    made = network(replace(PLAIN, segments="uniform", subsample_rate=0.5, generator_stride=3))
    assert made.stride == 6 and made.frames(60) == int(
        made(torch.zeros(1, 60, D), torch.tensor([60])).lengths
    )


def test_what_there_is_nothing_of_weighs_nothing() -> None:
    """Utterances without a frame, without a step from one to the next, without a cluster."""
    for pools in (False, True):
        made = network(replace(PLAIN, discriminator_max_pool=pools)).discriminator
        scores = made(torch.rand(2, 5, V, dtype=torch.float64), torch.tensor([5, 1]))
        assert scores.isfinite().all()
    made = network(PLAIN).discriminator
    assert made(torch.rand(2, 5, V, dtype=torch.float64), torch.tensor([5, 0]))[1] == 0
    assert losses.smoothness(torch.randn(2, 5, V), torch.tensor([1, 0])) == 0
    assert losses.clusters(torch.randn(1, 4, 3), torch.full((1, 4), -1)) == 0


def test_who_says_nothing_gets_stock_s_networks_and_nothing_that_is_ours() -> None:
    config = UnpairedConfig()
    assert (config.generator_kernel, config.generator_stride, config.generator_dilation) == (4, 1, 1)
    assert (config.padding, config.generator_dropout, config.generator_bias) == (2, 0.1, False)
    assert (config.generator_batch_norm, config.generator_residual, config.mmi_weight) == (0.0, False, 0.0)
    assert (config.discriminator_dim, config.discriminator_depth, config.discriminator_kernel) == (384, 2, 6)
    assert (config.discriminator_dilation, config.discriminator_causal) == (1, True)
    assert (config.segments, config.mean_pool, config.mean_pool_join) == ("join", True, False)
    assert (config.gradient_penalty, config.code_penalty, config.smoothness_weight) == (1.5, 4.0, 0.5)
    assert (config.smoothing, config.smoothing_one_sided, config.stock_padding) == (0.0, False, False)
    assert (config.skipgram_weight, config.skipgram_reach, config.skipgram_start_weight) == (0.0, 6, 0.1)
    assert (config.skipgram_repeats, config.target_dim, config.subsample_rate) == (1.0, 64, 0.25)


def test_what_16_bit_scores_are_told_by_is_summed_in_32() -> None:
    scores, targets = torch.zeros(1, 1000, 3).bfloat16(), torch.zeros(1, 1000, dtype=torch.long)
    assert float(losses.clusters(scores, targets)) == pytest.approx(np.log(3), rel=1e-5)
    shares = torch.full((1000, 300), 1 / 300).bfloat16()
    mean = float(shares[0, 0])
    expected = np.exp(-300 * mean * np.log(mean + 1e-7))
    assert float(losses.usage(shares)) == pytest.approx(expected, rel=1e-4)
