"""The wheel is the whole product: it carries every file and runs far away from the source tree."""

import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.processes import Child, processes_in

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0
DRAIN_S = 20.0

# Building, installing some thirty packages and a cold start take longer than a test usually may.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), ROOT)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel, what it depends on, and no more."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    programs = environment / "bin"
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", wheel)
    run(*pip, "check")
    return programs


@pytest.fixture
def gateway(installed: Path, tmp_path: Path) -> Iterator[tuple[Child, str]]:
    """`stockgate serve` in an empty folder, and its base URL. It may not be ready yet."""
    port = free_port()
    config = tmp_path / "elsewhere.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n[server]\nport = {port}\n')
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [str(installed / "stockgate"), "serve", "--config", str(config)]
    child = Child(command, cwd=empty, log=tmp_path / "serve.log", env=bare_environment(installed))
    yield child, f"http://127.0.0.1:{port}"
    child.stop()


def bare_environment(programs: Path) -> dict[str, str]:
    """An environment that leads to the wheel only: nothing of this checkout, nothing of ours."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": f"{programs}:/usr/bin:/bin"}


def run(*command: object) -> None:
    """Runs to the end; a failure shows what was printed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}"


def source_files(folder: str, ignored: tuple[str, ...] = ("__pycache__",)) -> set[str]:
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT).as_posix() for path in files if not set(path.parts) & set(ignored)
    }


def test_it_carries_everything_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}
    scripts = {f"gateway/_{path}" for path in source_files("lua")}
    assert any(path.startswith("gateway/_lua/commands/") for path in scripts)
    assert any(path.startswith("gateway/ledger/migrations/") for path in carried)
    assert carried == source_files("gateway") | scripts


def test_it_names_its_licence_and_its_command(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        [entry_points] = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        assert "stockgate = gateway.__main__:main" in archive.read(entry_points).decode()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_it_sells_one_unit_and_stops_when_asked(gateway: tuple[Child, str], tmp_path: Path) -> None:
    server, url = gateway
    with httpx.Client(base_url=url, timeout=5.0, trust_env=False) as client:
        wait_until(server, lambda: client.get("/livez").status_code == 200)
        wait_until(server, lambda: client.get("/readyz").status_code == 200)
        sell_one_unit(client)

    server.terminate()

    assert server.wait(DRAIN_S) == 0, server.output()
    assert "Traceback" not in server.output()
    assert not processes_in(tmp_path), "the embedded store has to end with the gateway"


def sell_one_unit(client: httpx.Client) -> None:
    """Through every part that reads files of the package: scripts, migrations, assets."""
    terms = {"on_hand": 1, "safety_stock": 0}
    assert client.put("/v1/admin/skus/phone", json=terms).is_success
    wish = {"buyer": "ada", "lines": [{"sku": "phone", "quantity": 1}]}
    held = client.post("/v1/reservations", json=wish, headers={"Idempotency-Key": "first"})
    assert held.status_code == 201, held.text
    gone = client.post("/v1/reservations", json=wish, headers={"Idempotency-Key": "second"})
    assert (gone.status_code, gone.json()["code"]) == (409, "sold-out")
    confirm = f"/v1/reservations/{held.json()['id']}/confirm"
    sold = client.post(confirm, json={"payment_ref": "p-1"}, headers={"Prefer": "wait=10"})
    assert (sold.status_code, sold.json()["state"]) == (200, "settled")
    for page in ("/openapi.json", "/docs"):
        assert client.get(page).status_code == 200, page


def wait_until(server: Child, is_so: Callable[[], bool]) -> None:
    """Polls until `is_so()`; fails when the server ends or READY_S have passed."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert server.exit_code is None, f"ended with {server.exit_code}\n{server.output()}"
        try:
            if is_so():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"not ready after {READY_S} s\n{server.output()}")
