"""Bundles on the Hugging Face Hub: publish, fetch, list, compare and collect them.

`local_path` turns whatever names a bundle, a path or `hub://owner/name@revision`, into a folder.
The Hub's client is imported only when it is used, torch never.
"""

from diger.hub.address import Address, is_address, parse
from diger.hub.commit import Change
from diger.hub.difference import Difference, diff
from diger.hub.fetch import Pulled, local_path, pull
from diger.hub.lists import Collected, Listed, collect, list_hub, members
from diger.hub.publishing import publish

__all__ = [
    "Address",
    "Change",
    "Collected",
    "Difference",
    "Listed",
    "Pulled",
    "collect",
    "diff",
    "is_address",
    "list_hub",
    "local_path",
    "members",
    "parse",
    "publish",
    "pull",
]
