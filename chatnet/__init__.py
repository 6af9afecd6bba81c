"""chatnet: peer-to-peer chat and file transfer from the console."""

__version__ = "0.2.0.dev0"
