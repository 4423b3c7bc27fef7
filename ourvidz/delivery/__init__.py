"""Webhook messages about jobs, sent after commit: the database has an outbox, which deliverers empty."""
