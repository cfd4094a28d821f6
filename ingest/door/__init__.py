"""The door: the SFTP server through which customers send files."""
