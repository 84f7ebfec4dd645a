"""A stock roberta's weights, imported, give its logits; ours come back as they were saved."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("fairseq")
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import base_architecture

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.bert import KIND, build_bert, load_bert, save_bert
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.stock_roberta import bert_settings_of_stock, bert_weights_of_stock, is_roberta
from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint
from vqw2v_plugin.modules.bert.config import ARCHS
from vqw2v_plugin.modules.bert.vocabulary import PAD, Symbols
from vqw2v_plugin.modules.kernels.attention import Rows
from vqw2v_plugin.stores.symbols import write_dict

LINES = [f"{(7 * i) % 40 % 8}-{(7 * i) % 40 // 8}" for i in range(40)]  # not in the order of their codes
LENGTHS = [10, 20, 7]
SMALL = {
    "encoder_layers": 3,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "max_positions": 24,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "relu": {"activation_fn": "relu"},
    "untied": {"untie_weights_roberta": True},
    "prenorm": {"encoder_normalize_before": True, "layernorm_embedding": False},
}


def stock_model(**options: Any) -> tuple[RobertaModel, argparse.Namespace]:
    dictionary = Dictionary()
    for symbol in [*LINES, "<mask>"]:
        dictionary.add_symbol(symbol)
    args = argparse.Namespace(arch="roberta", **SMALL, **options)
    torch.manual_seed(1)
    task = argparse.Namespace(source_dictionary=dictionary, max_positions=lambda: 24)
    model = RobertaModel.build_model(args, task).eval()
    for parameter in model.parameters():  # biases and norms, which begin as zeros and ones
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.encoder.sentence_encoder.embed_tokens.weight.data[PAD] = 0  # what stock's training keeps at zero
    model.encoder.sentence_encoder.embed_positions.weight.data[PAD] = 0
    return model, args


def batch() -> tuple[Tensor, list[Tensor]]:
    """The same utterances padded [B, T] and one by one."""
    generator = torch.Generator().manual_seed(2)
    parts = [torch.randint(4, 45, (n,), generator=generator) for n in LENGTHS]
    padded = torch.full((len(parts), max(LENGTHS)), PAD)
    for row, part in zip(padded, parts, strict=True):
        part[0], part[-1] = 0, 2
        row[: len(part)] = part
    return padded, parts


def saved(folder: Path, state: dict[str, Any]) -> Path:
    write_dict(folder / "dict.txt", [(symbol, 1) for symbol in LINES])
    torch.save(state, folder / "stock.pt")
    return folder / "stock.pt"


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", ["cfg", "args"])
def test_an_imported_roberta_gives_stock_s_logits_and_states(name: str, kind: str, tmp_path: Path) -> None:
    stock, args = stock_model(**VARIANTS[name])
    held = {"args": args} if kind == "args" else {"cfg": {"model": vars(args)}, "args": None}
    network = load_bert(saved(tmp_path, {"model": stock.state_dict(), **held}))
    padded, parts = batch()
    with torch.no_grad():
        logits, extra = stock(padded, return_all_hiddens=True)
        ours = network.scores(torch.cat(parts), LENGTHS)[0].split(LENGTHS)
        states = [x.split(LENGTHS) for x in network.states(torch.cat(parts), LENGTHS)]
    for i, length in enumerate(LENGTHS):
        assert float((ours[i] - logits[i, :length]).abs().max()) <= 1e-4
        for mine, theirs in zip(states[:-1], extra["inner_states"], strict=False):  # [T, B, D]
            assert float((mine[i] - theirs[:length, i]).abs().max()) <= 1e-4
    assert network.symbols.lines == tuple(LINES) and network.symbols.all[44] == "<mask>"


def test_every_gradient_is_stock_s() -> None:
    stock, args = stock_model(dropout=0.0, attention_dropout=0.0)
    weights = bert_weights_of_stock(stock.state_dict())
    network = build_bert(bert_settings_of_stock(vars(args), weights), Symbols(tuple(LINES)))
    network.load_state_dict(weights)
    stock.train(), network.train()
    padded, parts = batch()
    mask = torch.zeros_like(padded, dtype=torch.bool)
    mask[0, 3:6] = mask[1, 10:18] = mask[2, 5] = True
    logits = stock(padded, masked_tokens=mask)[0]
    loss = torch.nn.functional.cross_entropy(logits, padded[mask], reduction="sum")
    loss.backward()
    index = torch.cat([torch.arange(3, 6), 10 + torch.arange(10, 18), torch.tensor([35])])
    out = network(torch.cat(parts), LENGTHS, Rows(index, [3, 8, 1]), padded[mask])
    out.loss.backward()
    torch.testing.assert_close(out.loss, loss)
    expected = bert_weights_of_stock(
        {name: p.grad for name, p in stock.named_parameters() if p.grad is not None}
    )
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4, msg=name)


def test_names_of_2019_are_understood(tmp_path: Path) -> None:
    """Then the encoder was called decoder, its embedding norm otherwise, and the projections were one."""
    stock, args = stock_model()
    state = {}
    for name, value in stock.state_dict().items():
        name = name.replace("encoder.", "decoder.", 1).replace("layernorm_embedding", "emb_layer_norm")
        for part in "kv":
            if f"{part}_proj" in name:
                break
        else:
            if "q_proj" in name:
                parts = [
                    stock.state_dict()[name.replace("decoder.", "encoder.", 1).replace("q_", f"{x}_")]
                    for x in "qkv"
                ]
                name, value = name.replace("q_proj.", "in_proj_"), torch.cat(parts)
            state[name] = value
    old = load_bert(saved(tmp_path, {"model": state, "args": args}))
    new = load_bert(saved(tmp_path, {"model": stock.state_dict(), "args": args}))
    assert all(torch.equal(value, new.state_dict()[name]) for name, value in old.state_dict().items())


@pytest.mark.parametrize("vocabulary", ["joint", "groups"])
def test_what_is_saved_comes_back(vocabulary: str, tmp_path: Path) -> None:
    settings = {**SMALL, "_name": "vq_bert_small", "vocabulary": vocabulary, "position": "rotary"}
    network = build_bert(settings, Symbols(tuple(LINES))).eval()
    save_bert(tmp_path / "bert.pt", network)
    again = load_bert(tmp_path / "bert.pt")
    assert again.symbols == network.symbols and again.config == network.config and not again.training
    with pytest.raises(CheckpointError, match=r"bert\.pt exists; name another, or say --force"):
        save_bert(tmp_path / "bert.pt", network)
    save_bert(tmp_path / "bert.pt", network, force=True)
    tokens = torch.cat(batch()[1])
    for mine, theirs in zip(network.scores(tokens, LENGTHS), again.scores(tokens, LENGTHS), strict=True):
        assert torch.equal(mine, theirs)


def test_nothing_but_a_namespace_is_unpickled(tmp_path: Path) -> None:
    class Stranger:
        pass

    stock, _ = stock_model()
    globals()["Stranger"], Stranger.__qualname__ = Stranger, "Stranger"
    with pytest.raises(CheckpointError, match=r"stock\.pt is refused and nothing in it was run"):
        load_bert(saved(tmp_path, {"model": stock.state_dict(), "args": Stranger()}))


def test_import_takes_the_dictionary_that_it_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stock, args = stock_model()
    path = saved(tmp_path, {"model": stock.state_dict(), "args": args})
    other = [*LINES[1:], LINES[0]]
    write_dict(tmp_path / "other.txt", [(symbol, 1) for symbol in other])
    for out, options, symbols in (("a.pt", [], LINES), ("b.pt", ["--dict", "other.txt"], other)):
        named = [str(tmp_path / word) if word.endswith(".txt") else word for word in options]
        assert main(["import", str(path), str(tmp_path / out), *named]) == 0
        assert load_bert(tmp_path / out).symbols.lines == tuple(symbols)
    (tmp_path / "dict.txt").unlink()
    assert main(["import", str(path), str(tmp_path / "c.pt")]) == 2
    assert "--dict" in capsys.readouterr().err and not (tmp_path / "c.pt").exists()


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    stock, args = stock_model()
    path = saved(tmp_path, {"model": stock.state_dict(), "args": args})
    write_dict(tmp_path / "short.txt", [(symbol, 1) for symbol in LINES[:-2]])
    with pytest.raises(
        CheckpointError, match=r"short\.txt: names 43 symbols .* the checkpoint has 45; give the"
    ):
        load_bert(path, tmp_path / "short.txt")
    torch.save({"model": {"w": torch.zeros(1)}, "cfg": {"model": {"_name": "wav2vec"}}}, tmp_path / "x.pt")
    with pytest.raises(
        CheckpointError, match="holds the model 'wav2vec'; expected vq_bert, or stock's roberta"
    ):
        load_bert(tmp_path / "x.pt")
    with pytest.raises(
        CheckpointError, match=r"stock weight 'encoder\.sentence_encoder\.extra' has no place"
    ):
        bert_weights_of_stock({"encoder.sentence_encoder.extra": torch.zeros(1)})
    network = build_bert({**SMALL}, Symbols(tuple(LINES)))
    state = {"cfg": {"model": {**SMALL, "_name": "vq_bert"}}, "task_state": {}}
    torch.save(
        {**state, "model": {f"network.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "y.pt"
    )
    with pytest.raises(CheckpointError, match=r"y\.pt names no symbols; give the dict\.txt"):
        load_bert(tmp_path / "y.pt")
    assert load_bert(tmp_path / "y.pt", tmp_path / "dict.txt").symbols.lines == tuple(LINES)
    with pytest.raises(CheckpointError, match=r"short\.txt: names 43 symbols"):
        load_bert(tmp_path / "y.pt", tmp_path / "short.txt")


def test_an_arch_s_sizes_hold_where_none_is_given_and_nothing_is_a_value_too() -> None:
    tiny = build_bert(
        {"_name": "vq_bert_tiny", "dropout": 0.0, "encoder_layers": None}, Symbols(tuple(LINES))
    )
    assert tiny.config == dataclasses.replace(ARCHS["vq_bert_tiny"], dropout=0.0)
    given = {"_name": "vq_bert_tiny", "dropout": 0.0, "encoder_layers": None, "max_positions": 9}
    header = KIND.header({"cfg": {"model": given}, "task_state": {"symbols": LINES}})
    expected = dataclasses.replace(ARCHS["vq_bert_tiny"], dropout=0.0, max_positions=9)
    assert header.settings == dataclasses.asdict(expected) and header.extra == {"symbols": LINES}


def test_stock_s_defaults_hold_where_a_file_lacks_an_option() -> None:
    stock, _ = stock_model()
    weights = bert_weights_of_stock(stock.state_dict())
    found = bert_settings_of_stock({}, weights)
    base = argparse.Namespace()
    base_architecture(base)
    assert base.encoder_attention_heads == found["encoder_attention_heads"]
    for name in ("dropout", "attention_dropout", "activation_dropout", "activation_fn"):
        assert found[name] == getattr(base, name), name
    given = {"dropout": 0.3, "attention_dropout": 0.0, "activation_dropout": 0.2}
    assert given.items() <= bert_settings_of_stock(given, weights).items()


def test_a_stock_file_tells_what_it_was_and_how_long_it_was_trained(tmp_path: Path) -> None:
    stock, args = stock_model()
    history = [{"num_updates": 3}, {"num_updates": 70}]
    for held, kind in (({"args": args}, "args of 2019"), ({"cfg": {"model": vars(args)}}, "cfg")):
        path = saved(tmp_path, {"model": stock.state_dict(), "optimizer_history": history, **held})
        header = import_checkpoint(path, tmp_path / "dict.txt").header
        assert header.num_updates == 70 and header.made_from["kind"] == f"stock roberta, {kind}"


def test_what_stock_keeps_beside_the_network_is_left_and_layers_may_be_many() -> None:
    stock, _ = stock_model()
    state = stock.state_dict()
    more = {
        "encoder.sentence_encoder.version": torch.ones(1),
        "encoder.sentence_encoder.embed_positions._float_tensor": torch.ones(1),
        "classification_heads.x.dense.weight": torch.ones(1),
    }
    assert bert_weights_of_stock({**state, **more}).keys() == bert_weights_of_stock(state).keys()
    twelve = {name.replace("layers.2.", "layers.11."): value for name, value in state.items()}
    assert bert_settings_of_stock({}, bert_weights_of_stock(twelve))["encoder_layers"] == 12


@pytest.mark.parametrize("name", ["roberta", "roberta_base", "roberta_large"])
def test_a_roberta_is_known_by_its_name_or_its_weights(name: str) -> None:
    assert is_roberta(name, {}) and not is_roberta("x", {}) and not is_roberta(None, {"encoder.layers.0": 0})
    for side in ("encoder", "decoder"):
        assert is_roberta(None, {"a": torch.ones(1), f"{side}.sentence_encoder.x": torch.ones(1)})


def test_a_folder_may_be_read_with_another_dictionary(tmp_path: Path) -> None:
    network = build_bert({**SMALL}, Symbols(tuple(LINES))).eval()
    save_bert(tmp_path / "bert.pt", network)
    export_folder(tmp_path / "bert.pt", tmp_path / "folder")
    write_dict(tmp_path / "other.txt", [(symbol, 1) for symbol in LINES[::-1]])
    for place in (tmp_path / "bert.pt", tmp_path / "folder"):
        assert load_bert(place).symbols.lines == tuple(LINES)
        assert load_bert(place, tmp_path / "other.txt").symbols.lines == tuple(LINES[::-1])
