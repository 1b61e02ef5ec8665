"""Several servers, one chat: their common log is in PostgreSQL, and each server's history is a copy of it."""
