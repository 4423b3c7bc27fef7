"""`ourvidz up`: the supervisor that starts, watches and restarts one machine's processes. Imports nothing heavy."""
