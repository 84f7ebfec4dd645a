"""tokens ──BERT──▶ states."""
