"""The same sums, quicker; a test holds each equal to its plain form."""
