"""The place `adb`: an Android phone or tablet, on which a small program runs the engines."""
