"""Settings of every kind of model, as a stranger's command or yaml may give them to `fairseq-train`.

Not among them: code for options that fairseq evaluates, such as `--vq-temp`; the README warns of those.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attempts import Case

NUMBERS = ("-1", "0", "inf", "nan", "1e400", "x", "", str(10**9), str(2**31), str(10**30), "1.5")
SHARES = ("-1", "1", "2", "nan", "inf", "x")
LAYERS = (
    *(
        "__import__('os').abort()",
        "[(1,1,1)]*1000000000",
        "[(1000000000,1,1)]",
        "[(8,10,0)]",
        "",
        "(" * 5_000,
    ),
    *("[]", "[(8,1)]*-1", "None", "[(100000,100000)]", "[(8,0)]", "[(8,5,2,nan)]", "x"),
)
_OTHERWISE = (
    "the model's settings",
    "unrecognized arguments",
    "model.safetensors",
    "invalid choice",
    "max_sample_size",
)
WORDS = ("x", "", "__class__")
COMMON = {
    "--arch": ("wav2vec", "x", "vq_bert", "vq_wav2letter", "roberta"),
    "--max-tokens": ("0", "-1", "1", "x"),
}
BERT = {
    **dict.fromkeys(("--encoder-layers", "--encoder-embed-dim", "--encoder-ffn-embed-dim"), NUMBERS),
    **dict.fromkeys(
        ("--encoder-attention-heads", "--max-positions", "--mask-length", "--tokens-per-sample"), NUMBERS
    ),
    **dict.fromkeys(
        ("--dropout", "--attention-dropout", "--activation-dropout", "--mask-start-prob"), SHARES
    ),
    **dict.fromkeys(("--leave-unmasked-prob", "--random-token-prob", "--mask-stdev"), SHARES),
    **dict.fromkeys(("--activation-fn", "--position", "--vocabulary", "--layernorm-embedding"), WORDS),
}
WAV2VEC = {
    **dict.fromkeys(("--conv-feature-layers", "--conv-aggregator-layers"), LAYERS),
    **dict.fromkeys(("--vq-vars", "--vq-groups", "--vq-dim", "--vq-depth", "--prediction-steps"), NUMBERS),
    **dict.fromkeys(("--num-negatives", "--max-sample-size", "--sample-rate"), NUMBERS),
    "--vq-temp": ("(2", "2", "(nan,1)", "(2,0.5,0)", "[]", str(10**30), "x"),
    "--quantizer-args": ("{", "[]", '{"x":1}', "[" * 2_000, "x"),
    "--quantizer": WORDS,
    "--offset": ("x", "-1", "9" * 5_000),
    "--dropout": SHARES,
    "--residual-scale": SHARES,
}
WAV2VEC2 = {
    **dict.fromkeys(("--encoder-layers", "--encoder-embed-dim", "--encoder-ffn-embed-dim"), NUMBERS),
    **dict.fromkeys(("--encoder-attention-heads", "--conv-pos", "--conv-pos-groups", "--final-dim"), NUMBERS),
    **dict.fromkeys(("--latent-vars", "--latent-groups", "--latent-dim", "--quantizer-depth"), NUMBERS),
    **dict.fromkeys(("--num-negatives", "--mask-length", "--mask-channel-length"), NUMBERS),
    **dict.fromkeys(("--dropout", "--attention-dropout", "--dropout-input", "--dropout-features"), SHARES),
    **dict.fromkeys(("--mask-prob", "--mask-channel-prob", "--logit-temp", "--feature-grad-mult"), SHARES),
    **dict.fromkeys(("--extractor-mode", "--activation-fn", "--quantizer", "--quantize-targets"), WORDS),
    "--conv-feature-layers": LAYERS,
    "--quantizer-args": ("{", "[]", '{"x":1}', "[" * 2_000, "x", '{"vq_vars":3}'),
    "--criterion": ("vq_contrastive", "vq_ctc", "x"),
    "--loss-weights": ("(0.1)", "(nan,1)", "x", "(1,2,3)"),
}
ACOUSTIC = {
    "--conv-layers": LAYERS,
    **dict.fromkeys(("--activation", "--norm", "--normalize-features", "--unit", "--front-layer"), WORDS),
    **dict.fromkeys(("--dropout", "--time-mask-share"), SHARES),
    **dict.fromkeys(
        ("--time-masks", "--time-mask-length", "--feature-masks", "--feature-mask-length"), NUMBERS
    ),
    **dict.fromkeys(("--asg-repeats", "--label-seed", "--freeze-updates"), NUMBERS),
    "--front": ("/dev/zero", "nope", "bert.pt", "ctc.pt", ""),
    "--labels": ("/dev/zero", "nope", ""),
    "--criterion": ("asg", "vq_ctc", "vq_contrastive", "x"),
}
TABLES = {
    **dict.fromkeys(("none", "gumbel", "kmeans", "fsq"), WAV2VEC),
    "wav2vec2": WAV2VEC2,
    "bert": BERT,
    "asg": ACOUSTIC,
    "ctc": ACOUSTIC,
}


def whole() -> Case:
    return Case("a setting that changes nothing", partial(_option, "--log-interval", "7"))


def strange_settings(kind: str) -> list[Case]:
    return list(_of({**TABLES[kind], **COMMON}))


def _of(table: dict[str, tuple[str, ...]]) -> Iterator[Case]:
    for option, values in table.items():
        for value in values:
            names = (option, option[2:], option[2:].replace("-", "_"), value, *_OTHERWISE)
            make = partial(_option, option, value)
            yield Case(f"{option}={value[:24]}", make, says=tuple(filter(None, names)))


def _option(option: str, value: str, into: Path) -> str:
    return f"{option}={value}"
