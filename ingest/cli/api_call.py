"""``sealdrop api call`` and ``sealdrop api keyset``: the customer's side of the HTTP API, needs no installation."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import typer

from ingest.cli.pairs import write_new
from ingest.cli.session import CommandFailed, read_file
from ingest.cli.show import hint, out, print_json

if TYPE_CHECKING:
    from keystore.secret import Secret

_EVERYBODY = stat.S_IRWXG | stat.S_IRWXO


def call(
    method: Annotated[str, typer.Argument(help="GET, POST or PUT.")],
    path: Annotated[str, typer.Argument(help="Path and query, such as `/1/profile.json?identity=user-1`.")],
    url: Annotated[str, typer.Option(help="Where the API is, such as `https://sealdrop.example.com:8443`.")],
    account: Annotated[str, typer.Option(help="The account ID; also what bodies are encrypted for.")],
    passcode_file: Annotated[Path, typer.Option(help="File with the passcode, mode 0600; `-` asks for it.")],
    by_token: Annotated[
        bool, typer.Option("--by-token", help="Get an OAuth 2.0 token with the passcode, and send that.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="File with the body in JSON; `-` for standard input.")] = None,
    encrypt_to: Annotated[
        Path | None, typer.Option(help="The service's public keyset: encrypts the body (`GET /1/keys/request.json`).")
    ] = None,
    decrypt_with: Annotated[
        Path | None, typer.Option(help="Your own private keyset, mode 0600: asks for an encrypted answer.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="CA certificates for the service, when not the system's.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="Client certificate with its chain, for mutual TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
) -> None:
    """Send one request to the HTTP API of a Sealdrop, encrypted where keysets are given, and print the answer in JSON.

    Example: `sealdrop api call POST /1/upload --url https://sealdrop.example.com:8443 --account acme --passcode-file
    passcode --data records.json --encrypt-to request.json --decrypt-with private.json`

    Or `sealdrop api call GET '/1/profile.json?identity=user-1' --url https://sealdrop.example.com:8443 --account acme
    --passcode-file passcode`
    """
    from ingest.client import Client
    from keystore.tink_keyset import PrivateKeyset, PublicKeyset

    if (certificate is None) != (key is None):
        raise CommandFailed("A client certificate needs both --certificate and --key.")
    body = None if data is None else _json_of(data)
    parts = urlsplit(path)
    client = Client(
        url,
        account,
        _secret_of(passcode_file),
        by_token=by_token,
        to_us=None if encrypt_to is None else PublicKeyset.read(read_file(encrypt_to)),
        to_you=None if decrypt_with is None else PrivateKeyset.read(_private(decrypt_with)),
        ca_file=ca_file,
        certificate=None if certificate is None or key is None else (certificate, key),
    )
    with client:
        print_json(client.call(method.upper(), parts.path, query=dict(parse_qsl(parts.query)), body=body))


def keyset(
    folder: Annotated[Path, typer.Argument(help="Folder for `private.json` and `public.json`; made when missing.")],
    prefix: Annotated[str, typer.Option(help="TINK, or RAW for libraries that know no Tink.")] = "TINK",
) -> None:
    """Make a keyset of your own, for answers that only you can read: `public.json` goes to the service, `private.json`
    stays with you.

    Example: `sealdrop api keyset my-keyset`
    """
    from keystore.tink_keyset import OutputPrefix, PrivateKeyset

    if prefix.upper() not in ("TINK", "RAW"):
        raise CommandFailed("--prefix is TINK or RAW.")
    made = PrivateKeyset.generate(prefix=OutputPrefix[prefix.upper()])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new(folder / "private.json", made.as_json().expose())
    out.print(write_new(folder / "public.json", made.public().as_json()), markup=False)
    hint(
        "Upload it with `sealdrop api call PUT /1/keys/response.json --data ...`, or hand it to the operator. Keep "
        "private.json to yourself."
    )


def _json_of(data: Path) -> Any:
    try:
        return json.loads(sys.stdin.buffer.read() if str(data) == "-" else data.read_bytes())
    except ValueError as error:
        raise CommandFailed(f"{data} is no JSON: {error}.") from None


def _secret_of(file: Path) -> Secret:
    from keystore.secret import Secret

    if str(file) == "-":
        return Secret(typer.prompt("Passcode", hide_input=True, err=True).encode())
    return Secret(_private(file).expose().strip())


def _private(file: Path) -> Secret:
    """The content of a file that nobody else may read."""
    from keystore.secret import Secret

    content = read_file(file)
    if file.stat().st_mode & _EVERYBODY:
        raise CommandFailed(f"Others can read {file}: `chmod 600 {file}`.")
    return Secret(content)
