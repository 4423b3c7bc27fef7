"""Pure data and small functions that define a job. No I/O, no clock, nothing but the standard library and `transitions`."""
