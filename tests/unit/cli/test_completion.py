"""What the shells are offered: commands, flags, and names from the daemon and the credentials."""

import json
from pathlib import Path

import pytest

from tests.unit.client.fake_daemon import FakeDaemon

from .command import call

IMAGES = [{"RepoTags": ["app:v1", "app:v2"]}, {"RepoTags": None}]
CONTAINERS = [{"Names": ["/web"]}]


@pytest.mark.parametrize(
    ("before", "some"),
    [
        ([], {"pull", "push", "login", "logout", "search", "save", "manifest", "image"}),
        (["manifest"], {"annotate", "create", "inspect", "push", "rm"}),
        (["image"], {"copy", "tags", "pull", "push", "save"}),
        (["pull"], {"--all-tags", "--platform", "--quiet", "--disable-content-trust"}),
        (["push"], {"app:v1", "app:v2", "--all-tags"}),
        (["save"], {"app:v1", "--output"}),
        (["image", "copy"], {"app:v1", "--platform", "--insecure"}),
        (["login"], {"--password-stdin", "--plaintext"}),
        (["logs"], {"web", "--follow"}),
        (["logout"], {"reg.example", "sealed.example"}),
        (["nope"], set()),
    ],
)
def test_words(tmp_path: Path, before: list[str], some: set[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"reg.example": {}}}))
    (tmp_path / "pier-credentials.json").write_text(json.dumps({"version": 1, "place": "file", "key": "ab", "boxes": {"sealed.example": ""}}))
    daemon = FakeDaemon(tmp_path, {"GET /images/json": IMAGES, "GET /containers/json": CONTAINERS})
    status, out, err = call(daemon, "completion", "words", *before, DOCKER_CONFIG=str(tmp_path))
    assert (status, err) == (0, "") and some <= set(out.split()), some - set(out.split())
    assert some or out == ""


def test_without_a_daemon_there_are_flags(tmp_path: Path) -> None:
    assert "--output" in call(None, "-H", f"unix://{tmp_path}/none", "completion", "words", "save")[1].split()
