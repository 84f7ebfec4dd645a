"""What two arrows share: Transformer layers, norms, masks, specs of convolutions, sums over ranks."""
