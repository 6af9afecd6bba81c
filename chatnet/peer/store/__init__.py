"""What a peer keeps, by its nouns; ``peer_store`` puts it together."""
