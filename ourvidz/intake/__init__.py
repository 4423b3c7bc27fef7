"""The Upstash intake: turns messages that the deployed edge function pushes to Redis into jobs in Postgres (docs/decisions/0023)."""
