"""Teaches the small models of `ourvidz models make-tiny` and writes their weights to `executors/models/taught/`. Not in the wheel."""
