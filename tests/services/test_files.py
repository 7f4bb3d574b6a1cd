from __future__ import annotations

from pdtest.services.files import rendered_files
from pdtest.services.vllm import VllmService

from .conftest import Place


def test_config_files_are_text_as_it_is_and_mappings_as_json(place: Place) -> None:
    files = {
        "local.conf": "url = tcp://${self.address}:5000\n",
        "mooncake.json": {
            "local_hostname": "${self.address}",
            "port": "${self.ports.http}",
            "device_name": "",
        },
        "list.json": [1, None],
    }
    assert rendered_files(place(VllmService(), {"files": files})) == {
        "local.conf": "url = tcp://127.0.0.1:5000\n",
        "mooncake.json": '{\n  "local_hostname": "127.0.0.1",\n  "port": 8000,\n  "device_name": ""\n}\n',
        "list.json": "[\n  1,\n  null\n]\n",
    }


def test_a_member_without_files_has_none(place: Place) -> None:
    assert rendered_files(place(VllmService(), {})) == {}
