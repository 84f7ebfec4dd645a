"""What fairseq sees of the losses: one registered criterion a file."""
