# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Oscar's browsing and searching, from the database. Haystack's simple engine cannot filter, and an index in files
would have to be kept alike on every web node."""
