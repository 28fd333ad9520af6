"""Writes an image of one layer as an archive that `pier load`, `docker load` and OCI tools read. Python 3.9 or newer, nothing else.

    oci-layout, index.json          the OCI image layout (image-spec image-layout.md)
    manifest.json                   the same image in the words of `docker save`
    blobs/sha256/<hex>              configuration, manifest, layer (an uncompressed tar: its digest is the diff ID)

The same input gives the same bytes: names are sorted, times are `epoch`, owners are numbers.
"""

import hashlib
import io
import json
import os
import stat
import tarfile
import time

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def host_architecture():
    """This machine's architecture in the words of images. Raises SystemExit for one that the examples are not made for."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise SystemExit(f"no example for {machine}: there are {', '.join(sorted(ARCHITECTURES))}")
    return ARCHITECTURES[machine]


class Layer:
    """A layer being written to `path` as an uncompressed tar. Names are given without a leading slash, folders before what is in them."""

    def __init__(self, path, epoch):
        """path: the file to write. epoch: s since 1970; no entry is younger."""
        self.path, self.epoch = path, epoch
        self._tar = tarfile.open(path, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (`close` ends it)

    def _entry(self, name, kind, mode, mtime=None):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = kind, mode
        entry.mtime = self.epoch if mtime is None else min(int(mtime), self.epoch)
        return entry

    def folder(self, name, mode=0o755):
        """A folder, root's."""
        self._tar.addfile(self._entry(name, tarfile.DIRTYPE, mode))

    def file(self, name, data, mode=0o644):
        """A file, root's."""
        entry = self._entry(name, tarfile.REGTYPE, mode)
        entry.size = len(data)
        self._tar.addfile(entry, io.BytesIO(data))

    def symlink(self, name, target):
        """A symbolic link."""
        entry = self._entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        self._tar.addfile(entry)

    def hard_link(self, name, target, mode=0o755):
        """Another name of a file that was written before."""
        entry = self._entry(name, tarfile.LNKTYPE, mode)
        entry.linkname = target
        self._tar.addfile(entry)

    def tree(self, root, skip=lambda name: False):
        """Everything below the folder `root`, in sorted order, with owners, modes, times, links, devices and extended attributes.

        skip: names (relative, `usr/share/doc`) that are left out, with what is below them.
        """
        links = {}
        pending = [""]
        while pending:
            name = pending.pop()
            path = os.path.join(root, name)
            info = os.lstat(path)
            if name and skip(name):
                continue
            if name:
                self._add(name, path, info, links)
            if stat.S_ISDIR(info.st_mode):
                pending += [os.path.join(name, child) for child in sorted(os.listdir(path), reverse=True)]

    def _add(self, name, path, info, links):
        mode = stat.S_IMODE(info.st_mode)
        kinds = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE,
                 stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFREG: tarfile.REGTYPE}
        kind = kinds.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return  # a socket: it means nothing without its program
        first = links.setdefault((info.st_dev, info.st_ino), name)
        entry = self._entry(name, kind if first == name or kind == tarfile.DIRTYPE else tarfile.LNKTYPE, mode, info.st_mtime)
        entry.uid, entry.gid = info.st_uid, info.st_gid
        if entry.type == tarfile.LNKTYPE:
            entry.linkname = first
        elif kind == tarfile.SYMTYPE:
            entry.linkname = os.readlink(path)
        elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
        for attribute in os.listxattr(path, follow_symlinks=False):
            value = os.getxattr(path, attribute, follow_symlinks=False)
            entry.pax_headers[f"SCHILY.xattr.{attribute}"] = value.decode("utf-8", "surrogateescape")
        if kind == tarfile.REGTYPE and entry.type == tarfile.REGTYPE:
            entry.size = info.st_size
            with open(path, "rb") as file:
                self._tar.addfile(entry, file)
        else:
            self._tar.addfile(entry)

    def close(self):
        """Finish the tar."""
        self._tar.close()


def write(path, tag, layer_path, config, architecture, epoch, comment=""):
    """Write the archive and return the image's ID.

    path: the file to write. tag: `name:tag`. layer_path: an uncompressed tar. config: the `config` object of the image (Cmd, Env, ...).
    epoch: when the image was made, s since 1970.
    """
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    layer_hex, layer_size = _hash(layer_path)
    image = _json({
        "architecture": architecture, "config": config, "created": created, "os": "linux",
        "history": [{"comment": comment, "created": created, "created_by": "examples"}],
        "rootfs": {"diff_ids": [f"sha256:{layer_hex}"], "type": "layers"},
    })
    image_hex = hashlib.sha256(image).hexdigest()
    manifest = _json({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{image_hex}", "size": len(image)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{layer_hex}", "size": layer_size}],
    })
    manifest_hex = hashlib.sha256(manifest).hexdigest()
    index = _json({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{manifest_hex}", "size": len(manifest),
            "platform": {"architecture": architecture, "os": "linux"},
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }],
    })
    listing = _json([{"Config": f"blobs/sha256/{image_hex}", "RepoTags": [tag], "Layers": [f"blobs/sha256/{layer_hex}"]}])
    documents = {f"blobs/sha256/{image_hex}": image, f"blobs/sha256/{manifest_hex}": manifest, "index.json": index, "manifest.json": listing,
                 "oci-layout": _json({"imageLayoutVersion": "1.0.0"})}
    temporary = f"{path}.new"
    with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("blobs", "blobs/sha256"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, epoch
            tar.addfile(entry)
        for name in sorted([*documents, f"blobs/sha256/{layer_hex}"]):
            entry = tarfile.TarInfo(name)
            entry.mtime = epoch
            if name in documents:
                entry.size = len(documents[name])
                tar.addfile(entry, io.BytesIO(documents[name]))
            else:
                entry.size = layer_size
                with open(layer_path, "rb") as file:
                    tar.addfile(entry, file)
    os.replace(temporary, path)
    return f"sha256:{image_hex}"


def _hash(path):
    found, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
            size += len(chunk)
    return found.hexdigest(), size


def _json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
