"""Does a router decide as the environment's `routing:` says? Errands through it, and what must come of them."""
