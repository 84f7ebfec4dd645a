"""wav ──encoder──▶ z, the context network c, and how both learn (arXiv 1904.05862, 1910.05453)."""
