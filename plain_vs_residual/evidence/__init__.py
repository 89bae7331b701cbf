"""What the records show: whether pairs are pairs, and a verdict on each claim."""
