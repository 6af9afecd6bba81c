"""chatnet: peer-to-peer chat and file transfer from the console."""

__version__ = "0.1.0"
