"""The wavs of the picture, by the thousand: corpora, and the manifests that list their utterances."""
