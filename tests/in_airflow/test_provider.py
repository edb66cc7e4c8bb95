"""What Airflow sees of the provider: its connection type, its form, the shape of a serialized DAG."""

from __future__ import annotations

from pathlib import Path

import jsonschema
from airflow.sdk import DAG

from airflow_paginated import SinglePage
from airflow_paginated.operators.paginated_api import PaginatedApiOperator
from airflow_paginated.provider_info import get_provider_info
from airflow_paginated.sinks import FileSink
from airflow_paginated.transport.auth import AUTH_OPTIONS


def test_airflow_finds_the_connection_type_and_its_form() -> None:
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    assert "airflow-provider-paginated-api" in ProvidersManager().providers
    hook = ProvidersManagerTaskRuntime().hooks["paginated_api"]
    assert hook is not None
    assert hook.hook_name == "Paginated API"
    assert hook.hook_class_name == "airflow_paginated.hooks.paginated_api.PaginatedApiHook"


def test_the_form_has_a_field_for_each_way_to_authenticate() -> None:
    from airflow.providers_manager import ProvidersManager

    widgets = ProvidersManager().connection_form_widgets
    for name in ("auth_type", *AUTH_OPTIONS):
        assert widgets[f"extra__paginated_api__{name}"].field_name == name


def test_the_form_has_sound_schemas() -> None:
    (connection,) = get_provider_info()["connection-types"]
    for field in connection["conn-fields"].values():
        jsonschema.Draft202012Validator.check_schema(field["schema"])


def test_a_serialized_dag_is_the_same_each_time(tmp_path: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    def serialized() -> object:
        with DAG("d", schedule=None) as dag:
            PaginatedApiOperator(
                task_id="t", endpoint="/x", pagination=SinglePage(), sink=FileSink(f"{tmp_path}/{{{{ run_id }}}}/")
            )
        return DagSerialization.serialize_dag(dag)["tasks"]

    assert serialized() == serialized()
    assert " at 0x" not in str(serialized())
