"""A manifest's audio → a published store: what `vqw2v discretize` and `vqw2v features` do."""
