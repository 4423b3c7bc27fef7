"""`ourvidz up`: the processes of one machine, started, watched and started again. Imports nothing heavy."""
