"""[notify] and [[notify.targets]]: who is told what goes wrong, and how it is sent."""

import base64
import binascii
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Meta

from gateway.core.addresses import Network, parse_address, parse_network, why_not
from gateway.core.errors import SetupError
from gateway.core.event_words import LANGUAGES
from gateway.core.events import EventKind, Severity
from gateway.core.fields import did_you_mean, found
from gateway.core.toml_lines import read_text

KINDS = ("webhook", "dingtalk", "wecom")
TARGETS_MAX = 16
SECRETS_MAX = 4

_SECRET_FILE_BYTES_MAX = 16 * 1024
_URL_CHARS_MAX = 2_048
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]+={0,2}", re.ASCII)
_KEY_BYTES = range(24, 65)
_ALLOW_PRIVATE = 'true, false, or an array of networks such as "10.1.0.0/16"'


class NotifyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[notify]: how notifications are gathered and sent."""

    fold_s: Annotated[
        float,
        Meta(ge=1, le=3_600, description="One message a cause in this time; the rest is counted."),
    ] = 60.0
    queue_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Most messages waiting for one target."),
    ] = 256
    attempts_max: Annotated[
        int,
        Meta(ge=1, le=20, description="After this many a message counts as undeliverable."),
    ] = 8
    backoff_first_s: Annotated[
        float,
        Meta(ge=0.01, le=60, description="Pause after the first failure; doubles every time."),
    ] = 1.0
    backoff_max_s: Annotated[
        float, Meta(ge=0.01, le=3_600, description="Longest pause between attempts.")
    ] = 60.0
    timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=60, description="Longest time for one attempt, name look-up included."),
    ] = 10.0
    drain_s: Annotated[
        float,
        Meta(ge=0, le=60, description="How long a stopping gateway goes on delivering."),
    ] = 5.0
    settling_stuck_s: Annotated[
        float,
        Meta(ge=1, le=3_600, description="Settling that fails for this long is reported."),
    ] = 10.0


class TargetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[[notify.targets]]: one place that is told. Its URL and secrets are never shown."""

    name: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
            description="What logs and metrics call this target.",
            extra={"allowed": "1 to 64 letters, digits, dots, dashes or underscores"},
        ),
    ]
    kind: Annotated[
        str,
        Meta(
            description="A webhook signed by the Standard Webhooks rules, or a group robot.",
            extra={"allowed": '"webhook", "dingtalk" or "wecom"'},
        ),
    ]
    url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=_URL_CHARS_MAX,
            description="Where to POST; https, or http where allow_private is set.",
            extra={"allowed": "an https:// URL", "secret": True},
        ),
    ]
    secrets: Annotated[
        tuple[str, ...],
        Meta(
            max_length=SECRETS_MAX,
            description="Signing secrets, newest first; a webhook is signed with every one.",
            extra={"allowed": f"an array of at most {SECRETS_MAX} texts", "secret": True},
        ),
    ] = ()
    secret_file: Annotated[
        str,
        Meta(
            description="File with the signing secrets, one a line, instead of `secrets`.",
            extra={"allowed": "the path of a file"},
        ),
    ] = ""
    events: Annotated[
        tuple[str, ...],
        Meta(
            max_length=len(EventKind),
            description="The events to send; none means all.",
            extra={"allowed": f"an array of {', '.join(kind.value for kind in EventKind)}"},
        ),
    ] = ()
    severity: Annotated[
        str,
        Meta(
            description="The mildest severity to send.",
            extra={"allowed": '"info", "warning" or "critical"'},
        ),
    ] = "warning"
    language: Annotated[
        str,
        Meta(
            description="The language of the texts.",
            extra={"allowed": '"en" or "zh"'},
        ),
    ] = "en"
    allow_private: Annotated[
        bool | tuple[str, ...],
        Meta(
            description="Whether, or to which networks, private addresses may be connected to.",
            extra={"allowed": _ALLOW_PRIVATE},
        ),
    ] = False

    def __repr__(self) -> str:
        return f"TargetConfig({self.name!r}, {self.kind!r})"

    @property
    def allowed_networks(self) -> bool | tuple[Network, ...]:
        """`allow_private` as the address check takes it."""
        if isinstance(self.allow_private, bool):
            return self.allow_private
        networks = (parse_network(text) for text in self.allow_private)
        return tuple(network for network in networks if network is not None)

    @property
    def host(self) -> str:
        """Scheme and host of the URL, which may be shown; the rest of it may be a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}"


Complain = Callable[[str, str], None]  # (field name, what is wrong with it)


def checked_target(
    target: TargetConfig, others: list[TargetConfig], folder: Path, complain: Complain
) -> TargetConfig:
    """`target` with its secrets read from their file; complains of all that is wrong with it."""
    if target.name in {other.name for other in others}:
        complain("name", f"{found(target.name)} is the name of an earlier target; names are unique")
    if len(others) >= TARGETS_MAX:
        complain("name", f"is one target too many; allowed: at most {TARGETS_MAX}")
    for field, choices in _CHOICES.items():
        value = getattr(target, field)
        for text in (value,) if isinstance(value, str) else value:
            if text not in choices:
                complain(field, _not_one_of(text, choices))
    _check_networks(target, complain)
    if complaint := _url_complaint(target):
        complain("url", complaint)
    target = _with_secrets(target, folder, complain)
    if complaint := _secrets_complaint(target):
        complain("secret_file" if target.secret_file else "secrets", complaint)
    return target


def target_rows(index: int, target: TargetConfig) -> list[tuple[str, Any]]:
    """The target's settings as (dotted key, value), safe to show."""
    shown: dict[str, Any] = {name: getattr(target, name) for name in target.__struct_fields__}
    shown["url"] = f"{target.host}/(hidden)"
    shown["secrets"] = f"({len(target.secrets)} hidden)"
    return [
        (f"notify.targets[{index}].{name}", list(value) if isinstance(value, tuple) else value)
        for name, value in shown.items()
    ]


def secret_key(secret: str) -> bytes:
    """The signing key in a `whsec_` secret. Raises ValueError when it is none."""
    if not _WEBHOOK_SECRET.fullmatch(secret):
        raise ValueError("not a whsec_ secret")
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "events": tuple(kind.value for kind in EventKind),
    "severity": tuple(severity.value for severity in Severity),
    "language": LANGUAGES,
}


def _not_one_of(text: str, choices: tuple[str, ...]) -> str:
    return f"found {found(text)}; allowed: {', '.join(choices)}{did_you_mean(text, choices)}"


def _check_networks(target: TargetConfig, complain: Complain) -> None:
    if isinstance(target.allow_private, bool):
        return
    for text in target.allow_private:
        if parse_network(text) is None:
            complain("allow_private", f"found {found(text)}; allowed: {_ALLOW_PRIVATE}")


def _url_complaint(target: TargetConfig) -> str:
    """Says nothing of the URL but its scheme and host: the rest may be a secret."""
    url = target.url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "found something else; allowed: an https:// URL"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "has characters that a URL cannot have; write them percent-encoded"
    if parts.scheme not in ("https", "http") or not host or port == 0:
        return "found something else; allowed: an https:// URL"
    if parts.scheme == "http" and not target.allow_private:
        return "is sent in the clear; allowed: https://, or http:// where allow_private is set"
    if parts.username is not None or parts.fragment:
        return "has a user name or a fragment; allowed: host, path and query"
    if target.kind == "dingtalk" and parse_qs(parts.query).keys() & {"timestamp", "sign"}:
        return "has a timestamp or sign of its own; they are added to every message"
    return _host_complaint(host, target)


def _host_complaint(host: str, target: TargetConfig) -> str:
    address = parse_address(host)
    reason = why_not(address, target.allowed_networks) if address else ""
    hint = "allowed: a public address, or set allow_private"
    return f"found {found(host)}, {reason}; {hint}" if reason else ""


def _with_secrets(target: TargetConfig, folder: Path, complain: Complain) -> TargetConfig:
    if not target.secret_file:
        return target
    if target.secrets:
        complain("secret_file", "secrets are set as well; allowed: one of the two")
        return target
    file = folder / Path(target.secret_file).expanduser()
    try:
        text = read_text(file, what="secret file", bytes_max=_SECRET_FILE_BYTES_MAX)
    except SetupError as error:
        complain("secret_file", error.message)
        return target
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    return msgspec.structs.replace(target, secrets=lines, secret_file=str(file))


def _secrets_complaint(target: TargetConfig) -> str:
    """Never names a secret, not even a wrong one."""
    secrets = target.secrets
    if len(secrets) > SECRETS_MAX:
        return f"found {len(secrets)} secrets; allowed: at most {SECRETS_MAX}"
    if target.kind == "webhook":
        if not secrets:
            return 'a webhook is always signed; allowed: one or more "whsec_…" secrets'
        if not all(map(_is_webhook_secret, secrets)):
            sizes = f"{_KEY_BYTES.start} to {_KEY_BYTES.stop - 1}"
            return f'found something else; allowed: "whsec_" and {sizes} bytes in base64'
    if target.kind == "dingtalk" and (len(secrets) > 1 or "" in secrets):
        return "allowed: the one secret of the robot's signature setting, or none"
    if target.kind == "wecom" and secrets:
        return "a WeCom robot has no secret but its URL; allowed: none"
    return ""


def _is_webhook_secret(secret: str) -> bool:
    try:
        return len(secret_key(secret)) in _KEY_BYTES
    except ValueError:
        return False
