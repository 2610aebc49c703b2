"""Messages to others: what is sent and what came of it. Nothing is read here, and nothing decides when to send."""
