"""What a job is: pure data and small functions. No I/O, no clock of its own, nothing but the standard library and `transitions`."""
