"""Does a router decide as the environment says (`routing:`)? Errands go through it, findings come of them."""
