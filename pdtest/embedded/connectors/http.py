"""HTTP calls of connectors: to Mooncake's bootstrap server and to Ascend's metaserver."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self


class HttpFailed(Exception):
    """A call was not answered, or with an error."""


class HttpCalls:
    """A client that tries again when nobody answers, and not when the answer is an error.

    aiohttp is imported when the first call is made ready, in ``start``: other connectors do without it.
    """

    def __init__(self, *, timeout_s: float, attempts: int = 3, pause_s: float = 0.1) -> None:
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._pause_s = pause_s
        self._session: Any = None

    async def start(self) -> None:
        """Be ready to call."""
        import aiohttp

        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))

    async def close(self) -> None:
        """Drop all connections."""
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    async def get(self, url: str) -> Any:
        """The JSON at ``url``. Raises HttpFailed."""
        return await self._call("GET", url, None)

    async def post(self, url: str, body: Any) -> Any:
        """What the server says to ``body``, both JSON. Raises HttpFailed."""
        return await self._call("POST", url, body)

    async def _call(self, method: str, url: str, body: Any) -> Any:
        import aiohttp

        for attempt in range(1, self._attempts + 1):
            try:
                async with self._session.request(method, url, json=body) as answer:
                    if answer.status >= 400:  # noqa: PLR2004 - the first that is an error
                        said = (await answer.text())[:200]
                        raise HttpFailed(f"{method} {url} answered {answer.status}: {said}")
                    return await answer.json(content_type=None)
            except (aiohttp.InvalidURL, ValueError) as error:
                raise HttpFailed(f"{method} {url}: {error}") from error
            except TimeoutError as error:
                raise HttpFailed(f"{method} {url}: no answer within {self._timeout_s:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                if attempt == self._attempts:
                    reason = str(error) or type(error).__name__
                    raise HttpFailed(f"{method} {url}: {reason} ({attempt} attempts)") from error
                await asyncio.sleep(self._pause_s)
        raise AssertionError  # the last attempt returns or raises
