from pathlib import Path

from pier.linux import selinux


def test_it_is_on_where_its_file_system_is(tmp_path: Path) -> None:
    assert not selinux.enabled(str(tmp_path))
    (tmp_path / "enforce").write_text("0")
    assert selinux.enabled(str(tmp_path)), "permissive: files have labels, too"


def test_what_the_policy_has_for_containers(tmp_path: Path) -> None:
    assert selinux.container_contexts(str(tmp_path)) is None
    (tmp_path / "etc/selinux/mls/contexts").mkdir(parents=True)
    (tmp_path / "etc/selinux/config").write_text("# SELINUXTYPE=minimum\nSELINUX=enforcing\n SELINUXTYPE = mls\n")
    (tmp_path / "etc/selinux/mls/contexts/lxc_contexts").write_text('process = "u:r:lxc_t:s0"\n')
    assert selinux.container_contexts(str(tmp_path)) is None, "half of it is nothing"
    (tmp_path / "etc/selinux/mls/contexts/lxc_contexts").write_text('; old\nprocess = "u:r:lxc_t:s0"\n#file="x"\nfile="u:object_r:lxc_file_t:s0"\n')
    assert selinux.container_contexts(str(tmp_path)) == ("u:r:lxc_t:s0", "u:object_r:lxc_file_t:s0")
    (tmp_path / "usr/share/containers/selinux").mkdir(parents=True)
    (tmp_path / "usr/share/containers/selinux/contexts").write_text("process=u:r:c_t:s0\nfile=u:object_r:c_file_t:s0\n")
    assert selinux.container_contexts(str(tmp_path)) == ("u:r:c_t:s0", "u:object_r:c_file_t:s0")
