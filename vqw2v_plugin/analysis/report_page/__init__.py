"""The page of `vqw2v report`: its figures and sections, drawn from what the other files of analysis/ read."""
