"""A local stack of the services that OurVidz runs on, from the real programs: for the tests and `ourvidz dev up`."""
