"""The client contract: what OurVidz's deployed front end asks (CLIENTS.md), asked by the real supabase-js and supabase-py, on a database
that was empty and on one that is built as production is, rows included, and then migrated."""
