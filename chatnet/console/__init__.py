"""The urwid console: one client of ``chatnet.peer.api``."""
