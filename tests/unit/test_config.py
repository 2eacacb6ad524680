"""Configuration: what is taken from where, and what is said about mistakes."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.config import Config, config_as_rows, config_docs, is_loopback, load_config
from gateway.core.config_rules import broken_rules
from gateway.core.errors import SetupError

ROOT = Path(__file__).parents[2]
HASH = hashlib.sha256(b"open sesame").hexdigest()
KEY = f'[[keys]]\nname = "shop"\nsha256 = "{HASH}"\nscopes = ["storefront", "admin"]\n'


def load(folder: Path, text: str, **env: str) -> Config:
    file = folder / "stockgate.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(None, env, cwd=folder)


def complaint(folder: Path, text: str, **env: str) -> str:
    with pytest.raises(SetupError) as error:
        load(folder, text, **env)
    assert error.value.exit_code == 2
    return error.value.message


# ── where values come from ───────────────────────────────────────────────────


def test_every_value_has_a_default(tmp_path: Path) -> None:
    config = load_config(None, {}, cwd=tmp_path)
    assert config.origin.path == ""
    assert config.data_dir == str(tmp_path / ".stockgate")
    assert config.ledger_url == f"sqlite+aiosqlite:///{tmp_path}/.stockgate/ledger.sqlite3"
    assert msgspec.structs.replace(config, data_dir=".stockgate") == Config()
    assert not list(broken_rules(Config()))


def test_defaults_lie_in_their_ranges() -> None:
    values = {key: value for key, value, _ in config_as_rows(Config())}
    docs = {doc.key: doc for doc in config_docs()}
    assert values.keys() <= docs.keys()
    for key, value in values.items():
        text = f"{key} = {docs[key].default}" if "." not in key else ""
        assert docs[key].meaning.endswith("."), key
        assert docs[key].allowed, key
        assert not text or tomllib.loads(text) == {key: value}


def test_the_file_wins_over_defaults_and_the_environment_over_the_file(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "[server]\nport = 81\nbody_max_bytes = 2048\n[confirm]\nwait_s = 1\n",
        STOCKGATE_SERVER_PORT="9000",
        STOCKGATE_STORE="memory://",
        STOCKGATE_CONFIRM_WAIT_S=" 2.5 ",
    )
    assert (config.server.port, config.server.body_max_bytes) == (9000, 2048)
    assert (config.confirm.wait_s, config.store) == (2.5, "memory://")
    assert config.ledger_url == "sqlite+aiosqlite://"
    sources = {key: source for key, _, source in config_as_rows(config)}
    assert sources["server.port"] == "environment STOCKGATE_SERVER_PORT"
    assert sources["server.body_max_bytes"] == f"{tmp_path}/stockgate.toml:3"
    assert sources["server.host"] == "default"


def test_a_file_given_by_name(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[server]\nport = 82\n", encoding="utf-8")
    (tmp_path / "stockgate.toml").write_text("nonsense", encoding="utf-8")
    config = load_config("other.toml", {}, cwd=tmp_path)
    assert config.server.port == 82
    assert config.origin.path == str(tmp_path / "other.toml")


def test_paths_in_a_file_start_from_its_folder_and_others_from_here(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "goods.toml").touch()
    (shop / "c.toml").write_text(
        'data_dir = "data"\nledger = "sqlite+aiosqlite:///books/l.db"\n'
        '[demo]\ncatalogue = "goods.toml"\n',
        encoding="utf-8",
    )
    config = load_config("shop/c.toml", {}, cwd=tmp_path)
    assert config.data_dir == str(shop / "data")
    assert config.demo.catalogue == str(shop / "goods.toml")
    assert config.ledger_url == f"sqlite+aiosqlite:///{shop}/books/l.db"
    config = load_config("shop/c.toml", {"STOCKGATE_DATA_DIR": "data"}, cwd=tmp_path)
    assert config.data_dir == str(tmp_path / "data")


def _as_variable(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def test_every_setting_can_be_set_in_the_file_and_in_the_environment(tmp_path: Path) -> None:
    rows = [row for row in config_as_rows(Config()) if row[0] not in ("demo.catalogue", "data_dir")]
    env = {
        f"STOCKGATE_{key.upper().replace('.', '_')}": _as_variable(value) for key, value, _ in rows
    }
    config = load_config(None, env, cwd=tmp_path)
    assert {source for _, _, source in config_as_rows(config)} == {
        "default",
        *(f"environment {name}" for name in env),
    }
    text = "\n".join(f"{key} = {msgspec.json.encode(value).decode()}" for key, value, _ in rows)
    assert load(tmp_path, text).origin.sources.keys() == {key for key, _, _ in rows}


def test_what_kubernetes_sets_for_services_is_not_ours(tmp_path: Path) -> None:
    env = {
        "STOCKGATE_REDIS_PORT": "tcp://10.0.0.7:6379",
        "STOCKGATE_REDIS_SERVICE_HOST": "10.0.0.7",
        "STOCKGATE_REDIS_PORT_6379_TCP_ADDR": "10.0.0.7",
        "STOCKGATE_SERVER_PORT": "tcp://10.0.0.8:8080",
        "STOCKGATE_TOKEN": "belongs to somebody else",
    }
    assert load_config(None, env, cwd=tmp_path).server.port == 8080


def test_the_demo_configuration_is_valid() -> None:
    config = load_config(str(ROOT / "demo" / "stockgate.toml"), {})
    assert config.data_dir == str(ROOT / ".stockgate")
    assert config.demo.catalogue == str(ROOT / "demo" / "catalogue.toml")


# ── mistakes in one setting ──────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[hold]\n\nttl_s = -5", ":3: hold.ttl_s: found -5; allowed: a whole number from 1 to 144"),
        ("[hold]\nttl_s = 1.5", ":2: hold.ttl_s: found 1.5; allowed: a whole number"),
        ("[hold]\nttl_s = true", ":2: hold.ttl_s: found true; allowed"),
        ('[hold]\nttl_s = "900"', ':2: hold.ttl_s: found "900"; allowed'),
        ("[hold]\nttl_s = [\n1]", ":2: hold.ttl_s: found an array; allowed"),
        ("hold = {ttl_max_s = 2,\tttl_s = 0}", ":1: hold.ttl_s: found 0"),
        ("# x\nhold.ttl_s = 0", ":2: hold.ttl_s: found 0"),
        ("hold = 5", ":1: hold: found 5; allowed: a table, [hold]"),
        ("[[hold]]\nttl_s = 5", ":1: hold: found an array; allowed: a table"),
        (
            "[confirm]\nwait_s = nan",
            ":2: confirm.wait_s: found nan; allowed: a number from 0 to 30",
        ),
        ("[confirm]\nwait_s = inf", ":2: confirm.wait_s: found inf"),
        ("[server]\nport = 65536", ":2: server.port: found 65536; allowed: a whole number from 0"),
        ("[server]\nport = 99999999999999999999999", ":2: server.port: found 9999"),
        ("[server]\nhost = 5", ":2: server.host: found 5; allowed: an IP address"),
        ('[server]\nhost = ""', ':2: server.host: found ""'),
        (
            "[batch]\nlines_max = 49",
            ":2: batch.lines_max: found 49; allowed: a whole number from 50",
        ),
        ("shards = 2", ":1: shards: found 2; allowed: 1 (carts across shards are not built yet)"),
        ('data_dir = ""', ':1: data_dir: found ""; allowed: the path of a folder'),
        ('[demo]\ncatalogue = "no.toml"', "no.toml"),
    ],
)
def test_a_wrong_value(tmp_path: Path, text: str, said: str) -> None:
    message = complaint(tmp_path, text)
    assert message.startswith(f"{tmp_path}/stockgate.toml:")
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[hold]\nttls = 5", ":2: hold.ttls: there is no such setting; did you mean `hold.ttl_s`?"),
        ("[holds]\nttl_s = 5", ":1: holds: there is no such setting; did you mean `hold`?"),
        ("ttl_s = 5", "did you mean `hold.ttl_s`?"),
        ("port = 5", "did you mean `server.port`?"),
        ("[hold]\nwait_s = 5", "did you mean `confirm.wait_s`?"),
        ("batch_max = 5", "did you mean `settler.batch_max` or `reaper.batch_max`?"),
        ("zzzzzz = 5", ":1: zzzzzz: there is no such setting"),
        ('x = """\nhold = 1\n[server]\n"""\n[hold]\nttls = 5', ":6: hold.ttls"),
        ('[hold]\r\n\r\n"tt\\u006cs" = 5\r\n', ":3: hold.ttls"),
    ],
)
def test_an_unknown_setting(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"STOCKGATE_SERVER_PORT": "many"}, 'STOCKGATE_SERVER_PORT: server.port: found "many"'),
        ({"STOCKGATE_SERVER_PORT": ""}, 'server.port: found ""'),
        ({"STOCKGATE_SERVER_PORT": "1e3"}, 'server.port: found "1e3"'),
        ({"STOCKGATE_SERVER_PORT": "80.0"}, 'server.port: found "80.0"'),
        ({"STOCKGATE_SERVER_PORT": "٨٠"}, "server.port: found"),
        ({"STOCKGATE_SERVER_PORT": "9" * 40}, "server.port: found"),
        ({"STOCKGATE_CONFIRM_WAIT_S": "nan"}, 'confirm.wait_s: found "nan"'),
        ({"STOCKGATE_HOLD_TTL": "5"}, "did you mean `STOCKGATE_HOLD_TTL_S`?"),
        (
            {"STOCKGATE_HOLD_TTL": "5"},
            "environment STOCKGATE_HOLD_TTL: there is no such setting",
        ),
        ({"STOCKGATE_KEYS": "x"}, "keys are set in the file only"),
        ({"STOCKGATE_SHARDS": "4"}, "environment STOCKGATE_SHARDS: shards: found 4; allowed: 1"),
    ],
)
def test_a_wrong_variable(tmp_path: Path, env: dict[str, str], said: str) -> None:
    message = complaint(tmp_path, "", **env)
    assert message.startswith("environment STOCKGATE_")
    assert said in message


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "[server]\nport = -1\ncolour = 1\n[hold]\nttl_s = 0\n"
    lines = complaint(tmp_path, text, STOCKGATE_BATCH_SIZE_MAX="0").split("\n")
    assert lines[0] == "the configuration has 4 mistakes"
    assert [line.split(": ")[1] for line in lines[1:]] == [
        "batch.size_max",
        "server.port",
        "server.colour",
        "hold.ttl_s",
    ]


# ── rules between settings ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[hold]\nttl_max_s = 60\n",
            ":2: hold.ttl_max_s: found 900; allowed: at most hold.ttl_max",
        ),
        ("[hold]\nttl_s = 70\nttl_max_s = 60\n", ":2: hold.ttl_s: found 70; allowed: at most hold"),
        ("[hold]\nextend_total_max_s = 901\n", "at most hold.extend_total_max_s, which is 901"),
        ("[batch]\nsize_max = 300\nqueue_max = 200\n", "at most batch.queue_max, which is 200"),
        ("[batch]\nsize_max = 2000\n", "at most batch.lines_max, which is 1024"),
        ("[redis]\ncall_timeout_ms = 10_000\n", "more than redis.call_timeout_ms (10000 ms)"),
        ("[retention]\nended_s = 1_799\n", "at least hold.payment_window_s (1800)"),
        ('[server]\nhost = "0.0.0.0"\n', ':2: server.host: found "0.0.0.0" while no [[keys]]'),
        ('[server]\nhost = "shop.example"\n', "allowed: a loopback address"),
        ('store = "memory://"\nledger = "sqlite+aiosqlite:///l.db"\n', ":2: ledger: a ledger in a"),
        ('ledger = "sqlite+aiosqlite://"\n', ":1: ledger: a ledger in memory would forget"),
        ('ledger = "sqlite+aiosqlite:///:memory:"\n', "a ledger in memory would forget"),
        (
            'store = "memory://"\nledger = "postgresql://u:secret@h/d"\n',
            ":2: ledger: a ledger in a database would outlive",
        ),
        (
            'ledger = "postgres://u:secret@h/d"\n',
            ':1: ledger: found "postgres://u:***@h/d"; allowed: "", "sqlite+aiosqlite:///path',
        ),
        ('ledger = "postgres://u:secret@h/d"\n', 'did you mean "postgresql+asyncpg://…"?'),
        ('ledger = "postgresql+psycopg2://u:secret@h/d"\n', 'did you mean "postgresql+asyncpg'),
        ('ledger = "mysql://u:secret@h/d"\n', ":1: ledger: found"),
        ('ledger = "postgresql://u:secret@h"\n', "without host or database"),
        ('ledger = "postgresql://u:secret@/d"\n', "without host or database"),
        ('ledger = "postgresql://u:secret@h:99999/d"\n', "without host or database"),
        ('ledger = "postgresql://u:sec@ret-secret@h/d"\n', "%40 for @ in the password"),
        ('store = "embedded"\n', ':1: store: found "embedded"; allowed: "embedded://", "mem'),
        ('store = "redis://"\n', 'found "redis://"'),
        ('store = "redis://h:99999/0"\n', "allowed"),
        ('store = "redis://h/zero"\n', "allowed"),
        ('store = "unix://relative.sock"\n', "allowed"),
        ('store = "http://h"\n', "allowed"),
    ],
)
def test_a_broken_rule(tmp_path: Path, text: str, said: str) -> None:
    message = complaint(tmp_path, text)
    assert said in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "store",
    ["redis://h", "redis://h:6379/0", "rediss://u:p@h:1/15", "redis://[::1]:6379", "unix:///a/b"],
)
def test_stores_of_ones_own(tmp_path: Path, store: str) -> None:
    assert load(tmp_path, f'store = "{store}"').store == store


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg"])
def test_a_ledger_on_a_server(tmp_path: Path, scheme: str) -> None:
    config = load(tmp_path, f'ledger = "{scheme}://u:hunter2@h:5433/d?ssl=require"')
    assert config.ledger_is_shared
    assert config.ledger_url == f"{scheme}://u:hunter2@h:5433/d?ssl=require"
    shown = {key: value for key, value, _ in config_as_rows(config)}
    assert shown["ledger"] == f"{scheme}://u:***@h:5433/d?ssl=require"


def test_other_addresses_need_a_key(tmp_path: Path) -> None:
    assert load(tmp_path, KEY + '[server]\nhost = "0.0.0.0"\n').server.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


# ── keys and secrets ─────────────────────────────────────────────────────────


def test_keys(tmp_path: Path) -> None:
    second = KEY.replace("shop", "ops").replace(HASH, "AB" * 32)
    keys = load(tmp_path, KEY + second).keys
    assert [(key.name, key.sha256) for key in keys] == [("shop", HASH), ("ops", "ab" * 32)]
    assert keys[0].scopes == ("storefront", "admin")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[keys]]\nname = "a"\n', ":1: keys[0].sha256: is missing; allowed: 64 hex digits"),
        (KEY.replace(HASH, "open sesame"), ":3: keys[0].sha256: found something else; allowed"),
        (KEY.replace(HASH, HASH + "\\n"), "keys[0].sha256: found something else"),
        (KEY.replace('"shop"', '"a b"'), ':2: keys[0].name: found "a b"; allowed: 1 to 64'),
        (
            KEY.replace('"admin"', '"admn"'),
            ':4: keys[0].scopes: found "admn"; allowed: one or more',
        ),
        (KEY.replace('["storefront", "admin"]', "[]"), "keys[0].scopes: found an array; allowed"),
        (KEY + "color = 1", ":5: keys[0].color: there is no such setting"),
        (KEY + KEY.replace(HASH, "0" * 64), ":6: keys[1].name"),
        (KEY + KEY.replace("shop", "ops"), ":7: keys[1].sha256: an earlier key has the same hash"),
        (KEY.replace("[[keys]]", "[keys]"), ":1: keys: found a table; allowed: [[keys]] tables"),
        ("keys = [1]", ":1: keys: found an array; allowed: [[keys]] tables"),
    ],
)
def test_a_wrong_key(tmp_path: Path, text: str, said: str) -> None:
    message = complaint(tmp_path, text)
    assert said in message
    assert "sesame" not in message


def test_what_is_shown_has_no_secrets(tmp_path: Path) -> None:
    text = f'store = "redis://user:hunter2@h:6379/0?password=hunter3"\n{KEY}'
    rows = config_as_rows(load(tmp_path, text))
    shown: dict[str, Any] = {key: value for key, value, _ in rows}
    assert shown["store"] == "redis://user:***@h:6379/0?password=***"
    assert shown["keys[0].name"] == "shop"
    assert "hunter" not in str(rows)
    assert HASH not in str(rows)
    assert rows[-1][2] == f"{tmp_path}/stockgate.toml:2"


# ── files that cannot be read ────────────────────────────────────────────────


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as error:
        load_config("absent.toml", {}, cwd=tmp_path)
    assert f"no configuration file at {tmp_path}/absent.toml" in error.value.message
    assert "--config" in error.value.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = 1\nb == 2\n", "stockgate.toml:2:4: Invalid value"),
        (b"[server]\nport = 1\nport = 2\n", "stockgate.toml:3:"),
        (b'a = """\nendless', "stockgate.toml:2: "),
        (b"a = 1\nb = '\xff'\n", "stockgate.toml:2: this is not UTF-8 text"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"#" * (1024 * 1024 + 1), "larger than 1048576 bytes"),
        (b"a = 1\x00", "stockgate.toml:1:6"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "stockgate.toml").write_bytes(content)
    with pytest.raises(SetupError) as error:
        load_config(None, {}, cwd=tmp_path)
    assert said in error.value.message


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "stockgate.toml").mkdir()
    with pytest.raises(SetupError, match="cannot read the configuration file .*Is a directory"):
        load_config(None, {}, cwd=tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "stockgate.toml").write_bytes(b"\xef\xbb\xbf[server]\r\nport = 83\r\n")
    assert load_config(None, {}, cwd=tmp_path).server.port == 83
