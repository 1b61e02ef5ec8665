"""Ways of speaking with a client: bytes in, commands out; events in, bytes out."""
