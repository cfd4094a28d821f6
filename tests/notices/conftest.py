from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notices.desk import NoticeDesk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[NoticeDesk]:
    desk = NoticeDesk(tmp_path)
    yield desk
    desk.close()
