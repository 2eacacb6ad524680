"""[notify] and [[notify.targets]]: what is taken, what is refused, and what is never shown."""

from pathlib import Path

import pytest

from gateway.core.config import Config, config_as_rows, config_docs, load_config
from gateway.core.errors import SetupError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = f"""[[notify.targets]]
name = "ops"
kind = "webhook"
url = "https://ops.example/hooks/T0123456789?token=tok0123456789"
secrets = ["{SECRET}"]
"""
ROBOT = """[[notify.targets]]
name = "chat"
kind = "wecom"
url = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=key0123456789"
"""


def load(folder: Path, text: str) -> Config:
    (folder / "stockgate.toml").write_text(text, encoding="utf-8")
    return load_config(None, {}, cwd=folder)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(SetupError) as error:
        load(folder, text)
    return error.value.message


def test_targets(tmp_path: Path) -> None:
    config = load(tmp_path, "[notify]\nfold_s = 30\n" + HOOK + 'events = ["drift.found"]\n' + ROBOT)
    assert config.notify.fold_s == 30
    ops, chat = config.targets
    assert (ops.name, ops.kind, ops.secrets) == ("ops", "webhook", (SECRET,))
    assert (ops.events, ops.severity, ops.language) == (("drift.found",), "warning", "en")
    assert (chat.name, chat.kind, chat.allow_private) == ("chat", "wecom", False)
    assert load(tmp_path, "").targets == ()


def test_secrets_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{SECRET}\n\n{SECRET[:-4]}AAAA\n", encoding="utf-8")
    text = HOOK.replace(f'secrets = ["{SECRET}"]', 'secret_file = "keys"')
    (target,) = load(tmp_path, text).targets
    assert target.secrets == (SECRET, f"{SECRET[:-4]}AAAA")


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("true", "http://127.0.0.1:9000/hook"),
        ("true", "https://[::1]/hook"),
        ('["10.1.0.0/16"]', "http://10.1.2.3/hook"),
        ('["10.1.2.3"]', "https://10.1.2.3/hook"),
        ("false", "https://8.8.8.8/hook"),
    ],
)
def test_private_targets_that_are_allowed(tmp_path: Path, allow: str, url: str) -> None:
    text = f'{HOOK}allow_private = {allow}\nurl = "{url}"'
    text = "\n".join(line for line in text.split("\n") if "T0123456789" not in line)
    assert load(tmp_path, text).targets[0].url == url


def with_url(url: str, more: str = "") -> str:
    lines = [f'url = "{url}"' if "url" in line else line for line in HOOK.split("\n")]
    return "\n".join(lines) + more


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[notify]\nfold_s = 0", ":2: notify.fold_s: found 0; allowed: a number from 1"),
        ("[notify]\nfolds = 1", ":2: notify.folds: there is no such setting; did you mean `notify"),
        ("[notify]\nbackoff_max_s = 0.5", "allowed: at most notify.backoff_max_s, which is 0.5"),
        ("[notify]\ntargets = 5", ":2: notify.targets: found 5; allowed: [[notify.targets]] tab"),
        ("[notify.targets]\nname = 'x'", ":1: notify.targets: found a table; allowed: [[notify"),
        (HOOK + "colour = 1", ":6: notify.targets[0].colour: there is no such setting"),
        (HOOK + "event = []", "there is no such setting; did you mean `events`?"),
        ('[[notify.targets]]\nname = "x"', ":1: notify.targets[0].url: is missing; allowed: an"),
        (HOOK.replace('"ops"', '"o ps"'), ':2: notify.targets[0].name: found "o ps"; allowed: 1'),
        (HOOK + HOOK, ':7: notify.targets[1].name: "ops" is the name of an earlier target'),
        (
            HOOK.replace('"webhook"', '"webhok"'),
            ':3: notify.targets[0].kind: found "webhok"; allowed: webhook, dingtalk, wecom; '
            "did you mean `webhook`?",
        ),
        (HOOK + 'events = ["drift.fond"]', ':6: notify.targets[0].events: found "drift.fond"; a'),
        (HOOK + 'events = ["drift.fond"]', "did you mean `drift.found`?"),
        (HOOK + 'severity = "critcal"', "did you mean `critical`?"),
        (HOOK + 'language = "cn"', ':6: notify.targets[0].language: found "cn"; allowed: en, zh'),
        (HOOK + 'allow_private = "yes"', ':6: notify.targets[0].allow_private: found "yes"; allow'),
        (HOOK + 'allow_private = ["10/8"]', 'found "10/8"; allowed: true, false, or an array of'),
        (HOOK + 'allow_private = ["10.1.2.3/8"]', 'found "10.1.2.3/8"; allowed'),
        (with_url("http://ops.example/"), ":4: notify.targets[0].url: is sent in the clear; allow"),
        (with_url("ftp://ops.example/"), "url: found something else; allowed: an https:// URL"),
        (with_url("ops.example/hook"), "allowed: an https:// URL"),
        (with_url("https://"), "allowed: an https:// URL"),
        (with_url("https://ops.example:99999/"), "allowed: an https:// URL"),
        (with_url("https://ops.example:0/"), "allowed: an https:// URL"),
        (with_url("https://u:hunter2@ops.example/"), "has a user name or a fragment"),
        (with_url("https://ops.example/#x"), "has a user name or a fragment"),
        (with_url("https://库存.example/"), "has characters that a URL cannot have"),
        (with_url("https://ops.example/a b"), "has characters that a URL cannot have"),
        (with_url("https://ops.example/a\\nb"), "has characters that a URL cannot have"),
        (with_url("https://127.0.0.1/"), 'found "127.0.0.1", a loopback address; allowed: a publ'),
        (with_url("https://[::ffff:10.0.0.1]/"), "a private address; allowed: a public address"),
        (
            with_url("http://10.2.0.1/", 'allow_private = ["10.1.0.0/16"]'),
            'found "10.2.0.1", a private address',
        ),
        (HOOK.replace(f'["{SECRET}"]', "[]"), ":5: notify.targets[0].secrets: a webhook is always"),
        (HOOK.replace(SECRET, "hunter2"), 'secrets: found something else; allowed: "whsec_" and'),
        (HOOK.replace(SECRET, "whsec_aHVudGVyMg=="), "and 24 to 64 bytes in base64"),
        (HOOK.replace(f'["{SECRET}"]', '"hunter2"'), "secrets: found something else; allowed: an"),
        (
            HOOK.replace(f'"{SECRET}"', ", ".join([f'"{SECRET}"'] * 5)),
            "secrets: found something else; allowed: an array of at most 4 texts",
        ),
        (HOOK + 'secret_file = "x"', ":6: notify.targets[0].secret_file: secrets are set as well"),
        (ROBOT + 'secret_file = "no"', ":5: notify.targets[0].secret_file: no secret file at "),
        (ROBOT + 'secrets = ["hunter2"]', "a WeCom robot has no secret but its URL"),
        (ROBOT.replace("wecom", "dingtalk").replace("key=", "sign="), "has a timestamp or sign of"),
        (
            ROBOT.replace("wecom", "dingtalk") + 'secrets = ["hunter2", "hunter2"]',
            "the one secret of the robot's signature setting, or none",
        ),
        ("\n".join(ROBOT.replace("chat", f"c{n}") for n in range(17)), "at most 16"),
    ],
)
def test_a_wrong_target(tmp_path: Path, text: str, said: str) -> None:
    message = complaint(tmp_path, text)
    assert f"{tmp_path}/stockgate.toml:" in message
    assert said in message
    for secret in ("hunter2", "0123456789", SECRET, "aHVudGVyMg"):
        assert secret not in message


def test_targets_are_shown_without_their_secrets(tmp_path: Path) -> None:
    config = load(tmp_path, HOOK + ROBOT)
    rows = config_as_rows(config)
    shown = {key: value for key, value, _ in rows}
    assert shown["notify.targets[0].url"] == "https://ops.example/(hidden)"
    assert shown["notify.targets[0].secrets"] == "(1 hidden)"
    assert shown["notify.targets[1].name"] == "chat"
    sources = {key: source for key, _, source in rows}
    assert sources["notify.targets[1].name"] == f"{tmp_path}/stockgate.toml:6"
    seen = str(rows) + repr(config)
    assert "0123456789" not in seen
    assert SECRET not in seen


def test_every_setting_of_a_target_is_documented() -> None:
    docs = {doc.key: doc for doc in config_docs()}
    names = ("name", "kind", "url", "secrets", "secret_file", "events", "severity", "language")
    for name in (*names, "allow_private"):
        doc = docs[f"notify.targets[].{name}"]
        assert doc.meaning.endswith(".")
        assert doc.allowed
