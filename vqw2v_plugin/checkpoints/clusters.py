"""features ──clusters──▶ tokens, on disk: the centres, and with them the networks whose layer they are of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..modules.quantizers.clusters import Clusters, ClustersConfig
from .checks import check_settings
from .files import CheckpointError
from .format import load, mapping
from .kinds import KINDS, Audio, Header, Kind, Restored, State

PARTS = ("checkpoint", "bert")  # whose layer it may be, as the options of `vqw2v features` call them
_MOST_DIM = 1 << 20


@dataclasses.dataclass(frozen=True)
class ClusterSettings:
    """Of which layer the centres are; the networks are said as their own checkpoints say them."""

    layer: str
    dim: int  # of the layer
    clusters: ClustersConfig
    bands: int = 80  # of a spectrum
    run_length: bool = False  # for a BERT of run-length tokens
    parts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= _MOST_DIM:
            raise ValueError(f"`dim` is {self.dim}; expected 1 to {_MOST_DIM:,}")


class ClusterNetwork(nn.Module):
    """The centres, and the networks that make what they are centres of."""

    def __init__(
        self, settings: ClusterSettings, clusters: Clusters, parts: Mapping[str, Restored[Any]]
    ) -> None:
        super().__init__()
        self.settings, self.clusters = settings, clusters
        self.parts = nn.ModuleDict({name: part.network for name, part in parts.items()})
        self.headers = {name: part.header for name, part in parts.items()}

    def part(self, name: str) -> Restored[Any] | None:
        """One of the networks, as it would be read from a file of its own."""
        return Restored(self.headers[name], self.parts[name]) if name in self.headers else None


def cluster_network(
    settings: ClusterSettings, clusters: Clusters, parts: Mapping[str, Restored[Any]]
) -> ClusterNetwork:
    """Of networks that were read from files; their settings are said in those of the whole."""
    said = {name: _said(part.header) for name, part in parts.items()}
    return ClusterNetwork(dataclasses.replace(settings, parts=said), clusters, parts)


def load_clusters(path: str | Path) -> Restored[ClusterNetwork]:
    """What `vqw2v cluster` wrote."""
    return load(Path(path), KIND)


def _said(header: Header) -> dict[str, Any]:
    audio = {} if header.audio is None else {"audio": dataclasses.asdict(header.audio)}
    extra = {"extra": dict(header.extra)} if header.extra else {}
    return {"model": header.model, "settings": dict(header.settings), **audio, **extra}


def _part_header(name: str, said: Any) -> Header:
    if name not in PARTS:
        raise ValueError(f"`parts` has {name!r}; expected only {' and '.join(PARTS)}")
    model = mapping(said).get("model")
    if not isinstance(model, str) or model not in KINDS:
        raise ValueError(
            f"`parts.{name}.model` is no model that is known; expected one of {', '.join(KINDS)}"
        )
    audio = Audio.of(mapping(said.get("audio"))) if KINDS[model].hears_audio else None
    return Header(model, mapping(said.get("settings")), audio, mapping(said.get("extra")))


class ClustersKind(Kind[ClusterNetwork]):
    model, expected, hears_audio = "vq_clusters", "'vq_clusters'", True
    destination = "goes to `vqw2v discretize`, `encode`, `usage` or `abx`"

    def header(self, state: State) -> Header:
        cfg = mapping(state.get("cfg"))
        fields = {f.name for f in dataclasses.fields(ClusterSettings)}
        settings = {k: v for k, v in mapping(cfg.get("model")).items() if k in fields}
        return Header(self.model, settings, Audio.of(mapping(cfg.get("task"))))

    def state(self, header: Header) -> dict[str, Any]:
        cfg = {
            "model": {"_name": self.model, **header.settings},
            "task": {
                "_name": "vq_audio_pretraining",
                "data": ".",
                **dataclasses.asdict(header.audio or Audio()),
            },
            "criterion": {"_name": "vq_contrastive"},
        }
        return {"cfg": cfg}

    def build(self, header: Header) -> ClusterNetwork:
        settings = check_settings(ClusterSettings, header.settings)
        headers = {name: _part_header(name, said) for name, said in settings.parts.items()}
        parts = {name: Restored(said, KINDS[said.model].build(said)) for name, said in headers.items()}
        return ClusterNetwork(settings, Clusters(settings.dim, settings.clusters), parts)

    def settings(self, network: ClusterNetwork) -> dict[str, Any]:
        return dataclasses.asdict(network.settings)

    def with_weights(
        self, header: Header, network: ClusterNetwork, weights: Mapping[str, Tensor], where: str
    ) -> Restored[ClusterNetwork]:
        restored = super().with_weights(header, network, weights, where)
        if not bool((network.clusters.scale > 0).all()):
            raise CheckpointError(
                f"{where}: `clusters.scale` holds numbers that are not positive; copy it anew"
            )
        return restored

    def summary(self, restored: Restored[ClusterNetwork]) -> str:
        settings = restored.network.settings
        rate = (restored.header.audio or Audio()).sample_rate
        sizes = f"{settings.clusters.groups} × {settings.clusters.codes} codes"
        return f"clusters of layer {settings.layer}, {sizes}, {rate} Hz"


KIND = ClustersKind()
