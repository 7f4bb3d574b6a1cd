"""Verdicts: parity with the colocated reference, evidence that KV moved."""
