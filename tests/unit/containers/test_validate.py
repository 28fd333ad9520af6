import pytest

from pier.api.models.containers import ContainerConfig, HostConfig, LogConfig, Mount, RestartPolicy, Ulimit
from pier.containers import validate
from pier.errors import Invalid

MACHINE = validate.Machine(frozenset({0, 1}), frozenset({0}))
RESTART = "invalid restart policy: "


@pytest.mark.parametrize(
    ("host", "text"),
    [
        (HostConfig(memory=1024), "Minimum memory limit allowed is 6MB"),
        (HostConfig(memory=-5), "Minimum memory limit allowed is 6MB"),
        (HostConfig(memory=67108864, memory_swap=1048576), "Minimum memoryswap limit should be larger than memory limit, see usage"),
        (HostConfig(memory_swap=67108864), "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (HostConfig(memory=67108864, memory_reservation=134217728), "Minimum memory limit can not be less than memory reservation limit, see usage"),
        (HostConfig(memory_swappiness=200), "Invalid value: 200, valid memory swappiness range is 0-100"),
        (HostConfig(nano_cpus=500_000_000_000), "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (HostConfig(nano_cpus=-1), "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (HostConfig(nano_cpus=1_000_000_000, cpu_quota=5000), "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (HostConfig(cpu_period=10), "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        (HostConfig(cpu_quota=10), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (HostConfig(cpuset_cpus="99"), "Requested CPUs are not available - requested 99, available: 0-1"),
        (HostConfig(cpuset_cpus="a-b"), "Invalid value a-b for cpuset cpus: invalid format: a-b"),
        (HostConfig(cpuset_mems="9"), "Requested memory nodes are not available - requested 9, available: 0"),
        (HostConfig(console_size=[99999999, 1]), "invalid ConsoleSize [99999999, 1]: rows and columns are from 0 to 65535"),
        (HostConfig(shm_size=-1), "SHM size can not be less than 0"),
        (HostConfig(oom_score_adj=5000), "Invalid value 5000, range for oom score adj is [-1000, 1000]"),
        (
            HostConfig(restart_policy=RestartPolicy(name="foo")),
            RESTART + "unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            HostConfig(restart_policy=RestartPolicy(name="always", maximum_retry_count=2)),
            RESTART + "maximum retry count can only be used with 'on-failure'",
        ),
        (HostConfig(restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=-1)), RESTART + "maximum retry count cannot be negative"),
        (HostConfig(auto_remove=True, restart_policy=RestartPolicy(name="always")), "can't create 'AutoRemove' container with restart policy"),
        (HostConfig(cap_add=["NOPE"]), 'invalid CapAdd: unknown capability: "CAP_NOPE"'),
        (HostConfig(ipc_mode="foo"), "invalid IPC mode: foo"),
        (HostConfig(pid_mode="foo"), "invalid PID mode: foo"),
        (HostConfig(uts_mode="foo"), "invalid UTS mode: foo"),
        (HostConfig(cgroupns_mode="foo"), "invalid cgroup namespace mode: foo"),
        (HostConfig(network_mode="container:"), "invalid network mode: invalid container format container:<name|id>"),
        (HostConfig(runtime="nope"), "unknown or invalid runtime name: nope"),
        (HostConfig(log_config=LogConfig(type="nope")), 'error looking up logging plugin nope: plugin "nope" not found'),
        (HostConfig(log_config=LogConfig(type="json-file", config={"zz": "1"})), "unknown log opt 'zz' for json-file log driver"),
        (HostConfig(log_config=LogConfig(config={"bogus": "1"})), "unknown log opt 'bogus' for local log driver"),
        (HostConfig(extra_hosts=["foo"]), 'bad format for add-host: "foo"'),
        (HostConfig(isolation="hyperv"), "invalid isolation (hyperv): linux only supports 'default'"),
        (HostConfig(annotations={"": "v"}), "invalid Annotations: the empty string is not permitted as an annotation key"),
    ],
)
def test_what_cannot_be_is_refused_in_dockers_words(host: HostConfig, text: str) -> None:
    with pytest.raises(Invalid) as told:
        validate.check(ContainerConfig(cmd=["true"]), host, MACHINE)
        validate.check_log(host, "local")
    assert str(told.value) == text


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (ContainerConfig(working_dir="rel"), "the working directory 'rel' is invalid, it needs to be an absolute path"),
        (ContainerConfig(env=["=x"]), "invalid environment variable: =x"),
        (ContainerConfig(stop_signal="FOO"), "invalid signal: FOO"),
    ],
)
def test_a_bad_configuration_is_refused(config: ContainerConfig, text: str) -> None:
    with pytest.raises(Invalid) as told:
        validate.check(config, HostConfig(), MACHINE)
    assert str(told.value) == text


def test_a_usual_request_passes_without_a_warning() -> None:
    host = HostConfig(memory=64 << 20, nano_cpus=500_000_000, cpuset_cpus="0-1", cap_add=["net_admin"], cap_drop=["ALL"])
    assert validate.check(ContainerConfig(cmd=["true"], env=["A=b", "C"]), host, MACHINE) == []


def test_a_hard_limit_that_cannot_be_raised_is_a_warning() -> None:
    fixed = validate.Machine(frozenset({0}), frozenset({0}), fixed_limits={"nofile": 20000})
    host = HostConfig(ulimits=[Ulimit(name="nofile", soft=10, hard=30000), Ulimit(name="nofile", soft=10, hard=100)])
    assert validate.check(ContainerConfig(cmd=["true"]), host, fixed) == [
        "ulimit nofile: this host's hard limit of 20000 cannot be raised: the container gets 20000 instead of 30000."
    ]
    assert validate.check(ContainerConfig(cmd=["true"]), host, MACHINE) == []


@pytest.mark.parametrize("name", ["a", "a b", "-x", "x/y", ""])
def test_bad_names(name: str) -> None:
    with pytest.raises(Invalid, match="Invalid container name"):
        validate.check_name(name)


def test_sizes_and_sets() -> None:
    assert validate.parse_size("20m") == 20 << 20
    assert validate.parse_size("1g") == 1 << 30
    assert validate.parse_size("512") == 512
    assert validate.parse_set("0-2,7") == {0, 1, 2, 7}
    with pytest.raises(ValueError, match="invalid size: 'x'"):
        validate.parse_size("x")


@pytest.mark.parametrize(
    ("host", "field"),
    [
        (HostConfig(binds=["/a\0b:/x"]), "Binds"),
        (HostConfig(sysctls={"net.x\0": "1"}), "Sysctls"),
        (HostConfig(mounts=[Mount(type="bind", source="/a\0", target="/x")]), "Mounts.Source"),
    ],
)
def test_a_nul_byte_is_refused_with_its_field(host: HostConfig, field: str) -> None:
    with pytest.raises(Invalid, match=f"invalid NUL byte in HostConfig.{field}:"):
        validate.check(ContainerConfig(), host, MACHINE)


def test_the_text_of_an_escape_is_no_nul_byte() -> None:
    assert validate.check(ContainerConfig(), HostConfig(binds=[r"/a\u0000:/x"]), MACHINE) == []


def test_a_score_that_the_host_refuses_is_a_warning() -> None:
    bound = validate.Machine(frozenset({0}), frozenset({0}), least_oom_score_adj=0)
    (warning,) = validate.check(ContainerConfig(), HostConfig(oom_score_adj=-500), bound)
    assert warning.startswith("oom_score_adj -500: this host does not let Pier go below 0")
    assert validate.check(ContainerConfig(), HostConfig(oom_score_adj=-500), MACHINE) == []
