"""letters ──decoder──▶ text: the n-gram LM that the beam search listens to."""
