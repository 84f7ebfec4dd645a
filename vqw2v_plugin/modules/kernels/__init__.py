"""The same sums, quicker; each is held equal to its plain form by a test."""
