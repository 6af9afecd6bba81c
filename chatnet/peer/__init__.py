"""The peer: registers, keeps the list, talks directly to the others."""
