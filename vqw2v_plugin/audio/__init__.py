"""The wav of the picture: bytes of any format to samples, cut and kept."""
