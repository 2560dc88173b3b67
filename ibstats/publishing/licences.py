"""Under what licence, and by whom, a run is published: asked for, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ibstats.errors import unknown

CREATIVE_COMMONS = "https://creativecommons.org"
DATA_COMMONS = "https://opendatacommons.org/licenses"

LICENCES: dict[str, str] = {
    "CC0-1.0": f"{CREATIVE_COMMONS}/publicdomain/zero/1.0/",
    "CC-BY-4.0": f"{CREATIVE_COMMONS}/licenses/by/4.0/",
    "CC-BY-SA-4.0": f"{CREATIVE_COMMONS}/licenses/by-sa/4.0/",
    "CC-BY-NC-4.0": f"{CREATIVE_COMMONS}/licenses/by-nc/4.0/",
    "CC-BY-NC-SA-4.0": f"{CREATIVE_COMMONS}/licenses/by-nc-sa/4.0/",
    "ODC-By-1.0": f"{DATA_COMMONS}/by/1-0/",
    "ODbL-1.0": f"{DATA_COMMONS}/odbl/1-0/",
    "CDLA-Permissive-2.0": "https://cdla.dev/permissive-2-0/",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
}
"""Where the licences that are known by name can be read, by SPDX identifier."""

HUB_NAMES = {"ODC-By-1.0": "odc-by", "ODbL-1.0": "odbl"}
"""What the hub calls a licence where that is not its identifier in small letters."""


@dataclass(frozen=True)
class Terms:
    """The licence of a publication, and who publishes it. Made by `Terms.of`."""

    licence: str
    """SPDX identifier, or the address at which another licence can be read."""
    url: str
    """Where it can be read."""
    creator: str = ""
    """Who publishes; empty if nobody says."""

    @classmethod
    def of(cls, licence: str, creator: str = "") -> Terms:
        """Give the terms that a licence means.

        `licence` is one of `LICENCES`, in letters of any size, or an address that begins with
        `https://`. Raises IbstatsError for anything else, with what is known.

        >>> Terms.of("cc-by-4.0").url
        'https://creativecommons.org/licenses/by/4.0/'
        >>> Terms.of("https://example.org/terms").head()["license"]
        'other'
        """
        by_small = {name.lower(): name for name in LICENCES}
        name = by_small.get(licence.lower())
        if name is not None:
            return cls(name, LICENCES[name], creator)
        address = urlsplit(licence)
        if address.scheme != "https" or not address.netloc:
            raise unknown("licence", licence, [*LICENCES, "or its address, https://..."])
        return cls(licence, licence, creator)

    def head(self) -> dict[str, str]:
        """Give the keys by which the head of a card on the hub names the licence."""
        if self.licence in LICENCES:
            return {"license": HUB_NAMES.get(self.licence, self.licence.lower())}
        return {"license": "other", "license_name": "other", "license_link": self.url}
