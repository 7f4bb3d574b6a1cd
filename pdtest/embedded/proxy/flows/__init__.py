"""How a request is led through its legs, one file per order. Each ends with decode's answer begun."""
