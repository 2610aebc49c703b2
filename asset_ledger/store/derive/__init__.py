"""What is derived: a reading applied step by step, and everything that follows from days and decisions."""
