"""Bytes <-> arrays: the wavs left of the picture's first arrow, and the files between its stages."""
