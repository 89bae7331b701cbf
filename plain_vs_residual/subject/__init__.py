"""A network and the images as it sees them, opened from a run of this suite or a checkpoint from elsewhere."""
