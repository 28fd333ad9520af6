"""Plans as text, and what is refused before anything is touched."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pier.errors import Invalid, NotImplementedByPier
from pier.linux.cgroups import CgroupLayout, Hierarchy
from pier.oci.runtime_spec import Mount, Rlimit, Spec
from pier.runtime import defaults, facts
from pier.runtime.plan import ExecExtras, Extras, InterfaceSetup, NetworkSetup, RootMount, StdioSetup, exec_plan, plan

V2 = CgroupLayout("v2", "pier-pier", (Hierarchy("", "/sys/fs/cgroup", ("cpu", "memory", "pids", "cpuset", "io"), True),))
V1 = CgroupLayout(
    "hybrid",
    "pier-pier",
    (
        Hierarchy("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct"), False),
        Hierarchy("systemd", "/sys/fs/cgroup/systemd", ("name=systemd",), False),
        Hierarchy("unified", "/sys/fs/cgroup/unified", (), True),
    ),
)
FACTS = facts.HostFacts(cgroups=V2, features=facts.ALL - {facts.APPARMOR}, kernel=(6, 12), machine="x86_64", cpus=1)
ROOT = RootMount((0, "/layers/a"), "/s/upper", "/s/work")


def names(spec: Spec, seen: facts.HostFacts = FACTS, **extras: Any) -> list[str]:
    """The steps' names."""
    return [step.name for step in plan(spec, Extras(root=ROOT, **extras), seen).steps]


def test_the_order_of_a_default_container_is_the_security_argument() -> None:
    spec = msgspec.structs.replace(defaults.default_spec(FACTS, ("sh",), "pier-pier/id"), hostname="box")
    order = names(spec, network=NetworkSetup(interfaces=(InterfaceSetup("eth0", ("172.17.0.2/16",), gateways=("172.17.0.1",)),)))
    assert " ".join(order) == (
        "open_streams leave_host_propagation keyring private_proc oom_score_adj hostname overlay attach_root "
        "filesystem dev filesystem filesystem filesystem filesystem filesystem mask protect network sysctls pivot "
        "find_user streams bounding enter_workdir become find_program restrict execute"
    )


def test_labels_of_selinux() -> None:
    """The files' before the first file system of the container's is made, the process's with its identity; none is asked for, none is set."""
    plain = defaults.default_spec(FACTS)
    process = msgspec.structs.replace(plain.process, selinux_label="u:r:container_t:s0:c1,c2", oom_score_adj=None)
    linux = msgspec.structs.replace(plain.linux, mount_label="u:object_r:container_file_t:s0:c1,c2")
    made = plan(msgspec.structs.replace(plain, process=process, linux=linux), Extras(root=ROOT), FACTS)
    order = [step.name for step in made.steps]
    assert order.index("private_proc") < order.index("mount_label") < order.index("overlay") < order.index("selinux") < order.index("become")
    assert "selinux label='u:r:container_t:s0:c1,c2'" in str(made).splitlines()
    order = [step.name for step in exec_plan(process, ExecExtras(), FACTS).steps]
    assert order.index("private_proc") < order.index("selinux")
    assert not {"mount_label", "selinux"} & set(names(plain))


def test_a_plan_is_json_and_prints_a_step_a_line() -> None:
    made = plan(defaults.default_spec(FACTS), Extras(root=ROOT), FACTS)
    assert json.loads(json.dumps(made.encode()))["steps"][0][0] == "open_streams"
    text = str(made).splitlines()
    assert len(text) == len(made.steps) and "overlay lowers=[0, '/layers/a'] upper='/s/upper' work='/s/work'" in text


@pytest.mark.parametrize(
    ("gone", "step"),
    [((), "overlay"), ((facts.OVERLAY_FD,), "overlay_by_scratch"), ((facts.OVERLAY_FD, facts.OVERLAY_APPEND), "overlay_by_options")],
)
def test_each_kernels_way_to_an_overlay(gone: tuple[str, ...], step: str) -> None:
    assert step in names(defaults.default_spec(FACTS), replace(FACTS, features=FACTS.features - set(gone)))


def test_cgroups_by_layout() -> None:
    v2 = plan(defaults.default_spec(FACTS), Extras(root=ROOT), FACTS)
    assert any(step.arguments.get("kind") == "cgroup2" and step.arguments["attributes"] & 1 for step in v2.steps)
    v1_facts = replace(FACTS, cgroups=V1)
    v1 = plan(defaults.default_spec(v1_facts, cgroups_path="/pier-pier/id"), Extras(root=ROOT), v1_facts)
    (step,) = [step for step in v1.steps if step.name == "cgroup_v1"]
    assert step.arguments["trees"] == [
        ["cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/pier-pier/id", ""],
        ["systemd", "/sys/fs/cgroup/systemd/pier-pier/id", ""],
    ]
    assert step.arguments["links"] == [["cpu", "cpu,cpuacct"], ["cpuacct", "cpu,cpuacct"]]
    with pytest.raises(Invalid, match="cgroupsPath"):
        plan(defaults.default_spec(v1_facts), Extras(root=ROOT), v1_facts)


def changed(**fields: Any) -> Spec:
    """The default spec with other fields of the process."""
    spec = defaults.default_spec(FACTS)
    return msgspec.structs.replace(spec, process=msgspec.structs.replace(spec.process, **fields))


def linux(**fields: Any) -> Spec:
    """The default spec with other fields of its linux part."""
    spec = defaults.default_spec(FACTS)
    return msgspec.structs.replace(spec, linux=msgspec.structs.replace(spec.linux, **fields))


@pytest.mark.parametrize(
    ("spec", "extras", "message"),
    [
        (changed(args=()), {}, "no command specified"),
        (changed(args=("a\0b",)), {}, "NUL"),
        (changed(cwd="relative"), {}, "absolute path"),
        (changed(rlimits=(Rlimit("RLIMIT_LUCK", 1, 1),)), {}, "RLIMIT_LUCK"),
        (changed(apparmor_profile="mine"), {}, "AppArmor is not enabled"),
        (linux(sysctl={"kernel.core_pattern": "x"}), {}, "'kernel.core_pattern' is not in a separate kernel namespace"),
        (linux(sysctl={"net/../kernel/core_pattern": "x"}), {}, "invalid sysctl name"),
        (linux(namespaces=defaults.namespaces(False, frozenset({"network"}))), {}, "host's network namespace"),
        (linux(namespaces=defaults.namespaces(False, frozenset({"mount"}))), {}, "mount namespace"),
        (linux(rootfs_propagation="sideways"), {}, "sideways"),
        (changed(), {"init": "somewhere"}, "init"),
        (changed(), {"join": {"time": 0}}, "time"),
        (msgspec.structs.replace(defaults.default_spec(FACTS), mounts=(Mount(destination="rel", type="tmpfs"),)), {}, "not an absolute path"),
        (
            msgspec.structs.replace(defaults.default_spec(FACTS), mounts=(Mount(destination="/x", type="bind", source="rel", options=("bind",)),)),
            {},
            "source 'rel'",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(spec: Spec, extras: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        plan(spec, Extras(root=ROOT, **extras), FACTS)


def test_another_containers_pid_namespace_is_refused() -> None:
    with pytest.raises(NotImplementedByPier, match="--pid container"):
        plan(defaults.default_spec(FACTS), Extras(root=ROOT, join={"pid": 0}), FACTS)


def test_too_many_layers_for_the_old_mount_are_refused_and_not_cut() -> None:
    old = replace(FACTS, features=FACTS.features - {facts.OVERLAY_FD, facts.OVERLAY_APPEND})
    many = RootMount(tuple(f"/layers/{n}" for n in range(700)), "/u", "/w")
    with pytest.raises(Invalid, match="4095 bytes"):
        plan(defaults.default_spec(FACTS), Extras(root=many), old)


def test_seccomp_where_the_kernel_has_none_is_refused() -> None:
    without = replace(FACTS, features=FACTS.features - {facts.SECCOMP})
    with pytest.raises(Invalid, match="seccomp=unconfined"):
        plan(defaults.default_spec(FACTS), Extras(root=ROOT), without)
    assert "restrict" in names(defaults.default_spec(without), without)


def test_a_limited_volume_adds_one_filter_before_the_profiles_to_container_and_exec() -> None:
    spec = defaults.default_spec(FACTS, ("sh",), "pier-pier/id")
    open_spec = msgspec.structs.replace(spec, linux=msgspec.structs.replace(spec.linux, seccomp=None))
    for document in (spec, open_spec):
        plans = plan(document, Extras(root=ROOT, counted=True), FACTS), plan(document, Extras(root=ROOT), FACTS)
        guarded, plain = (next(step.arguments for step in made.steps if step.name == "restrict") for made in plans)
        assert guarded == {**plain, "first": guarded["first"]} and guarded["first"] and "first" not in plain
    exec_ = exec_plan(spec.process, ExecExtras(counted=True), FACTS)
    assert next(step.arguments for step in exec_.steps if step.name == "restrict")["first"] == guarded["first"]
    without = replace(FACTS, features=FACTS.features - {facts.SECCOMP})
    assert "first" not in next(step for step in plan(open_spec, Extras(root=ROOT, counted=True), without).steps if step.name == "restrict").arguments


def test_an_exec_joins_before_it_looks_at_anything_of_the_container() -> None:
    process = defaults.default_spec(FACTS, ("true",)).process
    order = [step.name for step in exec_plan(process, ExecExtras(join={"mount": 0, "network": 0}, user="alice"), FACTS).steps]
    assert order.index("join") < order.index("enter_root") < order.index("find_user") < order.index("become")
    assert "pivot" not in order and order[-1] == "execute"
    born_inside = exec_plan(process, ExecExtras(stdio=StdioSetup(stdout=0, stderr=1)), FACTS)
    assert not {"join", "host_null"} & {step.name for step in born_inside.steps}


def test_the_child_imports_nothing_heavy() -> None:
    code = "import pier.runtime.child, sys; print([m for m in ('asyncio', 'msgspec', 'dataclasses', 'inspect', 'ssl') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_step_of_a_plan_is_known_to_the_child() -> None:
    from pier.runtime.child import STEPS

    spec = linux(rootfs_propagation="rslave")
    made = plan(spec, Extras(root=ROOT, network=NetworkSetup(), init="builtin", join={"network": 0}), FACTS)
    assert {step.name for step in made.steps} <= STEPS.keys()


def shared(*mounts: Mount, **extras: Any) -> list[str]:
    spec = defaults.default_spec(FACTS)
    bind = Mount(destination="/x", type="bind", source="/host/x", options=("rbind", "rshared", "rw"))
    return names(msgspec.structs.replace(spec, mounts=(*spec.mounts, bind, *mounts)), **{"sources": {"/x": 0}, **extras})


def test_a_shared_bind_comes_when_all_else_is_mounted() -> None:
    order = shared(Mount(destination="/y", type="bind", source="/host/y", options=("rbind", "rprivate")))
    assert order.index("protect") < order.index("pivot") < len(order) - 1 - order[::-1].index("bind") and order.count("bind") == 2
    assert order[order.index("pivot") + 1] == "bind"


@pytest.mark.parametrize(
    ("mounts", "extras", "text"),
    [
        ([Mount(destination="/x/y", type="tmpfs", source="tmpfs")], {}, "/x/y would be"),
        ([], {"sources": {}}, "has to be handed over"),
        ([Mount(destination="/proc", type="bind", source="/p", options=("rbind", "shared"))], {"sources": {"/x": 0, "/proc": 1}}, "mount /proc: "),
        ([Mount(destination="/proc/kcore", type="bind", source="/p", options=("shared", "bind"))],
         {"sources": {"/x": 0, "/proc/kcore": 1}}, "hidden"),
        ([Mount(destination="/sbin", type="bind", source="/p", options=("shared", "bind"))],
         {"sources": {"/x": 0, "/sbin": 1}, "init": "host:/tini"}, "/sbin/docker-init would be"),
    ],
)  # fmt: skip
def test_what_a_shared_bind_would_do_to_the_host_is_refused(mounts: list[Mount], extras: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        shared(*mounts, **extras)


def test_an_old_kernel_has_no_shared_binds() -> None:
    bind = Mount(destination="/x", type="bind", source="/host/x", options=("rbind", "shared"))
    spec = msgspec.structs.replace(defaults.default_spec(FACTS), mounts=(bind,))
    with pytest.raises(Invalid, match=r"shared binds need Linux 5\.12"):
        names(spec, replace(FACTS, features=FACTS.features - {facts.MOUNT_SETATTR}), sources={"/x": 0})
