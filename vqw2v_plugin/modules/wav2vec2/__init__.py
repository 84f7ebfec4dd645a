"""wav → z → tokens and states, learnt at once: wav2vec 2.0 (arXiv 2006.11477)."""
