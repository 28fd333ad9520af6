"""The front of the places: where a login is looked for, where it goes, and what a logout takes away."""

import posix

from pier.client.credentials import plain
from pier.client.credentials.auth import SEALED_FILE, AuthConfig, CredentialError
from pier.client.credentials.servers import HUB, spellings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pier.client.credentials.helper_program import Helper
    from pier.client.credentials.sealed import Sealed

SETTING = "pierCredentials"  # of config.json: "file" (also where it is missing), "keyring", "plain"
ENVIRONMENT = "DOCKER_AUTH_CONFIG"
OWN_HELPER = "pier"  # docker-credential-pier is the sealed store: it is spoken to directly
# what Docker's client keeps in a helper beside the login itself, when it logged in to Hub with a browser
_HUB_EXTRAS = (f"{HUB}access-token", f"{HUB}refresh-token")


class Credentials:
    """The credentials of a user, by the configuration folder, its config.json and the environment. Methods raise CredentialError, ConfigError."""

    def __init__(self, config_dir: str, config: "dict[str, Any]", environ: "Mapping[str, str]") -> None:
        self._config_dir = config_dir
        self._config = config
        self._environ = environ

    # Looking up

    def get(self, server: str) -> AuthConfig | None:
        """The login at a server, None where there is none."""
        if self._environ.get(ENVIRONMENT):
            found = plain.find(self._from_environment(), server, ENVIRONMENT)
            if found is not None:
                return found
        name = self.helper_of(server)
        if name == OWN_HELPER:
            return self.sealed().get(server)
        if name:
            return self._helper(name).get(server)
        return plain.find(self._config, server) or (self.sealed().get(server) if self._has_sealed() else None)

    def _has_sealed(self) -> bool:
        """Whether there is a sealed store at all: what it stands on is not imported for nothing."""
        try:
            posix.stat(f"{self._config_dir}/{SEALED_FILE}")
        except OSError:
            return False
        return True

    def _from_environment(self) -> "dict[str, Any]":
        from pier.client import jsontext

        try:
            found = jsontext.decode(self._environ[ENVIRONMENT])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CredentialError(f"{ENVIRONMENT} is not a JSON object with auths")
        return found

    def helper_of(self, server: str) -> str:
        """The name of the helper that config.json gives a server, "" where it gives none. Raises CredentialError for a name that is no text."""
        helpers = self._config.get("credHelpers")
        name = helpers.get(server) if isinstance(helpers, dict) else None
        if name is None:
            name = self._config.get("credsStore") or ""
        if not isinstance(name, str):
            raise CredentialError(f"config.json: the credential helper of {server} is not a name")
        return name

    # Changing

    def put(self, auth: AuthConfig, plaintext: bool = False) -> "Kept":
        """Keep a login, and take away what other places have of its server. Says where it went."""
        from pier.client import configfile

        name = self.helper_of(auth.server)
        if name and not plaintext:
            if name == OWN_HELPER:
                lost = self.sealed().put(auth)
            else:
                lost = []
                self._helper(name).put(auth)
                self.sealed().drop(auth.server)
            configfile.change(self._config_dir, lambda config: plain.mark(config, auth.server))
            return Kept("helper", lost=lost)
        if plaintext or self._setting() == "plain":
            if name:
                raise CredentialError(f"config.json names the credential helper {name} for {auth.server}: take it out to keep plain text")
            configfile.change(self._config_dir, lambda config: plain.put(config, auth), private=True)
            self.sealed().drop(auth.server)
            return Kept("plain")
        lost = self.sealed().put(auth)
        moved = configfile.change(self._config_dir, lambda config: plain.drop(config, auth.server)) if self._in_plain(auth.server) else False
        return Kept("sealed", moved, lost)

    def drop(self, server: str) -> None:
        """Forget a login, wherever it is. What can be removed is removed, then the first failure is raised."""
        from pier.client import configfile

        failure: CredentialError | None = None
        name = self.helper_of(server)
        if name and name != OWN_HELPER:
            try:
                self._drop_helped(self._helper(name), server)
            except CredentialError as error:
                failure = error
        self.sealed().drop(server)
        if failure is None and self._in_plain(server):
            configfile.change(self._config_dir, lambda config: plain.drop(config, server))
        if failure is not None:
            raise failure

    def _drop_helped(self, helper: "Helper", server: str) -> None:
        for extra in _HUB_EXTRAS if server == HUB else ():
            if helper.get(extra) is not None:
                helper.drop(extra)
        helper.drop(server)

    def _in_plain(self, server: str) -> bool:
        from pier.client import configfile

        return bool(spellings(server, plain.logged_in(configfile.read(self._config_dir))))

    def _setting(self) -> str:
        value = self._config.get(SETTING, "file")
        if value not in ("file", "keyring", "plain"):
            raise CredentialError(f'config.json: "{SETTING}" is {value!r}: use "file", "keyring" or "plain"')
        return str(value)

    def sealed(self) -> "Sealed":
        """The sealed store of this folder, as the settings have it. Raises CredentialError for a setting that is none."""
        from pier.client.credentials.sealed import Sealed

        setting = self._setting()
        return Sealed(self._config_dir, "file" if setting == "plain" else setting)

    def _helper(self, name: str) -> "Helper":
        from pier.client.credentials.helper_program import Helper

        return Helper(name, self._environ)


class Kept:
    """Where a login went: `place` is helper, sealed or plain; `moved`: plain text of the server was taken out of config.json;
    `lost`: servers whose logins had to be dropped, since their key is gone."""

    __slots__ = ("lost", "moved", "place")

    def __init__(self, place: str, moved: bool = False, lost: "list[str] | None" = None) -> None:
        self.place = place
        self.moved = moved
        self.lost = lost or []
