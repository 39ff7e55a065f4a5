from __future__ import annotations

import io
import secrets
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from access_bench import second_sku
from appliance_bench import Served, Station, TestPart, copy_folder, dice_ca_of, endorsed
from bad_bench import Scene, scene_of
from ceremony_bench import ALL_SKUS, Bench
from forward_bench import settings_for
from pa_bench import direct
from postgres import Cluster
from quick_seal import make_quick
from registry_bench import http_registry
from store_bench import PostgresPlace, SqlitePlace
from token_bench import make_token
from transfer_bench import RECEIVERS

from station.appliance.ceremony.task import Step
from station.appliance.certificates import private_der
from station.appliance.device_store import DeviceStore
from station.appliance.forwarding import forwarder_of
from station.appliance.keystore import KeyMaterial, spki
from station.appliance.pki import init
from station.cli import command_line


@pytest.fixture(scope="session", autouse=True)
def quick_seal():
    """Keystore files that this process makes cost little to seal and to open."""
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A development appliance that is never served itself: copy it."""
    folder = tmp_path_factory.mktemp("appliance") / "made"
    init(folder, ["station-1", "station-2"])
    return folder


@pytest.fixture
def folder(tmp_path, made) -> Path:
    """A copy of it that a test may change and serve."""
    return copy_folder(made, tmp_path / "appliance")


@pytest.fixture(scope="session")
def served(tmp_path_factory) -> Served:
    """One appliance process for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("served") / "appliance"
    init(folder, ["station-1", "station-2"])
    appliance = Served(folder)
    yield appliance
    assert appliance.stop() == 0


@pytest.fixture
def station(served, request):
    """A raw client with a session of its own."""
    client = Station(served.folder, served.target, user=request.node.name[:60])
    client.log_in()
    yield client
    client.close()


@pytest.fixture
def stranger(served, request):
    """A raw client without a session."""
    client = Station(served.folder, served.target, user=f"stranger-{request.node.name[:60]}")
    yield client
    client.close()


@pytest.fixture
def part(served) -> TestPart:
    return TestPart(dice_ca_of(served.folder))


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def scene(tmp_path_factory, made) -> Scene:
    """One appliance for all rows that leave it as it was."""
    folder = copy_folder(made, tmp_path_factory.mktemp("bad") / "appliance")
    second_sku(folder)
    served = Served(folder)
    scene = scene_of(served)
    scene.station.call("RegisterDevice", scene.part.registration(endorsed(scene.station, scene.part)))
    yield scene
    scene.close()
    assert served.stop() == 0
    assert "Traceback" not in served.log.read_text()


# ---- keys in a token of SoftHSM ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rma():
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


@pytest.fixture(scope="module")
def material(rma):
    return KeyMaterial(
        secret={"high": secrets.token_bytes(32), "low": secrets.token_bytes(32)},
        private={
            "p256.priv": private_der(ec.generate_private_key(ec.SECP256R1())),
            "p384.priv": private_der(ec.generate_private_key(ec.SECP384R1())),
        },
        public={"rma.pub": spki(rma.public_key())},
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory, material):
    """A token that tests leave as it was."""
    return make_token(tmp_path_factory.mktemp("softhsm") / "hsm", material)


@pytest.fixture
def token(shared):
    with shared.used():
        yield shared


@pytest.fixture
def keystore(token):
    with token.opened() as opened:
        yield opened


@pytest.fixture
def own(tmp_path, material):
    """A token for one test, which may break it."""
    with make_token(tmp_path / "hsm", material).used() as made:
        yield made


# ---- where registrations are, and where they go --------------------------------------------------------------------


@pytest.fixture(scope="session")
def cluster():
    """The server of this test session."""
    running = Cluster()
    yield running
    running.close()


@pytest.fixture
def postgres(cluster):
    """The server with a new empty schema: address and password for a registry."""
    return PostgresPlace(cluster, cluster.new_schema())


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """An empty place of either kind."""
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "registry.db")
    return request.getfixturevalue("postgres")


@pytest.fixture
def store(tmp_path):
    """An open device store in a file."""
    with closing(DeviceStore(tmp_path / "registry.db")) as opened:
        yield opened


@pytest.fixture
def registry():
    """An HTTP registry that is served."""
    with http_registry() as running:
        yield running


@pytest.fixture
def forwarder(store, registry):
    """From the store to the registry; not started: the test says when it forwards."""
    made = forwarder_of(store, settings_for(registry))
    yield made
    made.close()


# ---- a key ceremony ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Bench:
    """A finished ceremony of realm dev with all SKUs; copy it before you change it."""
    bench = Bench(tmp_path_factory.mktemp("ceremony"), ALL_SKUS)
    assert not any(outcome.already for outcome in bench.run())
    return bench


@pytest.fixture
def ended(finished, tmp_path) -> Bench:
    """A copy of it that a test may change."""
    return finished.copy(tmp_path / "ceremony")


@pytest.fixture(scope="session")
def stages(tmp_path_factory) -> dict[Step, Bench]:
    """The ceremony of one SKU as it stands before each step that receives something."""
    bench = Bench(tmp_path_factory.mktemp("stages") / "now")
    found = {}
    for step, do in bench.steps().items():
        if step in RECEIVERS:
            found[step] = bench.copy(bench.root.with_name(step.value))
        do()
    return found


@pytest.fixture
def stage(stages, tmp_path):
    """A copy of one of them."""
    return lambda step: stages[step].copy(tmp_path / "stage")


# ---- station pa --------------------------------------------------------------------------------------------------


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run one command of ``station pa`` in this process; exit code, what it printed, what it complained of."""
    monkeypatch.setattr("station.pa_connection.harden_process", lambda: None)
    monkeypatch.setattr("station.pa_connection.clean_environment", lambda realm: None)
    monkeypatch.delenv("STATION_FILE", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["station", "pa", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = command_line()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def here(served):
    """Options for the served appliance."""
    return direct(served.folder, served.target)


@pytest.fixture
def was(served) -> bytes:
    """The wafer secret of the reference diversifier, from the appliance's keystore."""
    from sku_bench import open_spm

    with open_spm(served.folder)._keystore.hmac_sha256("eg-kdf-hisec-v0", b"was".ljust(48, b"\0")).reveal() as value:
        return value
