"""The rules: values in, values out. No Twisted, socket, clock, file or random."""
