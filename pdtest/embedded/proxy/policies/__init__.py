"""Which instance of a side gets a request, one file per policy."""
