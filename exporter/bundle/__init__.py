"""The directory that is shipped: written, sealed, read, verified, and finished on its device."""
