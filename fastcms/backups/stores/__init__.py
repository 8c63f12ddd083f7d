"""Places that keep backups: a folder, or a cloud's object storage. They know names and bytes, no backups."""
