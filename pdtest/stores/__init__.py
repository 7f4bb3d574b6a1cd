"""Clients of KV stores, as processes; values that say what they are; a store under test."""
