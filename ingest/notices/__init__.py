"""Notices: the mails that tell a sender what became of an import."""
