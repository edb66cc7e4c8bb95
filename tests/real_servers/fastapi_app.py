"""fastapi-pagination with employees, under uvicorn: ``python -m tests.real_servers.fastapi_app``."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi_pagination import LimitOffsetPage, Page, add_pagination
from fastapi_pagination.cursor import CursorPage
from fastapi_pagination.customization import CustomizedPage
from fastapi_pagination.ext.sqlalchemy import paginate
from fastapi_pagination.links import LimitOffsetPage as LinkedOffsets
from fastapi_pagination.links import Page as LinkedPage
from fastapi_pagination.links import UseHeaderLinks
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.real_servers.child import serve_until_eof
from tests.real_servers.rows import employees


class Base(DeclarativeBase):
    pass


class Employee(Base):
    __tablename__ = "employees"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    hired: Mapped[str]
    salary: Mapped[str]
    active: Mapped[bool]
    manager: Mapped[int | None]


class EmployeeOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    hired: str
    salary: str
    active: bool
    manager: int | None


PAGES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "/pages": (Page, (Employee.id,)),
    "/offsets": (LimitOffsetPage, (Employee.id,)),
    "/cursors": (CursorPage, (Employee.hired, Employee.id)),
    "/linked/pages": (LinkedPage, (Employee.id,)),
    "/linked/offsets": (LinkedOffsets, (Employee.id,)),
    "/linked/headers": (CustomizedPage[Page, UseHeaderLinks()], (Employee.id,)),
}
"""Each path with the library's page and the order of its rows."""


def application(engine: Engine) -> FastAPI:
    app = FastAPI()
    for path, (page, order) in PAGES.items():
        app.get(path, response_model=page[EmployeeOut])(_reader(engine, order))
    add_pagination(app)
    return app


def _reader(engine: Engine, order: tuple[Any, ...]) -> Callable[[], Any]:
    def read() -> Any:
        with Session(engine) as session:
            return paginate(session, select(Employee).order_by(*order))

    return read


def main() -> None:
    """Serve until the input is closed."""
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/db.sqlite3")
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(Employee), employees())
        server = uvicorn.Server(uvicorn.Config(application(engine), log_level="warning"))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serve_until_eof(listening.getsockname()[1], lambda: server.run([listening]))
            engine.dispose()


if __name__ == "__main__":
    main()
