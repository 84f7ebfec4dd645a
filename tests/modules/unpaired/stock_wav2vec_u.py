"""fairseq's own `wav2vec_u` where its source is installed, with the weights of one of our networks."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqw2v_plugin.modules.unpaired.network import UnpairedNetwork

RENAMED = {
    "generator.conv.": "generator.proj.1.",
    "generator.norm.": "generator.bn.",
    "generator.residual.": "generator.in_proj.",
}


def stock_classes() -> dict[str, Any] | None:
    """Its module's names; a default that Python 3.11 refuses is left out, which a test gives itself."""
    import fairseq

    source = Path(fairseq.__path__[0], "examples/wav2vec/unsupervised/models/wav2vec_u.py")
    if not source.is_file():
        return None
    text = source.read_text().replace(" = SegmentationConfig()\n", " = None\n")
    names: dict[str, Any] = {"__name__": "stock_wav2vec_u"}
    text = text.replace('@register_model("wav2vec_u", dataclass=Wav2vec_UConfig)\n', "")
    text = text.replace("@dataclass\n", "").replace("(FairseqDataclass)", "")  # settings are attributes
    exec(compile(text, str(source), "exec"), names)
    return names


class Words:
    """A dictionary of so many columns; its pad is none of them."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __contains__(self, symbol: str) -> bool:
        return False

    def index(self, symbol: str) -> int:
        return self.size

    def pad(self) -> int:
        return self.size - 1

    eos = unk = pad


def stock_of(names: dict[str, Any], network: UnpairedNetwork) -> Any:
    """Stock's model with the settings and weights of ours."""
    config = network.config
    cfg, segments = names["Wav2vec_UConfig"](), names["SegmentationConfig"]()
    for name in vars(config):
        setattr(cfg, name, getattr(config, name))
    segments.type = names["SegmentationType"][config.segments.upper().replace("UNIFORM", "UNIFORM_RANDOM")]
    segments.mean_pool_join, segments.mean_pool = config.mean_pool_join, config.mean_pool
    segments.subsample_rate = config.subsample_rate
    cfg.segmentation, cfg.target_downsample_rate = segments, 1
    stock = names["Wav2vec_U"](cfg, Words(config.num_columns))
    inner = stock.discriminator.net
    convs = [m for m in inner.modules() if isinstance(m, torch.nn.Conv1d)]
    ours = network.discriminator
    for theirs, layer in zip(convs, [ours.embed, *ours.inner, ours.score], strict=True):
        theirs.load_state_dict(layer.state_dict())
    held = {name: value for name, value in network.state_dict().items() if not name.startswith("discr")}
    for old, new in RENAMED.items():
        held = {name.replace(old, new): value for name, value in held.items()}
    missing, unexpected = stock.load_state_dict(held, strict=False)
    assert not unexpected and all(name.startswith("discriminator") for name in missing)
    return stock.to(next(network.parameters()).dtype)


def stock_losses(stock: Any, updates: int, inputs: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Of the step that this number of updates asks for."""
    stock.set_num_updates(updates)
    found = stock(**inputs)["losses"]
    return {name: value for name, value in found.items() if value is not None}
