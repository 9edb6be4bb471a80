# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Django's MySQL backend on PyMySQL: no compiler on web nodes, timeouts, and it knows whether it has committed."""
