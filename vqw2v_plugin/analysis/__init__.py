"""What tokens say about phones, how the codebook is used, a run's page: tables beside the picture."""
