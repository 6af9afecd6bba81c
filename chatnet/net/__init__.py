"""The Twisted shell that registry and peer share."""
