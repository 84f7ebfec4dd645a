"""wav → features of any layer: what an acoustic model hears."""
