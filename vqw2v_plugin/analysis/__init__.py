"""What the tokens carry and how the codebook is used: tables beside the picture."""
