"""A provider that echoes what it was sent cannot make us print a key: not in errors, not in logs, for any keyed source."""

from __future__ import annotations

import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from crypto_assets.market.errors import CryptoAssetsError
from crypto_assets.settings import secret_fields
from crypto_assets.sources import discover
from crypto_assets_tests.sources.loopback import client, span

SECRET = "k3y-that-nobody-may-see"
LOGGERS = ("crypto_assets", "httpx", "prawcore", "praw", "ccxt", "pytrends", "stamina")
KEYED = {name: source for name, source in discover().items() if source.keys}


def echo(status: int) -> Starlette:
    async def answer(request):
        sent = f"{request.url} {dict(request.headers)} {(await request.body()).decode(errors='replace')}"
        return PlainTextResponse(f"you sent {sent}", status)

    methods = ["GET", "POST"]
    return Starlette(routes=[Route("/{path:path}", answer, methods=methods)])


@pytest.mark.parametrize("status", [200, 401, 402])
@pytest.mark.parametrize("name", KEYED)
def test_no_key_is_ever_printed(name, status, caplog):
    caplog.set_level(logging.DEBUG)
    source = KEYED[name]
    secrets = dict.fromkeys(secret_fields(), SECRET)
    with client(application=echo(status), timeout_s=3, symbols="BTC", **secrets) as http:
        with pytest.raises(CryptoAssetsError) as raised:
            source.fetch(span(source), http)
        assert http.seen, "the provider was asked"
    said = f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"
    assert SECRET not in said
    assert SECRET not in repr(http.settings)
    ours = [
        r.getMessage() for r in caplog.records if r.name.split(".")[0] in ("crypto_assets", "httpx", "prawcore", "praw", "ccxt")
    ]
    assert not [line for line in ours if SECRET in line]
