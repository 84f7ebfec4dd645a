"""The wav of the picture, by the thousand: which utterances there are, as manifests list them."""
