"""What an operator does with a running registry: reads its numbers, changes its limits, stops it."""

from __future__ import annotations

import re
import signal
import socket
import time
import urllib.request

import pytest

from tests.support.stage import Process, Stage

pytestmark = pytest.mark.live

GOODBYE_SECONDS = 5.0


def scraped(process: Process) -> dict[str, float]:
    """The numbers without labels at the port that its log names."""
    port = int(re.findall(r"metrics at .*127\.0\.0\.1.*?(\d+)\)", process.log)[-1])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(chatnet_\w+) (\S+)$", text, re.MULTILINE)}


def test_the_numbers_of_both_programs(stage: Stage) -> None:
    registry = stage.registry("--metrics", "tcp:0")
    peer = stage.headless("bob", "--metrics", "tcp:0")
    stage.until(lambda: "registered at" in peer.log, "bob is there")
    assert scraped(registry)["chatnet_registry_peers"] == 1
    assert scraped(registry)["chatnet_registry_joins_total"] == 1
    assert scraped(peer)["chatnet_peer_links"] == 0


def test_a_busy_metrics_port_is_one_line_and_exit_code_1(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = stage.run("-n", "chatregistry", "--listen", "tcp:0:interface=127.0.0.1", "--metrics", f"tcp:{port}")
        assert process.ends() == 1
    (line,) = process.said.strip().splitlines()
    assert re.match(rf"chatregistry: cannot listen on port {port}: already in use.*--metrics", line), line


def test_a_hangup_reads_the_limits_again(stage: Stage) -> None:
    config = stage.directory / "limits.toml"
    config.write_text("[registry.limits]\nclaims = 10\n")
    registry = stage.registry("--config", str(config))
    config.write_text("[registry.limits]\nclaims = 20\npush_seconds = 0.5\n")
    registry.signal(signal.SIGHUP)
    stage.until(lambda: "limits changed: " in registry.log, "the limits were read again")
    assert "claims 10 -> 20" in registry.log
    assert "push_seconds 0.02 -> 0.5 (after a restart)" in registry.log
    config.write_text("[registry.limits]\nclaims = 'many'\n")
    registry.signal(signal.SIGHUP)
    stage.until(lambda: "the configuration stays as it was" in registry.log, "the mistake was seen")
    assert registry.lives


def test_a_termination_is_a_goodbye_within_5_seconds_also_to_who_is_mute(stage: Stage) -> None:
    registry = stage.registry()
    peers = [stage.headless(name) for name in ("bob", "dave")]
    for peer in peers:
        stage.until(lambda peer=peer: "registered at" in peer.log, "everybody is there")
    peers[1].signal(signal.SIGSTOP)
    began = time.monotonic()
    registry.signal(signal.SIGTERM)
    assert registry.ends() == -signal.SIGTERM
    assert time.monotonic() - began < GOODBYE_SECONDS
    stage.until(lambda: "registry lost: stopping" in peers[0].log, "bob was told")
