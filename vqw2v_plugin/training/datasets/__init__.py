"""What models are fed: batches of audio, of tokens, of labelled utterances."""
