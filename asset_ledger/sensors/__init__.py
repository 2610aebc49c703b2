"""What wakes a run because something happened: a dropped file, an upstream asset."""
