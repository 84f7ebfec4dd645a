"""Quantizers made from ours, each with another part of `encode`."""

import torch

from vqw2v_plugin.quantizers import KmeansQuantizer


class OtherProjection(KmeansQuantizer):
    def project(self, z: torch.Tensor) -> torch.Tensor:
        return super().project(z.flip(-1))


class OtherEncode(KmeansQuantizer):
    def encode(self, z: torch.Tensor) -> torch.Tensor:
        return (super().encode(z) + 1) % self.num_codes


class OtherNearest(KmeansQuantizer):
    def nearest(self, projected: torch.Tensor) -> torch.Tensor:
        return super().nearest(-projected)
