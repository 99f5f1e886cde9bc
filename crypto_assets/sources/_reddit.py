"""praw's read-only client of Reddit, pointed at one world, with its errors turned into ours.

praw keeps Reddit's pace itself, from the `X-Ratelimit` headers. It is imported inside the functions: only a fetch needs it.
"""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile
from typing import Any

from crypto_assets.market.errors import AuthFailedError, BadPayloadError, SourceError, UnavailableError
from crypto_assets.sources._errors import of_response


def connect(base: str, client_id: str, client_secret: str, *, is_loopback: bool, timeout_s: float, user_agent: str) -> Any:
    """A `praw.Reddit`. In world sandbox both of Reddit's hosts lie under `base`, as `/www` and `/oauth`."""
    import praw
    import requests

    hosts = (base, "https://oauth.reddit.com", "https://redd.it")
    if is_loopback:
        hosts = (f"{base}/www", f"{base}/oauth/", f"{base}/www")
    session = requests.Session()
    session.trust_env = not is_loopback
    return praw.Reddit(
        client_id=client_id,
        client_secret=client_secret,
        user_agent=user_agent,
        reddit_url=hosts[0],
        oauth_url=hosts[1],
        short_url=hosts[2],
        timeout=int(timeout_s),
        requestor_kwargs={"session": session},
        check_for_updates=False,
        check_for_async=False,
    )


def listing(reddit: Any, provider: str, subreddit: str, limit: int, since: datetime) -> list[Any]:
    """The newest posts of a subreddit back to `since`, at most `limit`, newest first. Raises the SourceError that fits."""
    import praw.exceptions
    import prawcore

    where = f"/r/{subreddit}/new"
    try:
        newest = reddit.subreddit(subreddit).new(limit=limit)
        return list(takewhile(lambda post: post.created_utc >= since.timestamp(), newest))
    except prawcore.exceptions.OAuthException as error:
        raise AuthFailedError(provider, f"{where}: Reddit refused the client ({error.error}): check id and secret") from None
    except prawcore.exceptions.BadJSON as error:
        raise BadPayloadError(
            provider, f"{where}: expected JSON, found {error.response.text[:60]!r}: ask again later"
        ) from None
    except prawcore.exceptions.ResponseException as error:
        raise of_answer(provider, where, error.response) from None
    except prawcore.exceptions.RequestException as error:
        kind = type(error.original_exception).__name__
        raise UnavailableError(provider, f"{where}: no usable answer ({kind}): check the connection") from None
    except (
        prawcore.PrawcoreException,
        praw.exceptions.PRAWException,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise BadPayloadError(provider, f"{where}: praw could not read the answer ({type(error).__name__})") from None


def of_answer(provider: str, where: str, response: Any) -> SourceError:
    """The error for an answer with another status than 200. A redirect is a subreddit that does not exist."""
    if response.status_code in (301, 302):
        return BadPayloadError(provider, f"{where}: there is no such subreddit: correct market/handles.py")
    return of_response(provider, where, response.status_code, response.headers, response.text)
