"""What a run does, whoever starts it: read, keep raw, derive. Knows sources and store, neither Dagster nor a screen."""
