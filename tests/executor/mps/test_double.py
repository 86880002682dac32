"""The double keeps to what is documented, and every reply says what it rests on."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colocate.executor.mps import space_of
from colocate.executor.mps.sources import SOURCES
from colocate.executor.mps.toml import ServerConfig, config_text
from colocate.executor.ports import Limits, Space
from colocate.executor.unit import Unit
from tests.fakes import double, mps_core_v2, mps_core_v3
from tests.fakes.core_daemons import UID
from tests.fakes.double import Double, uuid
from tests.fakes.mps_core import Core, Gpu, Machine, Reply

GPU = uuid(1)
PIPE = "/run/nvidia-mps"


def core(**options: object) -> Core:
    return Core(Machine(gpus=(Gpu(GPU),), **options), (GPU,), UID)  # type: ignore[arg-type]


def ask(daemon: Core, line: str) -> str:
    return mps_core_v2.answer(daemon, line, UID).text


def call(daemon: Core, line: str) -> Reply:
    return mps_core_v3.answer(daemon, line.split(), UID, PIPE)


def unit(name: str = "a", **changes: object) -> Unit:
    made = Unit(
        key=f"{name}.0.01234567",
        role="task",
        workload=name,
        ordinal=0,
        gpu=GPU,
        share_pct=50,
        batch=1,
        memory_gib=1.0,
        memory_limit_mib=None,
        launch=name,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


# --- v2 ------------------------------------------------------------------------------------------


def test_defaults_reach_servers_that_start_later_only() -> None:
    daemon = core()
    daemon.attach(1, UID, {})
    server = ask(daemon, "get_server_list")
    ask(daemon, "set_default_active_thread_percentage 40")
    ask(daemon, f"set_default_device_pinned_mem_limit {GPU} 2G")
    assert daemon.attach(2, UID, {}).share == 100
    assert ask(daemon, f"get_active_thread_percentage {server}") == "100.0"
    ask(daemon, f"shutdown_server {server} -f")
    assert ask(daemon, "get_server_list") == ""
    later = daemon.attach(3, UID, {})
    assert (later.share, later.memory_mib) == (40, 2048)


def test_what_is_set_for_a_server_reaches_its_new_clients_only() -> None:
    daemon = core()
    daemon.attach(1, UID, {})
    server = ask(daemon, "get_server_list")
    ask(daemon, f"set_active_thread_percentage {server} 30")
    ask(daemon, f"set_device_pinned_mem_limit {server} 0 900M")
    later = daemon.attach(2, UID, {})
    assert (later.share, later.memory_mib) == (30, 900)
    assert ask(daemon, f"get_device_pinned_mem_limit {server} {GPU}") == "900M"


@pytest.mark.parametrize(("version", "most"), [(13010, 60), (13000, 48)])
def test_no_more_clients_than_the_device_has_contexts(version: int, most: int) -> None:
    daemon = core(version=version)
    assert all(daemon.attach(pid, UID, {}).error is None for pid in range(1, most + 1))
    assert daemon.attach(most + 1, UID, {}).error == "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED"
    daemon.detach(1)
    assert daemon.attach(most + 1, UID, {}).error is None


def test_one_user_at_a_time() -> None:
    daemon = core()
    daemon.attach(1, UID, {})
    assert daemon.attach(2, UID + 1, {}).error == "CUDA_ERROR_MPS_SERVER_NOT_READY"
    daemon.detach(1)  # the last client has left: the server ends
    assert ask(daemon, "get_server_list") == ""
    assert daemon.attach(2, UID + 1, {}).error is None


def test_fault_lasts_until_the_faulting_clients_have_left() -> None:
    daemon = core()
    daemon.attach(1, UID, {})
    daemon.attach(2, UID, {})
    server = ask(daemon, "get_server_list")
    daemon.fault(1)
    assert ask(daemon, f"get_server_status {server}") == "FAULT"
    assert daemon.attach(3, UID, {}).error == "CUDA_ERROR_MPS_SERVER_NOT_READY"
    daemon.detach(2)
    assert ask(daemon, f"get_server_status {server}") == "FAULT"
    daemon.detach(1)
    assert ask(daemon, f"get_server_status {server}") == "ACTIVE"


def test_a_new_server_may_take_its_time() -> None:
    daemon = core(initializing=2)
    ask(daemon, f"start_server -uid {UID}")
    server = ask(daemon, "get_server_list")
    said = [ask(daemon, f"get_server_status {server}") for _ in range(3)]
    assert said == ["INITIALIZING", "INITIALIZING", "ACTIVE"]


def test_a_client_that_vanishes_may_poison_its_co_tenants() -> None:
    daemon = core(poison=True)
    daemon.attach(1, UID, {})
    daemon.attach(2, UID, {})
    server = ask(daemon, "get_server_list")
    daemon.detach(1, graceful=False)
    assert ask(daemon, f"get_server_status {server}") == "FAULT"


@pytest.mark.parametrize(
    ("limit", "got"),
    [
        ("0=2G", 2048),
        (f"{GPU}=2G", 2048),
        ("0=8G", 4096),  # a client can only lower it
        ("0=2G,1=4G", None),  # names a GPU that is not seen: every limit is dropped
    ],
)
def test_a_clients_own_memory_limit(limit: str, got: int | None) -> None:
    daemon = core()
    ask(daemon, f"set_default_device_pinned_mem_limit {GPU} 4G")
    environment = {"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": limit}
    assert daemon.attach(1, UID, environment).memory_mib == got


def test_of_two_limits_for_one_device_the_last_counts() -> None:
    daemon = core()
    ask(daemon, "set_default_device_pinned_mem_limit 0 4G")
    ask(daemon, f"set_default_device_pinned_mem_limit {GPU} 3G")
    assert ask(daemon, "get_default_device_pinned_mem_limit 0") == "4G"
    assert daemon.attach(1, UID, {}).memory_mib == 3072


@pytest.mark.parametrize(
    "line",
    [
        *("set_default_active_thread_percentage 0", "set_default_active_thread_percentage 101"),
        *("set_default_device_pinned_mem_limit 0 4", "set_default_device_pinned_mem_limit 0 4.5G"),
        *("set_default_client_priority 2", "start_server", "frobnicate", "get_server_status"),
    ],
)
def test_what_is_not_well_formed_changes_nothing(line: str) -> None:
    daemon = core()
    assert mps_core_v2.answer(daemon, line, UID).code != 0
    assert ask(daemon, "get_default_active_thread_percentage") == "100.0"
    assert ask(daemon, "get_default_device_pinned_mem_limit 0") == ""


@pytest.mark.parametrize(("share", "sms"), [(50, 94), (25, 46), (75, 140), (100, 188)], ids=str)
def test_sms_are_those_that_were_measured(share: int, sms: int) -> None:
    """On a GPU of 188 SMs, by the source of client.sms."""
    machine = Machine(gpus=(Gpu(GPU, sms=188),))
    daemon = Core(machine, (GPU,), UID)
    ask(daemon, f"set_default_active_thread_percentage {share}")
    assert daemon.attach(1, UID, {}).sms == sms


# --- v3 ------------------------------------------------------------------------------------------


def test_a_namespace_takes_nothing_over_and_overrides_the_client() -> None:
    daemon = core()
    call(daemon, f"server create gpu --allowed-devices={GPU}")
    call(daemon, "server set gpu --active-thread-percentage=50 --pinned-memory-limit=10G")
    call(daemon, "namespace create free --server=gpu")
    call(daemon, "namespace create tight --server=gpu")
    call(daemon, "namespace set tight --server=gpu --active-thread-percentage=75")
    environment = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "20"}
    free = daemon.attach(1, UID, {}, server_name="gpu", space="free")
    tight = daemon.attach(2, UID, environment, server_name="gpu", space="tight")
    default = daemon.attach(3, UID, {}, server_name="gpu")
    assert (free.share, free.memory_mib) == (100, None)
    assert tight.share == 75
    assert (default.share, default.memory_mib) == (50, 10240)


def test_a_server_for_a_gpu_that_is_not_there_disappears() -> None:
    daemon = core()
    assert call(daemon, f"server create gpu --allowed-devices={uuid(9)}").code == 0
    assert call(daemon, "server list --format=csv,noheader").text == ""


def test_clients_keep_a_server_and_a_namespace() -> None:
    daemon = core()
    call(daemon, f"server create gpu --allowed-devices={GPU}")
    call(daemon, "namespace create a --server=gpu")
    daemon.attach(7, UID, {}, server_name="gpu", space="a")
    assert call(daemon, "namespace delete a --server=gpu").code != 0
    assert call(daemon, "server delete gpu").code != 0
    assert call(daemon, "server delete gpu --force").code == 0
    assert daemon.terminated == [7]


def test_a_client_of_another_user_is_not_permitted() -> None:
    daemon = core()
    call(daemon, "server create gpu")
    refused = daemon.attach(1, UID + 1, {}, server_name="gpu")
    assert refused.error == "CUDA_ERROR_NOT_PERMITTED"


@pytest.mark.parametrize(
    "line",
    [
        *("server create Gpu", "server create", "namespace create a", "server set gpu"),
        *("server set gpu --active-thread-percentage=0", "server set gpu --frob=1"),
        *("server set gpu --pinned-memory-limit=5", "namespace create " + "a" * 65),
        *("client terminate 5", "frob list", "namespace delete default --server=gpu"),
    ],
)
def test_errors_of_v3_have_a_status(line: str) -> None:
    daemon = core()
    call(daemon, "server create gpu --uid=1000")
    if line == "server create":
        call(daemon, line)  # the first one is the user's own, and then it exists
    assert call(daemon, line).code != 0


def test_the_configuration_that_we_write_is_taken() -> None:
    daemon = core()
    limits = Limits(
        share_pct=80,
        memory_limit_mib=4096,
        spaces=(Space(name="a", share_pct=30, memory_limit_mib=1024, low_priority=True),),
    )
    text = config_text([ServerConfig(name="gpu", gpu=GPU, limits=limits, user_id=UID)])
    assert mps_core_v3.apply_file(daemon, tomllib.loads(text), UID) is None
    listed = call(daemon, "namespace list --server=gpu --format=csv,noheader").text
    assert listed.splitlines() == [
        f"a,gpu,Ready,1G,30.00,1,{PIPE}/gpu/a",
        f"default,gpu,Ready,4G,80.00,0,{PIPE}/gpu/default",
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('schema_version = "2"', "schema_version"),
        ('schema_version = "1.0"\n[servers.a]\nfrob = 1', "frob"),
        ('schema_version = "1.0"\n[servers.a.namespaces.b]\nuid = 1', "uid"),
        ('schema_version = "1.0"\n[servers.a]\nactive_thread_percentage = 50', "string"),
    ],
)
def test_a_configuration_with_an_error_is_refused(text: str, wrong: str) -> None:
    assert wrong in (mps_core_v3.apply_file(core(), tomllib.loads(text), UID) or "")


def test_every_reply_names_a_source_that_there_is() -> None:
    v2 = [
        *("get_server_list", "start_server -uid 1000", "get_server_status 0", "ps", "lspart"),
        *("get_client_list 0", "get_device_client_list", "terminate_client 1 2", "quit", ""),
        *("get_default_active_thread_percentage", "set_default_active_thread_percentage 5"),
        *("get_active_thread_percentage 1", "set_active_thread_percentage 1 5"),
        *("get_default_device_pinned_mem_limit 0", "set_default_device_pinned_mem_limit 0 1G"),
        *("get_device_pinned_mem_limit 1 0", "set_device_pinned_mem_limit 1 0 1G"),
        *("get_default_client_priority", "set_default_client_priority 1", "shutdown_server 1 -f"),
    ]
    v3 = [
        *("server create gpu", "server list", "server set gpu --client-priority=1", "-q"),
        *("server get gpu pid", "namespace create a --server=gpu", "namespace get a gpu name"),
        *("namespace set a --server=gpu --client-priority=1", "namespace list", "client list"),
        *("namespace delete a --server=gpu", "client terminate 5", "device list", "frob"),
        "server delete gpu",
    ]
    daemon = core()
    daemon.attach(5, UID, {})
    server = ask(daemon, "get_server_list")
    lines = [*v2, *(line.replace(" 1", f" {server}", 1) for line in v2)]
    replies = [mps_core_v2.answer(daemon, line, UID) for line in lines]
    other = core()
    replies += [call(other, line) for line in v3]
    assert {reply.source for reply in replies} <= SOURCES.keys()
    attached = [daemon.attach(6, UID + 1, {}), other.attach(6, UID, {}, server_name="x")]
    assert {one.source for one in attached} <= SOURCES.keys()


@settings(max_examples=50)
@given(line=st.text(max_size=60))
def test_no_line_makes_the_double_fall_over(line: str) -> None:
    mps_core_v2.answer(core(), line, UID)
    mps_core_v3.answer(core(), line.split(), UID, PIPE)


def test_space_of_a_unit() -> None:
    made = space_of(unit(share_pct=35, memory_limit_mib=512))
    assert (made.share_pct, made.memory_limit_mib, made.low_priority) == (35, 512, False)


def test_the_executable_works_through_a_link(tmp_path: Path) -> None:
    """As it lies in the repository, under the name that a PATH would find."""
    program = Path(double.__file__).with_name("nvidia-cuda-mps-control")
    bare = subprocess.run([str(program), "-v"], capture_output=True, text=True, timeout=60)
    assert bare.returncode == 1
    assert "double.json" in bare.stderr
    Double(tmp_path / "bin").binary.unlink()
    (tmp_path / "bin" / "nvidia-cuda-mps-control").symlink_to(program)
    environment = {"PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run(
        ["nvidia-cuda-mps-control", "-v"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "CUDA MPS Control binary version: 13040\n")
