"""z ──quantizer──▶ tokens: one quantizer a file."""
