# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's shop: a small Django project on django-oscar. It is configured from the environment only (see settings)."""
