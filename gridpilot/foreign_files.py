"""Configuration files from outside the package, which Hydra may read and which may say nothing but settings of the product.

Hydra itself would let a file of a market name functions to be called before and after a run, set variables of the environment, and write
any of them, keys of services among them, into what is published.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from gridpilot.documents import read_yaml
from gridpilot.errors import ConfigError

__all__ = ["ForeignFiles", "address_of", "without_environment"]

SCHEME: Final = "gridpilot-foreign"
_NOT_READ: Final = "oc.env"


class ForeignFiles(FileConfigSource):
    """A folder of such files, in Hydra's terms a source of configuration."""

    @staticmethod
    def scheme() -> str:
        """What its addresses begin with."""
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        """The file; raises :class:`~gridpilot.errors.ConfigError` for one that speaks to Hydra or cannot be read."""
        path = Path(os.path.realpath(os.path.join(self.path, self._normalize_file_name(config_path))))
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        content = read_yaml(text, str(path), ConfigError)
        header = self._get_header_dict(text[:512].decode("utf-8", "replace"))
        place = str(header.get("package") or "")
        told = f"# @package {place}" if place == "_global_" or place.split(".")[0] == "hydra" else _spoken_to_hydra(content)
        if told:
            raise ConfigError(f"{path}: {told}: a file may hold settings of the product alone; give Hydra's on the command line")
        result: ConfigResult = super().load_config(config_path)
        return result


def address_of(folder: Path) -> str:
    """Where Hydra is to look for the files of ``folder``."""
    if ForeignFiles not in Plugins.instance().discover(ConfigSource):
        Plugins.instance().register(ForeignFiles)
    return f"{SCHEME}://{folder}"


def _spoken_to_hydra(content: Any) -> str:
    """The first part of a file that is meant for Hydra, and not for the product."""
    if not isinstance(content, Mapping):
        return ""
    for key in content:
        if str(key).split(".")[0].split("@")[0] == "hydra":
            return f"key {key!r:.60}"
    defaults = content.get("defaults")
    for entry in defaults if isinstance(defaults, list) else ():
        for word in entry if isinstance(entry, Mapping) else [entry]:
            for group in str(word).split():
                if group.lstrip("/").split("/")[0].split("@")[0] == "hydra" or "@hydra" in group or "@_global_" in group:
                    return f"default {word!r:.60}"
    return ""


@contextlib.contextmanager
def without_environment() -> Iterator[None]:
    """Within the block no value is taken from a variable of the environment: what is configured is written into what is published."""
    OmegaConf.register_new_resolver(_NOT_READ, _refuse, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver(_NOT_READ, oc.env, replace=True)


def _refuse(*names: str) -> str:
    raise ConfigError(
        f"${{oc.env:{','.join(names):.60}}}: variables of the environment are not read, as what is configured is written into manifests "
        "and reports; give the value itself"
    )
