"""Whole pipelines: their stages, how they run, and what they leave in a run's folder."""
