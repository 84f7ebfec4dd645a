"""The mathematics of every arrow: torch and nothing else, usable without fairseq."""
