"""Does a router decide as the environment's `routing:` says? Errands go through it, and findings come of them."""
