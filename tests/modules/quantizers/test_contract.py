"""Properties that every registered quantizer keeps; a new one is tested by being registered."""

import math

import pytest
import torch
from changed_quantizers import OtherEncode, OtherNearest, OtherProjection

from vqw2v_plugin.modules.quantizers.fsq import FsqQuantizer
from vqw2v_plugin.modules.quantizers.gumbel import temperature_at
from vqw2v_plugin.modules.quantizers.kmeans import KmeansQuantizer
from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig
from vqw2v_plugin.quantizers import (
    FsqConfig,
    GumbelConfig,
    GumbelQuantizer,
    KmeansConfig,
    Quantizer,
    SplitEncode,
    build_quantizer,
    code_counts,
    count_perplexity,
    perplexity,
    quantizer_names,
    straight_through,
)

NAMES = quantizer_names()
CODED = [name for name in NAMES if name != "none"]
OPTIONS = {
    "vq_vars": 8,
    "vq_groups": 2,
    "vq_dim": 0,
    "combine_groups": False,
    "vq_depth": 2,
    "max_update": 100,
}


def make(name: str, **options: object) -> Quantizer:
    torch.manual_seed(0)
    return build_quantizer(name, 12, {**OPTIONS, **options})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("combine", [False, True])
@pytest.mark.parametrize("vq_dim", [0, 6])
class TestContract:
    def test_decode_inverts_encode(self, name: str, groups: int, combine: bool, vq_dim: int) -> None:
        quantizer = make(name, vq_groups=groups, combine_groups=combine, vq_dim=vq_dim).eval()
        z = torch.randn(2, 5, 12)
        out = quantizer(z)
        assert out.x.shape == (2, 5, quantizer.out_dim) and out.codes.dtype == torch.int64
        assert out.codes.shape == (2, 5, quantizer.num_groups) and out.loss.shape == ()
        assert out.stats.counts.shape == (quantizer.num_groups, quantizer.num_codes)
        if not quantizer.num_groups:
            return
        assert torch.equal(quantizer.encode(z), out.codes)
        assert torch.equal(quantizer.decode(quantizer.encode(z)), out.x)
        assert quantizer.num_groups == groups and quantizer.out_dim == (vq_dim or 12)
        assert 0 <= out.codes.min() and out.codes.max() < quantizer.num_codes

    def test_every_weight_learns(self, name: str, groups: int, combine: bool, vq_dim: int) -> None:
        quantizer = make(name, vq_groups=groups, combine_groups=combine, vq_dim=vq_dim).train()
        z = torch.randn(2, 5, 12, requires_grad=True)
        out = quantizer(z)
        (out.x.square().sum() + out.loss).backward()
        assert z.grad is not None and z.grad.abs().sum() > 0
        for parameter_name, parameter in quantizer.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name

    def test_perplexities_lie_between_one_and_v(
        self, name: str, groups: int, combine: bool, vq_dim: int
    ) -> None:
        quantizer = make(name, vq_groups=groups, combine_groups=combine, vq_dim=vq_dim)
        stats = quantizer(torch.randn(2, 5, 12)).stats
        assert stats.code_perplexity.shape == (quantizer.num_groups,)
        assert (stats.code_perplexity >= 1 - 1e-5).all() and (
            stats.code_perplexity <= quantizer.num_codes + 1e-4
        ).all()


def in_pieces(quantizer: Quantizer, z: torch.Tensor) -> torch.Tensor:  # [T, C] → [T, G]
    """As a long clip's codes are made, with torch's own group norm between the steps."""
    split = quantizer.split_encode()
    if split is None:
        return quantizer.encode(z[None])[0]
    if split.project is not None:
        projected = torch.cat([split.project(piece) for piece in z.split(7)])
        z = split.norm(projected.T[None])[0].T
    return torch.cat([split.choose(piece) for piece in z.split(7)])


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("combine", [False, True])
def test_codes_made_in_pieces_are_those_of_the_whole(name: str, combine: bool) -> None:
    quantizer, z = make(name, combine_groups=combine).eval(), torch.randn(50, 12)
    assert torch.equal(in_pieces(quantizer, z), quantizer.encode(z[None])[0])


class OverTime(GumbelQuantizer):
    def logits(self, z: torch.Tensor) -> torch.Tensor:
        return super().logits(z.cumsum(1))


class SaysSo(OverTime):
    by_frame = True

    def encode(self, z: torch.Tensor) -> torch.Tensor:
        return GumbelQuantizer.logits(self, z).argmin(-1)


@pytest.mark.parametrize("cls", [OtherProjection, OtherEncode, OtherNearest, OverTime, SaysSo])
def test_a_subclass_inherits_no_claim_about_its_encode(cls: type[Quantizer]) -> None:
    torch.manual_seed(0)
    config = GumbelConfig if issubclass(cls, GumbelQuantizer) else KmeansConfig
    quantizer, z = cls(12, config(vq_vars=8)).eval(), torch.randn(50, 12)
    parent = cls.__mro__[1](12, config(vq_vars=8)).eval()
    parent.load_state_dict(quantizer.state_dict())
    whole = quantizer.encode(z[None])[0]
    assert torch.equal(in_pieces(quantizer, z), whole)
    assert not torch.equal(parent.encode(z[None])[0], whole)  # so the parent's claim would be wrong
    assert (quantizer.split_encode() is not None) == (cls is SaysSo)


def test_no_quantizer_gives_z_on_and_has_no_codes() -> None:
    quantizer = make("none")
    z = torch.randn(2, 5, 12, requires_grad=True)
    out = quantizer(z)
    assert out.x is z and out.loss == 0 and not quantizer.loss_weight
    assert not quantizer.state_dict() and quantizer.split_encode() is None
    for ask in (quantizer.encode, quantizer.decode):
        with pytest.raises(
            ValueError, match=r"this model has no quantizer \(wav2vec 1\.0\), so it has no codes"
        ):
            ask(z)


@pytest.mark.parametrize("name", CODED)
def test_groups_that_do_not_divide_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(12\) must be divisible by `vq_groups` \(5\)"):
        make(name, vq_groups=5)


@pytest.mark.parametrize("name", ["gumbel", "fsq"])
def test_of_sizes_that_do_not_divide_the_one_that_was_given_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"^`dimension of z` \(12\) must"):
        make(name, vq_groups=5)
    with pytest.raises(ValueError, match=r"^`vq_dim` \(8\) must be divisible by `vq_groups` \(3\)"):
        make(name, vq_groups=3, vq_dim=8)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_counted_and_logged_keeps_no_graph(name: str) -> None:
    stats = make(name).train()(torch.randn(2, 50, 12)).stats
    for x in (stats.counts, stats.code_perplexity, stats.prob_perplexity):
        assert x is None or not x.requires_grad


@pytest.mark.parametrize("name", CODED)
def test_codes_out_of_range_are_refused(name: str) -> None:
    quantizer = make(name)
    beyond = torch.full((1, 2, quantizer.num_groups), quantizer.num_codes)
    for wrong in (beyond, beyond - quantizer.num_codes - 1):
        with pytest.raises(ValueError, match=f"expected 0 to {quantizer.num_codes - 1}"):
            quantizer.decode(wrong)


def test_perplexity_of_uniform_codes_is_num_vars() -> None:
    codes = torch.arange(320).repeat(2).view(1, -1, 1)
    assert count_perplexity(code_counts(codes, 320)).item() == pytest.approx(320, rel=1e-4)
    for frames in (9, 1):
        one = code_counts(torch.zeros(1, frames, 2, dtype=torch.long), 320)
        assert count_perplexity(one).tolist() == pytest.approx([1, 1])
    assert count_perplexity(torch.zeros(1, 320)).tolist() == [1]  # before the first frame


def test_perplexity_has_a_finite_gradient_where_a_code_is_never_likely() -> None:
    probs = torch.tensor([[1.0, 0.0]], requires_grad=True)
    perplexity(probs).sum().backward()
    assert probs.grad is not None and probs.grad.isfinite().all()


def test_straight_through_gradient_is_identity() -> None:
    x, y = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    out, grad = straight_through(x, y), torch.randn(3, 4)
    out.backward(grad)
    assert torch.equal(out, y) and torch.equal(x.grad, grad)


def test_kmeans_takes_the_nearest_entry() -> None:
    quantizer = make("kmeans").double().eval()
    z = torch.randn(2, 5, 12, dtype=torch.float64)
    projected = quantizer.project(z).unflatten(-1, (2, 6))  # [B, T, G, D]
    distances = torch.cdist(
        projected.transpose(1, 2), quantizer.codebook.entries.unsqueeze(0)
    )  # [B, G, T, V]
    assert torch.equal(distances.argmin(-1).transpose(1, 2), quantizer.encode(z))


def test_kmeans_loss_draws_entries_to_frames_and_frames_a_quarter_as_much_to_entries() -> None:
    """‖sg(z) − e‖² + γ ‖z − sg(e)‖² (vq-wav2vec §3.2, γ = 0.25), as means."""
    quantizer = build_quantizer("kmeans", 6, {"vq_vars": 4, "vq_groups": 2})
    z = torch.randn(1, 7, 6)
    out = quantizer(z)
    projected = quantizer.project(z).detach().requires_grad_()
    chosen = quantizer.decode(out.codes).detach()
    apart = (projected - chosen).square().mean()
    torch.testing.assert_close(out.loss, 1.25 * apart)
    (to_projected,) = torch.autograd.grad(0.25 * apart, projected)
    (expected,) = torch.autograd.grad(
        quantizer.project(z), quantizer.projection.weight, to_projected, retain_graph=True
    )
    weight, entries = torch.autograd.grad(out.loss, [quantizer.projection.weight, quantizer.codebook.entries])
    torch.testing.assert_close(weight, expected)
    frame = (out.codes[0, :, 1] == out.codes[0, 0, 1]).nonzero().flatten()
    mine = 2 * (chosen - projected)[0, frame, 3:].sum(0) / projected.numel()
    torch.testing.assert_close(entries[1, out.codes[0, 0, 1]], mine)


def test_codebooks_begin_as_stock_s() -> None:
    kmeans = build_quantizer("kmeans", 64, {"vq_vars": 320}).codebook.entries
    assert kmeans.std().item() == pytest.approx(0.01, rel=0.05) and abs(kmeans.mean().item()) < 1e-3
    gumbel = build_quantizer("gumbel", 64, {"vq_vars": 320, "max_update": 1}).codebook.entries
    assert 0 <= gumbel.min() and 0.99 < gumbel.max() <= 1
    assert gumbel.mean().item() == pytest.approx(0.5, abs=0.01)


def test_a_head_of_one_layer_begins_wide_as_stock_s() -> None:
    head = make("gumbel", vq_depth=1, vq_vars=320).head
    assert len(head) == 1 and not head[0].bias.any()
    assert head[0].weight.std().item() == pytest.approx(1, rel=0.05)


def test_steps_that_cannot_follow_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="with `norm` lacks `project`"):
        SplitEncode(torch.Tensor.long, norm=torch.nn.GroupNorm(1, 4))


def test_gumbel_samples_in_training_and_decides_in_evaluation() -> None:
    quantizer, z = make("gumbel"), torch.randn(1, 200, 12)
    assert not torch.equal(quantizer(z).x, quantizer(z).x)
    quantizer.eval()
    assert torch.equal(quantizer(z).x, quantizer(z).x)


def test_gumbel_gradient_is_that_of_torch_s_hard_gumbel_softmax() -> None:
    quantizer = make("gumbel").double().train()
    z = torch.randn(2, 5, 12, dtype=torch.float64)
    torch.manual_seed(3)
    quantizer(z).x.square().sum().backward()
    ours = [p.grad.clone() for p in quantizer.parameters()]
    quantizer.zero_grad()
    torch.manual_seed(3)
    logits = quantizer.logits(z).flatten(0, 2)
    hard = torch.nn.functional.gumbel_softmax(logits, tau=2.0, hard=True).view(-1, 2, 8)
    x = torch.einsum("ngv,gvd->ngd", hard, quantizer.codebook.entries)
    x.square().sum().backward()
    for mine, theirs in zip(ours, [p.grad for p in quantizer.parameters()], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_diversity_loss_is_stock_s_divided_by_all_codes() -> None:
    quantizer = make("gumbel")
    out = quantizer(torch.randn(2, 50, 12))
    stock_scale = 2 * 8 - out.stats.prob_perplexity.sum()
    assert out.loss.item() * 2 * 8 == pytest.approx(stock_scale.item(), rel=1e-5)


def test_paper_temperature_falls_linearly_over_seventy_percent() -> None:
    config = GumbelConfig(vq_temp=[2.0, 0.5], max_update=1000)
    assert temperature_at(0, config) == 2.0
    assert temperature_at(350, config) == pytest.approx(1.25)
    assert temperature_at(700, config) == temperature_at(1000, config) == 0.5


def test_three_temperatures_decay_as_in_stock() -> None:
    config = GumbelConfig(vq_temp=[2.0, 0.5, 0.999])
    assert temperature_at(100, config) == pytest.approx(2 * 0.999**100)
    assert temperature_at(10_000, config) == 0.5


def test_the_linear_schedule_without_max_update_says_what_to_give() -> None:
    with pytest.raises(ValueError, match="`max_update` is not set; give it, or a decay"):
        temperature_at(0, GumbelConfig())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vq_vars", 0),
        ("vq_groups", 0),
        ("vq_dim", -1),
        ("vq_depth", 0),
        ("vq_depth", 2**31),
        ("vq_temp", [1.0]),
        ("vq_temp", [2.0, 0.5, 0.9, 0.9]),
        ("vq_temp", [2.0, math.inf]),
        ("vq_temp", [2.0, 0.0]),
        ("temp_fraction", 2.0),
        ("temp_fraction", 0.0),
        ("start_logits", math.inf),
        ("vq_gamma", -0.1),
        ("vq_gamma", math.inf),
        ("start_spread", math.inf),
    ],
)
def test_settings_without_a_meaning_are_refused_by_name(field: str, value: object) -> None:
    config = {"vq_gamma": KmeansConfig, "start_spread": FsqConfig}.get(field, GumbelConfig)
    with pytest.raises(ValueError, match=f"`{field}` is"):
        config(**{field: value})


@pytest.mark.parametrize("config", [GumbelConfig, KmeansConfig, FsqConfig])
def test_a_quantizer_by_itself_has_the_settings_of_the_network_s(config: type) -> None:
    ours, whole = vars(config()), vars(VqWav2VecConfig())
    shared = ours.keys() & whole.keys()
    assert {"vq_vars", "vq_groups", "vq_dim", "combine_groups"} <= shared
    assert {name: ours[name] for name in shared} == {name: whole[name] for name in shared}


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (KmeansQuantizer, {"start": "frames", "ema_decay": 0.99, "revive_after": 20}),
        (GumbelQuantizer, {"start_dim": 8, "loss_weight": 0.1}),
        (FsqQuantizer, {"start_spread": 1.0}),
    ],
)
def test_the_cures_of_a_collapse_are_those_of_the_page(cls: type[Quantizer], values: dict) -> None:
    """`examples/vq_wav2vec`; each is a setting that there is."""
    assert cls.cure_values == values
    cls.Config(**{name: value for name, value in values.items() if name != "loss_weight"})


def test_the_deepest_head_and_the_widest_space_are_taken() -> None:
    GumbelConfig(vq_depth=100, start_dim=4_096, temp_fraction=1.0)
    for field, most in (("vq_depth", "100"), ("start_dim", "4,096")):
        beyond = int(most.replace(",", "")) + 1
        with pytest.raises(ValueError, match=f"`{field}` is {beyond}; expected .*{most}"):
            GumbelConfig(**{field: beyond})


def test_a_head_is_twice_as_wide_as_z_unless_it_is_told() -> None:
    sizes = [
        [layer.out_features for layer in make("gumbel", vq_depth=3).head if hasattr(layer, "out_features")]
    ]
    told = build_quantizer("gumbel", 12, {**OPTIONS, "vq_depth": 3}, '{"head_dim": 5}')
    sizes.append([layer.out_features for layer in told.head if hasattr(layer, "out_features")])
    assert sizes == [[24, 24, 16], [5, 5, 16]]


def test_the_head_has_the_activation_that_is_asked_for() -> None:
    for name, cls in (("relu", torch.nn.ReLU), ("gelu", torch.nn.GELU)):
        head = make("gumbel", vq_depth=3, activation=name).head
        assert [isinstance(layer, cls) for layer in head] == [False, True, False, True, False]


@pytest.mark.parametrize("train", [True, False])
def test_gumbel_tells_the_temperature_of_the_update(train: bool) -> None:
    quantizer = make("gumbel").train(train)
    assert quantizer(torch.randn(1, 5, 12)).stats.temperature == 2.0
    quantizer.set_num_updates(35)
    assert quantizer(torch.randn(1, 5, 12)).stats.temperature == pytest.approx(1.25)


@pytest.mark.parametrize("name", CODED)
def test_no_codes_are_no_vectors(name: str) -> None:
    assert make(name).decode(torch.zeros(1, 0, 2, dtype=torch.int64)).shape == (1, 0, 12)
