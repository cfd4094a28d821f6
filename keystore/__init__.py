"""Keys and ciphers: the only rooms that see secret bytes."""
