# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes need to pull images from a private registry: the part of a docker config file that is about these images, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed
from ansible_collections.barberpro.platform.plugins.module_utils._checks_image import credentials_of, parse_reference


def pull_config(auth_file: str, images: Iterable[str]) -> str:
    """Return the text of a Secret's ``.dockerconfigjson``. Raises CheckFailed for a file that has no credentials for any of the images."""
    registries = {parse_reference(image).registry for image in images}
    auths = credentials_of(auth_file, registries)
    if not auths:
        raise CheckFailed(
            f"auth_file {auth_file} has no user and password for {', '.join(sorted(registries)) or 'any image'}",
            "log in there with a client that writes them into this file (no credential helper), or leave the variable empty",
            final=True,
        )
    return json.dumps({"auths": auths}, sort_keys=True)
