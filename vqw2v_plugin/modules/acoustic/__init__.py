"""states ──acoustic model──▶ letters."""
