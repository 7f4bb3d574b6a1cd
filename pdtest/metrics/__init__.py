"""What is measured of a load, made of what the client saw and what the servers counted: docs/metrics.md.

Pure functions from exchanges and counters to measures. Nothing here asks or waits.
"""

from pdtest.metrics.measures import measures_of

__all__ = ["measures_of"]
