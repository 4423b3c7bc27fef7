"""Shared by all our HTTP clients: proxies from the environment, trusted certificates, and Retry-After."""
