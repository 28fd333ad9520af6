"""Routes of containers whose feature comes later: refused by its name, since `page not found` tells a user nothing."""

from typing import TYPE_CHECKING

from pier.daemon.router import Handler
from pier.errors import NotImplementedByPier
from pier.http.message import Answer, Request

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


def _refused(what: str, way_out: str = "") -> Handler:
    async def refuse(request: Request, engine: "Engine") -> Answer:
        engine.containers.find(request.params["name"])
        raise NotImplementedByPier(what, way_out)

    return refuse


_OUT = _refused("copying out of a container (cp)", "`exec NAME tar -cf - PATH` writes an archive of what a running one has")
_IN = _refused("copying into a container (cp)", "`exec -i NAME tar -xf - -C PATH` reads an archive in a running one; -v mounts files of the host")
_EXPORT = _refused("exporting a container", "`commit` makes an image of it, which `save` writes")

ROUTES: "tuple[Route, ...]" = (
    ("HEAD", "/containers/{name:.*}/archive", _OUT),
    ("GET", "/containers/{name:.*}/archive", _OUT),
    ("PUT", "/containers/{name:.*}/archive", _IN),
    ("GET", "/containers/{name:.*}/export", _EXPORT),
    ("GET", "/containers/{name:.*}/attach/ws", _refused("attaching over a websocket", "POST /containers/NAME/attach")),
)
