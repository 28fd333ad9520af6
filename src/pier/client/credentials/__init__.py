"""Who the user is at each registry: where that is kept, and how it travels to a daemon.

    <config>/config.json                    Docker's: "credHelpers" and "credsStore" name programs, "auths" has plain text (plain.py)
    <config>/pier-credentials.json          the sealed store: AES-256-GCM, one box for each registry (sealed.py)
    <config>/pier-credentials.<id>.key      its key, 0600; or the key is in the kernel's keyring of the user (keys.py)

Terms. A *server* is the key under which credentials are kept: a registry's HOST[:PORT], and `https://index.docker.io/v1/` for Docker Hub
(servers.py). A *place* is one of helper, sealed, plain. An *identity token* stands for name and password where a token server gave one.

Where a login goes (store.py): to the server's helper, where config.json names one, as in Docker; else into the sealed store; into plain text
only where that was asked for. Where it is looked for: DOCKER_AUTH_CONFIG, the helper, and where there is none, plain text and then the sealed
store. A login removes what the other place had, so that never two answers lie about: plain text that is there is newer, from Docker's client.

Secrets are never arguments of a program, part of a repr, an error or a log.
"""
