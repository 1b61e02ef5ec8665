"""Certificates that sign themselves, made by openssl, and what clients need to trust them."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import ssl
import subprocess

import pytest


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of a certificate for this machine and of its key."""

    cert: pathlib.Path
    key: pathlib.Path

    @property
    def options(self) -> dict[str, str]:
        """For ``serve``."""
        return {"tls_cert": str(self.cert), "tls_key": str(self.key)}

    @property
    def trusted(self) -> ssl.SSLContext:
        """For a client that trusts this certificate, and no other."""
        return ssl.create_default_context(cafile=str(self.cert))


def make(folder: pathlib.Path, name: str, *options: str) -> Files:
    """As docs/operators.rst says. ``options``: others of openssl req, such as -passout."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    files = Files(folder / f"{name}.pem", folder / f"{name}-key.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command = ["openssl", "req", "-x509", *key, "-days", "2", "-subj", "/CN=localhost", "-addext", names]
    files_given = ["-keyout", str(files.key), "-out", str(files.cert)]
    subprocess.run([*command, *files_given, *(options or ["-noenc"])], check=True, capture_output=True)
    return files
