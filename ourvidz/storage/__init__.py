"""Artifact storage: one protocol (`base`), and an adapter for each kind of store."""
