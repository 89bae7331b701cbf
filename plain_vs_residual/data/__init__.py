"""Data sets, the endless stream of batches, augmentation, and the feeds that bring batches to the device."""
