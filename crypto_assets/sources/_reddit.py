"""praw's read-only client of Reddit, pointed at one world, with its errors turned into ours.

praw keeps Reddit's pace itself, from the `X-Ratelimit` headers; retries are left to `_http`, so what fails is raised before
praw would wait and ask again. It is imported inside the functions: only a fetch needs it.
"""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

from crypto_assets.market.errors import AuthFailedError, BadPayloadError, SourceError, UnavailableError
from crypto_assets.sources._errors import of_response, snippet


def connect(
    provider: str, base: str, client_id: str, client_secret: str, *, is_loopback: bool, timeout_s: float, user_agent: str
) -> Any:
    """A `praw.Reddit`. In world sandbox both of Reddit's hosts lie under `base`, as `/www` and `/oauth`."""
    import praw
    import prawcore
    import requests

    class Requestor(prawcore.Requestor):
        def request(self, *arguments: Any, timeout: float | None = None, **more: Any) -> Any:
            try:
                answer = super().request(*arguments, timeout=timeout_s, **more)
            except prawcore.exceptions.RequestException as error:
                kind = type(error.original_exception).__name__
                raise UnavailableError(provider, f"no usable answer ({kind}): check the connection") from None
            return _sound(provider, answer, (client_id, client_secret))

    session = requests.Session()
    session.trust_env = not is_loopback
    www, oauth = (f"{base}/www", f"{base}/oauth/") if is_loopback else (base, "https://oauth.reddit.com")
    return praw.Reddit(
        client_id=client_id,
        client_secret=client_secret,
        user_agent=user_agent,
        reddit_url=www,
        oauth_url=oauth,
        short_url=www if is_loopback else "https://redd.it",
        requestor_class=Requestor,
        requestor_kwargs={"session": session},
        check_for_updates=False,
        check_for_async=False,
    )


def _sound(provider: str, answer: Any, secrets: tuple[str, ...]) -> Any:
    """The answer, if it is JSON with status 200; a redirect is what Reddit says where there is no such subreddit."""
    where = urlsplit(answer.url).path
    if answer.status_code in (301, 302):
        raise BadPayloadError(provider, f"{where}: there is no such subreddit: correct market/handles.py")
    if answer.status_code != 200:
        raise of_response(provider, where, answer.status_code, answer.headers, answer.text, secrets)
    try:
        answer.json()
    except ValueError:
        raise BadPayloadError(provider, f"{where}: expected JSON, found {snippet(answer.text, secrets)}") from None
    return answer


def listing(reddit: Any, provider: str, subreddit: str, limit: int, since: datetime) -> list[Any]:
    """The newest posts of a subreddit back to `since`, at most `limit`, newest first. Raises the SourceError that fits."""
    import prawcore

    where = f"/r/{subreddit}/new"
    try:
        newest = reddit.subreddit(subreddit).new(limit=limit)
        return list(takewhile(lambda post: post.created_utc >= since.timestamp(), newest))
    except SourceError:
        raise
    except prawcore.exceptions.OAuthException as error:
        raise AuthFailedError(provider, f"{where}: Reddit refused the client ({error.error}): check id and secret") from None
    except Exception as error:  # an answer of another shape makes praw stumble in many ways
        raise BadPayloadError(provider, f"{where}: praw could not read the answer ({type(error).__name__})") from None
