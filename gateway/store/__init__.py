"""Redis: the client, the keys, the scripts, their typed commands, and a server of our own."""
