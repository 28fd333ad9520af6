"""Which commands there are, which module has each, and which come later. Modules are named without `pier.cli.`."""

LATER = ""  # in place of a module: Docker has the command, Pier does not yet

# name: (module, short description)
COMMON = {
    "run": ("run", "Create and run a new container from an image"),
    "exec": ("exec", "Execute a command in a running container"),
    "ps": ("ps", "List containers"),
    "build": (LATER, "Build an image from a Dockerfile"),
    "pull": ("pull", "Download an image from a registry"),
    "push": ("push", "Upload an image to a registry"),
    "images": ("images", "List images"),
    "login": ("login", "Authenticate to a registry"),
    "logout": ("logout", "Log out from a registry"),
    "search": ("search", "Search Docker Hub for images"),
    "version": ("version", "Show the Pier version information"),
    "info": ("info", "Display system-wide information"),
}
MANAGEMENT = {
    "builder": (LATER, "Manage builds"),
    "checkpoint": (LATER, "Manage checkpoints"),
    "container": ("", "Manage containers"),
    "context": ("", "Manage contexts"),
    "image": ("", "Manage images"),
    "manifest": ("", "Manage image manifests and manifest lists"),
    "network": ("", "Manage networks"),
    "plugin": (LATER, "Manage plugins"),
    "system": ("", "Manage Pier"),
    "trust": (LATER, "Manage trust on images"),
    "volume": ("", "Manage volumes"),
}
SWARM = {
    "config": (LATER, "Manage Swarm configs"),
    "node": (LATER, "Manage Swarm nodes"),
    "secret": (LATER, "Manage Swarm secrets"),
    "service": (LATER, "Manage Swarm services"),
    "stack": (LATER, "Manage Swarm stacks"),
    "swarm": (LATER, "Manage Swarm"),
}
OTHER = {
    "attach": ("attach", "Attach local standard input, output, and error streams to a running container"),
    "commit": ("commit", "Create a new image from a container's changes"),
    "cp": (LATER, "Copy files/folders between a container and the local filesystem"),
    "create": ("create", "Create a new container"),
    "diff": ("diff", "Inspect changes to files or directories on a container's filesystem"),
    "events": ("events", "Get real time events from the server"),
    "export": (LATER, "Export a container's filesystem as a tar archive"),
    "history": ("history", "Show the history of an image"),
    "import": ("import_", "Import the contents from a tarball to create a filesystem image"),
    "inspect": ("inspect", "Return low-level information on Pier objects"),
    "kill": ("kill", "Kill one or more running containers"),
    "load": ("load", "Load an image from a tar archive or STDIN"),
    "logs": ("logs", "Fetch the logs of a container"),
    "pause": ("pause", "Pause all processes within one or more containers"),
    "port": ("port", "List port mappings or a specific mapping for the container"),
    "rename": ("rename", "Rename a container"),
    "restart": ("restart", "Restart one or more containers"),
    "rm": ("rm", "Remove one or more containers"),
    "rmi": ("rmi", "Remove one or more images"),
    "save": ("save", "Save one or more images to a tar archive (streamed to STDOUT by default)"),
    "start": ("start", "Start one or more stopped containers"),
    "stats": ("stats", "Display a live stream of container(s) resource usage statistics"),
    "stop": ("stop", "Stop one or more running containers"),
    "tag": ("tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "top": ("top", "Display the running processes of a container"),
    "unpause": ("unpause", "Unpause all processes within one or more containers"),
    "update": ("update", "Update configuration of one or more containers"),
    "wait": ("wait", "Block until one or more containers stop, then print their exit codes"),
}
SECTIONS = (("Common Commands", COMMON), ("Management Commands", MANAGEMENT), ("Swarm Commands", SWARM), ("Commands", OTHER))
HIDDEN_IN = {"system": {"dial-stdio": ("system_dial_stdio", "Proxy the stdio stream to the daemon connection")}}
HIDDEN = {"completion": ("completion", "Generate the autocompletion script for the specified shell")}

_CONTAINER = [
    "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port", "rename", "restart", "rm", "run", "start",
    "stats", "stop", "top", "unpause", "update", "wait",
]  # fmt: skip
_IMAGE = ["build", "history", "import", "load", "pull", "push", "save", "tag"]
_ALL = COMMON | OTHER
# group: {subcommand: (module, short description)}
GROUPS = {
    "container": {name: _ALL[name] for name in _CONTAINER}
    | {
        "inspect": ("container_inspect", "Display detailed information on one or more containers"),
        "ls": ("ps", "List containers"),
        "prune": ("container_prune", "Remove all stopped containers"),
    },
    "image": {name: _ALL[name] for name in _IMAGE}
    | {
        "inspect": ("image_inspect", "Display detailed information on one or more images"),
        "ls": ("images", "List images"),
        "prune": ("image_prune", "Remove unused images"),
        "rm": ("rmi", "Remove one or more images"),
        "check": ("image_check", "Verify the layers and blobs of images, and repair what is broken (Pier only)"),
        "diff": ("image_diff", "Show what the second image has added, changed and removed (Pier only)"),
        "squash": ("image_squash", "Create an image with the layers of another made one (Pier only)"),
        "copy": ("image_copy", "Copy an image between registries (Pier only)"),
        "delete": ("image_delete", "Delete a tag, or a manifest by its digest, from its registry (Pier only)"),
        "referrers": ("image_referrers", "List what on its registry refers to an image (Pier only)"),
        "tags": ("image_tags", "List the tags of a repository on its registry (Pier only)"),
    },
    "manifest": {
        "annotate": ("manifest_annotate", "Add additional information to a local image manifest"),
        "create": ("manifest_create", "Create a local manifest list for annotating and pushing to a registry"),
        "inspect": ("manifest_inspect", "Display an image manifest, or manifest list"),
        "push": ("manifest_push", "Push a manifest list to a repository"),
        "rm": ("manifest_rm", "Delete one or more manifest lists from local storage"),
    },
    "network": {
        "connect": ("network_connect", "Connect a container to a network"),
        "create": ("network_create", "Create a network"),
        "disconnect": ("network_disconnect", "Disconnect a container from a network"),
        "inspect": ("network_inspect", "Display detailed information on one or more networks"),
        "ls": ("network_ls", "List networks"),
        "prune": ("network_prune", "Remove all unused networks"),
        "rm": ("network_rm", "Remove one or more networks"),
    },
    "system": {
        "df": ("system_df", "Show disk usage"),
        "events": _ALL["events"],
        "info": _ALL["info"],
        "prune": ("system_prune", "Remove unused data"),
    },
    "volume": {
        "create": ("volume_create", "Create a volume"),
        "inspect": ("volume_inspect", "Display detailed information on one or more volumes"),
        "ls": ("volume_ls", "List volumes"),
        "prune": ("volume_prune", "Remove unused local volumes"),
        "rm": ("volume_rm", "Remove one or more volumes"),
        "clone": ("volume_clone", "Create a volume with the files of another (Pier only)"),
        "export": ("volume_export", "Write the files of a volume to a tar archive (Pier only)"),
        "import": ("volume_import", "Create a volume with the files of a tar archive (Pier only)"),
        "rename": ("volume_rename", "Give a volume another name (Pier only)"),
        "restore": ("volume_restore", "Give a volume the files of one of its snapshots (Pier only)"),
        "recover": ("volume_recover", "Give a removed volume back (Pier only)"),
        "trash": ("volume_trash", "List removed volumes that can come back, or throw them away (Pier only)"),
        "size": ("volume_size", "Show what volumes take on the disk (Pier only)"),
        "snapshot": ("volume_snapshot", "Keep the files of a volume as they are, list or remove what was kept (Pier only)"),
        "update": ("volume_update", "Update a volume (cluster volumes; Pier: its limit)"),
    },
    "context": {
        "create": ("context_create", "Create a context"),
        "export": ("context_export", "Export a context to a tar archive FILE or a tar stream on STDOUT."),
        "import": ("context_import", "Import a context from a tar or zip file"),
        "inspect": ("context_inspect", "Display detailed information on one or more contexts"),
        "ls": ("context_ls", "List contexts"),
        "rm": ("context_rm", "Remove one or more contexts"),
        "show": ("context_show", "Print the name of the current context"),
        "update": ("context_update", "Update a context"),
        "use": ("context_use", "Set the current pier context"),
    },
}
# other names of the same subcommand
ALIASES = {"list": "ls", "ps": "ls", "remove": "rm"}


def find(words: list[str]) -> tuple[str, str, int]:
    """The command that the first words name: (path as shown in help, module or LATER, how many words it took).

    The module is "group" for a group by itself. Raises KeyError with the path that is unknown.
    """
    first = words[0]
    if first in GROUPS:
        if len(words) < 2 or words[1].startswith("-"):
            return first, "group", 1
        commands = GROUPS[first] | HIDDEN_IN.get(first, {})
        name = words[1]
        if name not in commands and not (name == "ps" and first != "container"):
            name = ALIASES.get(name, name)
        if name not in commands:
            raise KeyError(f"{first} {words[1]}")
        return f"{first} {name}", commands[name][0], 2
    for table in (COMMON, OTHER, MANAGEMENT, SWARM, HIDDEN):
        if first in table:
            return first, table[first][0], 1
    raise KeyError(first)


def marked(entries: "dict[str, tuple[str, str]]") -> list[tuple[str, str]]:
    """(name, short description) sorted as given, with `(not yet)` behind what comes later."""
    return [(name, short if module or name in GROUPS else f"{short} (not yet)") for name, (module, short) in entries.items()]
