"""What infrastructure as code brings: the states, and everything that is derived from them."""
