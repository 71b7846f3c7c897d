"""A listener that clients reach through something in between, beside the open one of a broker for tests."""

from typing import NamedTuple

from mlserver.testing.kafka_process import HOST

_LISTENER = """\
listeners=PLAINTEXT://{host}:{port},RELAYED://{host}:{relayed},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},RELAYED://{host}:{relay}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,RELAYED:PLAINTEXT
"""


class Relayed(NamedTuple):
    """`port` is where something listens that passes on to this listener; there the broker sends its clients."""

    port: int

    def properties(self, port: int, relayed: int, controller: int) -> str:
        """Lines for the broker's settings, with its three ports."""
        return _LISTENER.format(host=HOST, port=port, relayed=relayed, controller=controller, relay=self.port)

    def credentials(self) -> list[str]:
        """None are asked for."""
        return []
