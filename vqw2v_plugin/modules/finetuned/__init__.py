"""wav ──wav2vec 2.0──▶ states ──▶ letters, learnt from labels: one network (arXiv 2006.11477 §3.3)."""
