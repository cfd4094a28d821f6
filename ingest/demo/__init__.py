"""The demo: a customer and a mail server on this machine, around the real service."""
