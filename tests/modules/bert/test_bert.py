"""BERT on packed tokens: utterances do not see each other, positions go on, masked tokens count."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vqw2v_plugin.modules.bert.config import BertConfig, config_of
from vqw2v_plugin.modules.bert.network import Bert, LayerMix, bert_features
from vqw2v_plugin.modules.bert.vocabulary import (
    BOS,
    EOS,
    PAD,
    UNK,
    Symbols,
    VocabularyError,
    make_vocabulary,
    predict,
    split_codes,
)
from vqw2v_plugin.modules.kernels.attention import Rows
from vqw2v_plugin.modules.layers.transformer import rotary_angles, rotate

SYMBOLS = Symbols(tuple(f"{i % 5}-{i // 5}" for i in range(20)))
LENGTHS = [7, 12, 3]


def bert(**settings: Any) -> Bert:
    torch.manual_seed(0)
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24}
    return Bert(BertConfig(**{**sizes, "encoder_attention_heads": 2, **settings}), SYMBOLS)


def utterances(lengths: list[int] = LENGTHS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    inner = (torch.randint(4, 24, (n - 2,), generator=generator) for n in lengths)
    return [torch.cat([torch.tensor([BOS]), x, torch.tensor([EOS])]) for x in inner]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"encoder_normalize_before": True, "layernorm_embedding": False},
        {"position": "rotary"},
        {"vocabulary": "groups"},
        {"untie_weights_roberta": True, "activation_fn": "relu"},
    ],
    ids=str,
)
def test_batched_equals_alone(settings: dict[str, Any]) -> None:
    network, parts = bert(**settings).eval(), utterances()
    together = [x.split(LENGTHS) for x in network.scores(torch.cat(parts), LENGTHS)]
    for i, part in enumerate(parts):
        for group, alone in zip(together, network.scores(part, [len(part)]), strict=True):
            torch.testing.assert_close(group[i], alone)


@pytest.mark.parametrize(
    "settings",
    [{}, {"encoder_normalize_before": True}, {"vocabulary": "groups"}, {"position": "rotary"}],
    ids=str,
)
def test_the_loss_is_that_of_the_masked_tokens_scores(settings: dict[str, Any]) -> None:
    network, tokens = bert(**settings), torch.cat(utterances())
    for layer in network.layers:  # wide enough that it matters what attends to what
        torch.nn.init.normal_(layer.qkv.weight)
    masked = Rows(torch.tensor([2, 3, 8, 9, 20]), [2, 2, 1])
    targets = torch.tensor([5, 6, 7, 23, UNK])
    out = network.eval()(tokens, LENGTHS, masked, targets)
    expected, right = torch.zeros(()), torch.ones(5, dtype=torch.bool)
    split = targets[:, None] if len(network.scores(tokens, LENGTHS)) == 1 else split_codes(SYMBOLS)[targets]
    for scores, target in zip(network.scores(tokens, LENGTHS), split.T, strict=True):
        at = scores[masked.index]
        expected = expected - at.log_softmax(-1)[range(5), target].sum()
        right &= at.argmax(-1) == target
    torch.testing.assert_close(out.loss, expected)
    assert out.num_correct == right.sum()


def test_every_weight_gets_a_gradient_from_masked_tokens_alone() -> None:
    network = bert(dropout=0.1)
    out = network(
        torch.cat(utterances()), LENGTHS, Rows(torch.tensor([3, 9]), [1, 1, 0]), torch.tensor([5, 6])
    )
    out.loss.backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_a_batch_without_masked_tokens_has_a_loss_of_zero() -> None:
    network = bert()
    empty = Rows(torch.zeros(0, dtype=torch.int64), [0, 0, 0])
    out = network(torch.cat(utterances()), LENGTHS, empty, torch.zeros(0, dtype=torch.int64))
    out.loss.backward()
    assert out.loss == 0 and out.num_correct == 0
    assert not any(p.grad.isnan().any() for p in network.parameters() if p.grad is not None)


def test_learned_positions_repeat_beyond_their_table() -> None:
    short, long = bert(max_positions=8).eval(), bert(max_positions=100).eval()
    tokens = utterances([40])[0]
    with torch.no_grad():
        long.positions.weight.copy_(
            torch.cat([short.positions.weight[:2], *[short.positions.weight[2:]] * 13])[:102]
        )
    for name, value in long.state_dict().items():
        if name != "positions.weight":
            value.copy_(short.state_dict()[name])
    torch.testing.assert_close(short.scores(tokens, [40]), long.scores(tokens, [40]))


def test_rotary_scores_depend_on_distances_alone() -> None:
    torch.manual_seed(1)
    pair = torch.randn(1, 3 * 16).expand(50, -1)  # the same query, key and value everywhere

    def turn(begin: int) -> tuple[Tensor, Tensor, Tensor]:
        angles = rotary_angles(torch.arange(begin, begin + 50), 8)
        return rotate(pair, angles, 2).view(50, 3, 2, 8).unbind(1)  # each [N, H, d]

    (q, k, v), (far_q, far_k, _) = turn(0), turn(5000)
    scores = torch.einsum("ihd,jhd->hij", q, k)
    torch.testing.assert_close(scores, torch.einsum("ihd,jhd->hij", far_q, far_k), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(scores[:, 0, 7], scores[:, 30, 37])
    assert not torch.isclose(scores[:, 0, 7], scores[:, 7, 0]).any()  # but before is not behind
    assert torch.equal(v, pair.view(50, 3, 2, 8)[:, 2]) and bert(position="rotary").positions is None


def test_rotary_angles_are_the_paper_s() -> None:
    """θᵢ = 10000^(−2i/d) a token (arXiv 2104.09864 §3.2): 1, 1/10, 1/100 and 1/1000 for heads of size 8."""
    angles = rotary_angles(torch.arange(4), 8)
    turns = torch.tensor([1.0, 0.1, 0.01, 0.001])
    torch.testing.assert_close(angles, torch.stack([0 * turns, turns, 2 * turns, 3 * turns]))
    queries = torch.zeros(4, 1, 3, 1, 8)
    queries[..., 0] = 1.0
    turned = rotate(queries.reshape(4, 24), angles, 1).view(4, 3, 8)[3]
    expected = torch.tensor([math.cos(3), 0, 0, 0, math.sin(3), 0, 0, 0])
    torch.testing.assert_close(turned[:2], expected.expand(2, 8))


def test_rotary_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(2)
    qkv = torch.randn(5, 3 * 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rotate(x, rotary_angles(torch.arange(5), 4), 2), qkv)
    # a gradient laid out otherwise, as attention's may be
    assert torch.autograd.gradcheck(lambda x: rotate(x, rotary_angles(torch.arange(5), 4), 2).t().sin(), qkv)


def test_evaluation_is_deterministic_and_training_is_not() -> None:
    network, tokens = bert(), torch.cat(utterances())
    assert not torch.equal(network.states(tokens, LENGTHS)[-1], network.states(tokens, LENGTHS)[-1])
    network.eval()
    assert torch.equal(network.states(tokens, LENGTHS)[-1], network.states(tokens, LENGTHS)[-1])


def test_weights_begin_as_roberta_s() -> None:
    network = bert(encoder_embed_dim=64, encoder_ffn_embed_dim=128, untie_weights_roberta=True)
    for weight in (network.layers[0].qkv.weight, network.head_dense.weight, network.vocabulary.output):
        assert weight.std().item() == pytest.approx(0.02, rel=0.1) and abs(weight.mean().item()) < 2e-3
    assert not network.layers[1].fc1.bias.any() and not network.head_dense.bias.any()
    assert not network.vocabulary.table.weight[PAD].any() and not network.positions.weight[PAD].any()
    assert network.vocabulary.table.weight[BOS].all()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_head_and_the_layers_take_the_activation(activation: str) -> None:
    network, x = bert(activation_fn=activation).eval(), torch.randn(5, 16)
    act = getattr(torch.nn.functional, activation)
    torch.testing.assert_close(network._head(x), network.head_norm(act(network.head_dense(x))))
    layer = network.layers[0]
    torch.testing.assert_close(layer._feed_forward(x), layer.fc2(act(layer.fc1(x))))


def test_embeddings_are_symbols_and_places_normed_only_where_that_is_asked() -> None:
    tokens = utterances([7])[0]
    for normed in (True, False):
        network = bert(layernorm_embedding=normed).eval()
        plain = network.vocabulary.table(tokens) + network.positions.weight[PAD + 1 : PAD + 8]
        expected = torch.nn.functional.layer_norm(plain, (16,)) if normed else plain
        torch.testing.assert_close(network.states(tokens, [7])[0], expected)


@pytest.mark.parametrize("before", [False, True])
def test_norms_stand_behind_the_blocks_or_before_them(before: bool) -> None:
    layer, x = bert(encoder_normalize_before=before).eval().layers[0], torch.randn(5, 16)
    for norm in (layer.attention_norm, layer.ffn_norm):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    q, k, v = layer.qkv(layer.attention_norm(x) if before else x).view(5, 3, 2, 8).permute(1, 2, 0, 3)
    mixed = layer.out((torch.softmax(q @ k.mT / 8**0.5, -1) @ v).transpose(0, 1).reshape(5, 16))

    def forward(y: Tensor) -> Tensor:
        return layer.fc2(torch.nn.functional.gelu(layer.fc1(y)))

    if before:
        y = x + mixed
        expected = y + forward(layer.ffn_norm(y))
    else:
        y = layer.attention_norm(x + mixed)
        expected = layer.ffn_norm(y + forward(y))
    torch.testing.assert_close(layer(x, [5]), expected)


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "activation_dropout"])
def test_each_dropout_acts_alone_and_in_training_alone(name: str) -> None:
    off = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0)
    network, tokens = bert(**{**off, name: 0.5}), utterances([12])[0]
    for train in (True, False):
        network.train(train)
        one, other = (network.states(tokens, [12]) for _ in range(2))
        assert torch.equal(one[0], other[0]) != (train and name == "dropout")
        assert torch.equal(one[-1], other[-1]) != train
    layer, x = network.train().layers[0], torch.randn(30, 16)
    assert torch.equal(layer._feed_forward(x), layer._feed_forward(x)) == (name == "attention_dropout")


@pytest.mark.parametrize("silent", ["out", "fc2"])
def test_what_either_block_adds_is_dropped(silent: str) -> None:
    layer, x = bert(encoder_normalize_before=True, dropout=0.5).train().layers[0], torch.randn(200, 16)
    for p in getattr(layer, silent).parameters():
        torch.nn.init.zeros_(p)
    assert 0.4 < float((layer(x, [200]) == x).float().mean()) < 0.6
    assert not (layer.eval()(x, [200]) == x).any()


def test_features_are_the_states_without_special_tokens() -> None:
    network, parts = bert().eval(), utterances()
    for layer in (0, 1, 2, -1):
        found = bert_features(network, [part[1:-1] for part in parts], layer)
        states = network.states(torch.cat(parts), LENGTHS)[layer].split(LENGTHS)
        assert all(torch.equal(a, b[1:-1]) for a, b in zip(found, states, strict=True))
    (embeddings,), (counted,) = (bert_features(network, [parts[0][1:-1]], layer) for layer in (0, -3))
    assert torch.equal(embeddings, counted)  # the layers from the end are those from the beginning
    (unsaid,), (last,) = (bert_features(network, [parts[0][1:-1]], *layer) for layer in ((), (2,)))
    assert torch.equal(unsaid, last)
    with pytest.raises(ValueError, match="layer is -4"):
        bert_features(network, [parts[0][1:-1]], -4)
    assert bert_features(network, []) == []
    with pytest.raises(ValueError, match=r"layer is 3; expected 0 .* to 2"):
        bert_features(network, [parts[0][1:-1]], 3)


def test_a_layer_mix_is_learned_and_can_be_any_layer() -> None:
    network, parts = bert().eval(), [part[1:-1] for part in utterances()]
    mix = LayerMix(2)
    mixed = torch.cat(bert_features(network, parts, mix))
    layers = [torch.cat(bert_features(network, parts, layer)) for layer in range(3)]
    torch.testing.assert_close(mixed, torch.stack(layers).mean(0))
    mixed.sum().backward()
    assert mix.weights.grad.any() and mix.gamma.grad.any()
    with pytest.raises(ValueError, match="argument 2 is longer"):
        mix([torch.zeros(2, 16)] * 4)
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.0, 100.0, 0.0]))
    torch.testing.assert_close(torch.cat(bert_features(network, parts, mix)), layers[1])


def test_groups_know_pairs_that_were_never_seen() -> None:
    codes = split_codes(SYMBOLS)
    assert codes.shape == (25, 2)
    assert codes[:4].tolist() == [[i, i] for i in range(4)] and codes[24].tolist() == [4, 4]
    assert codes[4 + 7].tolist() == [5 + 2, 5 + 1]  # 2-1
    network = bert(vocabulary="groups").eval()
    assert [scores.shape[-1] for scores in network.scores(utterances()[0], [7])] == [5 + 5, 5 + 4]


def test_groups_that_depend_on_each_other_are_told_so() -> None:
    """The second code is the first: one code is to be guessed, not two that know nothing of each other."""
    symbols = Symbols(tuple(f"{i}-{i}" for i in range(8)))
    torch.manual_seed(0)
    vocabulary = make_vocabulary("groups", symbols, 16)
    optimizer = torch.optim.Adam(vocabulary.parameters(), 0.05)
    states, tokens = torch.zeros(64, 16), symbols.codes.repeat(8)
    for _ in range(100):
        optimizer.zero_grad()
        found = predict(vocabulary, states, tokens)
        found.loss.backward()
        optimizer.step()
    bits = float(found.loss.detach()) / 64 / math.log(2)
    assert bits == pytest.approx(3, abs=0.1)  # independent groups: 6
    assert found.num_correct == 8  # one code in eight, and its twin every time
    first, second = vocabulary.scores(states)
    assert torch.equal(first.argmax(-1), second.argmax(-1))


def test_a_group_is_guessed_from_all_groups_before_it() -> None:
    symbols = Symbols(tuple(f"{i}-{j}-{k}" for i in range(2) for j in range(2) for k in range(2)))
    vocabulary = make_vocabulary("groups", symbols, 8)
    for value in vocabulary.parameters():
        torch.nn.init.normal_(value)
    same, other_second = torch.tensor([[5, 5, 5], [5, 6, 5]])
    x = torch.ones(1, 8)
    scores = zip(vocabulary.scores(x, same[None]), vocabulary.scores(x, other_second[None]), strict=True)
    assert [torch.equal(a, b) for a, b in scores] == [True, True, False]


def test_probabilities_of_all_pairs_add_up_to_one() -> None:
    symbols = Symbols(tuple(f"{i}-{j}" for i in range(4) for j in range(3)))
    torch.manual_seed(0)
    vocabulary = make_vocabulary("groups", symbols, 8)
    for value in vocabulary.parameters():
        torch.nn.init.normal_(value)
    x, sizes = torch.randn(1, 8), [9, 8]  # each group's codes and the five special symbols
    pairs = torch.cartesian_prod(*map(torch.arange, sizes))  # [P, G]
    scores = vocabulary.scores(x.expand(len(pairs), -1), pairs)
    chances = [s.log_softmax(-1).gather(1, p[:, None]) for s, p in zip(scores, pairs.T, strict=True)]
    assert float(sum(chances).exp().sum().detach()) == pytest.approx(1, abs=1e-5)


def test_groups_of_older_checkpoints_load_as_independent() -> None:
    network, again = bert(vocabulary="groups"), bert(vocabulary="groups")
    state = {name: value for name, value in network.state_dict().items() if ".told." not in name}
    torch.nn.init.normal_(again.vocabulary.told[0])
    again.load_state_dict(state)
    assert not again.vocabulary.told[0].any()


def test_groups_need_joint_codes() -> None:
    with pytest.raises(VocabularyError, match=r"symbol 'hello' is no code of 2 groups such as 12-207"):
        split_codes(Symbols(("1-2", "hello")))


def test_fillers_and_a_mask_of_the_dictionary_s_own_are_no_codes() -> None:
    symbols = Symbols(("1-2", "madeupword0000", "<mask>", "3-4"))
    assert len(symbols) == 8 and symbols.mask == 6 and symbols.codes.tolist() == [4, 7]
    assert Symbols(()).codes.dtype == torch.int64 and not len(Symbols(()).codes)
    assert Symbols(("1-2",)).mask == 5 and split_codes(symbols)[5].tolist() == [UNK, UNK]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"encoder_attention_heads": 3}, r"`encoder_embed_dim` \(16\) must be divisible .* \(3\)"),
        ({"attention_dropout": 1.0}, "`attention_dropout` is 1.0"),
        ({"activation_fn": "tanh"}, "`activation_fn` is 'tanh'; expected gelu or relu"),
        ({"position": "sinus"}, "`position` is 'sinus'"),
        ({"vocabulary": "words"}, "`vocabulary` is 'words'"),
        ({"dropout": 1.0}, "`dropout` is 1.0"),
        ({"activation_dropout": -0.1}, "`activation_dropout` is -0.1"),
        ({"encoder_layers": 0}, "`encoder_layers` is 0"),
        ({"encoder_embed_dim": 0}, "`encoder_embed_dim` is 0"),
        ({"encoder_ffn_embed_dim": 0}, "`encoder_ffn_embed_dim` is 0"),
        ({"encoder_attention_heads": 0}, r"must be divisible by `encoder_attention_heads` \(0\)"),
        ({"max_positions": 0}, "`max_positions` is 0"),
        ({"layernorm_embedding": "false"}, "`layernorm_embedding` is 'false'; expected true or false"),
        ({"position": "rotary", "encoder_embed_dim": 6}, "even size of each head; got 6 / 2 = 3"),
        ({"vocabulary": "groups", "untie_weights_roberta": True}, "needs `vocabulary=joint`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bert(**settings)


def test_the_archs_are_the_paper_s_and_options_override_them() -> None:
    with torch.device("meta"):
        base = Bert(config_of("vq_bert_base", {}), SYMBOLS)
    assert base.config == BertConfig(12, 768, 3072, 12, 0.1)
    assert config_of("vq_bert_small", {}) == BertConfig(12, 512, 2048, 8, 0.05)
    assert config_of("vq_bert_tiny", {}) == BertConfig(4, 128, 512, 4, 0.1)
    assert config_of("vq_bert", {}) == base.config and base.config.max_positions == 2048
    assert (base.config.dropout, base.config.attention_dropout, base.config.activation_dropout) == (
        0.1,
        0.1,
        0,
    )
    assert (base.config.activation_fn, base.config.position) == ("gelu", "learned")
    assert (base.config.encoder_normalize_before, base.config.layernorm_embedding) == (False, True)
    assert (base.config.vocabulary, base.config.untie_weights_roberta) == ("joint", False)
    wide = config_of("vq_bert_small", {"encoder_embed_dim": 1024, "dropout": 0.0, "encoder_layers": None})
    assert wide == BertConfig(12, 1024, 2048, 8, 0.0)
    # projections and feed-forward block with their biases, two norms
    per_layer = 4 * (768**2 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    assert sum(p.numel() for p in base.layers.parameters()) == 12 * per_layer
    with pytest.raises(ValueError, match="arch is 'huge'; expected one of vq_bert"):
        config_of("huge", {})


@pytest.mark.parametrize("untied", [True, False])
def test_symbols_are_scored_by_the_table_or_by_weights_of_their_own(untied: bool) -> None:
    vocabulary, x = bert(untie_weights_roberta=untied).vocabulary, torch.randn(3, 16)
    torch.nn.init.normal_(vocabulary.bias)
    weight = vocabulary.output if untied else vocabulary.table.weight
    torch.testing.assert_close(vocabulary.scores(x)[0], x @ weight.T + vocabulary.bias)
