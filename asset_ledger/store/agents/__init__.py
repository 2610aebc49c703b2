"""What push agents bring: clients, what they say and said, and which of them are there."""
