"""A listener with TLS, client certificates and SASL/SCRAM, beside the open one of a broker for tests."""

from pathlib import Path
from typing import NamedTuple

from mlserver.testing.kafka_process import HOST

MECHANISM = "SCRAM-SHA-512"
_LISTENER = """\
listeners=PLAINTEXT://{host}:{port},SECURE://{host}:{secure},CONTROLLER://{host}:{controller}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
listener.name.secure.sasl.enabled.mechanisms={mechanism}
listener.name.secure.{scram}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={keys}
listener.name.secure.ssl.truststore.type=PEM
listener.name.secure.ssl.truststore.location={authority}
listener.name.secure.ssl.client.auth=required
"""


class Secure(NamedTuple):
    """What the listener needs: PEM files with the broker's key (PKCS #8) and certificate, and with the authority that
    has signed it and the clients' certificates; and the one user that may connect.
    """

    keys: Path
    authority: Path
    user: str
    password: str

    def properties(self, port: int, secure: int, controller: int) -> str:
        """Lines for the broker's settings, with its three ports."""
        return _LISTENER.format(
            host=HOST, port=port, secure=secure, controller=controller, mechanism=MECHANISM, scram=MECHANISM.lower(),
            keys=self.keys.absolute(), authority=self.authority.absolute(),
        )  # fmt: skip

    def credentials(self) -> list[str]:
        """Words for the tool that formats a broker's storage."""
        return ["--add-scram", f"{MECHANISM}=[name={self.user},password={self.password}]"]
