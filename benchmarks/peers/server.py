"""A database of its own on a server, for one measurement: `python -m peers.server create|drop KIND NAME`.

A process of its own, so that `engine.py` stays small: what a process used before it became another counts as its peak.
"""

from __future__ import annotations

import os
import sys

import sqlalchemy as sa

SERVERS = {
    "postgresql": ("OZELOT_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("OZELOT_TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/"),
}


def main() -> None:
    action, kind, name = sys.argv[1:]
    variable, default = SERVERS[kind]
    server = sa.create_engine(os.environ.get(variable, default), isolation_level="AUTOCOMMIT")
    force = " WITH (FORCE)" if action == "drop" and kind == "postgresql" else ""
    with server.connect() as connection:
        connection.execute(sa.text(f"{action} DATABASE {name}{force}"))
    print(server.url.set(database=name).render_as_string(hide_password=False))


if __name__ == "__main__":
    main()
