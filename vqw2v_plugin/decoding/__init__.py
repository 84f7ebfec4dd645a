"""letters ──decoder──▶ text: decoders, their settings and their tuning, hypotheses, and error rates."""
