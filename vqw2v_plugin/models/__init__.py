"""What fairseq sees of the networks: one registered model a file."""
