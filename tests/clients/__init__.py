"""Client contract: the requests of OurVidz's deployed front end (CLIENTS.md), made with the real supabase-js and supabase-py, against a new
database and against a migrated copy of production with its rows."""
