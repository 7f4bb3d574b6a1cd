"""Config files from the `files:` of a member."""

from __future__ import annotations

import json

from pdtest.services.references import resolved
from pdtest.services.service import Placement


def rendered_files(placement: Placement) -> dict[str, str]:
    """File name -> text. Mappings and lists become JSON, text stays as it is."""
    contents = resolved(placement.member.files, placement)
    return {
        name: content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
        for name, content in contents.items()
    }
