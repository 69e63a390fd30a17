# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module of this name, in the process of its task."""

from __future__ import annotations

from ansible_collections.barberpro.platform.plugins.modules import tenant_login
from ansible_collections.barberpro.platform.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """Run the module."""

    module = tenant_login
