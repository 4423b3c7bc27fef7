"""Content safety: prompt screens (`screen` is the protocol, `lexical` the one that is always on), image screens, consent and reports."""
