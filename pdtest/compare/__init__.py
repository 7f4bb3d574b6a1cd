"""Whether two builds differ: the run is the unit, noise is counted in, and what cannot be told is said so."""
