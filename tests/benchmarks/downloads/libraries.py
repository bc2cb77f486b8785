"""Other libraries, each called in the way its documentation shows, inside the measuring process."""

import importlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from tests.benchmarks.downloads.task import Case, Contender, Notes, Task

FILES_AT_A_TIME = 16


def _load(module: str) -> Any:
    return importlib.import_module(module)


class Boto3(Contender):
    """boto3's ``download_file``, which is s3transfer, for several files at a time."""

    name = "boto3 (s3transfer)"
    package = "boto3"
    note = f"download_file in {FILES_AT_A_TIME} threads with one client, 10 ranges for each file at a time"

    def prepare(self) -> None:
        self._boto3 = _load("boto3")
        _load("boto3.s3.transfer")

    def fetch(self, task: Task, notes: Notes) -> Path:
        config = _load("botocore.config").Config(max_pool_connections=160)
        client = self._boto3.client("s3", config=config)
        with ThreadPoolExecutor(FILES_AT_A_TIME) as threads:
            for done in [
                threads.submit(client.download_file, task.bucket, key, str(path))
                for key, path in _targets(client, task)
            ]:
                done.result()
        return task.folder


class Crt(Contender):
    """s3transfer on Amazon's C library, which is what the second aws-cli does too."""

    name = "s3transfer (CRT)"
    package = "awscrt"
    note = "CRTTransferManager for 10 Gbit/s, the transfer of aws-cli 2, which is not on PyPI"

    def prepare(self) -> None:
        self._crt = _load("s3transfer.crt")
        self._boto3 = _load("boto3")

    def fetch(self, task: Task, notes: Notes) -> Path:
        crt, session = self._crt, _load("botocore.session").Session()
        region, endpoint = os.environ["AWS_REGION"], os.environ["AWS_ENDPOINT_URL"]
        credentials = crt.BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider()
        crt_client = crt.create_s3_crt_client(region=region, crt_credentials_provider=credentials, use_ssl=False)
        serializer = crt.BotocoreCRTRequestSerializer(session, {"region_name": region, "endpoint_url": endpoint})
        client = self._boto3.client("s3")
        with crt.CRTTransferManager(crt_client, serializer) as manager:
            for done in [manager.download(task.bucket, key, str(path)) for key, path in _targets(client, task)]:
                done.result()
        return task.folder


class AwsCli(Contender):
    """The first aws-cli, in this process: its own start-up is no part of the time."""

    name = "aws-cli 1"
    package = "awscli"
    note = "aws s3 cp --recursive with its defaults; the release on PyPI knows no CRT"

    def prepare(self) -> None:
        self._driver = _load("awscli.clidriver")
        _load("awscli.customizations.s3.s3")

    def fetch(self, task: Task, notes: Notes) -> Path:
        arguments = ["s3", "cp", "--recursive", "--only-show-errors", f"{task.uri}/", str(task.folder)]
        if self._driver.create_clidriver().main(arguments):
            raise RuntimeError("aws-cli failed")
        return task.folder


class RayCloudFileSystem(Contender):
    """What Ray Serve's LLM nodes download models with: for S3 it is boto3 in up to 20 or 100 threads."""

    name = "Ray CloudFileSystem"
    package = "boto3"  # ray itself is always there
    note = "ray.llm._internal.common.utils.cloud_utils.CloudFileSystem.download_files, for s3:// boto3 in threads"

    def prepare(self) -> None:
        self._files = _load("ray.llm._internal.common.utils.cloud_utils").CloudFileSystem
        _load("boto3.s3.transfer")

    def fetch(self, task: Task, notes: Notes) -> Path:
        self._files.download_files(str(task.folder), task.uri)
        return task.folder


class HuggingFaceHub(Contender):
    """The Hub's own library."""

    name = "huggingface_hub"
    package = "huggingface_hub"
    cases: ClassVar[tuple[Case, ...]] = ("hub",)
    note = "snapshot_download with its defaults"

    def prepare(self) -> None:
        logging.disable()
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        self._hub = _load("huggingface_hub")
        _load("huggingface_hub._snapshot_download")

    def fetch(self, task: Task, notes: Notes) -> Path:
        return Path(self._hub.snapshot_download(task.uri, cache_dir=task.folder))


def _targets(client: Any, task: Task) -> Iterator[tuple[str, Path]]:
    """List the objects, and yield each key with its path, whose folder is there."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=task.bucket, Prefix=f"{task.prefix}/")
    for key in [entry["Key"] for page in pages for entry in page["Contents"]]:
        path = task.folder / key.removeprefix(f"{task.prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield key, path


LIBRARIES: tuple[type[Contender], ...] = (Boto3, Crt, AwsCli, RayCloudFileSystem, HuggingFaceHub)
