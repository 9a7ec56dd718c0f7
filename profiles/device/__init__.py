"""What a device is: targets, schemes, toolchains, precisions."""
