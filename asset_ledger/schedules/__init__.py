"""What starts by the clock: everything that talks to the world."""
