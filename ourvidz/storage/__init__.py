"""Where artifacts are kept: one protocol (`base`), and an adapter for each place."""
