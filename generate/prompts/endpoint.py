"""Language models behind an OpenAI-compatible endpoint (`POST .../chat/completions`)."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from generate.errors import StudyError, one_line

if TYPE_CHECKING:
    import requests

OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"
LONGEST_WAIT = 600.0
"""Longest wait, in seconds, that an endpoint may ask for before the command ends instead."""

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class _TryAgain(Exception):
    """A failure that may pass; `wait` is what the endpoint asked for, in seconds."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass
class Endpoint:
    """A model of an endpoint.

    The `key` is sent in the Authorization header, and is nowhere else. A request that fails in a
    way that may pass (429, 5xx, time-out, no connection, an answer that is no chat completion) is
    repeated up to `attempts` times in all, after the wait the endpoint asks for in Retry-After or
    else after `backoff` seconds, doubled each time and jittered. Requests, repeated ones too, are
    at least 60 / `per_minute` seconds apart; each ends after `timeout` seconds.
    """

    url: str
    model: str
    key: str = field(repr=False)
    temperature: float | None = None
    attempts: int = 6
    backoff: float = 1.0
    per_minute: float = 60.0
    timeout: float = 120.0
    _last: float = field(default=float("-inf"), init=False, repr=False)

    def __post_init__(self) -> None:
        self.url = checked_url(self.url)

    @property
    def name(self) -> str:
        """Model, endpoint and temperature, as answers are recorded under."""
        at = "" if self.temperature is None else f", temperature {self.temperature:g}"
        return f"{self.model} at {self.url}{at}"

    def answer(self, request: str, seed: int) -> str:
        """Text of the first choice of a chat completion.

        `seed` is sent along; endpoints may ignore it. Raises `StudyError` if the endpoint refuses,
        or fails for good.
        """
        message = {"role": "user", "content": request}
        body: dict[str, Any] = {"model": self.model, "messages": [message], "seed": seed}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        for attempt in range(1, self.attempts + 1):
            try:
                return self._ask(body)
            except _TryAgain as failure:
                if attempt == self.attempts:
                    raise StudyError(
                        f"{self.name} failed {attempt} times, at last with: {failure}. Answers so "
                        "far are kept: run the same command again to go on."
                    ) from None
                self._wait(failure, attempt)
        raise AssertionError("unreachable")

    def _wait(self, failure: _TryAgain, attempt: int) -> None:
        """Sleep as long as the endpoint asks for, or ever longer with the number of attempts."""
        wait = failure.wait
        if wait is None:
            wait = self.backoff * 2 ** (attempt - 1) * random.uniform(1.0, 1.25)
        elif wait > LONGEST_WAIT:
            raise StudyError(
                f"{self.name} asks to wait {wait:.0f} s ({failure}); answers so far are kept: run "
                "the same command again later."
            )
        time.sleep(wait)

    def _ask(self, body: dict[str, Any]) -> str:
        """The answer to one request, or `_TryAgain`."""
        import requests

        time.sleep(max(0.0, self._last + 60.0 / self.per_minute - time.monotonic()))
        self._last = time.monotonic()
        try:
            response = requests.post(
                f"{self.url}/chat/completions",
                json=body,
                auth=self._sign,
                timeout=self.timeout,
                allow_redirects=False,
            )
        except requests.Timeout:
            raise _TryAgain(f"no answer within {self.timeout:g} s") from None
        except requests.ConnectionError:
            raise _TryAgain("no connection") from None
        text = self._without_key(response.text)
        if response.status_code in _PASSING:
            raise _TryAgain(
                f"status {response.status_code}", _retry_after(response.headers.get("Retry-After"))
            )
        if response.status_code != 200:
            raise StudyError(
                f"{self.name} answered with status {response.status_code}: {one_line(text, 200)}"
            )
        return self._content(text)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the Authorization header; as `auth`, so that no entry of a .netrc takes its place."""
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key}"
        return request

    def _without_key(self, text: str) -> str:
        """A text of the endpoint's, which may repeat what it was sent."""
        if not self.key:
            return text
        return text.replace(self.key, "***")

    @staticmethod
    def _content(text: str) -> str:
        try:
            content = json.loads(text)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise _TryAgain(
                f"an answer that is no chat completion ('{one_line(text, 80)}')"
            ) from None
        if not isinstance(content, str):
            raise _TryAgain("a chat completion without text")
        return content


def key_from(variable: str) -> str:
    """The key in an environment variable; '' for `none`, for endpoints that ask for no key.

    Raises `StudyError` if the variable is not set.

    >>> key_from("none")
    ''
    """
    if variable == NO_KEY:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise StudyError(
            f"the endpoint needs a key, but environment variable {variable} is not set: set it, "
            f"name another with --key-from, or give --key-from {NO_KEY} for an endpoint without "
            "keys."
        )
    return key


def checked_url(url: str) -> str:
    """The base URL of an endpoint, without a trailing slash or `/chat/completions`.

    URLs are recorded, so one that could hold a key (a user, a query or a fragment) is refused with
    a `StudyError`, without repeating it.

    >>> checked_url("https://example.org/v1/chat/completions")
    'https://example.org/v1'
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise StudyError(
            f"the URL of the endpoint at {host} holds a user, a query or a fragment, where keys "
            "are; give the bare URL and put the key in an environment variable (--key-from)."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise StudyError(
            "the endpoint's URL must begin with https:// or http:// and name a host, as in "
            f"{OPENAI}."
        )
    return url.rstrip("/").removesuffix("/chat/completions")


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header) - datetime.now(UTC)
    except (ValueError, TypeError):
        return None
    return max(0.0, until.total_seconds())
