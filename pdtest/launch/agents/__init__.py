"""The program that starts, watches and ends members on a host that is reached from elsewhere.

Its sources travel to the host when it is started there (`launch/shipment.py`): a Python 3.10 is all that
the host must have. Standard library, and the modules of `pdtest.launch` that need no more either.
"""
