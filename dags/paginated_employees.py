"""Collect every active employee into a dataset, then check the dataset against the API's own count."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, task

from airflow_paginated import FileSink, PageNumber, PaginatedApiHook, PaginatedApiOperator

CONNECTION = "employees_api"
QUERY = {"active": "true"}

# Any folder or URL that Airflow's object storage knows: a path, s3://bucket/employees, gs://bucket/employees, ...
TARGET = os.environ.get("EMPLOYEES_TARGET") or os.path.join(
    os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")), "datasets", "employees"
)

with DAG(
    dag_id="paginated_employees",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},  # a retry resumes where the last try stopped
    tags=["paginated"],
):
    collect = PaginatedApiOperator(
        task_id="collect",
        http_conn_id=CONNECTION,
        endpoint="/employees",
        query=QUERY,
        pagination=PageNumber(page_size=100, page_size_param="per_page", total_path="meta.total"),
        data_selector="data",
        sink=FileSink(TARGET + "/{{ run_id }}/"),
        max_workers=8,
    )

    @task
    def check(collected: dict[str, Any]) -> dict[str, Any]:
        """Hash the files again, and compare their rows with what the API says it has."""
        manifest = json.loads(ObjectStoragePath(collected["manifest"]).read_text())
        for file in manifest["files"]:
            data = ObjectStoragePath(collected["path"]) / file["path"]
            with data.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != file["sha256"]:
                    raise ValueError(f"{data} differs from its manifest")
        hook = PaginatedApiHook(CONNECTION)
        response = hook.get_conn().get(hook.url("/employees/count"), params=QUERY, timeout=10)
        response.raise_for_status()
        expected = response.json()["count"]
        if not manifest["complete"] or manifest["rows"] != expected:
            raise ValueError(f"the dataset has {manifest['rows']} rows, the API counts {expected}")
        return {"rows": expected, "files": len(manifest["files"]), "digest": manifest["digest"]}

    check(collect.output)
