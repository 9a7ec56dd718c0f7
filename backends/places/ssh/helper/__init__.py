"""What runs on a device, as text: it answers about the machine, keeps files, and starts processes.

It goes to the device's own Python, so its modules have nothing but the standard library and the syntax of 3.6: a Python
that is too old must be able to say so. `source.joined` makes one text of them; so their top-level names differ, and
each import of another one is one line.
"""
