"""Files in S3 and its kin (AWS_ENDPOINT_URL), with the usual credentials or, where there are none, anonymous."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)

from ink.errors import DownloadError
from ink.sources import TRANSIENT_STATUS, Opened, Origin, Transient

_CHUNK = 1 << 16
_CHANGED, _NO_SUCH_RANGE = 412, 416


class S3Source:
    """Source of s3://bucket/key addresses."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._made: Any = None
        self._lock = threading.Lock()

    def join(self, root: str, name: str) -> str:
        """Return the address of a key under a prefix; S3 addresses are not quoted."""
        return f"{root.rstrip('/')}/{name}"

    @contextmanager
    def open(
        self, address: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> Iterator[Opened]:
        """GET the object, or a range of it (If-Match); one that changed meanwhile is answered whole."""
        with _errors(address):
            answer = self._get(address, start, stop, validator)
            found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.get("ContentRange", ""))
            place, end, size = (
                (int(found[1]), int(found[2]) + 1, int(found[3]))
                if found
                else (0, answer["ContentLength"], answer["ContentLength"])
            )
            origin = Origin(address, answer.get("ETag"), size, _md5(answer))
            body = answer["Body"]
            try:
                yield Opened(origin, place, end, body.iter_chunks(_CHUNK), answer.get("ContentType", ""))
            finally:
                body.close()

    def size(self, address: str) -> int | None:
        """Return what a HEAD request says."""
        with _errors(address):
            return self._client().head_object(**_place(address))["ContentLength"]

    def names(self, folder: str) -> list[str]:
        """Return the keys directly under a prefix, without it."""
        place = _place(folder)
        prefix = place["Key"]
        with _errors(folder):
            pages = self._client().get_paginator("list_objects_v2")
            keys = [
                entry["Key"]
                for page in pages.paginate(Bucket=place["Bucket"], Prefix=prefix, Delimiter="/")
                for entry in page.get("Contents", [])
            ]
        return sorted(key.removeprefix(prefix) for key in keys if key != prefix)

    def close(self) -> None:
        """Close the connections."""
        if self._made is not None:
            self._made.close()

    def _get(self, address: str, start: int, stop: int | None, validator: str | None) -> dict[str, Any]:
        request: dict[str, str] = _place(address)
        if start or stop is not None:
            request["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if start and validator:
            request["IfMatch"] = validator
        try:
            return self._client().get_object(**request)
        except ClientError as error:
            if _status(error) not in (_CHANGED, _NO_SUCH_RANGE):
                raise
            return self._client().get_object(**_place(address))

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                anonymous = boto3.Session().get_credentials() is None
                config = Config(
                    connect_timeout=self._timeout_s,
                    read_timeout=self._timeout_s,
                    retries={"total_max_attempts": 1},  # ink.fetch retries
                    signature_version=UNSIGNED if anonymous else None,
                )
                try:
                    self._made = boto3.client("s3", config=config)
                except ValueError as error:
                    raise DownloadError(
                        f"s3: {error}; check AWS_ENDPOINT_URL, expected http(s)://host[:port]"
                    ) from error
            return self._made


@contextmanager
def _errors(address: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        message = f"{address}: {error}; check the bucket, the category's spelling and your credentials"
        if _status(error) in TRANSIENT_STATUS:
            asked = headers.get("retry-after", "")
            raise Transient(message, float(asked) if asked.isdigit() else None) from error
        raise DownloadError(message) from error
    except BotoCoreError as error:
        kind = (
            Transient if isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError) else DownloadError
        )
        raise kind(f"{address}: {error}; check the network and AWS_ENDPOINT_URL") from error


def _place(address: str) -> dict[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _md5(answer: dict[str, Any]) -> str | None:
    """Return the md5 that an ETag is, where it is one: uploaded in one piece, not under a key of the customer."""
    etag = answer.get("ETag", "").strip('"')
    plain = answer.get("ServerSideEncryption") in (None, "AES256") and "SSECustomerAlgorithm" not in answer
    return etag if plain and re.fullmatch(r"[0-9a-f]{32}", etag) else None
