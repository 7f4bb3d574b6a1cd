"""Load on a deployment: when requests arrive, how long they are, and what was measured of them."""
