"""What curation's tests share: the small pipeline, and a real RabbitMQ and PostgreSQL where they run.

Child processes import `small_stages` by name, so this folder is on the path.
"""

import os
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

BROKER = os.environ.get("VIDEOSYN_TEST_BROKER", "amqp://videosyn:videosyn@127.0.0.1:5672")
DATABASE = os.environ.get("VIDEOSYN_TEST_DATABASE", "postgresql://videosyn:videosyn@127.0.0.1:5432/videosyn")


@pytest.fixture(scope="session")
def broker() -> str:
    """URL of a running RabbitMQ."""
    from videosyn.core.errors import UserError
    from videosyn.curation.broker import check_broker

    try:
        check_broker(BROKER)
    except UserError as error:
        pytest.skip(f"left out: {error}; `make services` starts it")
    return BROKER


@pytest.fixture
def postgresql():
    """URL of an empty schema in a running PostgreSQL, gone after the test."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    try:
        with psycopg.connect(DATABASE, connect_timeout=3, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
    except psycopg.OperationalError as error:
        pytest.skip(f"left out: no PostgreSQL answers ({str(error).splitlines()[0]}); `make services` starts it")
    yield f"{DATABASE}?options=-csearch_path%3D{name}&application_name={name}"
    with psycopg.connect(DATABASE, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE")
