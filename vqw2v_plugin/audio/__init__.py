"""The wav of the picture: bytes of any format → samples, in parts and cached."""
