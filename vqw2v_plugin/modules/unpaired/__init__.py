"""features ──generator──▶ phones, learnt without labels against an adversary that reads text (wav2vec-U)."""
