"""letters and text, the right end of the picture: units, lexicons, spellings, n-grams."""
