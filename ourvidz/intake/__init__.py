"""The Upstash intake: what the deployed edge function pushes to Redis becomes jobs in Postgres (docs/decisions/0023)."""
