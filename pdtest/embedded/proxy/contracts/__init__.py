"""What each connector wants a proxy to do, one file per contract."""
