"""What a peer keeps, by its nouns; ``peer.store`` puts it together."""
