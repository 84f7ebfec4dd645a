"""What the arrows leave on disk: tokens, features, emissions, labels, and the shards of a long run."""
