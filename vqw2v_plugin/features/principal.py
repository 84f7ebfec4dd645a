"""wav → features → their principal components: found once, kept in a file, used for every split that follows.

A file of safetensors: `mean` [F], `axes` [D, F], and json beside them that says of which features they are.
Shapes: S samples, T frames, F features, D components.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..audio.clip import Clip
from ..audio.reading import Samples
from ..checkpoints.files import sha256
from ..common.files import write_whole
from ..common.inputs import check_file, parse_json
from ..modules.layers.principal import Principal
from ..stores.feature_spec import FeatureSpec, FileId, first_difference
from .base import Features
from .over import FeaturesOver

NAME = "pca.safetensors"
_MOST = 1 << 28  # bytes: 8,000 features by 8,000 components
_ABOUT = "about"


class PrincipalError(ValueError):
    """A file of components that cannot be used; the message names it."""


@dataclass(frozen=True)
class FilePrincipal:
    """What was read of a file."""

    path: Path
    network: Principal
    of: FeatureSpec  # whose components they are
    about: Mapping[str, Any]
    file: FileId

    def check(self, spec: FeatureSpec) -> None:
        """Refuses features that they are not of."""
        if found := first_difference(self.of, spec):
            name, theirs, ours = found
            raise PrincipalError(
                f"{self.path}: its components are of features whose `{name}` is {theirs!r}, and these have "
                f"{ours!r}; name another folder, or find components of these with `--pca D`"
            )


def write_principal(path: Path, network: Principal, spec: FeatureSpec, about: Mapping[str, Any]) -> None:
    said = {"features": {k: v for k, v in spec.to_json().items() if k != "device"}, **about}
    tensors = {"mean": network.mean.contiguous(), "axes": network.axes.contiguous()}
    write_whole(path, safetensors.torch.save(tensors, {_ABOUT: json.dumps(said, sort_keys=True)}))


def read_principal(path: Path) -> FilePrincipal:
    try:
        size = check_file(path).st_size
        if size > _MOST:
            raise PrincipalError(f"{path}: has {size:,} bytes, expected {_MOST:,} at most")
        with safe_open(str(path), framework="pt") as file:
            about = parse_json((file.metadata() or {}).get(_ABOUT, ""))
            mean, axes = (file.get_tensor(name) for name in ("mean", "axes"))
        for tensor in (mean, axes):
            if tensor.dtype != torch.float32 or not bool(tensor.isfinite().all()):
                raise ValueError("holds numbers that are not finite, or not of 32 bits")
        network = Principal(mean, axes)
        spec = FeatureSpec.from_json(about["features"])
    except PrincipalError:
        raise
    except OSError as error:
        raise PrincipalError(
            f"{path}: {error.strerror or error}, expected components that `vqw2v features --pca D` has found"
        ) from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PrincipalError(f"{path}: is no file of components ({error}); make it anew") from None
    return FilePrincipal(path, network, spec, about, FileId(path.name, sha256(path)))


class PrincipalFeatures(FeaturesOver):
    """Each frame of a layer in its components. `place`: where their file lies is told, too."""

    def __init__(self, features: Features, principal: FilePrincipal, place: bool = False) -> None:
        super().__init__(features)
        self.dim, width = principal.network.axes.shape
        if width != features.dim:
            raise PrincipalError(
                f"{principal.path}: its components are of {width:,} features a frame; these have "
                f"{features.dim:,}: it is not what was found of them"
            )
        self.principal = principal.network
        path = str(principal.path.absolute()) if place else None
        told = dataclasses.replace(principal.file, path=path)
        self.spec = dataclasses.replace(features.spec, dim=self.dim, pca=told)

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        return self._components(self.features(wav))

    @torch.no_grad()
    def of_read(self, wav: Samples, clip: Clip) -> Tensor:  # [S] → [T, D]
        return self._components(self.features.of_read(wav, clip))

    def fits(self, samples: Sequence[int]) -> bool:
        return self.features.fits(samples)

    @torch.no_grad()
    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return [self._components(x) for x in self.features.together(clips)]

    @torch.no_grad()
    def of_many(self, heard: Sequence[tuple[Samples, Clip]]) -> list[Tensor]:
        return [self._components(x) for x in self.features.of_many(heard)]

    def _components(self, x: Tensor) -> Tensor:  # [T, F] → [T, D]
        found: Tensor = self.principal(x.float())
        return found
