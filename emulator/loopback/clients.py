"""boto3 clients of this cloud: never of an account, never through a proxy."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

from emulator.loopback.environment import REGION

ClientOf = Callable[[str], Any]  # gives the client of a service, named as boto3 spells it
_MAKING = threading.Lock()  # a session makes one client at a time


@functools.cache
def _session() -> Any:
    """One for every cloud of this process: it keeps the services' models, which take longer to parse than to use.

    Any: the stubs type a client by the literal name of its service, and ours is a variable.
    """
    return boto3.session.Session()


def clients_of(endpoint_url: str) -> ClientOf:
    """Clients of the cloud at `endpoint_url`, with dummy keys; each is made once, and threads may share it."""

    @functools.cache
    def client(service: str) -> Any:
        with _MAKING:
            return _session().client(
                service,
                endpoint_url=endpoint_url,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",  # noqa: S106 -- the embedded cloud checks none
                config=Config(proxies={}, s3={"addressing_style": "path"}, max_pool_connections=32),
            )

    return client
