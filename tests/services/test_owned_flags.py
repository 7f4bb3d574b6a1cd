from __future__ import annotations

import pytest

from pdtest.services.errors import RenderError
from pdtest.services.owned_flags import refuse_owned

OWNED = {"port": "members.<name>.ports.http", "served-model-name": "model.served_name"}


@pytest.mark.parametrize("flag", ["served-model-name", "served_model_name"])
def test_a_flag_that_the_structure_decides_is_refused_with_where_to_say_it(flag: str) -> None:
    with pytest.raises(RenderError) as caught:
        refuse_owned("decode", {"seed": 1, flag: "tiny"}, OWNED)
    assert str(caught.value) == (
        "cannot render: member 'decode' sets --served-model-name under args\n"
        f"  where    members.decode.args.{flag}\n"
        "  expected what model.served_name says, from which pdtest renders --served-model-name\n"
        f"  seen     {flag}: 'tiny'\n"
        "  next     remove the line under args"
    )


def is_refused(flag: str) -> bool:
    try:
        refuse_owned("decode", {"seed": 1, flag: 2}, OWNED)
    except RenderError:
        return True
    return False


def test_other_flags_are_the_users() -> None:
    flags = ("port", "port-range", "model", "served-model", "served-model-name", "api-server-count")
    assert [flag for flag in flags if is_refused(flag)] == ["port", "served-model-name"]
