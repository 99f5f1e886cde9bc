"""`serve`: the HTTP interface and its page, on this machine unless another address is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_assets.cli._options import LakeOption, screen
from crypto_assets.market.errors import CryptoAssetsError, SettingsError

if TYPE_CHECKING:
    from crypto_assets.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    host: Annotated[str, typer.Option(help="Address; another than this machine's needs keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: a free one.", min=0, max=65535)] = 8000,
    rate: Annotated[float, typer.Option(help="Requests a second that a key may send.", min=0.1)] = 500.0,
    add_key: Annotated[str | None, typer.Option(help="Make a key of this name, show it once, and end.")] = None,
    lake: LakeOption = None,
) -> None:
    """Forecasts over HTTP and WebSocket, and a page at /, until Ctrl-C. `crypto-assets stream` brings the bars."""
    from crypto_assets.lake import Lake
    from crypto_assets.orchestration.access import adopt
    from crypto_assets.serving import security
    from crypto_assets.settings import load

    settings = adopt(load(lake=lake))
    root = Lake(settings.lake).root
    if add_key is not None:
        screen.print(f"key of {add_key}, shown once:", highlight=False)
        typer.echo(security.add_key(root, add_key))
        return
    keys = security.Keys.read(root)
    if host not in LOOPBACK and not keys.names:
        raise SettingsError(
            f"--host {host} can be reached from elsewhere: add a key first with `crypto-assets serve --add-key NAME`"
        )
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    _run(settings, host, port, keys, security.Limiter(rate, 2 * rate))


def _run(settings: Settings, host: str, port: int, keys: object, limiter: object) -> None:
    import socket

    import uvicorn

    from crypto_assets.serving.app import create_app
    from crypto_assets.serving.security import Keys, Limiter
    from crypto_assets.serving.service import Service

    assert isinstance(keys, Keys)
    assert isinstance(limiter, Limiter)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"--host {host} --port {port}: {error.strerror}; stop what is there or choose another"
            ) from error
        number = listening.getsockname()[1]
        service = Service(settings, clock=clock_of(settings))
        app = create_app(service, keys, limiter, hosts=None if host in LOOPBACK else ["*"])
        screen.print(
            f"API        http://{host}:{number}  (page at /, OpenAPI at /openapi.json; Ctrl-C stops it)", highlight=False
        )
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, ws_max_size=1 << 16, timeout_keep_alive=75, timeout_graceful_shutdown=5
        )
        uvicorn.Server(config).run(sockets=[listening])


def clock_of(settings: Settings) -> Callable[[], datetime]:
    """The time of the lake's world: the sandbox's where one answers, else this machine's."""
    from datetime import UTC

    from crypto_assets.sources._http import Http

    def machine() -> datetime:
        return datetime.now(UTC)

    if settings.world != "sandbox" or "sandbox_url" not in settings.model_fields_set:
        return machine
    http = Http.of(settings)
    try:
        http.now()
    except CryptoAssetsError:
        return machine
    return http.now
