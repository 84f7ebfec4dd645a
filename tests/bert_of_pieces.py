"""What tests of BERTs of pieces share: a model of codes, its pieces and a BERT of these."""

from pathlib import Path

import numpy as np
import torch
from corpus_runs import corpus, saved

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.pieces import train_pieces

SIZES = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_attention_heads": 2, "_name": "vq_bert"}


def make(network: VqWav2Vec, folder: Path) -> tuple[str, str]:
    """(model, manifest); in the folder also pieces/ and bert.pt of the model's codes."""
    checkpoint, manifest = saved(network, folder), str(corpus(folder, files=4))
    spoken = [symbols for symbols, _ in codes_of(checkpoint, manifest)]
    names = sorted({symbol for symbols in spoken for symbol in symbols})
    pieces = train_pieces(spoken, names, len(names) + 20)
    (folder / "pieces").mkdir()
    pieces.save(folder / "pieces")
    torch.manual_seed(0)
    save_bert(folder / "bert.pt", build_bert(SIZES, Symbols(tuple(pieces.symbols))))
    return checkpoint, manifest


def codes_of(checkpoint: str, manifest: str) -> list[tuple[list[str], np.ndarray]]:
    """The symbols of each utterance's runs of equal codes, and the frames of each run."""
    tokenizer, found = Tokenizer.load(checkpoint), []
    for utterance in (Manifest(manifest)[i] for i in range(len(Manifest(manifest)))):
        codes = tokenizer.encode_file(utterance)
        kept, frames = torch.unique_consecutive(codes, dim=0, return_counts=True)
        found.append((["-".join(map(str, row)) for row in kept.tolist()], frames.numpy()))
    return found
