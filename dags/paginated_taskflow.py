"""Add up the payroll of each department from a streamed API, and name the departments over their budget."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

from airflow.sdk import dag, task

from airflow_paginated import PageNumber, PaginatedApiHook, PaginatedApiOperator, SinglePage

CONNECTION = "employees_api"


@dag(
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    tags=["paginated"],
)
def paginated_payroll() -> None:
    # The rows are the task's result, which suits a short list that the next task reads.
    departments = PaginatedApiOperator(
        task_id="departments",
        http_conn_id=CONNECTION,
        endpoint="/departments",
        pagination=SinglePage(),
        data_selector="data",
        sink="xcom",
    )

    @task
    def payroll() -> dict[str, str]:
        """Return the sum of the salaries of each department, exact to the cent, without holding all rows in memory."""
        pages = PageNumber(page_size=100, page_size_param="per_page", total_path="meta.total_pages", total_kind="pages")
        rows = PaginatedApiHook(CONNECTION).rows(
            "/employees", query={"active": "true"}, pagination=pages, data_selector="data", decimals=True
        )
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for row in rows:
            sums[row["department"]] += row["salary"]
        return {department: str(total) for department, total in sums.items()}

    @task
    def over_budget(departments: list[dict[str, Any]], payroll: dict[str, str]) -> list[str]:
        """Return the departments that pay more than their budget allows."""
        return [each["name"] for each in departments if Decimal(payroll[each["name"]]) > each["monthly_budget"]]

    over_budget(departments.output, payroll())


paginated_payroll()
