"""The enhancer in a process of its own: it holds Qwen, and serves the executors of its machine over a Unix socket (docs/decisions/0014)."""
