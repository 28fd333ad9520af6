import pytest

from pier.containers import typos


@pytest.mark.parametrize(
    ("source", "above", "missing", "siblings", "volumes", "text"),
    [
        ("/shelf", "/", "shelf", [], ["shelf"], "There is a volume shelf: without the slash in front it is that."),
        ("/srv/dta", "/srv", "dta", ["data", "www"], [], "There is /srv/data: --mount refuses a source that is not there."),
        ("/srv/dtaa/deep/er", "/srv", "dataa", ["data", "www"], [], "There is /srv/data"),
        ("/shelff", "/", "shelff", ["srv"], ["shelf"], "There is a volume shelf."),
        ("/srv/new", "/srv", "new", ["data", "www"], ["new"], ""),
        ("/x/shelf", "/x", "shelf", [], ["shelf"], ""),
    ],
)
def test_what_looks_like_a_slip(source: str, above: str, missing: str, siblings: list[str], volumes: list[str], text: str) -> None:
    said = typos.told(source, above, missing, siblings, volumes)
    assert said == "" if not text else text in said and said.startswith(f"{source} was not there: an empty folder was made.")
