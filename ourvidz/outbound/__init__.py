"""What all our HTTP clients have in common: the environment's proxies, the certificates believed, how long a server asks to wait."""
