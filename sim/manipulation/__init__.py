"""What the families on the table share, and the families. Must not know locomotion."""
