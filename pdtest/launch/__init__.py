"""Ways of starting members, and of ending all of them.

Imports nothing: the reaper is a module of this package and must be up in a moment.
"""
