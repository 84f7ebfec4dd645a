"""The toy corpus, left of the picture: speech made on the spot (wav) with its words, phones and times."""
