"""S3: the two buckets of the platform.

One client for the life of the process. Raises StoreUnavailable and nothing else of botocore.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from db.errors import StoreUnavailable
from db.settings import Settings

TIMEOUT = 5  # seconds to connect and to read: S3's own p99.9 for small objects is far below


class Objects:
    """The object store."""

    def __init__(self, client: Any, stack: AsyncExitStack, settings: Settings) -> None:
        self._client = client
        self._stack = stack
        self.uploads, self.media = settings.uploads_bucket, settings.media_bucket

    @classmethod
    async def open(cls, settings: Settings) -> Objects:
        """Builds the client; nothing connects before the first call. Imported late: aioboto3 takes 0.3 s."""
        import aioboto3
        from botocore.config import Config

        stack = AsyncExitStack()
        client = await stack.enter_async_context(
            aioboto3.Session().client(
                "s3",
                endpoint_url=settings.s3_endpoint or None,
                config=Config(
                    signature_version="s3v4",
                    connect_timeout=TIMEOUT,
                    read_timeout=TIMEOUT,
                    retries={"max_attempts": 1},
                    s3={"addressing_style": "path" if settings.s3_endpoint else "virtual"},
                ),
            )
        )
        return cls(client, stack, settings)

    async def check(self) -> None:
        """Raises StoreUnavailable unless both buckets are there and answer."""
        from botocore.exceptions import BotoCoreError, ClientError

        for bucket in (self.uploads, self.media):
            try:
                await self._client.head_bucket(Bucket=bucket)
            except (BotoCoreError, ClientError) as error:
                raise StoreUnavailable("s3", f"{bucket}: {error}") from error

    async def close(self) -> None:
        """Closes the client."""
        await self._stack.aclose()
