"""Messages about jobs, sent after their commit: an outbox in the database, and whoever empties it."""
