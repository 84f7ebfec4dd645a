"""What two arrows share: norms, masks, specs of convolutions, sums over ranks."""
