"""Which way a request takes, what that depends on, and how many instances that wants."""
