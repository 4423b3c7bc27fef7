"""The enhancer process: holds Qwen, and serves the executors of its machine over a Unix socket (docs/decisions/0014)."""
