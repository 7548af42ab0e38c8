"""S3 and SQS in this process: moto's server in a thread, with the objects of S3 kept on disk.

Owns the server's life and the mirror under `objects/` of the data folder. S3 itself is moto's: here is only a WSGI
layer that, after every successful change, writes what differs to disk *before* the answer leaves. What a client was
told is stored, is there again at the next start, also after `kill -9`. (Not after a power cut: nothing is synced.)

Kept: buckets, and of each object its latest version: body, etag, date and headers. Not kept, because the service sets
them up at its start or can do without: queues and their messages, notification rules, policies, tags, multipart
uploads in progress. An upload whose event was not yet worked off at a crash must be found again by its database row.

This is a stand-in for one machine. It checks no signature: whoever reaches the port reads everything, so it listens on
127.0.0.1 and refuses every service but S3 and SQS.

On disk, per bucket: `NAME.TOKEN.body` and `NAME.json`, which holds the original key, the headers and the name of the
body. Replacing the JSON by rename is the commit; a body without one is swept at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from social.embedded import EngineFailed, EngineMissing

BUCKETS = ("social-uploads-bucket", "social-media-bucket")
REGION = "us-east-1"  # buckets made here; queues take the region of their client
SERVICES = frozenset({"s3", "sqs"})
CHANGING = frozenset({"PUT", "POST", "DELETE"})
STEM_LIMIT = 200  # bytes of a file name before its ending; file systems hold 255
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
STOP_POLL = 0.1  # seconds until the server notices `stop`
STOP_WITHIN = 2.0  # seconds for its thread to end
# what moto holds of an object beside its body and metadata: text, number or None, by the names of its constructor
PROPERTIES = ("encryption", "kms_key_id", "checksum_value", "checksum_type", "checksum_parts")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

log = logging.getLogger("social.embedded.objects")
_one_per_process = threading.Lock()  # moto's state is global: two servers would serve each other's objects


class EmbeddedObjects:
    """One server in a daemon thread. `start` and `stop` block, need no event loop and may run in any thread."""

    def __init__(self) -> None:
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def start(self, directory: Path, *, port: int = 0) -> None:
        """Loads `directory`/objects, makes the missing BUCKETS, and listens on 127.0.0.1 (`port` 0 = a free one).

        Raises EngineMissing without moto, EngineFailed when the folder or the port cannot be used, RuntimeError when
        another one runs in this process.
        """
        if not _one_per_process.acquire(blocking=False):
            raise RuntimeError("An object store runs in this process already.")
        try:
            self._start(directory.absolute() / "objects", port)
        except BaseException as error:
            _one_per_process.release()
            if isinstance(error, OSError):
                raise EngineFailed(f"The object store cannot start: {error}") from error
            raise

    def _start(self, folder: Path, port: int) -> None:
        try:
            from moto.moto_server.werkzeug_app import (
                DomainDispatcherApplication,
                MotoRequestHandler,
                create_backend_app,
            )
            from werkzeug.serving import make_server
        except ImportError as error:
            raise EngineMissing("No object store is installed. `pip install 'moto[server,s3,sqs]'`.") from error

        mirror = Mirror(folder)
        mirror.load()
        mirror.ensure(BUCKETS)

        class Handler(MotoRequestHandler):  # type: ignore[misc, unused-ignore]
            """Says to the log what werkzeug would print for every request."""

            def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  (werkzeug's signature)
                log.log(logging.ERROR if type == "error" else logging.DEBUG, message, *args)

        def application(service: Any) -> Application:
            if service not in SERVICES:
                return _refuse_service
            inner: Application = create_backend_app(service)
            return Durable(inner, mirror) if service == "s3" else inner

        dispatcher = DomainDispatcherApplication(application)  # type: ignore[arg-type, unused-ignore]
        self._server = make_server("127.0.0.1", port, dispatcher, threaded=True, request_handler=Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL,), name="embedded-objects", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, the endpoint of S3 and of SQS."""
        if self._server is None:
            raise RuntimeError("This object store was not started.")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def alive(self) -> bool:
        """True while the server's thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Closes the port and empties moto's memory; what is on disk stays. Idempotent."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN)
        self._server = None
        _forget_everything()
        _one_per_process.release()


class Durable:
    """WSGI around moto's S3: an answer to a successful change leaves after the mirror has written the change.

    Changes run one at a time: a mirror pass in the middle of another request would save a half-made object. They are
    in memory and short, because a body is read from its client before the lock is taken.
    """

    def __init__(self, inner: Application, mirror: Mirror) -> None:
        self._inner = inner
        self._mirror = mirror
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in CHANGING:
            return self._inner(environ, start_response)
        _read_body(environ)
        with self._lock:
            answer = _collect(self._inner, environ)
            if answer.status.startswith("2"):
                try:
                    self._mirror.save()
                except OSError as error:
                    # The object is in memory, but the promise is not kept: say so. The next save tries it again.
                    log.error("An object could not be written to disk: %s", error)
                    answer = _failure(error)
        start_response(answer.status, answer.headers)
        return [answer.body]


class Mirror:
    """The disk side: moto's buckets of the default account <-> `folder`. Not thread-safe; Durable holds the lock.

    Difference is by identity: moto makes a new object for every change of a body or of metadata.
    """

    def __init__(self, folder: Path) -> None:
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3 import models

        self._folder = folder
        self._models: Any = models
        self._account = DEFAULT_ACCOUNT_ID
        self._kept: dict[str, dict[str, tuple[Any, Path]]] = {}  # bucket -> key -> moto's object, its body's path

    @property
    def _backend(self) -> Any:
        return self._models.s3_backends[self._account]["aws"]

    def ensure(self, buckets: Iterable[str]) -> None:
        """Makes the buckets that do not exist, in memory and on disk."""
        for name in buckets:
            if name not in self._backend.buckets:
                self._backend.create_bucket(name, REGION)
        self.save()

    def save(self) -> None:
        """Writes what differs between memory and disk. Raises OSError; what was not written is tried next time."""
        buckets = dict(self._backend.buckets)
        for name in self._kept.keys() - buckets.keys():
            shutil.rmtree(self._path(name), ignore_errors=True)
            del self._kept[name]
        for name, bucket in buckets.items():
            if name not in self._kept:
                self._path(name).mkdir(mode=0o700, parents=True, exist_ok=True)
                self._kept[name] = {}
            self._save_bucket(self._path(name), self._kept[name], _latest(bucket, self._models.FakeKey))

    def load(self) -> None:
        """Brings everything on disk into memory; bodies stay on disk and are read when asked for."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in sorted(path for path in self._folder.iterdir() if path.is_dir()):
            name = unquote(folder.name)
            bucket = self._backend.create_bucket(name, REGION)
            kept = self._kept[name] = {}
            sound = True
            for record in sorted(folder.glob("*.json")):
                try:
                    key, body = self._read(folder, name, record)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    log.warning("%s is damaged and left out: %s", record, error)
                    sound = False
                    continue
                bucket.keys.setlist(key.name, [key])
                kept[key.name] = (key, body)
            if sound:  # a body whose record is damaged may still be wanted by a person
                _sweep(folder, {body.name for _, body in kept.values()})

    def _path(self, bucket: str) -> Path:
        return self._folder / file_stem(bucket)

    def _save_bucket(self, folder: Path, kept: dict[str, tuple[Any, Path]], latest: dict[str, Any]) -> None:
        for name in kept.keys() - latest.keys():
            (folder / f"{file_stem(name)}.json").unlink(missing_ok=True)
            kept[name][1].unlink(missing_ok=True)
            del kept[name]
        for name, key in latest.items():
            before = kept.get(name)
            if before is None or before[0] is not key:
                kept[name] = (key, self._write(folder, name, key))
                if before is not None:
                    before[1].unlink(missing_ok=True)

    def _write(self, folder: Path, name: str, key: Any) -> Path:
        stem, token = file_stem(name), secrets.token_hex(8)
        body = folder / f"{stem}.{token}.body"
        record = {
            "key": name,
            "body": body.name,
            "size": key.size,
            "etag": key.etag.strip('"'),
            "modified": key.last_modified.replace(tzinfo=UTC).timestamp(),
            "headers": dict(key.metadata),
            "storage": key.storage_class,
            "checksum_algorithm": key.checksum_algorithm,
            **{field: getattr(key, field) for field in PROPERTIES},
        }
        temporary = folder / f"{stem}.{token}.new"
        try:
            body.write_bytes(key.value)
            temporary.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
            temporary.replace(folder / f"{stem}.json")
        except BaseException:
            for path in (temporary, body):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        _read_from_disk(key, body)
        return body

    def _read(self, folder: Path, bucket: str, path: Path) -> tuple[Any, Path]:
        record = json.loads(path.read_text(encoding="utf-8"))
        body = folder / record["body"]
        if body.parent != folder or body.stat().st_size != record["size"]:
            raise ValueError(f"{record['body']} is not the body that was written")
        key = self._models.FakeKey(
            record["key"],
            b"",
            account_id=self._account,
            region_name=self._backend.region_name,
            bucket_name=bucket,
            etag=record["etag"],
            version_id="null",
            storage=record["storage"],
            **{field: record[field] for field in PROPERTIES},
        )
        key.checksum_algorithm = record["checksum_algorithm"]
        key.set_metadata(record["headers"])
        # moto counts in naive UTC
        key.last_modified = datetime.fromtimestamp(record["modified"], UTC).replace(tzinfo=None)
        key.contentsize = record["size"]
        _read_from_disk(key, body)
        return key, body


class DiskBody(io.RawIOBase):
    """Stands where moto keeps a body in memory, so that a demo of a month does not hold a month of photos there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._path.stat().st_size}[whence]
        self._offset = base + offset
        return self._offset

    def read(self, size: int | None = -1) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(-1 if size is None else size)
        self._offset += len(data)
        return data


class Answer:
    """A whole response, held back."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def file_stem(key: str) -> str:
    """A file name for any key: lower-case ASCII stays, all else is percent-encoded; long ones end in a hash.

    Capitals are encoded too, because some file systems take `A` and `a` for one name.
    """
    stem = "".join(chr(byte) if byte in PLAIN else f"%{byte:02x}" for byte in key.encode("utf-8", "surrogatepass"))
    if len(stem) <= STEM_LIMIT:
        return stem
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{stem[: STEM_LIMIT - len(digest) - 1]}~{digest}"


def _latest(bucket: Any, kind: type) -> dict[str, Any]:
    """Key -> its newest version; keys under a delete marker are absent."""
    versions: dict[str, list[Any]] = dict(bucket.keys.lists())
    return {name: line[-1] for name, line in versions.items() if line and isinstance(line[-1], kind)}


def _read_from_disk(key: Any, body: Path) -> None:
    with key.lock:
        memory, key._value_buffer = key._value_buffer, DiskBody(body)
    memory.close()


def _sweep(folder: Path, bodies: set[str]) -> None:
    for path in folder.iterdir():
        if path.suffix == ".new" or (path.suffix == ".body" and path.name not in bodies):
            path.unlink(missing_ok=True)


def _read_body(environ: Environ) -> None:
    """Takes the whole body from the client now: moto would take it later, and a slow client would hold the lock."""
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):  # chunked
        body = stream.read()
        environ["CONTENT_LENGTH"] = str(len(body))
    else:
        body = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)


def _collect(inner: Application, environ: Environ) -> Answer:
    answer = Answer("500 No Answer", [], b"")
    written: list[bytes] = []

    def hold(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Callable[[bytes], None]:
        answer.status, answer.headers = status, headers
        return written.append

    chunks = inner(environ, hold)
    try:
        written.extend(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    answer.body = b"".join(written)
    return answer


def _failure(error: OSError) -> Answer:
    text = f"<Error><Code>ServiceUnavailable</Code><Message>{error.strerror or 'disk'}</Message></Error>".encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))]
    return Answer("503 Service Unavailable", headers, text)


def _refuse_service(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Other services, and moto's own reset switch, which any web page could press with one cross-site POST."""
    text = b"Only S3 and SQS are served here.\n"
    start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]


def _forget_everything() -> None:
    from moto.core.base_backend import BackendDict

    BackendDict.reset()
