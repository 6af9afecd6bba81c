"""The registry: keeps the live list of peers and pushes it to all."""
