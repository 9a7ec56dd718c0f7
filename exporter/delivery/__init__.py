"""From bundles to devices: one file of several bundles, and the directory on a device that takes the one that fits."""
