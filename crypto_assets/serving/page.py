"""The page at /: style, script and the few elements it starts from, in one file that asks for no other.

It lives by the WebSocket. Everything that comes from the server is set as text, never as HTML; the headers allow this script
and this style and nothing else.
"""

from __future__ import annotations

import base64
import hashlib

from crypto_assets.serving._page_script import SCRIPT
from crypto_assets.serving._page_style import STYLE

_BODY = """
<a class="skip" href="#coins">Skip to the forecasts</a>
<header>
  <div><h1>Forecasts</h1><p id="when" class="soft">Waiting for the first hour.</p></div>
  <div class="tools">
    <span id="live" class="chip" role="status">connecting</span>
    <button id="theme" type="button" aria-label="Switch between dark and light">◐</button>
  </div>
</header>
<main>
  <section class="bar" aria-label="What is shown">
    <fieldset><legend class="soft">Horizon</legend>
      <label><input type="radio" name="horizon" value="1h" checked><span>1 hour</span></label>
      <label><input type="radio" name="horizon" value="4h"><span>4 hours</span></label>
      <label><input type="radio" name="horizon" value="24h"><span>24 hours</span></label>
    </fieldset>
    <label class="sort soft">Order
      <select id="order"><option value="given">as listed</option><option value="up">most likely up</option>
      <option value="sure">most confident</option><option value="quiet">least volatile</option></select></label>
    <p id="badge" class="badge" hidden></p>
  </section>
  <form id="key" hidden><label>API key <input id="secret" type="password" autocomplete="off" required></label>
    <button type="submit">Connect</button></form>
  <p id="problem" class="problem" role="alert" hidden></p>
  <ul id="coins" tabindex="-1" aria-label="Coins"></ul>
  <p class="soft legend">Bar: probability that the price is higher at the end of the horizon. Band: where the return falls with
  50, 80 and 90 % probability. BUY and SELL only where the expected gain pays the costs of a round trip; mostly it does not.</p>
</main>
<footer class="soft"><p id="model"></p><p>Research, not advice. <a href="/openapi.json">OpenAPI</a></p></footer>
"""

PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1"><title>Forecasts · crypto_assets</title>'
    f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>{_BODY}<script>{SCRIPT}</script></body></html>'
)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hash(SCRIPT)}",
        f"style-src {_hash(STYLE)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page's Content-Security-Policy."""
