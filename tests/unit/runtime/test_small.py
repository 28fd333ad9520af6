"""Users, mount options, seccomp profiles, default tables: the pure parts of the runtime."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import Invalid
from pier.linux import mounts as m
from pier.runtime import defaults, facts, mount_options, seccomp_profile, signals, users

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\n# note\nbroken\nbad:x:zz:1::/:/x\n"
GROUP = b"root:x:0:\nadm:x:4:web,alice\nweb:x:33:\n"


@given(st.text(max_size=12), st.lists(st.text(max_size=5), max_size=2), st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_of_a_container_break_the_lookup(user: str, groups: list[str], passwd: bytes, group: bytes) -> None:
    try:
        who = users.resolve(user, groups, passwd, group)
    except users.UserError:
        return
    assert 0 <= who.uid <= users.MAX_ID and 0 <= who.gid <= users.MAX_ID and all(0 <= gid <= users.MAX_ID for gid in who.groups)


def test_users() -> None:
    assert users.resolve("web", ("adm",), PASSWD, GROUP) == (33, 33, (33, 4), "/var/www")
    assert users.resolve("web:root", (), PASSWD, GROUP) == (33, 0, (0,), "/var/www")
    assert users.resolve("", (), PASSWD, GROUP, (7, 8)) == (7, 8, (8,), "/")
    for user in ("bad", "broken", "٣", "-1", "web:alice"):
        with pytest.raises(users.UserError):
            users.resolve(user, (), PASSWD, GROUP)


def test_mount_options() -> None:
    parsed = mount_options.parse(("ro", "nosuid", "rw", "mode=755", "size=64k", "rshared"), "/x")
    assert (parsed.add, parsed.clear, parsed.data) == (m.MOUNT_ATTR_NOSUID, m.MOUNT_ATTR_RDONLY, (("mode", "755"), ("size", "64k")))
    assert (parsed.propagation, parsed.recursive_propagation) == (m.MS_SHARED, True)
    recursive = mount_options.parse(("rbind", "rro"), "/x")
    assert recursive.bind and recursive.recursive_bind and recursive.recursive_attributes == m.MOUNT_ATTR_RDONLY
    assert mount_options.parse(("noatime",), "/x").clear & m.MOUNT_ATTR_ATIME_MASK == m.MOUNT_ATTR_ATIME_MASK
    for words in (("bind", "size=1"), ("rro",), ("noatime", "strictatime")):
        with pytest.raises(Invalid, match="/x"):
            mount_options.parse(words, "/x")


def test_capabilities_added_and_dropped() -> None:
    tweak = defaults.tweak_capabilities
    assert set(tweak((), ())) == set(defaults.CAPABILITIES)
    assert "CAP_NET_ADMIN" in tweak(("net_admin",), ()) and "CAP_CHOWN" not in tweak((), ("CAP_CHOWN",))
    assert tweak(("SYS_TIME",), ("ALL",)) == ("CAP_SYS_TIME",)
    assert len(tweak(("ALL",), ("MKNOD",))) == 40 and len(tweak((), (), privileged=True)) == 41
    with pytest.raises(ValueError, match="FLY"):
        tweak(("FLY",), ())


def test_features_can_be_taken_away_and_not_added() -> None:
    assert facts.without(facts.ALL, "-overlay_fd, -erofs") == facts.ALL - {facts.OVERLAY_FD}
    with pytest.raises(ValueError, match="overlay_fd"):
        facts.without(facts.ALL, "overlay_fd")


def names(capabilities: tuple[str, ...], machine: str = "x86_64") -> set[str]:
    """What the default profile allows without a condition on arguments."""
    rules = seccomp_profile.default(capabilities, machine, (6, 1)).syscalls
    return {name for rule in rules if rule.action == "SCMP_ACT_ALLOW" and not rule.args for name in rule.names}


def test_the_default_profile_opens_with_capabilities() -> None:
    plain, admin = names(defaults.CAPABILITIES), names((*defaults.CAPABILITIES, "CAP_SYS_ADMIN"))
    assert {"read", "openat2", "ptrace", "chroot", "arch_prctl"} <= plain
    assert not {"mount", "bpf", "keyctl", "add_key", "io_uring_setup", "kexec_load", "userfaultfd", "clone", "clone3", "perf_event_open"} & plain
    assert {"mount", "clone", "clone3", "unshare", "bpf"} <= admin
    assert "open_by_handle_at" in names(("CAP_DAC_READ_SEARCH",)) and "reboot" in names(("CAP_SYS_BOOT",))
    assert "arch_prctl" not in names((), "aarch64") and "set_tls" in names((), "aarch64")


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "colour": 1}, "colour"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{}]}, "archMap"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_LOG"}]}, "'name' and 'names'"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]}, "action"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0}]}]}, "argument"),
        ({"defaultAction": "SCMP_ACT_SING"}, "SCMP_ACT_SING"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}, "SCMP_ARCH_VAX"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]}, "FAST"),
    ],
)
def test_a_bad_profile_is_refused_by_the_field(profile: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        seccomp_profile.filter_of(seccomp_profile.resolve(profile, (), "x86_64", (6, 1)), "x86_64")


def test_conditions_on_one_argument_are_alternatives() -> None:
    rule = {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": n, "op": "SCMP_CMP_EQ"} for n in (38, 40)]}
    resolved = seccomp_profile.resolve({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, (), "x86_64", (6, 1))
    assert len(seccomp_profile._alternatives(resolved.syscalls[0].args)) == 2


@pytest.mark.parametrize("text", ["0", "²", "9" * 5000, "-1", "SIG", ""])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"^invalid signal: "):
        signals.parse_signal(text)
