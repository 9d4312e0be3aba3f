"""Bundles on the Hugging Face Hub: publish, fetch, list, compare and collect them.

`local_path` turns whatever names a bundle, a path or `hub://owner/name@revision`, into a folder.
The Hub's client is imported only when it is used, torch never.
"""

from diger.hub.address import Address, is_address, parse
from diger.hub.collection import Collected, collect, members
from diger.hub.difference import Difference, diff
from diger.hub.fetch import local_path
from diger.hub.listing import Listed, list_hub
from diger.hub.plan import Published
from diger.hub.publishing import publish
from diger.hub.pulling import Pulled, pull

__all__ = [
    "Address",
    "Collected",
    "Difference",
    "Listed",
    "Published",
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
