"""Commands packed in C are the bytes that redis-py makes itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import Connection

from db.packing import pack_in_c

words = st.one_of(st.text(), st.binary(), st.integers(-(2**63), 2**63 - 1))


def packed(*command: Any) -> bytes:
    client = Redis()
    pack_in_c(client.connection_pool)
    return b"".join(client.connection_pool.make_connection().pack_command(*command))


@given(st.lists(words, max_size=8))
def test_they_are_the_same_bytes(arguments: list[Any]) -> None:
    assert packed("EVALSHA", *arguments) == b"".join(Connection().pack_command("EVALSHA", *arguments))


@pytest.mark.parametrize(
    "command", [("MEMORY USAGE", "k", "SAMPLES", 0), (b"CLIENT KILL", "x"), ("PING",), ("SET", "ü", 1.5)]
)
def test_names_of_two_words_and_numbers_too(command: tuple[Any, ...]) -> None:
    assert packed(*command) == b"".join(Connection().pack_command(*command))


def test_a_cluster_and_connections_over_tls_pack_so_too() -> None:
    for url in ("redis://127.0.0.1:1", "rediss://127.0.0.1:1"):
        cluster = RedisCluster.from_url(url)
        plain = cluster.connection_kwargs["connection_class"]
        pack_in_c(cluster)
        kinds = {node.connection_class for node in cluster.nodes_manager.startup_nodes.values()}
        kinds |= {
            kwargs["connection_class"]
            for kwargs in (cluster.connection_kwargs, cluster.nodes_manager.connection_kwargs)
        }
        [kind] = kinds
        assert issubclass(kind, plain)
        assert kind is not plain
