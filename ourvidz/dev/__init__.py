"""The stack that OurVidz runs on, from real parts and on one machine: for the tests, and for `ourvidz dev up`."""
