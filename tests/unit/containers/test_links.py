"""The variables that a link gives, compared with what Docker 28.5 gave for the same container."""

from pier.containers.links import variables


def test_variables_of_a_link_in_dockers_order() -> None:
    found = variables("/lk/alias1", "alias1", "172.17.0.3", ["443/udp", "8001/tcp", "8000/tcp", "80/tcp"], ["FOO=bar", "PATH=/bin", "HOME=/x"])
    assert found == """ALIAS1_PORT=tcp://172.17.0.3:80
ALIAS1_PORT_80_TCP=tcp://172.17.0.3:80
ALIAS1_PORT_80_TCP_ADDR=172.17.0.3
ALIAS1_PORT_80_TCP_PORT=80
ALIAS1_PORT_80_TCP_PROTO=tcp
ALIAS1_PORT_8000_TCP=tcp://172.17.0.3:8000
ALIAS1_PORT_8000_TCP_ADDR=172.17.0.3
ALIAS1_PORT_8000_TCP_PORT=8000
ALIAS1_PORT_8000_TCP_PROTO=tcp
ALIAS1_PORT_8001_TCP=tcp://172.17.0.3:8001
ALIAS1_PORT_8001_TCP_ADDR=172.17.0.3
ALIAS1_PORT_8001_TCP_PORT=8001
ALIAS1_PORT_8001_TCP_PROTO=tcp
ALIAS1_PORT_443_UDP=udp://172.17.0.3:443
ALIAS1_PORT_443_UDP_ADDR=172.17.0.3
ALIAS1_PORT_443_UDP_PORT=443
ALIAS1_PORT_443_UDP_PROTO=udp
ALIAS1_PORT_8000_TCP_START=tcp://172.17.0.3:8000
ALIAS1_PORT_8000_TCP_PORT_START=8000
ALIAS1_PORT_8000_TCP_END=tcp://172.17.0.3:8001
ALIAS1_PORT_8000_TCP_PORT_END=8001
ALIAS1_NAME=/lk/alias1
ALIAS1_ENV_FOO=bar""".splitlines()


def test_a_target_that_exposes_nothing_has_a_name() -> None:
    assert variables("/app/my-db", "my-db", "172.17.0.2", [], []) == ["MY_DB_NAME=/app/my-db"]
