"""Removes from an image archive what differs from build to build: the id and the host name of the container that buildah used,
and the times of the archive's members. Usage: stable.py FROM TO. SOURCE_DATE_EPOCH is the time of everything."""

import hashlib
import io
import json
import os
import sys
import tarfile

source, target = sys.argv[1:]
with tarfile.open(source) as archive:
    manifest = json.load(archive.extractfile("manifest.json"))[0]
    config = json.load(archive.extractfile(manifest["Config"]))
    files = [(name, archive.extractfile(name).read()) for name in manifest["Layers"]]

config.pop("container", None)
config.pop("container_config", None)
config["config"].pop("Hostname", None)
config = json.dumps(config, separators=(",", ":")).encode()
manifest["Config"] = hashlib.sha256(config).hexdigest() + ".json"
manifest["RepoTags"] = [tag.removeprefix("localhost/") for tag in manifest["RepoTags"] if tag.startswith("localhost/")]
files += [(manifest["Config"], config), ("manifest.json", json.dumps([manifest]).encode())]

with tarfile.open(target, "w") as archive:
    for name, content in files:
        member = tarfile.TarInfo(name)
        member.size, member.mtime = len(content), int(os.environ["SOURCE_DATE_EPOCH"])
        archive.addfile(member, io.BytesIO(content))
