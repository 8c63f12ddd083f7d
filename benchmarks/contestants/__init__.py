"""What is measured side by side: FastCMS, PocketBase, and the programs that make an archive of a folder."""
