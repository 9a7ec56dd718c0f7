"""The packages of this Python, and what their requirements may depend on."""

import os
import platform
import re
import sys
from typing import Dict, List, Tuple

from .machine import text_of


def packages() -> Dict[str, Tuple[str, List[str]]]:
    """[version, requirements] of each package of this Python, by its name as it is written."""
    try:
        from importlib import metadata
    except ImportError:
        return older_packages()
    found = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name and name not in found:
            found[name] = (one.version, list(one.requires or ()))
    return found


def older_packages() -> Dict[str, Tuple[str, List[str]]]:
    """The same without what Python 3.8 brought, as far as versions go."""
    found = {}  # type: Dict[str, Tuple[str, List[str]]]
    for directory in sys.path:
        try:
            names = sorted(os.listdir(directory or "."))
        except OSError:
            continue
        for name in names:
            whole = os.path.join(directory, name)
            files = [os.path.join(whole, "METADATA"), os.path.join(whole, "PKG-INFO"), whole]
            if name.endswith((".dist-info", ".egg-info")):
                text = next(filter(None, map(text_of, files)), "")
                head = text.partition("\n\n")[0]  # behind it stands a description, which may look like anything
                said = dict(re.findall(r"^(Name|Version): *(.+?) *$", head, re.MULTILINE))
                if len(said) == 2:
                    found.setdefault(said["Name"], (said["Version"], []))
    return found


def markers() -> Dict[str, str]:
    """The environment that a requirement may depend on, by PEP 508."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }
