"""wav → features → their principal components, on disk: found once, and used for every split that follows.

A file of safetensors: `mean` [F], `axes` [D, F], and json beside them that says of which features they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from ..checkpoints.files import sha256
from ..common.files import write_whole
from ..common.inputs import check_file, parse_json
from ..modules.layers.principal import Principal
from ..stores.feature_spec import FeatureSpec, FileId, first_difference

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
            f"{path}: {error.strerror or error}, expected components that `vqw2v segment --pca D` has found"
        ) from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PrincipalError(f"{path}: is no file of components ({error}); make it anew") from None
    return FilePrincipal(path, network, spec, about, FileId(path.name, sha256(path)))
