"""All benchmarks that need no GPU, one after the other."""

from bench import claims, engine, failover, latency

for part in (engine, latency, failover, claims):
    part.main()
