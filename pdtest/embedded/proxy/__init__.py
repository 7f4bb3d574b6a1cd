"""The proxy: takes requests, and leads each through prefill and decode as its contract says."""
