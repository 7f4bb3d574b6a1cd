"""A gateway around a proxy that has the bugs proxies have, one at a time, chosen while it runs."""
