"""The usual ports of chatnet's programs, unless they are told otherwise."""

REGISTRY_PORT = 9900  # where a registry listens, and where a peer looks for one
METRICS_PORT = 9909  # where Prometheus reads, on this machine
