"""Records that come by the upload API: the same rules as for files, and many requests in one commit."""
